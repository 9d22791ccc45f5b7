"""Log lines that somebody outside can cause: some of them, and how many there were."""

from __future__ import annotations

import time
from typing import Any

import structlog
from attrs import define, field


@define(eq=False)
class SparseLog:
    """Write at most so many lines in a while; the next one says how many were left out.

    For what is counted besides, so that nothing is lost but repetition.  Any thread may use it.
    """

    _log: structlog.typing.FilteringBoundLogger
    _most: int = 100
    _window_s: float = 10.0
    _window_began_s: float = field(default=float("-inf"), init=False)
    _written: int = field(default=0, init=False)
    _left_out: int = field(default=0, init=False)

    def info(self, event: str, **facts: Any) -> None:
        """Log an event, unless there were too many."""
        if self._may_write(facts):
            self._log.info(event, **facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log an event that an operator should look at, unless there were too many."""
        if self._may_write(facts):
            self._log.warning(event, **facts)

    def _may_write(self, facts: dict[str, Any]) -> bool:
        now_s = time.monotonic()
        if now_s - self._window_began_s >= self._window_s:
            self._window_began_s, self._written = now_s, 0
        if self._written >= self._most:
            self._left_out += 1
            return False
        self._written += 1
        if self._left_out:
            facts["left_out"] = self._left_out
            self._left_out = 0
        return True
