"""The report on a run of bots."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Any

from attrs import asdict, frozen

from examples.bench.figures import Spread, Tally


@frozen
class Report:
    """What came out of a run.  Times are ms.

    Attributes:
        connected: Bots that were connected when the window ended.
        seconds: Length of the measuring window.
        tokens_per_s: Tokens that arrived, over all bots.
        tokens_per_frame: 1 while the server keeps up; more where waiting tokens were joined.
        judged: Interrupts that had their time to succeed.
        succeeded: Of these, how many did: a new answer within 2 s, or for a bare `interrupt` the
            ack, and no ghost.
        tokens_saved: What cancelled turns did not generate, by the length of completed ones.
        tokens_generated: Of cancelled turns and completed ones.
        response_ms: From words in silence to the first token.
        added_first_token_ms: The same, less what the model took, or was told to take.
        rate_per_s: Tokens a second within an answer: the median, and that of the slowest 5 %.
        bots_cpu_us: CPU of the bots' process for each token that arrived.
        bots_cpu_share: The same as a share of one core.
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
    judged: int
    succeeded: int
    tokens_saved: int
    tokens_generated: int
    late: int
    ghosts: int
    seq_gaps: int
    limited: int
    drops: int
    laggings: int
    slow_cuts: int
    actions: dict[str, int]
    unasked: int
    errors: dict[str, int]
    flush_ms: Spread | None
    ack_ms: Spread | None
    reply_ms: Spread | None
    response_ms: Spread | None
    added_first_token_ms: Spread | None
    added_barge_in_ms: Spread | None
    gap_ms: Spread | None
    back_ms: Spread | None
    committed_ms: Spread | None
    rate_per_s: tuple[float, float] | None
    bots_cpu_us: float
    bots_cpu_share: float

    @classmethod
    def of(
        cls,
        tally: Tally,
        *,
        users: int,
        connected: int,
        now_s: float,
        seconds: float,
        cpu_s: float,
        model_first_s: float,
    ) -> Report:
        """Sum up *tally*; *model_first_s* is what the model itself takes for a first token."""
        succeeded, judged = tally.judged(now_s)
        lengths = tally.lengths.values()
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
            judged=judged,
            succeeded=succeeded,
            tokens_saved=sum(each.saved for each in lengths),
            tokens_generated=sum(
                each.completed_tokens + sum(had * many for had, many in each.cancelled.items())
                for each in lengths
            ),
            late=tally.late,
            ghosts=tally.ghosts,
            seq_gaps=tally.seq_gaps,
            limited=tally.limited,
            drops=tally.drops,
            laggings=tally.laggings,
            slow_cuts=tally.slow_cuts,
            actions=dict(tally.actions),
            unasked=tally.unasked,
            errors=dict(tally.errors),
            flush_ms=Spread.of(tally.flush),
            ack_ms=Spread.of(tally.ack),
            reply_ms=Spread.of(tally.reply),
            response_ms=Spread.of(tally.first_token),
            added_first_token_ms=_added(tally.first_token, tally.first_token_made, model_first_s),
            added_barge_in_ms=_added(tally.barge_in, tally.barge_in_made, model_first_s),
            gap_ms=Spread.of(tally.gap),
            back_ms=Spread.of(tally.back),
            committed_ms=Spread.of(tally.committed),
            rate_per_s=_rates(sorted(tally.rate)),
            bots_cpu_us=round(cpu_s / max(1, tally.tokens) * 1e6, 1),
            bots_cpu_share=round(cpu_s / seconds, 3),
        )

    @property
    def success(self) -> float | None:
        """The share of the interrupts that succeeded; None where none was tried."""
        return self.succeeded / self.judged if self.judged else None

    @property
    def clean(self) -> bool:
        """Whether nothing went wrong."""
        return not (self.ghosts or self.seq_gaps or self.errors or self.unasked)

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def headlines(self) -> tuple[tuple[str, str], ...]:
        """Return the figures that a person asks for first, with their names."""
        response = self.response_ms
        success = "no interrupt" if self.success is None else f"{self.success:.2%}"
        cancelled = self.tokens_saved + self.tokens_generated
        saved = f", {self.tokens_saved / cancelled:.0%} of all" if cancelled else ""
        return (
            (
                "response latency",
                "no answer"
                if response is None
                else f"p50 {response.p50:.0f}, p95 {response.p95:.0f}, p99 {response.p99:.0f} ms",
            ),
            ("interrupts that succeed", f"{success} of {self.judged}"),
            ("concurrent sessions", f"{self.connected} of {self.users}"),
            ("tokens saved by cancelling", f"{self.tokens_saved}{saved}"),
        )

    def text(self) -> str:
        """Return the report for people."""
        lines = [f"{name:28}{said}" for name, said in self.headlines()]
        lines += ["", *(f"{name:12}{said}" for name, said in self.counts())]
        lines += ["", f"{'ms':32}"]
        lines += [f"  {name:32}{spread or 'no sample'}" for name, spread in self.times()]
        return "\n".join(lines)

    def counts(self) -> tuple[tuple[str, str], ...]:
        """Return what was counted, with its names."""
        rate = self.rate_per_s
        paced = "" if rate is None else f"; an answer {rate[0]:g}/s, the slowest 5 % {rate[1]:g}/s"
        named = sorted(self.actions.items())
        return (
            ("users", f"{self.connected} of {self.users} connected, {self.seconds:g} s measured"),
            ("tokens", f"{self.tokens} ({self.tokens_per_s:g}/s{paced})"),
            ("a frame", f"{self.tokens_per_frame:g} tokens"),
            ("turns", f"{self.turns} begun, {self.completed} answered to the end"),
            (
                "interrupts",
                f"{self.interrupts} took, {self.missed} found their turn over, or not begun",
            ),
            ("ghosts", f"{self.ghosts} tokens after a cancel ({self.late} after flush)"),
            ("seq gaps", f"{self.seq_gaps}"),
            ("errors", _listed(sorted(self.errors.items()))),
            ("held back", f"{self.limited} commands, by rate or queue"),
            ("dropped", f"{self.drops} connections, on purpose"),
            ("slow", f"{self.laggings} times lagging, {self.slow_cuts} cut off"),
            ("actions", f"{_listed(named)}; {self.unasked} without a yes"),
            ("bots' CPU", f"{self.bots_cpu_us:g} us a token, {self.bots_cpu_share:.0%} of a core"),
        )

    def times(self) -> tuple[tuple[str, Spread | None], ...]:
        """Return what was timed, with its names."""
        return (
            ("say -> first token", self.response_ms),
            ("say -> first token, added", self.added_first_token_ms),
            ("barge-in -> first token, added", self.added_barge_in_ms),
            ("interrupt -> flush", self.flush_ms),
            ("interrupt -> cancel.ack", self.ack_ms),
            ("interrupt -> reply", self.reply_ms),
            ("token -> next token", self.gap_ms),
            ("dialled again -> live", self.back_ms),
            ("yes -> committed", self.committed_ms),
        )


def _listed(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{what}: {count}" for what, count in counts) or "none"


def _added(
    responses: Iterable[float], made: Iterable[float], model_first_s: float
) -> Spread | None:
    """Return what the server added to what the model took: *model_first_s* unless it told."""
    pairs = zip(responses, made, strict=True)
    return Spread.of([s - (model_first_s if isnan(took) else took) for s, took in pairs])


def _rates(ordered: list[float]) -> tuple[float, float] | None:
    """Return the median of *ordered*, and what the slowest 5 % don't reach."""
    if not ordered:
        return None
    return round(ordered[len(ordered) // 2], 1), round(ordered[len(ordered) // 20], 1)
