"""Real processes that own a session, killed and paused: who follows them, when, and with what."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define, field

from bargein.cluster.redis_nodes import RedisNodes
from bargein.protocol.ids import NodeId, Seq
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from tests.cluster import owning_process
from tests.timeline.appends import A, Notes, all_seqs, frame
from tests.timeline.redis_server import RedisServer, redis_server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LATEST_S = 30.0
FOLLOWED_WITHIN_S = 5.0


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@define(eq=False)
class Owner:
    """The process, and what it has said."""

    process: trio.Process
    name: NodeId | None = None
    announced: int = 0
    taken_by: str = ""
    _more: trio.Event = field(factory=trio.Event)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = b""
        async for some in self.process.stdout:
            *lines, rest = (rest + some).split(b"\n")
            for line in map(bytes.decode, lines):
                if line.isdigit():
                    self.announced = int(line)
                elif line.startswith("taken by "):
                    self.taken_by = line.removeprefix("taken by ")
                else:
                    self.name = NodeId(line)
            self._more.set()
            self._more = trio.Event()

    async def until_announced(self, count: int) -> None:
        while self.announced < count:
            await self._more.wait()


@asynccontextmanager
async def owner(redis: RedisServer) -> AsyncGenerator[Owner]:
    command = [sys.executable, "-m", owning_process.__name__, str(redis.port)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, cwd=ROOT)
    there = Owner(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(there.listen)
            with trio.fail_after(LATEST_S):
                await there.until_announced(20)
                yield there
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def follower(
    redis: RedisServer, gone: dict[NodeId, trio.Event]
) -> AsyncGenerator[RedisStore]:
    address = Address("127.0.0.1", redis.port)
    store = RedisStore(address)
    nodes = RedisNodes(address, store.lease)

    async def on_gone(node: NodeId) -> None:
        gone.setdefault(node, trio.Event()).set()

    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await nursery.start(nodes.run, on_gone, dict[str, str])
        yield store
        nursery.cancel_scope.cancel()


async def follow(store: RedisStore, former: Owner, gone: dict[NodeId, trio.Event]) -> Seq:
    """Take A over once its owner has gone; return the last seq that is there."""
    assert former.name is not None
    assert await store.owners.claim(A) == former.name
    with trio.fail_after(FOLLOWED_WITHIN_S):
        await gone.setdefault(former.name, trio.Event()).wait()
        assert await store.unsettled() == [A]
        assert await store.owners.claim(A) is None
        row = await store.row(A)
    assert row is not None
    assert row.last_seq >= former.announced
    return row.last_seq


async def test_a_killed_owner_is_followed_within_five_seconds(redis: RedisServer) -> None:
    gone: dict[NodeId, trio.Event] = {}
    async with owner(redis) as former, follower(redis, gone) as store:
        former.process.kill()
        last = await follow(store, former, gone)
        await Notes().stored(store, A, last + 1, last + 3)
        assert await all_seqs(store, A) == list(range(1, last + 4))


async def test_a_paused_owner_is_followed_and_steps_down_when_it_wakes(redis: RedisServer) -> None:
    gone: dict[NodeId, trio.Event] = {}
    async with owner(redis) as former, follower(redis, gone) as store:
        former.process.send_signal(signal.SIGSTOP)
        last = await follow(store, former, gone)
        notes = Notes()
        for seq in (last + 1, last + 2):
            ours = (frame(A, seq, 200),)
            notes.submit(store, A, seq, frames=ours)
        await notes.all_answered()
        former.process.send_signal(signal.SIGCONT)
        assert await former.process.wait() == 0
        while not former.taken_by:
            await former._more.wait()  # pyright: ignore[reportPrivateUsage]
        assert former.taken_by == store.lease.me
        assert former.announced <= last
        notes.submit(store, A, last + 3)
        await notes.all_answered()
        assert notes.failed == []
        events = await store.read(A, last, limit=10, most_bytes=2**20)
        assert [event.frame for event in events] == [
            frame(A, last + 1, 200),
            frame(A, last + 2, 200),
            frame(A, last + 3),
        ]


async def test_a_paused_owner_that_wakes_in_time_goes_on(redis: RedisServer) -> None:
    gone: dict[NodeId, trio.Event] = {}
    async with owner(redis) as former, follower(redis, gone) as store:
        former.process.send_signal(signal.SIGSTOP)
        assert await store.owners.claim(A) == former.name
        former.process.send_signal(signal.SIGCONT)
        await former.until_announced(former.announced + 20)
        assert await store.owners.claim(A) == former.name
        assert not gone
