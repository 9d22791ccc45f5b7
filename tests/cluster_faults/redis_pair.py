"""A Redis that may lose the tail of its file, and a replica that may be behind."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import trio
from attrs import define, field

from tests.cluster_faults.wire import Wire
from tests.timeline.redis_server import RedisServer, redis_server

OPTIONS = (
    *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
    *("--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0"),
)
LATEST_S = 20.0
LOST_S = 0.3
"""What a power cut takes of a file that is synced each second, and by how much a replica lags."""


@define(eq=False)
class RedisPair:
    """A primary, and a replica at the end of a wire.

    Attributes:
        wires: Of the servers; they always lead to the primary.
    """

    primary: RedisServer
    replica: RedisServer
    link: Wire
    chance: Random
    wires: list[Wire] = field(factory=list[Wire])

    async def restart(self, away_s: float) -> int:
        """Kill the primary, lose the tail of its file, and start it; return the lost bytes."""
        was_bytes = self._file().stat().st_size
        await trio.sleep(LOST_S)
        self.primary.kill()
        file = self._file()
        end = file.stat().st_size
        kept = self.chance.randint(min(was_bytes, end), end)
        os.truncate(file, kept)
        await trio.sleep(away_s)
        await trio.to_thread.run_sync(self.primary.start)
        return end - kept

    async def fail_over(self, away_s: float) -> None:
        """Let the replica lag, kill the primary, and let the replica be the primary."""
        await self.until_followed()
        self.link.fall_silent()
        await trio.sleep(LOST_S)
        self.primary.kill()
        self.link.tear()
        await trio.sleep(away_s)
        self.replica.say("REPLICAOF", "NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        for wire in (*self.wires, self.link):
            wire.target = self.primary.port
            wire.tear()
        self.link.mend()
        await trio.to_thread.run_sync(self.replica.start)
        self.follow()

    def follow(self) -> None:
        """Let the replica be one."""
        self.replica.say("REPLICAOF", "127.0.0.1", self.link.port)

    async def until_followed(self) -> None:
        """Wait until the replica has all that the primary had, and is told what comes."""
        with trio.fail_after(LATEST_S):
            while not self._follows():  # noqa: ASYNC110 - nobody announces it
                await trio.sleep(0.02)

    def _follows(self) -> bool:
        return b"master_link_status:up" in self.replica.say("INFO", "replication")

    def _file(self) -> Path:
        return max((self.primary.directory / "appendonlydir").glob("*.incr.aof"))


@asynccontextmanager
async def redis_pair(directory: Path, chance: Random) -> AsyncGenerator[RedisPair]:
    """Run two Redis servers, the second of which follows the first."""
    one, two = directory / "redis-1", directory / "redis-2"
    with redis_server(one, *OPTIONS) as primary, redis_server(two, *OPTIONS) as replica:
        async with trio.open_nursery() as nursery:
            pair = RedisPair(primary, replica, Wire(primary.port), chance)
            await nursery.start(pair.link.run)
            pair.follow()
            await pair.until_followed()
            yield pair
            nursery.cancel_scope.cancel()
