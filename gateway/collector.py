"""Has the cyclic collector look at all there is: where nobody waits for it, or where it must."""

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
GROWN: Final = 1.5
"""Times as much memory as after the last pass, which is worth one while little goes on."""

DOUBLED: Final = 2.0
"""Times as much memory, which is worth a pass whatever goes on."""

LITTLE: Final = 0.1
"""Share of a core that the process uses while little goes on."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@define(eq=False)
class Collector:
    """Collect when there may be something to collect.  Lives as long as the server.

    Sessions, connections and turns leave no cycles, so a pass over all objects finds nothing of
    them, and holds everybody up for two thirds of a microsecond an object, of which a session has
    360.  An app may leave some.  What is young the interpreter finds by itself; the rest takes at
    most as much memory as all that lives.

    Attributes:
        _blocks: Counts what is allocated.
        _collect: Looks at everything; returns how many objects it found.
        _cpu_s: The CPU that the process has used.
        _least: What is allocated after the last pass, or less that was seen since.
    """

    _blocks: Callable[[], int] = sys.getallocatedblocks
    _collect: Callable[[], int] = gc.collect
    _cpu_s: Callable[[], float] = time.process_time
    _least: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._least = self._blocks()

    async def run(self) -> None:
        """Look how much there is, once a second, until cancelled."""
        while True:
            began_s, cpu_s = trio.current_time(), self._cpu_s()
            await trio.sleep(LOOK_S)
            passed_s = trio.current_time() - began_s
            self.look(idle=self._cpu_s() - cpu_s < LITTLE * passed_s)

    def look(self, *, idle: bool) -> None:
        """Collect if so much has come since the last time that it is worth it."""
        blocks = self._blocks()
        self._least = min(self._least, blocks)
        if blocks < self._least * (GROWN if idle else DOUBLED):
            return
        began_s = time.perf_counter()
        found = self._collect()
        took_ms = round((time.perf_counter() - began_s) * 1000)
        self._least = self._blocks()
        _log.info("collector.looked", found=found, took_ms=took_ms, blocks=blocks, left=self._least)
