"""What one user remembers of a conversation, in whatever words a server tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import nan
from typing import Final, Protocol

import trio
from attrs import define, field, frozen

from examples.bench.arrival import made_in_s
from examples.bench.figures import Cut, Tally, Turn

PROPOSALS_MOST: Final = 64
"""Open questions of one user; more of them than that are dropped, and counted."""

PACED_TOKENS: Final = 50
"""Of fewer tokens no pace is told: a second of the usual 50 a second."""

TURNS_REMEMBERED: Final = 64
"""Of each user; nothing is heard of one that is longer ago."""


@frozen(eq=False)
class Asked:
    """A command that was sent: the turn that it asks for, and the one that it cuts in on.

    Attributes:
        hasty: It is one of a storm, which may be too much.
    """

    turn: Turn | None
    cut: Turn | None
    hasty: bool = False


@frozen
class Proposal:
    """Something that an agent wants to do, and waits to be allowed to."""

    action_id: str
    confirmation_id: str


class Ear(Protocol):
    """Reads what one server says, in its words, and notes it in a diary."""

    def take(self, messages: Iterable[bytes], now_s: float) -> None:
        """Take in what the server sent, all of it at *now_s*."""
        ...

    def address(self, url: str) -> str | None:
        """Return where to come back to, None where the server can't take up a session."""
        ...


@define(eq=False)
class Diary:
    """The turns of one user, and what is counted of them.

    Attributes:
        timed: Its times count.  Those of somebody who reads slowly on purpose don't.
        live: Set when the session is open, or will never be.
        turns: By their ids, once they have one.
        asked: Commands that were sent and not answered, by their ids.
        allowed: When the user said yes, by the action.
        proposals: What is to be decided, None for a user who never decides.
    """

    tally: Callable[[], Tally]
    timed: bool = True
    live: trio.Event = field(factory=trio.Event, init=False)
    turns: dict[str, Turn] = field(factory=dict[str, Turn], init=False)
    asked: dict[str, Asked] = field(factory=dict[str, Asked], init=False)
    allowed: dict[str, float] = field(factory=dict[str, float], init=False)
    proposals: trio.MemorySendChannel[Proposal] | None = field(default=None, init=False)
    _early: dict[str, float] = field(factory=dict[str, float], init=False)

    # --- what the user does -----------------------------------------------------------

    def cuts_in(self, turn: Turn, *, by_words: bool) -> Cut:
        """Note that *turn* is interrupted now; the first interrupt of a turn is timed."""
        cut = Cut(trio.current_time(), by_words)
        if turn.cutting is not None and turn.first_token_s is None:
            # Those words never get their answer, so they can't be judged by it.
            turn.cutting.by_words = False
        if turn.cut is not None:
            return turn.cut
        turn.cut = cut
        if self.timed:
            self.tally().cuts.append(cut)
        return cut

    # --- and what the server says -------------------------------------------------------

    def begun(self, asked: Asked | None, turn_id: str, now_s: float) -> None:
        """Note that a turn answers what was asked."""
        if asked is None or asked.turn is None or turn_id in self.turns:
            return
        asked.turn.id = turn_id
        asked.turn.begun_s = now_s
        self.turns[turn_id] = asked.turn
        if len(self.turns) > TURNS_REMEMBERED:
            del self.turns[next(iter(self.turns))]
        self.tally().turns += 1
        if turn_id in self._early:
            self.flushed(turn_id, self._early.pop(turn_id))

    def token(self, turn_id: str, deltas: int, now_s: float, frame: bytes) -> None:
        """Note a token, or several that came as one, in *frame*."""
        tally = self.tally()
        tally.tokens += deltas
        tally.token_frames += 1
        turn = self.turns.get(turn_id)
        if turn is None:
            return
        turn.tokens += deltas
        if turn.requested:
            tally.ghosts += deltas
            if turn.cut is not None:
                turn.cut.ghosts += deltas
        elif turn.flushed:
            tally.late += deltas
        if turn.last_token_s is None:
            self._answered(turn, tally, now_s, made_in_s(frame))
        elif self.timed:
            tally.gap.append(now_s - turn.last_token_s)
        turn.last_token_s = now_s

    def _answered(self, turn: Turn, tally: Tally, now_s: float, made_s: float | None) -> None:
        turn.first_token_s = now_s
        if turn.cutting is not None:
            turn.cutting.answered_s = now_s
        if self.timed:
            first = tally.barge_in if turn.barged_in else tally.first_token
            first.append(now_s - turn.asked_s)
            made = tally.barge_in_made if turn.barged_in else tally.first_token_made
            made.append(nan if made_s is None else made_s)

    def flushed(self, turn_id: str, now_s: float) -> None:
        """Note that a turn is to be silent; a `flush` may overtake the words of its turn."""
        turn = self.turns.get(turn_id)
        if turn is None:
            if len(self._early) >= TURNS_REMEMBERED:
                self._early.clear()  # of turns that others began
            self._early[turn_id] = now_s
        elif turn.cut is not None and not turn.flushed:
            turn.flushed = True
            turn.flushed_s = now_s
            if self.timed:
                self.tally().flush.append(now_s - turn.cut.at_s)

    def acked(self, turn: Turn, generated: int, now_s: float) -> None:
        """Note that an interrupted turn is over, and what had been generated of it."""
        tally = self.tally()
        if turn.cut is not None:
            tally.interrupts += 1
            turn.cut.acked_s = now_s
            turn.cut.missed = False  # another command of a storm may have been refused
            if self.timed:
                tally.ack.append(now_s - turn.cut.at_s)
        tally.lengths_of(turn.agent).cancelled[generated] += 1
        self._end(turn, tally, now_s)

    def completed(self, turn: Turn, now_s: float) -> None:
        """Note that a turn came to its own end."""
        tally = self.tally()
        tally.completed += 1
        if turn.tokens:
            lengths = tally.lengths_of(turn.agent)
            lengths.completed += 1
            lengths.completed_tokens += turn.tokens
        self._end(turn, tally, now_s)

    def failed(self, turn: Turn | None, what: str) -> None:
        """Note that a turn came to nothing."""
        self.tally().errors[what] += 1
        if turn is not None:
            turn.over.set()

    def missed(self, asked: Asked) -> None:
        """Note that this turn was not there to be interrupted: over, or not begun."""
        if asked.cut is None or asked.cut.cut is None or asked.cut.cut.acked_s is not None:
            return
        self.tally().missed += 1
        asked.cut.cut.missed = True
        if asked.turn is not None:
            asked.turn.barged_in = False
            asked.turn.cutting = None

    def proposed(self, proposal: Proposal) -> None:
        """Note that something is to be decided."""
        if self.proposals is None:
            return
        try:
            self.proposals.send_nowait(proposal)
        except trio.WouldBlock:
            self.tally().errors["more proposals than one user can decide"] += 1

    def happened(self, action_id: str, now_s: float) -> None:
        """Note that an action was done; it has to have been allowed, and once."""
        allowed_s = self.allowed.pop(action_id, None)
        if allowed_s is None:
            self.tally().unasked += 1
        elif self.timed:
            self.tally().committed.append(now_s - allowed_s)

    def _end(self, turn: Turn, tally: Tally, now_s: float) -> None:
        turn.over_s = now_s
        turn.over.set()
        tally.finished.append(turn)
        if turn.tokens < PACED_TOKENS or turn.first_token_s is None or turn.last_token_s is None:
            return
        spoken_s = turn.last_token_s - turn.first_token_s
        if self.timed and spoken_s > 0:
            tally.rate.append((turn.tokens - 1) / spoken_s)
