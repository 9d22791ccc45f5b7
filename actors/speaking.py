"""The spoken half of the input loop: reports of voices and words in, turns and interruptions out.

It sees that each report makes sense and is on the timeline, and passes it on: to `Overlap` what
is said over the agent, to `Floor` all that may be a turn.  Costs a session nothing before
somebody speaks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import trio
from attrs import define, field
from msgspec import UNSET, UnsetType

from bargein.actors.alarm import Alarm
from bargein.actors.answers import Answer
from bargein.actors.audience import Client
from bargein.actors.clock import Clock
from bargein.actors.floor import Floor
from bargein.actors.mailbox import Address
from bargein.actors.messages import OutputMessage, PlannerMessage, Record
from bargein.actors.overlap import Overlap
from bargein.actors.turn import ResponseSlot
from bargein.actors.utterances import KnownUtterance, KnownUtterances, audio_event, waiting_words
from bargein.agents.voice import Voice
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import (
    EndTurn,
    ReviseFinal,
    RevisePartial,
    SendAudio,
    StartSpeech,
    StopSpeech,
)
from bargein.protocol.events import (
    AsrFinal,
    AsrPartial,
    HeardBy,
    Payload,
    SpeechStarted,
    SpeechStopped,
)
from bargein.protocol.frames import problem
from bargein.protocol.ids import Seq, UtteranceId
from bargein.protocol.state import SessionState
from bargein.speech.meaning import same_words
from bargein.speech.turn_taking import Heard, TurnTaking

SpeechCommand: TypeAlias = (
    StartSpeech | StopSpeech | SendAudio | RevisePartial | ReviseFinal | EndTurn
)

FULL: Final = "One turn takes no more words than this; end it with `turn.end`, and go on after it."

SETTLED: Final = 64
"""Utterances beyond this are looked up on the timeline's fold, which has them by then."""


