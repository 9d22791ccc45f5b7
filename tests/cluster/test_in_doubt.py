"""While it is in doubt who lives, nothing that the dead have left counts as a living one's."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from bargein.actors.limits import Limits
from bargein.actors.ownership import OwnedElsewhere, OwnerInDoubt
from bargein.actors.session import Session
from bargein.actors.settling import Settling
from bargein.cluster import redis_nodes as nodes_module
from bargein.cluster.redis_nodes import RedisNodes
from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.redis import door as door_module
from bargein.timeline.redis import lease as lease_module
from bargein.timeline.redis.keys import NODES, row_key
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreUnavailable
from tests.cluster.town import House, Town, town
from tests.timeline.appends import A, Notes
from tests.timeline.redis_server import RedisServer, redis_server

LATEST_S = 20.0
DEAD = NodeId("dead.1.ff")


async def in_a_turn(a: House) -> SessionId:
    session_id = await a.open()
    caller = await a.attend(session_id)
    await caller.ask("say", text="tell me")
    (await a.model.line(0)).says("once")
    await caller.viewer.event("model.token")
    return session_id


async def killed(t: Town, a: House, session_id: SessionId) -> None:
    """Let a server die so that a session is still said to be its own."""
    await a.kill()
    t.owners[session_id] = a.me


def is_unsettled(t: Town, session_id: SessionId) -> bool:
    row = t.shelf.row(session_id)
    assert row is not None
    return row.unsettled


async def test_what_an_owner_left_of_whom_it_is_in_doubt_whether_it_lives_is_not_taken_for_followed(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await in_a_turn(a)
        await killed(t, a, session_id)
        b.claims.is_unsure = True
        for insist in (False, True):
            with pytest.raises(OwnerInDoubt) as caught:
                await b.sessions.recover(insist=insist)
            assert (caught.value.session_id, caught.value.owner) == (session_id, a.me)
        b.claims.is_unsure = False
        assert await b.sessions.recover(insist=True) == 1
        assert not is_unsettled(t, session_id)


async def test_what_a_living_owner_has_is_left_to_it_whether_or_not_all_else_is_in_doubt(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await in_a_turn(a)
        for b.claims.is_unsure in (False, True):
            assert await b.sessions.recover(insist=True) == 0
        assert t.owners[session_id] == a.me
        assert is_unsettled(t, session_id)


async def test_who_starts_while_it_is_in_doubt_who_lives_settles_what_is_left_once_it_is_known(
    autojump_clock: MockClock,
) -> None:
    async with town() as t:
        a, b = await t.build("a"), await t.build("b")
        session_id = await in_a_turn(a)
        await killed(t, a, session_id)
        b.claims.is_unsure = True
        assert await b.member.recover() == 0
        await trio.sleep(100)
        assert is_unsettled(t, session_id)
        b.claims.is_unsure = False
        await trio.sleep(60)
        assert not is_unsettled(t, session_id)
        assert t.owners.get(session_id) != a.me


# --- on a Redis --------------------------------------------------------------------------------


@define(eq=False)
class Survivor:
    """A server that follows others, and what is done to it in the middle of that."""

    redis: RedisServer
    store: RedisStore
    nodes: RedisNodes
    mishap: str
    taken: trio.Event = field(factory=trio.Event)
    told: int = 0
    _settling: Settling = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._settling = Settling(self.store, Limits, {}, {}, self._revive, self.store.owners.lives)

    async def _revive(self, session_id: SessionId) -> Session:
        owner = await self.store.owners.claim(session_id)
        if owner is not None:
            raise OwnedElsewhere(session_id, owner)
        self.taken.set()
        raise StoreUnavailable("all that matters is that it was claimed")

    async def on_gone(self, node: NodeId) -> None:
        if node == self.nodes.me:
            return
        self.told += 1
        if self.told == 1:
            if self.mishap == "restart":
                self.redis.kill()
                await trio.to_thread.run_sync(self.redis.start)
            assert self.store.lease._said_s is not None  # pyright: ignore[reportPrivateUsage]
            if self.mishap == "pause":
                self.store.lease._said_s -= 60  # pyright: ignore[reportPrivateUsage]
        try:
            await self._settling.all_left(insist=True)
        except StoreUnavailable:
            if not self.taken.is_set():
                raise


@pytest.mark.parametrize("mishap", ["restart", "pause", "nothing"])
async def test_a_takeover_in_which_redis_or_the_survivor_was_away_is_begun_again(
    mishap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "LEASE_S", 0.6)
    monkeypatch.setattr(door_module, "LEASE_S", 1.0)
    monkeypatch.setattr(door_module, "RENEW_S", 0.05)
    monkeypatch.setattr(nodes_module, "LOOK_S", 0.05)
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_server(tmp_path / "redis", *kept) as redis, trio.fail_after(LATEST_S):
        address = Address("127.0.0.1", redis.port)
        store, notes = RedisStore(address), Notes()
        survivor = Survivor(redis, store, RedisNodes(address, store.lease), mishap)
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            await nursery.start(survivor.nodes.run, survivor.on_gone, dict)
            await notes.stored(store, A, 1, 1)
            await store.owners.close()
            redis.say("HSET", row_key(A), "owner", DEAD, "token", f"{DEAD} abcd", "unsettled", 1)
            redis.say("ZADD", "bargein:{index}:unsettled", 0, A)
            redis.say("SADD", NODES, DEAD)
            await survivor.taken.wait()
            assert DEAD.encode() not in redis.say("HGET", row_key(A), "owner")
            while redis.say("SISMEMBER", NODES, DEAD) != b":0\r\n":  # noqa: ASYNC110 - Redis
                await trio.sleep(0.01)
            assert survivor.told >= 2 if mishap != "nothing" else survivor.told == 1
            nursery.cancel_scope.cancel()
