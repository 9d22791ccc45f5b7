"""Who has the floor: when the user's turn is over, and what it does to the agent's.

What is decided it leaves to `speech`; it carries that out.
"""

from __future__ import annotations

from attrs import define, field

from bargein.actors.answers import Answer
from bargein.actors.audience import Client
from bargein.actors.corrections import CORRECTION, correction_of
from bargein.actors.mailbox import Address
from bargein.actors.messages import FloorGiven, Foresee, PlannerMessage, UserSaid
from bargein.actors.overlap import Overlap
from bargein.actors.turn import ResponseSlot
from bargein.actors.utterances import KnownUtterance, KnownUtterances
from bargein.agents.voice import Voice
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Say, WhenBusy
from bargein.protocol.frames import problem
from bargein.protocol.state import SessionState
from bargein.speech.foresight import Begin, Drop, Foreseeing
from bargein.speech.turn_taking import EndOfTurn, Heard, TurnTaking


@define(eq=False)
class Floor:
    """Part of the input actor: only its tasks call this.  Lives as long as the session.

    Attributes:
        taking: What the user is saying, and when that is a turn.
        client: Who spoke last, and is told when the words can't be taken.
    """

    _planner: Address[PlannerMessage]
    _slot: ResponseSlot
    _state: SessionState
    _voice: Voice
    _overlap: Overlap
    _known: KnownUtterances
    taking: TurnTaking = field(init=False)
    client: Client | None = field(default=None, init=False)
    _foreseeing: Foreseeing | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.taking = TurnTaking(self._voice.pacing, self._voice.vocabulary)
        if self._voice.foresight is not None:
            self._foreseeing = Foreseeing(self._voice.foresight, self._voice.vocabulary)

    @property
    def due_s(self) -> float | None:
        """When `settle` has something to do, if nothing else happens; None: never."""
        over_s = None if self.taking.is_stated else self._overlap.due_s
        taking_s = self.taking.due_s if self._decides_turns else None
        foresee_s = None if self._foreseeing is None else self._foreseeing.due_s
        due = over_s, taking_s, foresee_s
        return min((due_s for due_s in due if due_s is not None), default=None)

    def settle(self, now_s: float, answer: Answer | None = None) -> None:
        """Carry out what can be decided now; *answer* is for who asks that the turn be over."""
        if not self.taking.is_stated:
            speech = self._overlap.speech
            for utterance_id in self._overlap.decide(now_s):
                self._known.of(utterance_id).leave_out(speech)
                self.taking.left_out(utterance_id)
        if self._decides_turns:
            self._take_turn(now_s, answer)
        self._hold_back(now_s)
        if self._foreseeing is not None:
            self._foresee(self._foreseeing, now_s)

    def end_asked(self, now_s: float, answer: Answer) -> None:
        """Take in that the user says: my turn is over; answer when it begins, or waits."""
        self.taking.end_asked(now_s)
        if not self._take_turn(now_s, answer):
            answer.reply({}, self._state.seq)  # it waits for the last words

    def correct(self, known: KnownUtterance, heard: Heard, now_s: float) -> None:
        """Answer anew what was said, where the answer was to something else."""
        answered, known.answered = known.answered, heard.text
        ended = correction_of(self._state, self._slot, heard, answered)
        if ended is None:
            return
        when_busy = self._make_way(CORRECTION)
        if when_busy == "interrupt" and self._slot.turn is not None:
            when_busy = "rollback"  # what it answered was never said
        self._hand_over(ended, when_busy, None, now_s)

    @property
    def _decides_turns(self) -> bool:
        # An end that the user states is one, whatever the words would be over the agent.
        return not self._overlap.is_open or self.taking.is_stated

    def _take_turn(self, now_s: float, answer: Answer | None) -> bool:
        ended = self.taking.decide(now_s)
        if ended is None:
            return False
        for heard in ended.heard:
            known = self._known.of(heard.utterance_id)
            known.taken, known.answered = True, heard.text
        self._overlap.end()
        if self._foreseeing is not None:
            self._foreseeing.ended()
        self._hand_over(ended, self._make_way("end of turn"), answer, now_s)
        return True

    def _foresee(self, foreseeing: Foreseeing, now_s: float) -> None:
        """Let the answer begin to what may be the turn, while nobody else is being answered."""
        words = self.taking.text if self._slot.turn is None and self._decides_turns else ""
        foreseeing.said(words, now_s, silent=self.taking.is_silent)
        match foreseeing.decide(now_s):
            case Begin(words):
                self._planner.offer(Foresee(words))
            case Drop():
                self._planner.offer(Foresee(None))
            case None:
                pass

    def _make_way(self, cause: str) -> WhenBusy:
        """Stop the agent, unless it says what speech does not interrupt: then the words wait."""
        turn = self._overlap.open_turn
        if turn is not None and self._overlap.is_protected(turn):
            self._overlap.release(turn)
            return "queue"
        if turn is not None:
            self._slot.interrupt("speech", cause, only=turn.id)
        return "interrupt"

    def _hand_over(
        self, ended: EndOfTurn, when_busy: WhenBusy, answer: Answer | None, now_s: float
    ) -> None:
        if answer is None:
            # Nobody asked; who spoke is told all the same when it can't be done.
            answer = Answer(None, False, b"", [] if self.client is None else [self.client])  # noqa: FBT003
        say = Say(ended.text, when_busy=when_busy)
        said = UserSaid(say, answer, None, now_s - ended.waited_ms / 1000, ended)
        if not self._planner.offer(said):
            answer.refuse(problem(ErrorCode.OVERLOADED))

    def _hold_back(self, now_s: float) -> None:
        """Let words that wait go after what the user is saying."""
        before, self._slot.user_speaks = self._slot.user_speaks, self.taking.holds_floor(now_s)
        if before and not self._slot.user_speaks and self._slot.turn is None:
            self._planner.offer(FloorGiven())
