"""How the interpreter is set for a process that serves."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Final

SWITCH_INTERVAL_S: Final = 0.0005
"""The store's thread and the event loop share the interpreter.  With the default of
5 ms each commit can hold up the loop ten times as long as the commit itself."""

YOUNG_OBJECTS: Final = 10_000
"""How many new objects make the collector look at them.  With the default of 700, and
the model's SDK among what it looks at, it took a sixth of the CPU of a busy server."""

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
