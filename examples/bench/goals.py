"""The goals, and how a figure is held against them: nothing here measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, Literal, TypeAlias

from attrs import frozen

from examples.bench.contenders import ContenderName

Figures: TypeAlias = Mapping[ContenderName, Sequence[float]]
"""What one thing came to, by contender, a figure for each round."""

ScenarioName: TypeAlias = Literal[
    "paced",
    "free",
    "pace",
    "overload",
    "ghosts",
    "idle",
    "hibernated",
    "start",
    "replay",
    "turns",
    "voice",
]


@frozen
class Bound:
    """One thing that has to hold: a figure, or its ratio to a peer's, is at most or at least this.

    Attributes:
        key: Of the figure.
        label: Which figure of the row this is; empty where there is only one.
        versus: The peer that it is compared with, None for the figure itself.
    """

    key: str
    sense: Literal["most", "least"]
    limit: float
    unit: str = ""
    label: str = ""
    versus: ContenderName | None = None

    def text(self) -> str:
        """Return the goal for people."""
        sign = {"most": "<=", "least": ">="}[self.sense]
        label = f"{self.label} " if self.label else ""
        what = f"{self.limit:,g}{self.unit}" if self.versus is None else f"{self.limit:g} x"
        against = f" {self.versus}" if self.versus is not None else ""
        return f"{label}{sign} {what}{against}"

    def figure(self, figures: Mapping[str, Figures]) -> float | None:
        """Return what is held against the limit; None where it was not measured."""
        found = figures.get(self.key, {})
        ours = found.get("bargein", ())
        if self.versus is None:
            return median(ours) if ours else None
        return ratio(ours, found.get(self.versus, ()))

    def holds(self, figure: float) -> bool:
        """Say whether *figure* is within the limit."""
        return figure <= self.limit if self.sense == "most" else figure >= self.limit


@frozen
class Goal:
    """A row of the table.

    Attributes:
        name: For `--only`.
        bounds: All have to hold.
        shown: Figures that the row shows of each contender that has them, with how to say them.
    """

    name: str
    what: str
    scenario: ScenarioName
    bounds: tuple[Bound, ...]
    shown: tuple[tuple[str, str], ...]


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the median of the ratios round by round: what disturbs a round disturbs both."""
    pairs = [ours_ / theirs_ for ours_, theirs_ in zip(ours, theirs, strict=False) if theirs_]
    return median(pairs) if pairs else None


def judged(goal: Goal, figures: Mapping[str, Figures]) -> str:
    """Return the verdict: `met`, or by how much it is short, or what could not be compared."""
    short: list[str] = []
    missing: list[str] = []
    for bound in goal.bounds:
        figure = bound.figure(figures)
        if figure is None:
            missing.append(f"no {bound.versus}" if bound.versus else "not measured")
        elif not bound.holds(figure):
            short.append(shortfall(bound, figure))
    said = [f"short: {', '.join(short)}"] if short else []
    if missing:
        said.append(", ".join(dict.fromkeys(missing)))
        if not short and len(missing) < len(goal.bounds):
            said.insert(0, "met, as far as measured")
    return "; ".join(said) or "met"


def shortfall(bound: Bound, figure: float) -> str:
    """Say by how much *figure* misses the limit."""
    label = f"{bound.label} " if bound.label else ""
    named = f"{label}{bound.versus} " if bound.versus is not None else label
    if bound.versus is not None:
        return f"{named}{figure:.2f} instead of {bound.limit:g}"
    off = abs(figure - bound.limit)
    share = f" ({off / bound.limit:.0%})" if bound.limit else ""
    return f"{named}by {off:,.4g}{bound.unit}{share}"


