"""Say where the event loop stands when it stands still."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from types import FrameType
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.gateway.counters import LOOP_BLOCKED
from bargein.gateway.sparse_log import SparseLog

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

# Twenty lines an hour and more would say the same as twenty.
_MOST_LINES: Final = 20
_WINDOW_S: Final = 600.0
_MOST_FRAMES: Final = 40
_BEATS_PER_LIMIT: Final = 4
_JOIN_LIMIT_S: Final = 1.0


@define(eq=False)
class Watchdog:
    """Log the event loop's stack, once, each time that it has stood still for too long.

    A thread looks at a beat that a task of the loop keeps.  It sees nothing while C code holds the
    interpreter's lock, and it takes a pause of the whole process, itself included, for what it is:
    somebody else's doing.
    """

    _limit_s: float = 1.0
    _beat_s: float = field(factory=time.monotonic, init=False)
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _lines: SparseLog = field(factory=lambda: SparseLog(_log, _MOST_LINES, _WINDOW_S), init=False)

    async def run(self) -> None:
        """Watch the loop that this runs in, until cancelled."""
        self._beat_s = time.monotonic()
        thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="watchdog", daemon=True
        )
        thread.start()
        try:
            while True:
                self._beat_s = time.monotonic()
                await trio.sleep(self._limit_s / _BEATS_PER_LIMIT)
        finally:
            self._stop.set()
            thread.join(_JOIN_LIMIT_S)  # it waits for nothing else, so this takes no time

    def _watch(self, watched: int) -> None:
        pause_s = self._limit_s / _BEATS_PER_LIMIT
        looked_at_s = time.monotonic()
        reported_beat_s = None
        while not self._stop.wait(pause_s):
            now_s, before_s = time.monotonic(), looked_at_s
            looked_at_s = now_s
            beat_s = self._beat_s
            stood_still = now_s - before_s > 2 * pause_s  # this thread did, too
            if stood_still or now_s - beat_s < self._limit_s or beat_s == reported_beat_s:
                continue
            reported_beat_s = beat_s
            # The documented way to look into another thread, for exactly this purpose.
            frame = sys._current_frames().get(watched)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            LOOP_BLOCKED.inc()
            self._lines.warning(
                "loop.blocked", since_s=round(now_s - beat_s, 2), stack=_shown(frame)
            )


def _shown(frame: FrameType | None) -> list[str]:
    """Return where a thread is, innermost last; lines of code, and no values."""
    calls = traceback.extract_stack(frame)[-_MOST_FRAMES:]
    return [f"{call.filename}:{call.lineno} {call.name}" for call in calls]
