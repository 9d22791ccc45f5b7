"""The memory on Redis: many processes, what comes late, damage, and what can't be served."""

# pyright: reportPrivateUsage=false
# What is under way is seen, and held up, from inside.

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from bargein.cluster.redis_facts import RedisFacts
from bargein.cluster.redis_facts_rows import ALONE_MS, Shelf
from bargein.memory.changes import change_for
from bargein.memory.errors import FactRefused, FactsUnavailable, FactsUnreadable
from bargein.memory.facts import Change, Erased, Owner
from bargein.timeline.redis.keys import VERSION
from bargein.timeline.redis.lease import LAYOUT
from bargein.timeline.redis.scripts import Command
from bargein.timeline.redis_address import Address
from tests.memory.facts import (
    ANN,
    BOB,
    LATEST_S,
    address_of,
    assert_chained,
    forget,
    opener_on,
    redis_at,
    running,
    save,
    texts,
    undo,
)
from tests.timeline.redis_server import RedisServer, redis_server

CANARY = "canary-in-a-fact"
ANNS = Shelf.of(ANN)


def said(redis: RedisServer, command: Command) -> bytes:
    """Send a command as one that comes late would: by nobody who is there any more."""
    name, *arguments = command
    return redis.say(name, *arguments)


# --- several processes ----------------------------------------------------------------------------


async def test_what_one_process_changes_another_tells_at_once(redis: RedisServer):
    one, two = opener_on(redis)(), opener_on(redis)()
    async with running(one), running(two):
        await one.change(ANN, save("diet", "vegetarian", "k1"))
        assert await texts(two, ANN) == {"diet": "vegetarian"}
        await two.change(ANN, save("diet", "vegan", "k2"))
        with pytest.raises(FactRefused, match="has changed since"):
            await one.change(ANN, undo("k1"))
        await one.change(ANN, undo("k2"))
        assert await texts(two, ANN) == {"diet": "vegetarian"}
        await two.erase(ANN)
        assert await one.of(ANN) == ()
        assert await one.outcome(ANN, "k1") is None


async def test_changes_that_meet_are_all_made_each_once_and_in_one_order(redis: RedisServer):
    count = 20
    one, two = opener_on(redis)(), opener_on(redis)()
    async with running(one), running(two), trio.open_nursery() as nursery:
        for number in range(count):
            facts = (one, two)[number % 2]
            nursery.start_soon(facts.change, ANN, save("diet", f"text {number}", f"k{number}"))
    async with running(one):
        changes = await one.changes(ANN)
        assert {change.source.done_key for change in changes} == {f"k{n}" for n in range(count)}
        assert_chained(changes)
        assert await one.of(ANN) == (changes[-1].after,)


async def test_the_same_action_in_two_processes_is_done_once(redis: RedisServer):
    made: list[Change] = []

    async def change(facts: RedisFacts) -> None:
        made.append(await facts.change(ANN, save("diet", "vegetarian", "k1")))

    one, two = redis_at(address_of(redis)), redis_at(address_of(redis))
    async with running(one), running(two):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change, one)
            nursery.start_soon(change, two)
        assert made[0] == made[1]
        assert len(await one.changes(ANN)) == 1


# --- what comes late ------------------------------------------------------------------------------


async def planned(facts: RedisFacts, done_key: str) -> Command:
    """Return the call of a change as it is sent, and may be under way for long."""
    version, *_ = await facts._link.ask(ANNS.reads(done_key))
    now = {fact.key: fact for fact in await facts.of(ANN)}
    change = change_for(save("diet", "late", done_key), now, None, "2026-11-21T10:13:00.000Z")
    return ANNS.change_call(version or b"", change)