@define(eq=False)
class Speaking:
    """Part of the input actor: only its tasks call this.  Lives as long as the session.

    Attributes:
        _by: Who reports: the server, where it listens itself.
    """

    _planner: Address[PlannerMessage]
    _output: Address[OutputMessage]
    _slot: ResponseSlot
    _state: SessionState
    _voice: Voice
    _clock: Clock
    _known: KnownUtterances = field(init=False)
    _overlap: Overlap = field(init=False)
    _floor: Floor = field(init=False)
    _alarm: Alarm = field(init=False)
    _by: HeardBy | UnsetType = field(default=UNSET, init=False)

    def __attrs_post_init__(self) -> None:
        self._known = KnownUtterances(self._state)
        self._overlap = Overlap(self._output, self._slot, self._state, self._voice)
        places = self._planner, self._slot, self._state, self._voice
        self._floor = Floor(*places, self._overlap, self._known)
        self._alarm = Alarm(lambda: self._floor.due_s, self._settle)

    @property
    def _taking(self) -> TurnTaking:
        return self._floor.taking

    def obey(
        self,
        command: SpeechCommand,
        answer: Answer,
        client: Client,
        tasks: trio.Nursery,
        *,
        by: HeardBy | UnsetType = UNSET,
        at_s: float | None = None,
    ) -> None:
        """Take a report; what it decides is done when this returns.

        Args:
            command: What is reported.
            answer: Of whoever reports.
            client: Who speaks.
            tasks: Of the input actor.
            by: Who heard it, where it was not the client.
            at_s: When a voice fell silent, where that was a while ago.
        """
        self._floor.client, self._by = client, by
        now_s = self._clock.now_s()
        match command:
            case StartSpeech(utterance_id):
                self._start(utterance_id, answer, now_s)
            case StopSpeech(utterance_id):
                self._stop(utterance_id, answer, now_s if at_s is None else at_s)
            case SendAudio():
                self._take_audio(command, answer)
            case RevisePartial() | ReviseFinal():
                self._revise(command, answer, now_s)
            case EndTurn(utterance_id):
                self._end_turn(utterance_id, answer, now_s)
        self._settle()
        self._alarm.look(tasks)

    def known(self, utterance_id: UtteranceId) -> KnownUtterance:
        """Return what was reported of an utterance, which may be nothing."""
        return self._known.of(utterance_id)

    def take_up(self, tasks: trio.Nursery) -> None:
        """Listen on where the last process stopped: words that it took and did not answer."""
        now_s = self._clock.now_s()
        for heard in waiting_words(self._state):
            self._taking.revised(heard, now_s)
        self._settle()
        self._alarm.look(tasks)

    def playback_moved(self, tasks: trio.Nursery) -> None:
        """Look again whether speech interrupts: another chunk may be played now."""
        self._overlap.moved(self._taking.heard, self._clock.now_s())
        self._settle()
        self._alarm.look(tasks)

    def _settle(self) -> None:
        self._floor.settle(self._clock.now_s())
        self._known.forget(SETTLED)

    # --- reports -------------------------------------------------------------------------

    def _start(self, utterance_id: UtteranceId, answer: Answer, now_s: float) -> None:
        known = self._known.of(utterance_id)
        if known.speaking or known.taken:
            answer.refuse(problem(ErrorCode.STALE, param="utterance_id"))
        elif not self._taking.takes(utterance_id):
            answer.refuse(problem(ErrorCode.QUOTA_EXCEEDED, FULL, param="utterance_id"))
        elif self._note(SpeechStarted(utterance_id, self._by), answer):
            known.speaking, known.silenced = True, False
            self._taking.started(utterance_id, now_s)
            self._overlap.started(utterance_id, now_s)

    def _stop(self, utterance_id: UtteranceId, answer: Answer, now_s: float) -> None:
        known = self._known.of(utterance_id)
        if not known.speaking:
            code = ErrorCode.STALE if known.is_known else ErrorCode.NOT_FOUND
            answer.refuse(problem(code, param="utterance_id"))
        elif self._note(SpeechStopped(utterance_id, self._by), answer):
            known.speaking, known.silenced = False, True
            if not known.taken:
                self._taking.stopped(utterance_id, now_s)
            self._overlap.stopped(utterance_id, now_s)

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
        heard = Heard(command.utterance_id, command.revision, command.text, final)
        aside = self._says_nothing(known, heard, command.confidence)
        marked = aside if aside or known.marked or known.was_left_out else UNSET
        sure = UNSET if command.confidence is None else command.confidence
        words = command.utterance_id, command.revision, command.text, sure, self._by, marked
        event = AsrFinal(*words) if final else AsrPartial(*words)

        def written() -> None:
            # By then it is known which turn answers the words, if it has begun.
            if known.taken and final and not same_words(known.answered, heard.text):
                self._floor.correct(known, heard, self._clock.now_s())

        if not self._note(event, answer, written):
            return
        known.revision, known.text = command.revision, command.text
        known.marked = aside
        if known.taken:
            return
        if known.is_aside(heard, command.confidence, self._voice.vocabulary):
            self._overlap.revised_aside(heard, command.confidence, now_s)
            return
        if known.was_left_out and known.speaking:
            self._taking.started(command.utterance_id, now_s)
        known.aside = known.passed = None
        self._taking.revised(heard, now_s)
        self._overlap.revised(heard, command.confidence, now_s)

    def _says_nothing(self, known: KnownUtterance, heard: Heard, confidence: float | None) -> bool:
        """Whether the words are no turn, as far as is known when they are written down."""
        if known.taken:
            return False
        if known.is_aside(heard, confidence, self._voice.vocabulary):
            return True
        return self._overlap.passes_over(heard, confidence)

    def _end_turn(self, utterance_id: UtteranceId | None, answer: Answer, now_s: float) -> None:
        if utterance_id is not None:
            known = self._known.of(utterance_id)
            if not known.is_known:
                answer.refuse(problem(ErrorCode.NOT_FOUND, param="utterance_id"))
                return
            if known.taken:
                answer.refuse(problem(ErrorCode.STALE, param="utterance_id"))
                return
        if self._taking.has_floor:
            self._floor.end_asked(now_s, answer)
        else:
            answer.refuse(problem(ErrorCode.STALE))

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
