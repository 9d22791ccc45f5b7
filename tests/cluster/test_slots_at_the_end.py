"""A server that ends in good order: the bus ends last, and carries what others wait for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
import trio.testing
from attrs import define, field

from bargein.actors.clock import SystemChance, SystemClock
from bargein.actors.limits import Limits
from bargein.actors.registry import Sessions
from bargein.actors.slot_queue import SlotTerms, Standing
from bargein.actors.slots import Claim, Wish
from bargein.agents.app import App, Apps
from bargein.cluster import redis_slots as slots_module
from bargein.cluster import redis_slots_call as call_module
from bargein.cluster.alone import LoneNode
from bargein.cluster.bus import Receive
from bargein.cluster.letters import Watch, encode_letter
from bargein.cluster.membership import LAST_LETTERS_S, Cluster, Membership
from bargein.cluster.redis_bus import RedisBus
from bargein.cluster.redis_slots import MOST_TOGETHER, RedisSlots
from bargein.cluster.slots import SharedSlots, Tell
from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.memory import MemoryStore
from bargein.timeline.redis.keys import SLOTS
from bargein.timeline.redis_address import Address
from tests.actors.stage import AGENTS, Puppet
from tests.cluster.slot_desk import Wire
from tests.timeline.redis_server import RedisServer, redis_server

LATEST_S = 20.0
NEVER_S = 10 * LATEST_S
"""Longer than a test may take, so that nothing but a letter tells anybody anything."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("slots")) as server:
        yield server