@pytest.mark.parametrize("is_new", [True, False])
async def test_a_change_of_which_it_was_said_that_it_was_not_made_is_not_made_later(
    redis: RedisServer, is_new: bool
):
    facts = redis_at(address_of(redis))
    async with running(facts):
        if not is_new:
            await facts.change(ANN, save("home", "Delft"))
        late = await planned(facts, "k1")
        assert await facts.outcome(ANN, "k1") is None
        assert said(redis, late) == b"*1\r\n:0\r\n"
        assert "diet" not in await texts(facts, ANN)
        assert said(redis, await planned(facts, "k2")).startswith(b"*2\r\n:1\r\n")
        assert (await texts(facts, ANN))["diet"] == "late"  # so it would have been made


@pytest.mark.parametrize("key", [None, "diet", "home"])
async def test_a_change_that_was_under_way_before_an_erasure_brings_nothing_back(
    redis: RedisServer, key: str | None
):
    facts = redis_at(address_of(redis))
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        late = await planned(facts, "k1")
        await facts.erase(ANN, key)
        before = await facts.of(ANN)
        assert said(redis, late) == b"*1\r\n:0\r\n"
        assert await facts.of(ANN) == before


async def test_what_was_made_and_is_sent_again_is_answered_and_not_made_again(redis: RedisServer):
    facts = redis_at(address_of(redis))
    async with running(facts):
        late = await planned(facts, "k1")
        assert said(redis, late).startswith(b"*2\r\n:1\r\n")
        await facts.change(ANN, forget("diet"))
        assert said(redis, late).startswith(b"*2\r\n:1\r\n")
        assert await facts.of(ANN) == ()
        assert len(await facts.changes(ANN)) == 2


async def test_of_somebody_of_whom_nothing_is_kept_a_version_stays_for_a_while(
    redis: RedisServer,
):
    facts = redis_at(address_of(redis))
    async with running(facts):
        assert redis.say("DBSIZE") == b":0\r\n"
        await facts.change(ANN, save("diet", "vegetarian"))
        assert redis.say("PTTL", ANNS.head) == b":-1\r\n"
        await facts.outcome(ANN, "never")
        assert redis.say("PTTL", ANNS.head) == b":-1\r\n"
        await facts.erase(ANN)
        assert redis.say("KEYS", "*") == f"*1\r\n${len(ANNS.head)}\r\n{ANNS.head}\r\n".encode()
        assert 0 < int(redis.say("PTTL", ANNS.head)[1:]) <= ALONE_MS
        assert redis.say("HLEN", ANNS.head) == b":1\r\n"
        await facts.change(ANN, save("diet", "vegan"))
        assert redis.say("PTTL", ANNS.head) == b":-1\r\n"


# --- what can't be served -------------------------------------------------------------------------


