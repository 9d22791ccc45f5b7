"""A Redis for memories."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.timeline.redis_server import RedisServer, redis_server

SAFE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


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
def own(tmp_path: Path) -> Generator[RedisServer]:
    """Return a Redis for one test, which keeps on its disk all that it has acknowledged."""
    with redis_server(tmp_path / "own", *SAFE) as server:
        yield server