@pytest.fixture
def redis(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """Return an empty Redis, on which nobody renews and no lease runs out."""
    server.say("FLUSHALL")
    for module in (slots_module, call_module):
        monkeypatch.setattr(module, "LEASE_S", NEVER_S)
    monkeypatch.setattr(slots_module, "RENEW_S", NEVER_S)
    return server


@pytest.fixture
def wire(redis: RedisServer) -> Generator[Wire]:
    wire = Wire(redis)
    try:
        yield wire
    finally:
        wire.close()


@define(eq=False)
class House:
    """What one server has of the cluster; nobody tells it that others have gone."""

    me: NodeId
    slots: RedisSlots
    member: Membership
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    ended: trio.Event = field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.member.run(task_status=task_status)
        self.ended.set()

    def ask(self, count: int, rank: int = 0) -> list[Claim]:
        standing = Standing(self.me, rank=rank)
        return [self.slots.ask(standing, Wish()) for _ in range(count)]

    async def stop(self) -> None:
        """End it as an orderly server ends."""
        self.scope.cancel()
        await self.ended.wait()


def house(redis: RedisServer, name: str, most: int) -> House:
    address, me = Address("127.0.0.1", redis.port), NodeId(name)
    slots = RedisSlots(address, me)
    slots.hold_to(SlotTerms(most))
    return House(me, slots, member_of(Cluster(LoneNode(me), RedisBus(address, me), slots=slots)))


def member_of(cluster: Cluster) -> Membership:
    clock = SystemClock()
    app, store = Apps(App("staged", AGENTS)), MemoryStore()
    sessions = Sessions(store, app, Puppet(), clock, SystemChance(), Limits())
    return Membership(cluster, sessions, clock)


@asynccontextmanager
async def two_houses(
    redis: RedisServer, wire: Wire, most: int
) -> AsyncGenerator[tuple[House, House]]:
    """Run a server that is to end, and one that stays."""
    ends, stays = house(redis, "ends", most), house(redis, "stays", most)
    with trio.fail_after(LATEST_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(ends.run)
            await nursery.start(stays.run)
            while wire.ask("ZCARD", f"{SLOTS}:nodes") != b":2":  # noqa: ASYNC110
                await trio.sleep(0.01)
            # A Redis that was just started gives out nothing for the time of a lease.
            wire.ask("HSET", f"{SLOTS}:state", "settled", 0)
            yield ends, stays
            nursery.cancel_scope.cancel()


async def granted(claims: Sequence[Claim]) -> None:
    for claim in claims:
        await claim.until_granted()


async def known(wire: Wire, what: str, count: int) -> None:
    """Wait until Redis knows of so many who run or wait."""
    while wire.ask("ZCARD", f"{SLOTS}:{what}") != b":%d" % count:  # noqa: ASYNC110
        await trio.sleep(0.01)


@pytest.mark.parametrize("most", [1, 5, 2 * MOST_TOGETHER + 5])
async def test_whoever_waits_elsewhere_has_the_slots_of_a_server_that_ends_by_its_last_letters(
    redis: RedisServer, wire: Wire, most: int
) -> None:
    async with two_houses(redis, wire, most) as (ends, stays):
        await granted(ends.ask(most))
        waiting = stays.ask(most + 1)
        await known(wire, "waiting", most + 1)
        assert not any(claim.is_granted for claim in waiting)
        await ends.stop()
        # The letters were answered for before it ended, and it has nothing any more.
        assert wire.ask("ZCARD", f"{SLOTS}:running") == b":%d" % most
        assert wire.ask("HGET", f"{SLOTS}:counts", "ends") == b""
        while sum(claim.is_granted for claim in waiting) < most:  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_an_heir_elsewhere_has_the_slot_that_a_server_was_to_give_back_as_it_ended(
    redis: RedisServer, wire: Wire
) -> None:
    async with two_houses(redis, wire, 1) as (ends, stays):
        await granted(ends.ask(1))
        plain = stays.ask(1)
        await known(wire, "waiting", 1)
        heir = stays.ask(1, rank=1)
        await known(wire, "waiting", 2)
        await ends.stop()
        await granted(heir)
        assert not plain[0].is_granted


async def test_who_has_a_slot_that_came_back_in_the_moment_of_the_end_is_told_of_it(
    redis: RedisServer, wire: Wire
) -> None:
    async with two_houses(redis, wire, 1) as (ends, stays):
        (had,) = ends.ask(1)
        await granted([had])
        waiting = stays.ask(1)
        await known(wire, "waiting", 1)
        # Redis is asked in the step in which the end comes, and answers behind it.
        had.release()
        await ends.stop()
        await granted(waiting)


@define(eq=False)
class Carrier:
    """A bus that notes when it ends, and whose last act is to receive a letter.

    Attributes:
        comes_up: Whether it ever reaches the others.
    """

    comes_up: bool = True
    ended_s: float | None = field(default=None, init=False)

    def send(self, to: NodeId, letter: bytes) -> None:
        """Throw *letter* away."""

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            if self.comes_up:
                task_status.started()
            await trio.sleep_forever()
        finally:
            self.ended_s = trio.current_time()
            receive(NodeId("another"), encode_letter(Watch(SessionId("s_1"))))


@define(eq=False)
class Lingering:
    """Slots that take long to be given back."""

    ends_after_s: float

    async def run(self, _tell: Tell, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):  # what it is about; the test has a deadline
                await trio.sleep(self.ends_after_s)


async def ended_of(carrier: Carrier, slots: Lingering) -> tuple[float, float]:
    """Run a server and end it; return when the bus had ended, and when all had."""
    shared = cast("SharedSlots", slots)
    member = member_of(Cluster(LoneNode(), carrier, slots=shared))
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(LATEST_S):
            await nursery.start(member.run)
        asked_s = trio.current_time()
        nursery.cancel_scope.cancel()
    assert carrier.ended_s is not None
    return carrier.ended_s - asked_s, trio.current_time() - asked_s


@pytest.mark.parametrize(("slots_s", "bus_s"), [(0.5, 0.5), (LAST_LETTERS_S + 5, LAST_LETTERS_S)])
async def test_the_bus_ends_behind_who_writes_letters_but_does_not_wait_for_ever(
    autojump_clock: trio.testing.MockClock,
    logs: list[MutableMapping[str, Any]],
    slots_s: float,
    bus_s: float,
) -> None:
    del autojump_clock
    assert await ended_of(Carrier(), Lingering(slots_s)) == pytest.approx((bus_s, slots_s))
    assert logs == [], "nobody takes letters any more, and that is no fault"


async def test_a_server_that_never_reached_the_others_ends_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    assert await ended_of(Carrier(comes_up=False), Lingering(5.0)) == pytest.approx((0.0, 0.0))
