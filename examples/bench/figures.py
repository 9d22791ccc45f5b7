"""What bots count and time, and the report that is made of it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from math import ceil
from typing import Any

from attrs import asdict, define, field, frozen


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


def _samples() -> array[float]:
    return array("d")


@define(eq=False)
class Tally:
    """The counts and times of one measuring window, shared by all bots.  Times are seconds.

    Attributes:
        tokens: Deltas that arrived; a merged frame counts for all that it holds.
        token_frames: Frames that they came in.
        late: Tokens of a turn that arrived after its `flush`: to be recorded, not shown.
        ghosts: Tokens of a turn that arrived after its `cancel.requested`: none is allowed.
        seq_gaps: Events whose `seq` did not follow the one before.
        missed: Interrupts that came when the turn had ended by itself.
        interrupts: Interrupts that took.
        errors: By what went wrong.
        flush: From an interrupt to its `flush`.
        ack: From an interrupt to its durable `cancel.ack`.
        reply: From an interrupt to the `reply` that it is done.
        first_token: From a `say` on a quiet session to its first token.
        barge_in: From a `say` that interrupts to its first token.
        gap: Between two frames of one turn's tokens.
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
    errors: Counter[str] = field(factory=Counter[str])
    flush: array[float] = field(factory=_samples)
    ack: array[float] = field(factory=_samples)
    reply: array[float] = field(factory=_samples)
    first_token: array[float] = field(factory=_samples)
    barge_in: array[float] = field(factory=_samples)
    gap: array[float] = field(factory=_samples)


@frozen
class Report:
    """What came out of a run.  Times are ms.

    Attributes:
        connected: Bots that were connected when the window ended.
        seconds: Length of the measuring window.
        tokens_per_s: Tokens that arrived, over all bots.
        tokens_per_frame: 1 while the server keeps up; more where waiting tokens were joined.
        added_first_token_ms: `first_token_ms` less what the model was told to take.
        bots_cpu_us: CPU of the bots' process for each token that arrived.
    """

    users: int
    connected: int
    seconds: float
    tokens: int
    tokens_per_s: float
    tokens_per_frame: float
    turns: int
    completed: int
    interrupts: int
    missed: int
    late: int
    ghosts: int
    seq_gaps: int
    errors: dict[str, int]
    flush_ms: Spread | None
    ack_ms: Spread | None
    reply_ms: Spread | None
    added_first_token_ms: Spread | None
    added_barge_in_ms: Spread | None
    gap_ms: Spread | None
    bots_cpu_us: float

    @classmethod
    def of(
        cls,
        tally: Tally,
        *,
        users: int,
        connected: int,
        seconds: float,
        cpu_s: float,
        model_first_s: float,
    ) -> Report:
        """Sum up *tally*; *model_first_s* is what the model itself takes for a first token."""
        return cls(
            users=users,
            connected=connected,
            seconds=round(seconds, 2),
            tokens=tally.tokens,
            tokens_per_s=round(tally.tokens / seconds, 1),
            tokens_per_frame=round(tally.tokens / max(1, tally.token_frames), 3),
            turns=tally.turns,
            completed=tally.completed,
            interrupts=tally.interrupts,
            missed=tally.missed,
            late=tally.late,
            ghosts=tally.ghosts,
            seq_gaps=tally.seq_gaps,
            errors=dict(tally.errors),
            flush_ms=Spread.of(tally.flush),
            ack_ms=Spread.of(tally.ack),
            reply_ms=Spread.of(tally.reply),
            added_first_token_ms=Spread.of([s - model_first_s for s in tally.first_token]),
            added_barge_in_ms=Spread.of([s - model_first_s for s in tally.barge_in]),
            gap_ms=Spread.of(tally.gap),
            bots_cpu_us=round(cpu_s / max(1, tally.tokens) * 1e6, 1),
        )

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.ghosts or self.seq_gaps or self.errors)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def text(self) -> str:
        """Return the report for people."""
        times = (
            ("interrupt -> flush", self.flush_ms),
            ("interrupt -> cancel.ack", self.ack_ms),
            ("interrupt -> reply", self.reply_ms),
            ("say -> first token, added", self.added_first_token_ms),
            ("barge-in -> first token, added", self.added_barge_in_ms),
            ("token -> next token", self.gap_ms),
        )
        errors = ", ".join(f"{what}: {count}" for what, count in sorted(self.errors.items()))
        lines = [
            f"{self.connected} of {self.users} users connected, {self.seconds:g} s measured",
            f"tokens      {self.tokens} ({self.tokens_per_s:g}/s)",
            f"a frame     {self.tokens_per_frame:g} tokens",
            f"turns       {self.turns} begun, {self.completed} answered to the end",
            f"interrupts  {self.interrupts} took, {self.missed} came too late",
            f"ghosts      {self.ghosts} tokens after cancel.requested ({self.late} after flush)",
            f"seq gaps    {self.seq_gaps}",
            f"errors      {errors or 'none'}",
            f"bots' CPU   {self.bots_cpu_us:g} us a token",
            "",
            f"{'ms':32}",
        ]
        lines += [f"  {name:32}{spread or 'no sample'}" for name, spread in times]
        return "\n".join(lines)
