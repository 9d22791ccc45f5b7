"""The spoken half of the input loop: utterances in, turns and interruptions out.

What it decides it leaves to `speech`: it feeds voices, words and time, sees that each
report is on the timeline, and carries the decisions out.  Costs a session nothing
before somebody speaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import trio
from attrs import define, field
from msgspec import UNSET

from bargein.actors.answers import Answer
from bargein.actors.audience import Client
from bargein.actors.clock import Clock
from bargein.actors.corrections import CORRECTION, correction_of
from bargein.actors.mailbox import Address
from bargein.actors.messages import FloorGiven, OutputMessage, PlannerMessage, Record, UserSaid
from bargein.actors.turn import ResponseSlot, Turn
from bargein.actors.utterances import (
    KnownUtterance,
    KnownUtterances,
    audio_event,
    waiting_words,
)
from bargein.agents.voice import Voice
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import (
    EndTurn,
    ReviseFinal,
    RevisePartial,
    Say,
    SendAudio,
    StartSpeech,
    StopSpeech,
    WhenBusy,
)
from bargein.protocol.events import (
    AsrFinal,
    AsrPartial,
    Payload,
    PlaybackPaused,
    PlaybackResumed,
    SpeechStarted,
    SpeechStopped,
    Status,
)
from bargein.protocol.frames import problem
from bargein.protocol.ids import Seq, UtteranceId
from bargein.protocol.state import SessionState
from bargein.speech.barge_in import BargeIn, Interrupts, Resumes
from bargein.speech.meaning import same_words
from bargein.speech.turn_taking import EndOfTurn, Heard, TurnTaking

SpeechCommand: TypeAlias = (
    StartSpeech | StopSpeech | SendAudio | RevisePartial | ReviseFinal | EndTurn
)

PROTECTED: Final = "This part is not interrupted by speech; what you say is answered after it."

FULL: Final = "One turn takes no more words than this; end it with `turn.end`, and go on after it."

MOST_ECHO_CHARS: Final = 2000
"""Of what the agent said last, in which an echo is looked for."""

SETTLED: Final = 64
"""Utterances beyond this are looked up on the timeline's fold, which has them by then."""


