"""The hand-written servers, for tests: a machine without Node skips its one, except in CI."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from examples.bench.contenders import Contender, why_not
from examples.bench.processes import Cores
from examples.bench.stage import Play, Stage, staged

LIMIT_S = 240.0


@asynccontextmanager
async def peer(contender: Contender, directory: Path, play: Play) -> AsyncGenerator[Stage]:
    """Run a server by hand, with the fake API behind it."""
    missing = why_not(contender)
    if missing is not None:
        assert os.environ.get("CI") != "true", missing
        pytest.skip(missing)
    with trio.fail_after(LIMIT_S):
        async with staged(play, directory, Cores(None, None), contender) as stage:
            yield stage
