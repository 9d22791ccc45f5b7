"""Several real servers on a real Redis, people who talk all the time, and all that can happen.

`BARGEIN_TEST_SEED` sets what happens when.
"""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Final

import pytest
import trio

from tests.cluster_faults.faults import (
    ALL,
    LOSES,
    Fault,
    Scene,
    redis_failed_over,
    redis_restarted,
    redis_slow,
    server_cut_off,
    server_killed,
    server_stopped,
)
from tests.cluster_faults.fleet import fleet
from tests.cluster_faults.load import Load, Toll, load
from tests.cluster_faults.redis_pair import redis_pair
from tests.scale import scaled

SEED: Final = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
IN_FULL: Final = scaled(10) > 1
TALKERS: Final = 20 if IN_FULL else 12
SERVERS: Final = 4
EACH: Final = scaled(50)

LONG_S: Final = 60.0
"""For which one server is stopped once; the others are for as long as a lease needs to run out."""

ROUNDS_A_LOAD: Final = 6
TAKEOVER_S: Final = 15.0
"""Five are promised, on a machine that does nothing else."""

TOGETHER: Final[tuple[tuple[Fault, ...], ...]] = (
    (server_killed, server_stopped, server_cut_off, redis_slow),
    (redis_restarted,),
    (redis_failed_over,),
)
"""What of it may befall different servers at the same time."""


def rounds() -> list[tuple[Fault, ...]]:
    """Return what happens, one after the other: in full each fault alone, else together."""
    chosen = [(fault,) for fault in ALL] if IN_FULL else TOGETHER
    return [together for _ in range(EACH) for together in chosen]


async def befall(everyone: Load, scene: Scene, together: tuple[Fault, ...]) -> dict[str, float]:
    """Let it happen, wait until everybody talks again, and return how long who was away."""
    print(datetime.now(UTC), [fault.__name__ for fault in together])  # noqa: T201 - likewise
    since_s, since, before = trio.current_time(), datetime.now(UTC), everyone.counted()
    async with trio.open_nursery() as nursery:
        for fault in together:
            nursery.start_soon(fault, scene)
            await trio.sleep(scene.chance.uniform(0, 0.05))
    await everyone.settled()
    if not LOSES & set(together):
        replayed = everyone.replayed(before)
        assert not replayed, "\n".join(replayed)
    took = {"away": everyone.away_s(since_s)}
    if server_killed in together:
        took["takeover"] = everyone.taken_over_s(since)
        assert took["takeover"] < TAKEOVER_S
    return took


@pytest.mark.slow
async def test_whatever_befalls_servers_and_redis_nothing_is_lost_unsaid(tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    chance, toll = Random(SEED), Toll()  # noqa: S311
    took: dict[str, list[float]] = defaultdict(list)
    plan = rounds()
    deadline_s = 180.0 + 60.0 * len(plan)
    async with (
        redis_pair(tmp_path, chance) as pair,
        fleet(tmp_path, pair, SERVERS, pace_ms=30, deadline_s=deadline_s) as servers,
    ):
        scene = Scene(servers, chance, [LONG_S] if IN_FULL else [])
        while plan:
            some, plan = plan[:ROUNDS_A_LOAD], plan[ROUNDS_A_LOAD:]
            async with load(servers, TALKERS, chance, toll) as everyone:
                for together in some:
                    name = " + ".join(fault.__name__ for fault in together)
                    for what, seconds in (await befall(everyone, scene, together)).items():
                        took[f"{name}: {what}"].append(seconds)
    print(f"{EACH} times each: {toll}; Redis lost {sum(scene.lost_bytes)} bytes")  # noqa: T201
    for what, seconds in took.items():
        print(f"{what} {median(seconds):.1f} s (median), {max(seconds):.1f} s (worst)")  # noqa: T201
    assert toll.epochs > 0
    assert sum(scene.lost_bytes) > 0
