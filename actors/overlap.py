"""Speech over the agent: its sound holds while that is decided, and then it goes on or is over.

Where a part is played that speech does not interrupt, nothing holds; the words wait.
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
        _shielded: The user speaks over a part that speech does not interrupt.
    """

    _output: Address[OutputMessage]
    _slot: ResponseSlot
    _state: SessionState
    _voice: Voice
    _speech: BargeIn | None = field(default=None, init=False)
    _turn: Turn | None = field(default=None, init=False)
    _shielded: bool = field(default=False, init=False)

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
        return self._speech is not None and not self._speech.resumed

    @property
    def due_s(self) -> float | None:
        """When `decide` has something to say, if nothing else happens; None: never."""
        return None if self._speech is None else self._speech.due_s

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

    def moved(self, heard: tuple[Heard, ...], now_s: float, *, has_floor: bool) -> None:
        """Look again whether speech interrupts: another chunk may be played now."""
        turn = self.open_turn
        if not self._shielded or turn is None or self.is_protected(turn):
            return
        self._shielded = False
        if has_floor:
            self._hold(turn, now_s)
            for words in heard:
                self.revised(words, None, now_s)

    def end(self) -> None:
        """Let go of it: the user's turn is over."""
        self._speech, self._shielded = None, False

    def _begin(self, utterance_id: UtteranceId, now_s: float) -> None:
        turn = self.open_turn
        if turn is None:
            self._speech = self._turn = None
            return
        if self._turn is turn and self._speech is not None and self._speech.covers(utterance_id):
            return
        if not self.is_protected(turn):
            self._hold(turn, now_s)
        elif not self._shielded:
            self._shielded = True
            self._tell_of(turn, Status(PROTECTED))

    def _hold(self, turn: Turn, now_s: float) -> None:
        known = self._state.turns.get(turn.id)
        said = "" if known is None else known.text[-MOST_ECHO_CHARS:]
        self._speech = BargeIn(now_s, said, self._voice.pacing, self._voice.vocabulary)
        self._turn = turn
        if self._slot.pause():
            self._tell_of(turn, PlaybackPaused("speech"))

    # --- the decision --------------------------------------------------------------------

    def decide(self, now_s: float) -> tuple[UtteranceId, ...]:
        """Carry out what is known at *now_s*; return the utterances that are no turn."""
        speech, turn = self._speech, self._turn
        if speech is None:
            return ()
        if turn is None or self.open_turn is not turn:
            self._speech = None
            return ()
        verdict = speech.decide(now_s)
        if isinstance(verdict, Interrupts):
            self._speech = None
            self._slot.interrupt("speech", verdict.cause, only=turn.id)
            return ()
        if isinstance(verdict, Resumes):
            self._resume(turn, speech, verdict)
        asides = speech.utterances if speech.resumed else ()
        if speech.is_over:
            self._speech = None
        return asides

    def _resume(self, turn: Turn, speech: BargeIn, verdict: Resumes) -> None:
        resumed = PlaybackResumed(verdict.cause, speech.utterances, verdict.waited_ms)
        self._tell_of(turn, resumed)
        self._slot.unpause(turn)

    def _tell_of(self, turn: Turn, payload: Payload) -> None:
        def begun(state: SessionState) -> Payload | None:
            known = state.turns.get(turn.id)
            return None if known is None or known.start_seq is None else payload

        # Where there is no room the clients know it all the same, and nothing depends on it.
        self._output.offer(Record(turn.id, (begun,)))
