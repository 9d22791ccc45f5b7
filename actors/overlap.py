"""Speech over the agent: its sound holds while that is decided, and then it goes on or is over.

Over a part that speech does not interrupt nothing holds: words wait for its end, and what
would have been no interruption is no turn either.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from bargein.actors.mailbox import Address
from bargein.actors.messages import OutputMessage, Record
from bargein.actors.turn import ResponseSlot, Turn
from bargein.agents.voice import Voice
from bargein.protocol.events import Payload, PlaybackPaused, PlaybackResumed, Status
from bargein.protocol.ids import UtteranceId
from bargein.protocol.state import SessionState
from bargein.speech.barge_in import BargeIn, Interrupts, Resumes
from bargein.speech.turn_taking import Heard

PROTECTED: Final = "This part is not interrupted by speech; what you say is answered after it."

MOST_ECHO_CHARS: Final = 2000
"""Of what the agent said last, in which an echo is looked for."""


@define(eq=False)
class Overlap:
    """Part of the input actor: only its tasks call this.  Lives as long as the session.

    Attributes:
        _speech: What is being decided, or may still interrupt.
        _turn: The turn that it is over.
        _holds: The sound holds for it; it does not over a part that speech does not interrupt.
        _waits: Words over such a part are to be a turn, after it.
    """

    _output: Address[OutputMessage]
    _slot: ResponseSlot
    _state: SessionState
    _voice: Voice
    _speech: BargeIn | None = field(default=None, init=False)
    _turn: Turn | None = field(default=None, init=False)
    _holds: bool = field(default=False, init=False)
    _waits: bool = field(default=False, init=False)

    @property
    def open_turn(self) -> Turn | None:
        """The turn that speech could stop; None where the agent is silent, or about to be."""
        turn = self._slot.turn
        return None if turn is None or turn.interrupted or turn.closing else turn

    def is_protected(self, turn: Turn) -> bool:
        """Whether a part of *turn* is played that speech does not interrupt."""
        known = self._state.turns.get(turn.id)
        return known is not None and known.chunks is not None and known.chunks.is_protected

    @property
    def is_open(self) -> bool:
        """Whether it is still to be decided: the user's words are no turn before that."""
        return self._speech is not None and not (self._speech.resumed or self._waits)

    @property
    def speech(self) -> BargeIn | None:
        """What is said over the agent, or was, and may still have words."""
        return self._speech

    @property
    def due_s(self) -> float | None:
        """When `decide` has something to say, if nothing else happens; None: never."""
        return None if self._speech is None or self._waits else self._speech.due_s

    def passes_over(self, heard: Heard, confidence: float | None) -> bool:
        """Whether these words are no turn as far as they go, and no event is going to say so.

        Where the sound holds for them, `playback.resumed` does.
        """
        turn = self.open_turn
        if turn is None:
            return False
        speech = self._speech_of(turn, heard.utterance_id)
        if speech is None:
            return self.is_protected(turn) and self._new(turn, 0.0).says_nothing(heard, confidence)
        if self._waits or (self._holds and not speech.resumed):
            return False
        return speech.says_nothing(heard, confidence)

    # --- what happens ------------------------------------------------------------------

    def started(self, utterance_id: UtteranceId, now_s: float) -> None:
        """Take in that a voice began: where the agent speaks, its sound holds now."""
        self._begin(utterance_id, now_s)
        if self._speech is not None:
            self._speech.started(utterance_id)

    def stopped(self, utterance_id: UtteranceId, now_s: float) -> None:
        """Take in that a voice fell silent."""
        if self._speech is not None:
            self._speech.stopped(utterance_id, now_s)

    def revised(self, heard: Heard, confidence: float | None, now_s: float) -> None:
        """Take in words, with or without a voice that was reported."""
        self._begin(heard.utterance_id, now_s)
        if self._speech is not None:
            self._speech.revised(heard, confidence, now_s)

    def revised_aside(self, heard: Heard, confidence: float | None, now_s: float) -> None:
        """Take in other words of what was no interruption, and still is none."""
        if self._speech is not None and heard.utterance_id in self._speech.utterances:
            self._speech.revised(heard, confidence, now_s)

    def moved(self, heard: tuple[Heard, ...], now_s: float) -> None:
        """Look again whether what is said interrupts: another chunk may be played now."""
        turn, before = self.open_turn, self._speech
        if before is None or self._holds or turn is not self._turn:
            return
        if turn is None or self.is_protected(turn):
            return
        if not (heard or before.voices):
            self.end()
            return
        self._hold(turn, now_s)
        for utterance_id in before.voices:
            self.started(utterance_id, now_s)
        for words in heard:
            self.revised(words, None, now_s)

    def end(self) -> None:
        """Let go of it: the user's turn is over."""
        self._speech, self._waits = None, False

    def release(self, turn: Turn) -> None:
        """Let *turn* go on where its sound holds for words that wait for its end."""
        if turn.paused:
            self._tell_of(turn, PlaybackResumed("protected"))
            self._slot.unpause(turn)

    def _speech_of(self, turn: Turn, utterance_id: UtteranceId) -> BargeIn | None:
        speech = self._speech if self._turn is turn else None
        return speech if speech is not None and speech.covers(utterance_id) else None

    def _begin(self, utterance_id: UtteranceId, now_s: float) -> None:
        turn = self.open_turn
        if turn is None:
            if self._speech is not None and not self._speech.covers(utterance_id):
                self.end()  # others than those who spoke over the agent
            return
        if self._speech_of(turn, utterance_id) is not None:
            return
        if self.is_protected(turn):
            self._speech, self._turn = self._new(turn, now_s), turn
            self._holds = self._waits = False
        else:
            self._hold(turn, now_s)

    def _hold(self, turn: Turn, now_s: float) -> None:
        self._speech, self._turn = self._new(turn, now_s), turn
        self._holds, self._waits = True, False
        if self._slot.pause():
            self._tell_of(turn, PlaybackPaused("speech"))

    def _new(self, turn: Turn, now_s: float) -> BargeIn:
        known = self._state.turns.get(turn.id)
        said = ""
        if known is not None:
            played_to = None if known.chunks is None else known.chunks.playing_end
            said = known.text[:played_to][-MOST_ECHO_CHARS:]
        return BargeIn(now_s, said, self._voice.pacing, self._voice.vocabulary)

    # --- the decision --------------------------------------------------------------------

    def decide(self, now_s: float) -> tuple[UtteranceId, ...]:
        """Carry out what is known at *now_s*; return the utterances that are no turn."""
        speech, turn = self._speech, self._turn
        if speech is None or turn is None:
            return ()
        if self.open_turn is not turn:
            return self._cut_off(speech)
        if self._waits:
            return ()
        verdict = speech.decide(now_s)
        match verdict:
            case Interrupts() if self.is_protected(turn):
                self._let_wait(turn, verdict)
                return ()
            case Interrupts():
                self._speech = None
                self._slot.interrupt("speech", verdict.cause, only=turn.id)
                return ()
            case Resumes():
                if self._holds:
                    self._resume(turn, verdict.cause, speech.utterances, verdict.waited_ms)
                asides = tuple(dict.fromkeys((*speech.utterances, *speech.unworded)))
            case None:
                asides = speech.asides if speech.resumed else ()
        if speech.is_over:
            self._speech = None
        return asides

    def _cut_off(self, speech: BargeIn) -> tuple[UtteranceId, ...]:
        """Give up what was being decided: somebody else has stopped the agent."""
        self.end()
        said = [who for who in speech.asides if who not in speech.voices]
        return tuple(said)

    def _let_wait(self, turn: Turn, verdict: Interrupts) -> None:
        self._waits = True
        if turn.paused:  # it held before the client came to that part
            self._resume(turn, "protected", (), verdict.waited_ms)
        self._tell_of(turn, Status(PROTECTED))

    def _resume(
        self, turn: Turn, cause: str, utterances: tuple[UtteranceId, ...], waited_ms: float
    ) -> None:
        self._tell_of(turn, PlaybackResumed(cause, utterances, waited_ms))
        self._slot.unpause(turn)

    def _tell_of(self, turn: Turn, payload: Payload) -> None:
        def begun(state: SessionState) -> Payload | None:
            known = state.turns.get(turn.id)
            return None if known is None or known.start_seq is None else payload

        # Where there is no room the clients know it all the same, and nothing depends on it.
        self._output.offer(Record(turn.id, (begun,)))
