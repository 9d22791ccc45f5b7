"""Each store, for what all of them promise."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.redis import cold_mover
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from bargein.timeline.sqlite import SqliteStore
from tests.timeline.appends import Opener
from tests.timeline.cold_room import ColdRoom
from tests.timeline.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    """Run one Redis for all tests that don't harm it."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """Return a Redis with nothing in it."""
    shared_redis.say("FLUSHALL")
    return shared_redis


@pytest.fixture
def room(redis: RedisServer, tmp_path: Path) -> ColdRoom:
    """Return a Redis with nothing in it, and a directory for what grows cold."""
    root = tmp_path / "cold"
    root.mkdir()
    return ColdRoom(redis, root)


@pytest.fixture
def cooling(room: ColdRoom, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """Return what opens a store on Redis that moves every session into a file all the time."""
    monkeypatch.setattr(cold_mover, "LEAST_LOOK_S", 0.002)
    return lambda: room.store(after_s=0.0)


@pytest.fixture(params=["memory", "sqlite", "redis", "cooling"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Return what opens the same store again and again."""
    if request.param == "memory":
        shelf = Shelf()
        return lambda: MemoryStore(shelf)
    if request.param == "cooling":
        return request.getfixturevalue("cooling")
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis")
        address = Address("127.0.0.1", server.port)
        return lambda: RedisStore(address)
    return lambda: SqliteStore(tmp_path / "timelines.sqlite3")
