"""Takes the process's pulse, a few times a second: how late the loop is, how full its mailboxes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field

from bargein.actors.counters import MAILBOX_DEPTH
from bargein.actors.mailbox import take_depths
from bargein.gateway.counters import LOOP_LAG, STORE_WRITABLE
from bargein.timeline.health import Health

BEAT_S: Final = 0.25
WINDOW_BEATS: Final = 60
"""A depth is shown for one window, and for the one after it."""


@define(eq=False)
class Vitals:
    """Lives as long as the server."""

    _health: Callable[[], Health]
    _before: dict[str, int] = field(factory=dict[str, int], init=False)
    _now: dict[str, int] = field(factory=dict[str, int], init=False)
    _beats: int = field(default=0, init=False)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due_s = trio.current_time() + BEAT_S
            await trio.sleep_until(due_s)
            LOOP_LAG.observe(max(0.0, trio.current_time() - due_s))
            self.beat()

    def beat(self) -> None:
        """Take note of how things are."""
        STORE_WRITABLE.set(self._health().is_sound)
        for actor, depth in take_depths().items():
            self._now[actor] = max(depth, self._now.get(actor, 0))
        for actor in self._now.keys() | self._before.keys():
            depth = max(self._now.get(actor, 0), self._before.get(actor, 0))
            MAILBOX_DEPTH.labels(actor).set(depth)
        self._beats += 1
        if self._beats % WINDOW_BEATS == 0:
            for actor in self._before.keys() - self._now.keys():
                MAILBOX_DEPTH.labels(actor).set(0)
            self._before, self._now = self._now, {}
