"""trio's scheduler, drawn from a seed; and threads, which no seed can draw, done away with."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import trio


@contextmanager
def seeded_scheduler(seed: int) -> Generator[None]:
    """Let every batch of runnable tasks be permuted by *seed*; put trio back as it was.

    There is no public way.  Without the flag a batch is shuffled, but not sorted before, so
    the order depends on addresses in memory.
    """
    run: Any = trio._core._run  # pyright: ignore[reportPrivateUsage]
    state, flag = run._r.getstate(), run._ALLOW_DETERMINISTIC_SCHEDULING
    run._ALLOW_DETERMINISTIC_SCHEDULING = True
    run._r.seed(seed)
    try:
        yield
    finally:
        run._r.setstate(state)
        run._ALLOW_DETERMINISTIC_SCHEDULING = flag


@contextmanager
def threads_on_the_spot() -> Generator[None]:
    """Let what trio would run in a thread run where it is called; put trio back as it was.

    A clock that jumps does not know of threads: every deadline would have passed before one
    of them has begun.
    """
    to_thread: Any = trio.to_thread
    from_thread: Any = trio.from_thread
    before = to_thread.run_sync, from_thread.run_sync

    async def run_sync(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*args)

    def run_sync_back(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
        return function(*args)

    to_thread.run_sync, from_thread.run_sync = run_sync, run_sync_back
    try:
        yield
    finally:
        to_thread.run_sync, from_thread.run_sync = before
