"""Has the cyclic collector look at what has come in small steps, and rarely at all there is."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Final

import structlog
import trio
from attrs import define, field

LOOK_S: Final = 1.0

YOUNG_S: Final = 0.05
"""How often what is young is looked at while something goes on: half a ms each time."""

STEP_BLOCKS: Final = 100_000
"""So much more memory than after the last pass is worth one over what has come since: 50 ms."""

DOUBLED: Final = 2.0
"""Times as much as after the last pass over everything, which is worth one while little goes on."""

QUADRUPLED: Final = 4.0
"""Times as much memory, which is worth such a pass whatever goes on."""

LITTLE: Final = 0.02
"""Share of a core that the process uses while little goes on."""

YOUNG, NEW, ALL = 0, 1, 2
"""Generations of the collector: what has come since its last pass, since the last one over this
generation, and everything."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


def _collect_young() -> int:
    # Whoever has switched the collector off wants no look at all.
    return gc.collect(YOUNG) if gc.isenabled() else 0


@define(eq=False)
class Collector:
    """Collect when there may be something to collect.  Lives as long as the server.

    A pass holds everybody up for two thirds of a microsecond an object, of which a session has
    360: with ten thousand of them, one over everything takes over two seconds.  Sessions,
    connections and turns leave no cycles, so it would find nothing; but an app may leave some.
    What is young is looked at twenty times a second, and what has come lately by a short pass.
    What was there for longer waits until there is twice as much of all, and nobody who minds.

    The interpreter by itself looks at what is young when so many objects are there *more* than
    before.  In a conversation as many go as come: then it looks once in seconds, for 30 to 50 ms.

    Attributes:
        _blocks: Counts what is allocated.
        _collect: Looks at a generation; returns how many objects it found.
        _cpu_s: The CPU that the process has used.
        _collect_young: Looks at what is young.
        _after_new: What is allocated after the last pass, or less that was seen since.
        _after_all: The same of the last pass over everything.
    """

    _blocks: Callable[[], int] = sys.getallocatedblocks
    _collect: Callable[[int], int] = gc.collect
    _cpu_s: Callable[[], float] = time.process_time
    _collect_young: Callable[[], int] = _collect_young
    _after_new: int = field(init=False)
    _after_all: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._after_new = self._after_all = self._blocks()

    async def run(self) -> None:
        """Look how much there is, once a second, until cancelled."""
        idle = True
        while True:
            began_s, cpu_s = trio.current_time(), self._cpu_s()
            # An idle server is not to wake up for this.
            for _ in range(1 if idle else round(LOOK_S / YOUNG_S)):
                await trio.sleep(LOOK_S if idle else YOUNG_S)
                self._collect_young()
            passed_s = trio.current_time() - began_s
            idle = self._cpu_s() - cpu_s < LITTLE * passed_s
            self.look(idle=idle)

    def look(self, *, idle: bool) -> None:
        """Collect if so much has come since the last time that it is worth it."""
        blocks = self._blocks()
        self._after_new = min(self._after_new, blocks)
        self._after_all = min(self._after_all, blocks)
        if blocks >= self._after_all * (DOUBLED if idle else QUADRUPLED):
            generation = ALL
        elif blocks >= self._after_new + STEP_BLOCKS:
            generation = NEW
        else:
            return
        began_s = time.perf_counter()
        found = self._collect(generation)
        took_ms = round((time.perf_counter() - began_s) * 1000)
        self._after_new = self._blocks()
        if generation == ALL:
            self._after_all = self._after_new
        _log.info(
            "collector.looked",
            at="all" if generation == ALL else "new",
            found=found,
            took_ms=took_ms,
            blocks=blocks,
            left=self._after_new,
        )