async def refused(facts: RedisFacts, why: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(FactsUnreadable, match=why)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(facts.run)


async def test_a_redis_that_newer_code_has_written_to_is_refused(redis: RedisServer):
    redis.say("SET", VERSION, LAYOUT + 1)
    with trio.fail_after(LATEST_S):
        await refused(redis_at(address_of(redis)), "run the newer code again")


async def test_a_wrong_password_is_refused_and_not_told(tmp_path: Path):
    with redis_server(tmp_path / "shut", "--requirepass", "right") as shut:
        wrong = Address("127.0.0.1", shut.port, password="wr0ng")  # noqa: S106 - of this test
        with trio.fail_after(LATEST_S), capture_logs() as logs:
            await refused(redis_at(wrong), "opened: Redis refuses the user or the password$")
    assert "wr0ng" not in str(logs)


async def test_a_redis_that_may_evict_is_refused(own: RedisServer):
    own.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    with trio.fail_after(LATEST_S):
        await refused(redis_at(address_of(own)), "allkeys-lru")


# --- damage ---------------------------------------------------------------------------------------


def damage(redis: RedisServer, key: str, name: str, old: bytes, new: bytes) -> None:
    row = redis.say("HGET", key, name).split(b"\r\n", 1)[1].removesuffix(b"\r\n")
    assert old in row
    redis.say("HSET", key, name, row.replace(old, new))


async def test_a_damaged_fact_is_left_out_and_the_others_are_told(redis: RedisServer):
    facts = redis_at(address_of(redis))
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        await facts.change(ANN, save("home", "Delft"))
        damage(redis, ANNS.facts, "diet", b"vege", b"Vege")
        with capture_logs() as logs:
            assert await texts(facts, ANN) == {"home": "Delft"}
            await facts.change(ANN, save("diet", "vegan"))
        assert await texts(facts, ANN) == {"diet": "vegan", "home": "Delft"}
    assert {line["event"] for line in logs} == {"fact.damaged"}


@pytest.mark.parametrize(
    ("old", "new"), [(b"vege", b"Vege"), (b" diet ", b" duet "), (b" diet ", b"?"), (b'"', b"\xff")]
)
async def test_a_damaged_change_is_neither_told_nor_denied(
    redis: RedisServer, old: bytes, new: bytes
):
    facts = redis_at(address_of(redis))
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        damage(redis, ANNS.changes, "k1", old, new)
        with capture_logs():
            assert await facts.changes(ANN) == ()
            for call in (
                lambda: facts.outcome(ANN, "k1"),
                lambda: facts.change(ANN, save("diet", "vegetarian", "k1")),
                lambda: facts.change(ANN, undo("k1")),
            ):
                with pytest.raises(FactsUnavailable, match="is damaged"):
                    await call()
            assert await texts(facts, ANN) == {"diet": "vegetarian"}


async def test_a_fact_of_somebody_else_is_damage(redis: RedisServer):
    facts = redis_at(address_of(redis))
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        redis.say("COPY", ANNS.facts, Shelf.of(BOB).facts)
        with capture_logs() as logs:
            assert await facts.of(BOB) == ()
    assert [line["event"] for line in logs] == ["fact.damaged"]


@pytest.mark.parametrize("name", ["head", "facts", "changes", "order"])
async def test_a_key_that_is_none_of_ours_is_touched_by_an_erasure_alone(
    redis: RedisServer, name: str
):
    facts = redis_at(address_of(redis))
    async with running(facts):
        redis.say("SET", getattr(ANNS, name), "theirs")
        with pytest.raises(FactsUnavailable, match="wrong kind"):
            await facts.change(ANN, save("diet", "vegetarian", "k1"))
        assert redis.say("DBSIZE") == b":1\r\n"
        await facts.erase(ANN)
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        assert await texts(facts, ANN) == {"diet": "vegetarian"}


async def test_what_was_erased_is_in_no_byte_that_redis_then_saves(own: RedisServer):
    own.say("CONFIG", "SET", "rdbcompression", "no")
    saved = own.directory / "dump.rdb"
    facts = redis_at(address_of(own))
    async with running(facts):
        await facts.change(BOB, save("diet", "carnivore"))
        await facts.change(ANN, save("secret", CANARY, "k1"))
        await facts.change(ANN, save("secret", "other", "k2"))
        await facts.change(ANN, forget("secret", "k3"))
        own.say("SAVE")
        assert CANARY.encode() in saved.read_bytes()
        await facts.erase(ANN, "secret")
        own.say("SAVE")
        assert CANARY.encode() not in saved.read_bytes()
        assert await texts(facts, BOB) == {"diet": "carnivore"}


# --- a Cluster ------------------------------------------------------------------------------------


async def test_each_call_touches_one_slot_alone(tmp_path: Path):
    """Held by a Redis that refuses what doesn't: a Cluster of one."""
    with redis_server(tmp_path / "cluster", "--cluster-enabled", "yes") as cluster:
        cluster.say("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        facts = redis_at(address_of(cluster), call_s=LATEST_S)
        async with running(facts):
            await facts.change(ANN, save("diet", "vegetarian", "k1"))
            await facts.change(BOB, save("diet", "carnivore", "k1"))
            await facts.change(ANN, undo("k1"))
            assert await facts.outcome(ANN, "k1") is not None
            assert await facts.outcome(ANN, "never") is None
            assert len(await facts.changes(ANN)) == 2
            assert await facts.erase(ANN, "diet") == Erased(0, 2)
            assert await facts.erase(BOB) == Erased(1, 1)
        assert Shelf.of(Owner("ann", "")).head != ANNS.head
