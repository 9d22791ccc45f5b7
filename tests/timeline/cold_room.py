"""A Redis with a directory for what has grown cold, and stores that move it there when told."""

from __future__ import annotations

from pathlib import Path

from attrs import define, field

from bargein.protocol.ids import SessionId
from bargein.timeline.redis.cold import Cold, stem_of
from bargein.timeline.redis.cold_folder import ColdFolder
from bargein.timeline.redis.cold_mover import Mover
from bargein.timeline.redis.keys import events_key, row_key
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from tests.timeline.redis_server import RedisServer

FAR_S = 1e11
"""A time by which nothing has happened for long, in seconds of UTC."""

NEVER_S = 3600.0
"""Longer than any test: what moves by itself would spoil what is looked at."""


@define(eq=False)
class ColdRoom:
    """Opens stores on one Redis, all with the same directory."""

    redis: RedisServer
    root: Path
    port: int = field(default=0)

    def store(self, *, is_server: bool = True, after_s: float | None = NEVER_S) -> RedisStore:
        address = Address("127.0.0.1", self.port or self.redis.port)
        store = RedisStore(
            address, cold=ColdFolder(self.root), cold_after_s=after_s, is_server=is_server
        )
        if store.mover is not None:
            store.mover.now = lambda: FAR_S
        return store

    def files(self, session_id: SessionId) -> list[Path]:
        """Return the files of a session, unfinished ones too, oldest first."""
        found = self.root.glob(f"*/*/{stem_of(session_id)}*")
        return sorted(found, key=lambda path: path.stat().st_mtime_ns)

    def kept(self, session_id: SessionId) -> int:
        """Count the events of a session that are in Redis."""
        return int(self.redis.say("XLEN", events_key(session_id))[1:])

    def cold(self, session_id: SessionId) -> Cold | None:
        """Return the file that a session's row names."""
        answer = self.redis.say("HGET", row_key(session_id), "cold")
        return None if answer.startswith(b"$-1") else Cold.of(answer.split(b"\r\n")[1].decode())

    def named(self, session_id: SessionId) -> Path:
        """Return where that file is."""
        cold = self.cold(session_id)
        assert cold is not None
        return cold.path(self.root, session_id)


def mover(store: RedisStore) -> Mover:
    assert store.mover is not None
    return store.mover


async def moved(store: RedisStore) -> int:
    """Move all sessions that can be, now; return how many were."""
    return await mover(store).sweep()
