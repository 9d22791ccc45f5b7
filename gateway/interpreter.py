"""How the interpreter is set for a process that serves."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Final

SWITCH_INTERVAL_S: Final = 0.0002
"""The store's thread and the event loop share the interpreter, and the thread has to win it back
some six times for each commit, with each of which it waits so long beside a busy loop.  The default
is 5 ms."""

YOUNG_OBJECTS: Final = 50_000
"""How many new objects make the interpreter look at them by itself.  `Collector` does so far more
often, but not while work never lets go of the loop.  With the default of 700, and the model's SDK
among what it looks at, it took a sixth of the CPU of a busy server."""

NEVER: Final = 1_000_000_000
"""The older ones it looks at when `Collector` says so."""


def tune_interpreter() -> None:
    """Set it for the life of the process.  Call it when all is imported, before the loop."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)
    gc.freeze()


async def warm_for_good(warm: Callable[[], Awaitable[None]]) -> None:
    """Do what *warm* does, and keep the collector from what it loaded: it never goes."""
    await warm()
    gc.freeze()
