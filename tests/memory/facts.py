"""Memories to test with: each adapter, opened again and again, and what is put into them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import trio

from bargein.cluster.redis_facts import RedisFacts
from bargein.memory.facts import Change, Facts, Forget, Owner, Save, Source, Undo
from bargein.memory.sqlite import SqliteFacts
from bargein.memory.volatile import VolatileFacts
from bargein.timeline.redis_address import Address
from tests.timeline.redis_server import RedisServer

ANN = Owner("ann")
BOB = Owner("bob")
ANN_AT_WORK = Owner("ann", "work")

LATEST_S = 20.0
"""When a test with real threads gives up."""

Opener = Callable[[], Facts]
"""Opens the same memory again and again."""


def ticking() -> Callable[[], str]:
    """Return a clock of which each look is a second after the one before."""
    seconds = count()
    return lambda: f"2026-11-21T10:12:{next(seconds) % 60:02d}.000Z"


def source(done_key: str) -> Source:
    return Source("sess_1", "turn_1", done_key)


def save(key: str, text: str, done_key: str | None = None) -> Save:
    return Save(key, text, source(done_key or f"save {key} {text}"))


def forget(key: str, done_key: str | None = None) -> Forget:
    return Forget(key, source(done_key or f"forget {key}"))


def undo(done_key: str) -> Undo:
    return Undo(done_key, source(f"{done_key}:revert"))


def opener(kind: str, path: Path) -> Opener:
    """Return what opens a memory; the volatile one is the same object each time."""
    if kind == "sqlite":
        return lambda: SqliteFacts(path, ticking())
    memory = VolatileFacts(ticking())
    return lambda: memory


def address_of(server: RedisServer) -> Address:
    return Address("127.0.0.1", server.port)


def opener_on(server: RedisServer) -> Opener:
    """Return what opens the memory on a Redis."""
    return lambda: redis_at(address_of(server))


def redis_at(address: Address, replicas: int = 0, **limits: float) -> RedisFacts:
    return RedisFacts(address, ticking(), replicas=replicas, **limits)


@asynccontextmanager
async def running(facts: Facts) -> AsyncGenerator[None]:
    with trio.fail_after(LATEST_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(facts.run)
            yield
            nursery.cancel_scope.cancel()


async def texts(facts: Facts, owner: Owner) -> dict[str, str]:
    return {fact.key: fact.text for fact in await facts.of(owner)}


def assert_chained(changes: tuple[Change, ...]) -> None:
    """Hold that each change has found what the one before it left."""
    there = None
    for change in changes:
        assert change.before == there, change
        there = change.after
