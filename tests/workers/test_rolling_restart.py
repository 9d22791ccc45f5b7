"""Workers are replaced, or killed, while clients talk: each comes back to another, and goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from tests.scale import scaled
from tests.timeline.redis_server import RedisServer, redis_server
from tests.workers.crew_process import crew_process
from tests.workers.users import User, check_all

CLIENTS = scaled(60)
KILLS = scaled(20)


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.mark.slow
async def test_all_are_replaced_under_load_and_nobody_misses_an_event(
    tmp_path: Path, redis: RedisServer
):
    async with crew_process(tmp_path, redis, "--workers", "2", BARGEIN_DRAIN_S="0.5") as crew:
        before = {row.pid for row in await crew.until_ready(2)}
        users = [User(crew) for _ in range(CLIENTS)]
        async with trio.open_nursery() as tasks:
            for user in users:
                await tasks.start(user.talk)
            crew.process.send_signal(signal.SIGUSR2)
            await crew.says('"event": "workers.restarted"')
            after = {row.pid for row in await crew.until_ready(2)}
            for user in users:
                user.enough.set()
        assert before.isdisjoint(after)
        assert sum(len(user.connections) for user in users) > CLIENTS
        assert '"level": "error"' not in crew.log, crew.log
        await check_all(crew, users)


@pytest.mark.slow
async def test_workers_are_killed_under_load_and_nobody_misses_an_event(
    tmp_path: Path, redis: RedisServer
):
    async with crew_process(
        tmp_path, redis, "--workers", "3", deadline_s=600.0, BARGEIN_DRAIN_S="0.5"
    ) as crew:
        await crew.until_ready(3)
        users = [User(crew, killed=True) for _ in range(CLIENTS)]
        async with trio.open_nursery() as tasks:
            for user in users:
                await tasks.start(user.talk)
            for _ in range(KILLS):
                busiest = max(await crew.until_ready(3), key=lambda row: row.connections)
                os.kill(busiest.pid, signal.SIGKILL)
                await crew.until(lambda rows, pid=busiest.pid: pid not in {r.pid for r in rows})
            await crew.until_ready(3)
            for user in users:
                user.enough.set()
        lost = [line for line in crew.log.splitlines() if '"event": "worker.lost"' in line]
        assert len(lost) == KILLS, "\n".join(lost)
        assert sum(len(user.connections) for user in users) > CLIENTS
        await check_all(crew, users)
