"""People on several real servers who are cut off again and again, and come back to any of them.

`BARGEIN_TEST_SEED` sets when and where.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Final

import pytest
import trio

from tests.cluster_faults.fleet import STORY, fleet
from tests.cluster_faults.load import SETTLED_S, Toll, load
from tests.cluster_faults.redis_pair import redis_pair
from tests.scale import scaled

SEED: Final = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
SESSIONS: Final = scaled(200)
CUTS: Final = 20 if scaled(10) > 1 else 5
SERVERS: Final = 3
MOST_TURNS: Final = 10
"""Whoever was cut has said more words each time: one turn runs, and eight may wait."""


@pytest.mark.slow
async def test_whoever_comes_back_to_any_server_misses_nothing(tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    chance, toll = Random(SEED), Toll()  # noqa: S311
    pace_ms = max(30, 2 * SESSIONS)
    settled_s = SETTLED_S + MOST_TURNS * len(STORY.split()) * pace_ms / 1000
    async with (
        redis_pair(tmp_path, chance) as pair,
        fleet(tmp_path, pair, SERVERS, pace_ms=pace_ms, deadline_s=600.0) as servers,
        load(servers, SESSIONS, chance, toll, settled_s=settled_s) as everyone,
    ):
        for _ in range(CUTS):
            for talker in everyone.talkers:
                await trio.sleep(chance.uniform(0, 1.0 / SESSIONS))
                await talker.cut()
        await everyone.settled()
    print(f"{CUTS} cuts of each: {toll}")  # noqa: T201
    assert toll.sessions == SESSIONS
    assert toll.connections > SESSIONS * CUTS / 2
    assert toll.epochs == 0
