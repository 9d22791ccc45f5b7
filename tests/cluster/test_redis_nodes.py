"""Servers that watch each other through one Redis."""

# pyright: reportPrivateUsage=false
# What a look has found is seen from inside.

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.lowlevel
from attrs import define, field

from bargein.cluster import redis_nodes as nodes_module
from bargein.cluster.nodes import LeftToOthers
from bargein.cluster.redis_nodes import RedisNodes
from bargein.protocol.ids import NodeId
from bargein.timeline.redis import door as door_module
from bargein.timeline.redis import lease as lease_module
from bargein.timeline.redis.keys import NODES, buried_key, lease_key
from bargein.timeline.redis.lease import Lease
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreUnavailable
from tests.timeline.redis_server import RedisServer, redis_server

LATEST_S = 20.0
LEASE_S = 0.6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("nodes")) as server:
        yield server


@pytest.fixture
def redis(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """Return an empty Redis, and make all go faster."""
    server.say("FLUSHALL")
    monkeypatch.setattr(lease_module, "LEASE_S", LEASE_S)
    monkeypatch.setattr(door_module, "LEASE_S", 0.0)  # the server may have just started
    monkeypatch.setattr(door_module, "RENEW_S", 0.05)
    monkeypatch.setattr(nodes_module, "LOOK_S", 0.05)
    return server


@define(eq=False)
class Peer:
    """A server with what it was told."""

    store: RedisStore
    nodes: RedisNodes
    gone: list[NodeId] = field(factory=list[NodeId])
    failures: int = 0
    meets: Callable[[], object] | None = None
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    _told: trio.Event = field(factory=trio.Event)

    @property
    def me(self) -> NodeId:
        return self.nodes.me

    async def on_gone(self, node: NodeId) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("it is not the time")
        if self.meets is not None:
            self.meets()
        self.gone.append(node)
        self._told.set()

    async def told_of(self, count: int) -> list[NodeId]:
        while len(self.gone) < count:
            self._told = trio.Event()
            await self._told.wait()
        return self.gone

    async def run(self, name: str, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.store.run)
                await nursery.start(self.nodes.run, self.on_gone, lambda: {"name": name})
                task_status.started()


def peer_at(address: Address) -> Peer:
    store = RedisStore(address)
    return Peer(store, RedisNodes(address, store.lease))


@asynccontextmanager
async def peers(redis: RedisServer, count: int) -> AsyncGenerator[list[Peer]]:
    made = [peer_at(Address("127.0.0.1", redis.port)) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        with trio.fail_after(LATEST_S):
            for number, peer in enumerate(made):
                await nursery.start(peer.run, f"peer {number}")
            yield made
        nursery.cancel_scope.cancel()


async def seen(peer: Peer, *names: NodeId) -> None:
    """Wait until a peer's looks have found these nodes."""
    while not peer.nodes._living.issuperset(names):
        await trio.lowlevel.checkpoint()


async def forgotten(redis: RedisServer, node: NodeId) -> None:
    """Wait until nobody has to follow a node any more."""
    while redis.say("SISMEMBER", NODES, node) != b":0\r\n":
        await trio.lowlevel.checkpoint()


def stranger(redis: RedisServer, name: str, lease_ms: int) -> NodeId:
    """Put a node there that renews nothing."""
    node = NodeId(name)
    redis.say("SADD", NODES, node)
    redis.say("SET", lease_key(node), "{}", "PX", lease_ms)
    return node


async def test_everybody_is_listed_with_what_it_says_of_itself(redis: RedisServer) -> None:
    async with peers(redis, 3) as (one, two, three):
        while True:  # until the first renewal behind the start
            found = {node.id: node.facts for node in await one.nodes.everybody()}
            if all(found.values()):
                break
        assert found == {
            one.me: {"name": "peer 0"},
            two.me: {"name": "peer 1"},
            three.me: {"name": "peer 2"},
        }
        assert len(found) == 3


async def test_a_node_that_says_goodbye_is_told_of_once_to_each_that_is_left(
    redis: RedisServer,
) -> None:
    async with peers(redis, 3) as (one, two, three):
        await seen(one, two.me, three.me)
        await seen(two, one.me, three.me)
        three.scope.cancel()
        assert await one.told_of(1) == [three.me]
        assert await two.told_of(1) == [three.me]
        last = stranger(redis, "last", 50)  # and nothing was told in between
        assert await one.told_of(2) == [three.me, last]
        assert await two.told_of(2) == [three.me, last]
        assert three.gone == []


async def test_a_node_whose_end_somebody_has_seen_is_told_of_before_its_lease_has_run_out(
    redis: RedisServer,
) -> None:
    async with peers(redis, 2) as (one, two):
        dead = stranger(redis, "dead", 60_000)
        lives = stranger(redis, "lives", 60_000)
        await seen(one, dead, lives)
        await seen(two, dead, lives)
        await one.nodes.bury(dead)
        assert await one.told_of(1) == [dead]
        assert await two.told_of(1) == [dead]
        await forgotten(redis, dead)
        await one.nodes.bury(one.me)  # that can't be
        assert redis.say("EXISTS", lease_key(one.me)) == b":1\r\n"
        assert lives in {node.id for node in await one.nodes.everybody()}


async def test_a_node_that_can_not_be_buried_now_goes_when_its_lease_has_run_out(
    redis: RedisServer,
) -> None:
    async with peers(redis, 1) as (one,):
        dead = stranger(redis, "dead", 400)
        await seen(one, dead)
        one.nodes._link.drop("a test")
        await one.nodes.bury(dead)
        assert redis.say("EXISTS", lease_key(dead)) == b":1\r\n"
        assert await one.told_of(1) == [dead]


async def test_a_burial_that_did_not_get_through_is_tried_again(redis: RedisServer) -> None:
    async with peers(redis, 1) as (one,):
        dead = stranger(redis, "dead", 60_000)
        await seen(one, dead)
        one.nodes._link.drop("a test")
        await one.nodes.bury(dead)
        assert redis.say("EXISTS", lease_key(dead)) == b":1\r\n"
        assert await one.told_of(1) == [dead]
        assert one.nodes._burials == {}


async def test_a_burial_that_is_refused_is_tried_again_for_a_while_and_nobody_stops_looking(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with peers(redis, 1) as (one,):
        dead, late = stranger(redis, "dead", 60_000), stranger(redis, "late", 60_000)
        await seen(one, dead, late)
        redis.say("ACL", "SETUSER", "default", "-del")
        try:
            await one.nodes.bury(dead)
            assert redis.say("EXISTS", lease_key(dead)) == b":1\r\n"
            other = stranger(redis, "other", 50)
            assert await one.told_of(1) == [other]
        finally:
            redis.say("ACL", "SETUSER", "default", "+del")
        assert await one.told_of(2) == [other, dead]
        monkeypatch.setattr(nodes_module, "BURY_S", 0.0)
        one.nodes._link.drop("a test")
        await one.nodes.bury(late)
        await one.nodes._link.until_up()
        await one.nodes._bury_all()
        assert redis.say("EXISTS", lease_key(late)) == b":1\r\n"


async def test_a_renewal_that_comes_after_the_burial_is_not_taken(redis: RedisServer) -> None:
    async with peers(redis, 1) as (one,):
        buried, other = Lease(NodeId("buried")), Lease(NodeId("other"))
        for lease in (buried, other):
            (answer,) = await one.nodes._link.ask((lease.renewal(),))
            assert answer[1:] == [1, 0]
        await seen(one, buried.me, other.me)
        await one.nodes.bury(buried.me)
        for _ in range(3):
            (answer,) = await one.nodes._link.ask((buried.renewal(),))
            assert answer[1:] == [2, 0]
            assert redis.say("EXISTS", lease_key(buried.me)) == b":0\r\n"
        (answer,) = await one.nodes._link.ask((other.renewal(),))
        assert answer[1] == 1
        while buried.me not in one.gone:
            await one.told_of(len(one.gone) + 1)
        await forgotten(redis, buried.me)
        (answer,) = await one.nodes._link.ask((buried.renewal(),))
        assert redis.say("SISMEMBER", NODES, buried.me) == b":0\r\n"  # and nothing lists it again
        (answer,) = await one.nodes._link.ask((buried.farewell(),))
        assert answer[1:] == [1, 0]


async def test_who_is_said_to_have_ended_and_has_not_serves_nobody_until_that_is_forgotten(
    redis: RedisServer,
) -> None:
    async with peers(redis, 2) as (one, two):
        await seen(one, two.me)
        await one.nodes.bury(two.me)
        assert (await one.told_of(1))[0] == two.me
        await forgotten(redis, two.me)
        redis.say("DEL", buried_key(two.me))
        assert await two.told_of(1) == [two.me]  # its lease had run out, and is held again
        await seen(one, two.me)


async def test_a_node_that_goes_without_a_word_is_told_of_when_its_lease_has_run_out(
    redis: RedisServer,
) -> None:
    async with peers(redis, 2) as (one, two):
        began_s = trio.current_time()
        killed = stranger(redis, "killed", 300)
        await seen(one, killed)
        assert await one.told_of(1) == [killed]
        assert trio.current_time() - began_s >= 0.3
        assert await two.told_of(1) == [killed]
        await forgotten(redis, killed)


async def test_what_died_before_a_node_came_is_told_of_to_it(redis: RedisServer) -> None:
    redis.say("SADD", NODES, "former")
    async with peers(redis, 1) as (one,):
        assert await one.told_of(1) == ["former"]


async def test_a_node_that_comes_back_and_goes_again_is_told_of_again(redis: RedisServer) -> None:
    async with peers(redis, 1) as (one,):
        for times in range(1, 4):
            node = stranger(redis, "paused", 10_000)
            await seen(one, node)
            redis.say("DEL", lease_key(node))
            assert await one.told_of(times) == [node] * times
            await forgotten(redis, node)


async def test_who_could_not_follow_a_node_is_told_again(redis: RedisServer) -> None:
    async with peers(redis, 1) as (one,):
        one.failures = 2
        stranger(redis, "killed", 50)
        assert await one.told_of(1) == ["killed"]
        assert one.failures == 0


async def test_who_was_told_and_then_in_doubt_who_lives_is_told_again_and_so_is_who_comes_later(
    redis: RedisServer,
) -> None:
    async with peers(redis, 1) as (one,):
        while not one.nodes.lease.is_sure:
            await trio.lowlevel.checkpoint()
        listed: list[bytes] = []

        def doubt() -> None:
            listed.append(redis.say("SISMEMBER", NODES, "killed"))
            if len(listed) < 3:
                one.nodes.lease.doubt(0.2)

        one.meets = doubt
        stranger(redis, "killed", 50)
        assert await one.told_of(3) == ["killed"] * 3
        assert listed == [b":1\r\n"] * 3
        await forgotten(redis, NodeId("killed"))


async def test_a_node_that_comes_back_while_it_is_followed_stays_listed_and_is_told_of_when_it_goes(
    redis: RedisServer,
) -> None:
    async with peers(redis, 1) as (one,):
        one.meets = lambda: redis.say("SET", lease_key(NodeId("paused")), "{}", "PX", 300)
        node = stranger(redis, "paused", 50)
        assert await one.told_of(1) == [node]
        one.meets = None
        while not {name.id for name in await one.nodes.everybody()} >= {node}:
            await trio.lowlevel.checkpoint()
        assert redis.say("SISMEMBER", NODES, node) == b":1\r\n"
        assert await one.told_of(2) == [node, node]
        await forgotten(redis, node)


async def test_a_node_that_could_not_look_at_its_own_sessions_is_told_of_itself_again(
    redis: RedisServer,
) -> None:
    async with peers(redis, 1) as (one,):
        await seen(one, one.me)
        one.failures = 2
        redis.say("DEL", lease_key(one.me))
        assert await one.told_of(1) == [one.me]
        assert one.failures == 0


async def test_a_node_that_is_left_to_others_stays_listed_until_one_of_them_has_followed_it(
    redis: RedisServer,
) -> None:
    async with peers(redis, 2) as (one, two):

        def leave() -> None:
            if one.gone:
                return
            one.gone.append(killed)
            raise LeftToOthers(killed)

        one.meets, two.failures = leave, 1_000_000
        killed = stranger(redis, "killed", 50)
        while not one.gone:
            await trio.lowlevel.checkpoint()
        last = stranger(redis, "last", 50)
        assert await one.told_of(2) == [killed, last]
        assert redis.say("SISMEMBER", NODES, killed) == b":1\r\n"
        two.failures = 0
        await two.told_of(1)
        await forgotten(redis, killed)
        assert one.gone == [killed, last]


async def test_a_redis_that_has_forgotten_all_leases_makes_nobody_go_but_those_that_stay_away(
    redis: RedisServer,
) -> None:
    async with peers(redis, 3) as everyone:
        names = [peer.me for peer in everyone]
        lost = stranger(redis, "lost", 60_000)
        for peer in everyone:
            await seen(peer, *names, lost)
        began_s = trio.current_time()
        redis.say("FLUSHALL")
        for peer in everyone:
            assert await peer.told_of(1) == [peer.me]  # its own lease had run out
        for peer in everyone:
            assert await peer.told_of(2) == [peer.me, lost]
        assert trio.current_time() - began_s >= LEASE_S


async def test_while_redis_is_away_nobody_goes_and_nobody_is_known(tmp_path: Path) -> None:
    with redis_server(tmp_path / "own") as own:
        async with peers(own, 2) as (one, two):
            await seen(one, two.me)
            own.kill()
            while one.nodes._link.is_up:
                await trio.lowlevel.checkpoint()
            one.nodes.answer_s = 0.1
            with pytest.raises(StoreUnavailable):
                await one.nodes.everybody()
            await trio.to_thread.run_sync(own.start)
            assert await one.told_of(1) == [one.me]
            assert await two.told_of(1) == [two.me]
            one.nodes.answer_s = LATEST_S
            assert len(await one.nodes.everybody()) == 2
