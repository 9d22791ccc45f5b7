"""How long to wait before a worker that has ended is started again."""

from __future__ import annotations

from typing import Final

from attrs import define

FIRST_S: Final = 0.5
MOST_S: Final = 30.0
HEALTHY_S: Final = 60.0
"""A worker that was ready for so long has not ended for how it was started."""


@define(eq=False)
class BackOff:
    """Waits twice as long each time, for one worker's place."""

    _next_s: float = FIRST_S

    def after(self, healthy_s: float) -> float:
        """Return how many seconds to wait, after a worker that was ready for *healthy_s*."""
        if healthy_s >= HEALTHY_S:
            self._next_s = FIRST_S
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, MOST_S)
        return wait_s
