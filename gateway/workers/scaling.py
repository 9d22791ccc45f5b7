"""How many workers there should be: a reading of their pulses, without clock and tasks."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import define, field, frozen

from bargein.gateway.workers.letters import Pulse

FULL: Final = 0.7
"""Load of all workers together, above which there is one too few."""

EMPTY: Final = 0.45
"""Load that they would have with one fewer, below which there is one too many.  The room between
the two is what keeps a worker that was added from being taken away again for it."""

ADD_AFTER_S: Final = 5.0
REMOVE_AFTER_S: Final = 120.0
SETTLE_S: Final = 20.0
"""After a change: a new worker gets its clients as they come."""

LATE_S: Final = 0.1
"""A loop so late is as full as one with 70 % of a core: p99 of what clients feel is above it."""

SMOOTH_S: Final = 4.0
"""Time in which a load that has changed counts by two thirds."""


@frozen
class Bounds:
    """How many workers there may be, both included.

    Attributes:
        sessions_most: Sessions that a worker takes; connections likewise.
    """

    least: int
    most: int
    sessions_most: int = 10_000
    connections_most: int = 10_000

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to decide."""
        return self.least == self.most


@define(eq=False)
class Scaling:
    """Decides after each second, on what it was told until then.

    Attributes:
        load: What it goes by: the mean of the workers' loads, smoothed; 1 is as full as can be.
    """

    _bounds: Bounds
    load: float = field(default=0.0, init=False)
    _looked_s: float | None = field(default=None, init=False)
    _full_since_s: float | None = field(default=None, init=False)
    _empty_since_s: float | None = field(default=None, init=False)
    _changed_s: float | None = field(default=None, init=False)

    def look(self, now_s: float, count: int, pulses: Collection[Pulse], *, awaited: int = 0) -> int:
        """Return how many workers there should be: one more than *count*, one fewer, or as many.

        Args:
            now_s: On any clock that goes forward.
            count: How many there are, those that start included.
            pulses: The latest of those that are ready.
            awaited: How many are starting, and will take their share soon.
        """
        if count < self._bounds.least or count > self._bounds.most:
            return min(max(count, self._bounds.least), self._bounds.most)
        self._take(now_s, pulses)
        settled = self._changed_s is None or now_s - self._changed_s >= SETTLE_S
        ready = len(pulses)  # the others carry nothing
        full = self.load >= FULL
        empty = self.load * ready / max(1, ready - 1) <= EMPTY
        self._full_since_s = _since(self._full_since_s, now_s, holds=full)
        self._empty_since_s = _since(self._empty_since_s, now_s, holds=empty)
        if not settled or awaited or not ready:
            return count
        if count < self._bounds.most and _for_s(self._full_since_s, now_s) >= ADD_AFTER_S:
            return self._change(now_s, count + 1)
        if count > self._bounds.least and _for_s(self._empty_since_s, now_s) >= REMOVE_AFTER_S:
            return self._change(now_s, count - 1)
        return count

    def _take(self, now_s: float, pulses: Collection[Pulse]) -> None:
        passed_s = 0.0 if self._looked_s is None else now_s - self._looked_s
        self._looked_s = now_s
        if pulses:
            mean = sum(map(self._load_of, pulses)) / len(pulses)
            self.load += (mean - self.load) * passed_s / (passed_s + SMOOTH_S)

    def _load_of(self, pulse: Pulse) -> float:
        shares = (
            pulse.cpu_share,
            pulse.lag_s / LATE_S * FULL,
            pulse.sessions / self._bounds.sessions_most,
            pulse.connections / self._bounds.connections_most,
        )
        return min(1.0, max(shares))

    def _change(self, now_s: float, count: int) -> int:
        self._changed_s = now_s
        self._full_since_s = self._empty_since_s = None
        return count


def _since(before_s: float | None, now_s: float, *, holds: bool) -> float | None:
    if not holds:
        return None
    return now_s if before_s is None else before_s


def _for_s(since_s: float | None, now_s: float) -> float:
    return -1.0 if since_s is None else now_s - since_s
