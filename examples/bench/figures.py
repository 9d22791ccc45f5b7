"""What bots count and time while they talk."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Sequence
from math import ceil
from typing import Final

import trio
from attrs import define, field, frozen

SUCCESS_S: Final = 2.0
"""An interrupt succeeds if the new answer begins within this; nobody waits longer for a person."""

TURNS_KEPT: Final = 400
"""Of the latest turns, for the pictures of a report."""


@frozen
class Spread:
    """How a time was distributed, in ms; `count` says over how many samples."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, samples_s: Sequence[float]) -> Spread | None:
        """Return the spread of *samples_s*, None where there is no sample."""
        if not samples_s:
            return None
        ordered = sorted(samples_s)

        def at(share: float) -> float:
            return round(ordered[max(0, ceil(share * len(ordered)) - 1)] * 1000, 2)

        return cls(len(ordered), at(0.5), at(0.95), at(0.99), at(1.0))

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:8.2f}   p95 {self.p95:8.2f}   p99 {self.p99:8.2f}   "
            f"max {self.max:8.2f}   ({self.count})"
        )


@define(eq=False)
class Cut:
    """One interrupt, and what came of it.

    Attributes:
        at_s: When it was sent.
        by_words: New words interrupted, which are to be answered; else it was an `interrupt`.
        ghosts: Tokens of the interrupted turn that came after they were ruled out.
        acked_s: When it was known that the turn is over.
        answered_s: When the first token of the new answer came.
        missed: The turn had ended by itself, or had not begun, so it was not interrupted.
    """

    at_s: float
    by_words: bool = False
    ghosts: int = 0
    acked_s: float | None = None
    answered_s: float | None = None
    missed: bool = False

    def succeeded(self, now_s: float) -> bool | None:
        """Say whether it succeeded; None while there is time for it."""
        done_s = self.answered_s if self.by_words else self.acked_s
        if self.ghosts:
            return False
        if done_s is not None:
            return done_s - self.at_s <= SUCCESS_S
        return None if now_s - self.at_s <= SUCCESS_S else False


@define(eq=False)
class Turn:
    """A turn as the user sees it.  Moments are on trio's clock, None until they come.

    Attributes:
        asked_s: When its `say` was sent.
        barged_in: Its `say` interrupted another turn.
        cutting: The interrupt that its `say` was.
        id: The server's, once its words are on the timeline.
        cut: The interrupt that hit it.
        requested: It is cancelled, says the server: no token may follow.
        agent: Who answers, as far as the server says so.
        tokens: That were heard of it.
        over: Its last event is here.
    """

    asked_s: float
    barged_in: bool
    cutting: Cut | None = None
    id: str | None = None
    cut: Cut | None = None
    flushed: bool = False
    requested: bool = False
    agent: str = ""
    tokens: int = 0
    begun_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None
    flushed_s: float | None = None
    over_s: float | None = None
    over: trio.Event = field(factory=trio.Event, init=False)


def _samples() -> array[float]:
    return array("d")


@define(eq=False)
class Lengths:
    """How long the answers of one agent were, in tokens."""

    completed: int = 0
    completed_tokens: int = 0
    cancelled: Counter[int] = field(factory=Counter[int])

    @property
    def saved(self) -> int:
        """Tokens that were not generated: the usual length less what was, turn by turn."""
        if not self.completed:
            return 0
        usual = self.completed_tokens / self.completed
        return round(sum(max(0.0, usual - had) * many for had, many in self.cancelled.items()))


@define(eq=False)
class Tally:
    """The counts and times of one measuring window, shared by all bots.  Times are seconds.

    Attributes:
        tokens: Deltas that arrived; a merged frame counts for all that it holds.
        token_frames: Frames that they came in.
        late: Tokens of a turn that arrived after its `flush`: to be recorded, not shown.
        ghosts: Tokens of a turn that arrived after its `cancel.requested`: none is allowed.
        seq_gaps: Events whose `seq` did not follow the one before.
        missed: Interrupts that came when the turn had ended by itself, or had not begun.
        interrupts: Interrupts that took.
        limited: Commands that were held back: too fast, or more words than may wait.
        errors: By what went wrong.
        drops: Connections that the bots let go on purpose.
        laggings: Times that a client was told that it reads too slowly.
        slow_cuts: Slow readers that were sent away, and came back.
        actions: Proposals and what became of them, by the event's name.
        unasked: Actions that were committed without a yes, or twice: none is allowed.
        cuts: The interrupts that were sent.
        lengths: Of the answers, by agent.
        finished: The latest turns that ended.
        flush: From an interrupt to its `flush`.
        ack: From an interrupt to its durable `cancel.ack`.
        reply: From an interrupt to the `reply` that it is done.
        first_token: From a `say` on a quiet session to its first token.
        first_token_made: How long the model took for each of these, where it told; else NaN.
        barge_in: From a `say` that interrupts to its first token.
        barge_in_made: As `first_token_made`.
        gap: Between two frames of one turn's tokens.
        back: From dialling again to `live`.
        committed: From a yes to `action.committed`.
        rate: Tokens a second of each answer of some length, while it was spoken.
    """

    tokens: int = 0
    token_frames: int = 0
    late: int = 0
    ghosts: int = 0
    seq_gaps: int = 0
    turns: int = 0
    completed: int = 0
    interrupts: int = 0
    missed: int = 0
    limited: int = 0
    errors: Counter[str] = field(factory=Counter[str])
    drops: int = 0
    laggings: int = 0
    slow_cuts: int = 0
    actions: Counter[str] = field(factory=Counter[str])
    unasked: int = 0
    cuts: list[Cut] = field(factory=list[Cut])
    lengths: dict[str, Lengths] = field(factory=dict[str, Lengths])
    finished: deque[Turn] = field(factory=lambda: deque[Turn](maxlen=TURNS_KEPT))
    flush: array[float] = field(factory=_samples)
    ack: array[float] = field(factory=_samples)
    reply: array[float] = field(factory=_samples)
    first_token: array[float] = field(factory=_samples)
    first_token_made: array[float] = field(factory=_samples)
    barge_in: array[float] = field(factory=_samples)
    barge_in_made: array[float] = field(factory=_samples)
    gap: array[float] = field(factory=_samples)
    back: array[float] = field(factory=_samples)
    committed: array[float] = field(factory=_samples)
    rate: array[float] = field(factory=_samples)

    def lengths_of(self, agent: str) -> Lengths:
        """Return the lengths of the answers of *agent*."""
        return self.lengths.setdefault(agent, Lengths())

    def judged(self, now_s: float) -> tuple[int, int]:
        """Return how many interrupts succeeded, of how many that had their time."""
        verdicts = [cut.succeeded(now_s) for cut in self.cuts if not cut.missed]
        return verdicts.count(True), len(verdicts) - verdicts.count(None)