GOALS: Final = (
    Goal(
        "cpu-paced",
        "CPU per token, 200 sessions x 50/s, us",
        "paced",
        (
            Bound("cpu_us", "most", 1.0, versus="Node"),
            Bound("cpu_us", "most", 0.65, versus="FastAPI"),
        ),
        (("cpu_us", "{:.1f}"),),
    ),
    Goal(
        "cpu-free",
        "CPU per token without delays, 50 sessions, us",
        "free",
        (
            Bound("free_cpu_us", "most", 10, " us"),
            Bound("free_cpu_us", "most", 0.65, versus="Node"),
        ),
        (("free_cpu_us", "{:.1f}"),),
    ),
    Goal(
        "pace",
        "sessions at 50 tokens/s that one core holds in pace",
        "pace",
        (Bound("pace_sessions", "least", 240),),
        (("pace_sessions", "{:,.0f}"),),
    ),
    Goal(
        "overload",
        "1000 sessions x 50/s: interrupts that succeed, %",
        "overload",
        (
            Bound("overload_success", "least", 100, " %"),
            Bound("overload_errors", "most", 0, label="errors"),
        ),
        (("overload_success", "{:.1f}"),),
    ),
    Goal(
        "flush",
        "interrupt -> flush at 200, ms p50 / p99",
        "paced",
        (
            Bound("flush_p50", "most", 0.7, " ms", "p50"),
            Bound("flush_p99", "most", 5, " ms", "p99"),
        ),
        (("flush_p50", "{:.2f}"), ("flush_p99", "{:.1f}")),
    ),
    Goal(
        "ack",
        "interrupt -> cancel.ack at 200, ms p50 / p99",
        "paced",
        (Bound("ack_p50", "most", 3, " ms", "p50"), Bound("ack_p99", "most", 15, " ms", "p99")),
        (("ack_p50", "{:.1f}"), ("ack_p99", "{:.1f}")),
    ),
    Goal(
        "ghosts",
        "ghost tokens, in how many interrupts",
        "ghosts",
        (Bound("ghosts", "most", 0),),
        (("ghosts", "{:,.0f}"), ("ghost_interrupts", "{:,.0f}")),
    ),
    Goal(
        "first-token",
        "added time to first token at 200, ms p50 / p99",
        "paced",
        (
            Bound("first_p50", "most", 4, " ms", "p50"),
            Bound("first_p99", "most", 25, " ms", "p99"),
        ),
        (("first_p50", "{:.1f}"), ("first_p99", "{:.1f}")),
    ),
    Goal(
        "idle",
        "idle session with its connection, KiB; held",
        "idle",
        (Bound("idle_kib", "most", 60, " KiB"), Bound("idle_held", "least", 10_000, label="held")),
        (("idle_kib", "{:.1f}"), ("idle_held", "{:,.0f}")),
    ),
    Goal(
        "hibernated",
        "hibernated session, KiB; in memory after it left",
        "hibernated",
        (
            Bound("hibernated_kib", "most", 0.5, " KiB"),
            Bound("hibernated_live", "most", 0, label="in memory"),
        ),
        (("hibernated_kib", "{:.2f}"), ("hibernated_live", "{:,.0f}")),
    ),
    Goal(
        "start",
        "start to ready, s",
        "start",
        (Bound("start_s", "most", 1, " s"),),
        (("start_s", "{:.2f}"),),
    ),
    Goal(
        "replay",
        "replay of 10,000 missed events, ms",
        "replay",
        (Bound("replay_ms", "most", 200, " ms"),),
        (("replay_ms", "{:.0f}"),),
    ),
    Goal(
        "turn-cost",
        "CPU of a turn, ms at 10 / 100 / 1000 turns",
        "turns",
        (Bound("turn_growth", "most", 1.25, label="last / first"),),
        (("turn_10", "{:.2f}"), ("turn_100", "{:.2f}"), ("turn_1000", "{:.2f}")),
    ),
    Goal(
        "voice",
        "speech -> pause, ms p50 / p99 idle, p50 / p99 at 200; voices missed, %; errors",
        "voice",
        (
            Bound("pause_alone_p99", "most", 5, " ms", "idle p99"),
            Bound("pause_many_p99", "most", 20, " ms", "at 200 p99"),
            Bound("voice_missed", "most", 2, " %", "missed"),
            Bound("voice_errors", "most", 0, label="errors"),
        ),
        (
            ("pause_alone_p50", "{:.2f}"),
            ("pause_alone_p99", "{:.1f}"),
            ("pause_many_p50", "{:.2f}"),
            ("pause_many_p99", "{:.1f}"),
            ("voice_missed", "{:.1f}"),
            ("voice_errors", "{:,.0f}"),
        ),
    ),
    Goal(
        "voice-decided",
        "pause -> flush or unpause (1,000 ms at most, and the way), ms p50 / p99",
        "voice",
        (Bound("decided_p99", "most", 1020, " ms", "p99"),),
        (("decided_p50", "{:.0f}"), ("decided_p99", "{:.0f}")),
    ),
)
