"""trio's scheduler, drawn from a seed."""

from __future__ import annotations

from collections.abc import Generator
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