@define(eq=False)
class Speaking:
    """Part of the input actor: only its tasks call this.  Lives as long as the session.

    Attributes:
        _over: Speech over the agent that is being decided, or may still interrupt.
        _over_turn: The turn that it is over.
        _shielded: The user speaks over a part that speech does not interrupt.
        _client: Who spoke last, and is told when the words can't be taken.
    """

    _planner: Address[PlannerMessage]
    _output: Address[OutputMessage]
    _slot: ResponseSlot
    _state: SessionState
    _voice: Voice
    _clock: Clock
    _taking: TurnTaking = field(init=False)
    _known: KnownUtterances = field(init=False)
    _over: BargeIn | None = field(default=None, init=False)
    _over_turn: Turn | None = field(default=None, init=False)
    _shielded: bool = field(default=False, init=False)
    _client: Client | None = field(default=None, init=False)
    _watching: bool = field(default=False, init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._taking = TurnTaking(self._voice.pacing, self._voice.vocabulary)
        self._known = KnownUtterances(self._state)

    def obey(
        self, command: SpeechCommand, answer: Answer, client: Client, tasks: trio.Nursery
    ) -> None:
        """Take a report of the client's; what it decides is done when this returns."""
        self._client = client
        now_s = self._clock.now_s()
        match command:
            case StartSpeech(utterance_id):
                self._start(utterance_id, answer, now_s)
            case StopSpeech(utterance_id):
                self._stop(utterance_id, answer, now_s)
            case SendAudio():
                self._take_audio(command, answer)
            case RevisePartial() | ReviseFinal():
                self._revise(command, answer, now_s)
            case EndTurn(utterance_id):
                self._end_turn(utterance_id, answer, now_s)
        self._settle(now_s)
        self._watch_time(tasks)

    def take_up(self, tasks: trio.Nursery) -> None:
        """Listen on where the last process stopped: words that it took and did not answer."""
        now_s = self._clock.now_s()
        for heard in waiting_words(self._state):
            self._taking.revised(heard, now_s)
        self._settle(now_s)
        self._watch_time(tasks)

    def playback_moved(self, tasks: trio.Nursery) -> None:
        """Look again whether speech interrupts: another chunk may be played now."""
        turn = self._open_turn()
        if self._shielded and turn is not None and not self._is_protected(turn):
            now_s = self._clock.now_s()
            self._shielded = False
            if self._taking.has_floor:
                self._pause(turn, now_s)
                for heard in self._taking.heard:
                    self._hear_over(heard, None, now_s)
            self._settle(now_s)
            self._watch_time(tasks)

    # --- reports -------------------------------------------------------------------------

    def _start(self, utterance_id: UtteranceId, answer: Answer, now_s: float) -> None:
        known = self._known.of(utterance_id)
        if known.speaking or known.taken:
            answer.refuse(problem(ErrorCode.STALE, param="utterance_id"))
        elif not self._taking.takes(utterance_id):
            answer.refuse(problem(ErrorCode.QUOTA_EXCEEDED, FULL, param="utterance_id"))
        elif self._note(SpeechStarted(utterance_id), answer):
            known.speaking, known.silenced = True, False
            self._taking.started(utterance_id, now_s)
            self._begin_over(utterance_id, now_s)
            if self._over is not None:
                self._over.started(utterance_id)

    def _stop(self, utterance_id: UtteranceId, answer: Answer, now_s: float) -> None:
        known = self._known.of(utterance_id)
        if not known.speaking:
            code = ErrorCode.STALE if known.is_known else ErrorCode.NOT_FOUND
            answer.refuse(problem(code, param="utterance_id"))
        elif self._note(SpeechStopped(utterance_id), answer):
            known.speaking, known.silenced = False, True
            if not known.taken:
                self._taking.stopped(utterance_id, now_s)
            if self._over is not None:
                self._over.stopped(utterance_id, now_s)

    def _take_audio(self, command: SendAudio, answer: Answer) -> None:
        known = self._known.of(command.utterance_id)
        if command.index < known.next_index:
            answer.reply({}, self._state.seq)  # it is here already
        elif self._note(audio_event(command, gap=command.index > known.next_index), answer):
            known.next_index = command.index + 1

    def _revise(self, command: RevisePartial | ReviseFinal, answer: Answer, now_s: float) -> None:
        known = self._known.of(command.utterance_id)
        if command.revision <= known.revision:
            answer.refuse(problem(ErrorCode.STALE, param="revision"))
            return
        if not known.taken and not self._taking.takes(command.utterance_id, command.text):
            answer.refuse(problem(ErrorCode.QUOTA_EXCEEDED, FULL, param="text"))
            return
        final = isinstance(command, ReviseFinal)
        sure = UNSET if command.confidence is None else command.confidence
        words = command.utterance_id, command.revision, command.text, sure
        event = AsrFinal(*words) if final else AsrPartial(*words)
        heard = Heard(command.utterance_id, command.revision, command.text, final)

        def written() -> None:
            # By then it is known which turn answers the words, if it has begun.
            if known.taken and final and not same_words(known.answered, heard.text):
                self._correct(known, heard)

        if not self._note(event, answer, written):
            return
        known.revision, known.text = command.revision, command.text
        if known.taken:
            return
        if known.is_aside(command.text, self._voice.vocabulary):
            if self._over is not None and command.utterance_id in self._over.utterances:
                self._hear_over(heard, command.confidence, now_s)
        else:
            known.aside = None
            self._taking.revised(heard, now_s)
            self._begin_over(command.utterance_id, now_s)
            self._hear_over(heard, command.confidence, now_s)

    def _end_turn(self, utterance_id: UtteranceId | None, answer: Answer, now_s: float) -> None:
        if utterance_id is not None:
            known = self._known.of(utterance_id)
            if not known.is_known:
                answer.refuse(problem(ErrorCode.NOT_FOUND, param="utterance_id"))
                return
            if known.taken:
                answer.refuse(problem(ErrorCode.STALE, param="utterance_id"))
                return
        if not self._taking.has_floor:
            answer.refuse(problem(ErrorCode.STALE))
            return
        self._taking.end_asked(now_s)
        if not self._take_turn(now_s, answer):
            answer.reply({}, self._state.seq)  # it waits for the last words

    def _note(
        self, payload: Payload, answer: Answer, then: Callable[[], None] | None = None
    ) -> bool:
        def written(seq: Seq) -> None:
            answer.reply({}, seq)
            if then is not None:
                then()

        if self._output.offer(Record(None, (payload,), written)):
            return True
        answer.refuse(problem(ErrorCode.OVERLOADED))
        return False

    # --- speech over the agent --------------------------------------------------------------

    def _open_turn(self) -> Turn | None:
        turn = self._slot.turn
        return None if turn is None or turn.interrupted or turn.closing else turn

    def _is_protected(self, turn: Turn) -> bool:
        known = self._state.turns.get(turn.id)
        return known is not None and known.chunks is not None and known.chunks.is_protected

    def _begin_over(self, utterance_id: UtteranceId, now_s: float) -> None:
        turn = self._open_turn()
        if turn is None:
            self._over = self._over_turn = None
            return
        if self._over_turn is turn and self._over is not None and self._over.covers(utterance_id):
            return
        if self._is_protected(turn):
            if not self._shielded:
                self._shielded = True
                self._tell_of(turn, Status(PROTECTED))
            return
        self._pause(turn, now_s)

    def _pause(self, turn: Turn, now_s: float) -> None:
        known = self._state.turns.get(turn.id)
        said = "" if known is None else known.text[-MOST_ECHO_CHARS:]
        self._over = BargeIn(now_s, said, self._voice.pacing, self._voice.vocabulary)
        self._over_turn = turn
        if self._slot.pause():
            self._tell_of(turn, PlaybackPaused("speech"))

    def _tell_of(self, turn: Turn, payload: Payload) -> None:
        def begun(state: SessionState) -> Payload | None:
            known = state.turns.get(turn.id)
            return None if known is None or known.start_seq is None else payload

        # Where there is no room the clients know it all the same, and nothing depends on it.
        self._output.offer(Record(turn.id, (begun,)))

    def _hear_over(self, heard: Heard, confidence: float | None, now_s: float) -> None:
        if self._over is not None:
            self._over.revised(heard, confidence, now_s)

    # --- decisions ---------------------------------------------------------------------------

    def _settle(self, now_s: float) -> None:
        """Carry out what can be decided now."""
        if not self._taking.is_stated:
            self._decide_over(now_s)
        if self._decides_turns:
            self._take_turn(now_s, None)
        self._keep_floor(now_s)
        self._known.forget(SETTLED)

    @property
    def _decides_turns(self) -> bool:
        # An end that the user states is one, whatever the words would be over the agent.
        return self._over is None or self._over.resumed or self._taking.is_stated

    def _keep_floor(self, now_s: float) -> None:
        before, self._slot.user_speaks = self._slot.user_speaks, self._taking.holds_floor(now_s)
        if before and not self._slot.user_speaks and self._slot.turn is None:
            self._planner.offer(FloorGiven())

    def _decide_over(self, now_s: float) -> None:
        over, turn = self._over, self._over_turn
        if over is None:
            return
        if turn is None or self._open_turn() is not turn:
            self._over = None
            return
        verdict = over.decide(now_s)
        if isinstance(verdict, Interrupts):
            self._over = None
            self._slot.interrupt("speech", verdict.cause, only=turn.id)
            return
        if isinstance(verdict, Resumes):
            self._resume(turn, over, verdict)
        if over.resumed:
            for utterance_id in over.utterances:
                known = self._known.of(utterance_id)
                known.aside = known.text
                self._taking.left_out(utterance_id)
            if over.is_over:
                self._over = None

    def _resume(self, turn: Turn, over: BargeIn, verdict: Resumes) -> None:
        resumed = PlaybackResumed(verdict.cause, over.utterances, verdict.waited_ms)
        self._tell_of(turn, resumed)
        self._slot.unpause(turn)

    def _take_turn(self, now_s: float, answer: Answer | None) -> bool:
        ended = self._taking.decide(now_s)
        if ended is None:
            return False
        for heard in ended.heard:
            known = self._known.of(heard.utterance_id)
            known.taken, known.answered = True, heard.text
        self._over = None
        when_busy: WhenBusy = "interrupt"
        turn = self._open_turn()
        if turn is not None and self._is_protected(turn):
            when_busy = "queue"
        elif turn is not None:
            self._slot.interrupt("speech", "end of turn", only=turn.id)
        self._shielded = False
        self._hand_over(ended, when_busy, answer, now_s)
        return True

    def _correct(self, known: KnownUtterance, heard: Heard) -> None:
        """Answer anew what was said, where the answer was to something else."""
        answered, known.answered = known.answered, heard.text
        ended = correction_of(self._state, self._slot, heard, answered)
        if ended is None:
            return
        turn = self._open_turn()
        when_busy: WhenBusy = "interrupt"
        if turn is not None and self._is_protected(turn):
            when_busy = "queue"
        elif turn is not None:
            self._slot.interrupt("speech", CORRECTION, only=turn.id)
            when_busy = "rollback"  # what it answered was never said
        elif self._slot.turn is not None:
            when_busy = "rollback"
        self._hand_over(ended, when_busy, None, self._clock.now_s())

    def _hand_over(
        self, ended: EndOfTurn, when_busy: WhenBusy, answer: Answer | None, now_s: float
    ) -> None:
        if answer is None:
            # Nobody asked; who spoke is told all the same when it can't be done.
            answer = Answer(None, False, b"", [] if self._client is None else [self._client])  # noqa: FBT003
        say = Say(ended.text, when_busy=when_busy)
        said = UserSaid(say, answer, None, now_s - ended.waited_ms / 1000, ended)
        if not self._planner.offer(said):
            answer.refuse(problem(ErrorCode.OVERLOADED))

    # --- time ------------------------------------------------------------------------------------

    @property
    def _due_s(self) -> float | None:
        over_s = None if self._over is None or self._taking.is_stated else self._over.due_s
        taking_s = self._taking.due_s if self._decides_turns else None
        due = [due_s for due_s in (over_s, taking_s) if due_s is not None]
        return min(due, default=None)

    def _watch_time(self, tasks: trio.Nursery) -> None:
        self._changed.set()
        self._changed = trio.Event()
        if not self._watching and self._due_s is not None:
            self._watching = True
            tasks.start_soon(self._keep_time)

    async def _keep_time(self) -> None:
        while (due_s := self._due_s) is not None:
            with trio.move_on_at(due_s):
                await self._changed.wait()
            self._settle(self._clock.now_s())
        self._watching = False
