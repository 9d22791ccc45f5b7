"""The memory on Redis when answers are lost, and when Redis hangs, restarts or stays away."""

# pyright: reportPrivateUsage=false
# When there is a connection is seen from inside.

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from bargein.cluster.redis_facts import MOST_WAITING, RedisFacts
from bargein.cluster.redis_facts_rows import CHANGE, Shelf
from bargein.memory.errors import FactsInDoubt, FactsUnavailable
from bargein.memory.facts import Change, Erased
from bargein.timeline.redis.copies import TOO_FEW
from bargein.timeline.redis.link import Link
from bargein.timeline.redis.scripts import Command
from tests.memory.facts import (
    ANN,
    BOB,
    LATEST_S,
    address_of,
    assert_chained,
    forget,
    redis_at,
    running,
    save,
    texts,
)
from tests.scale import scaled
from tests.timeline.redis_proxy import proxied
from tests.timeline.redis_server import IN_MEMORY, RedisServer, redis_server

# --- lost answers ---------------------------------------------------------------------------------


def before_each_change(monkeypatch: pytest.MonkeyPatch, do: Callable[[Link], None]) -> None:
    """Do something to Redis or the link between the reading and the change itself."""
    through = Link.ask

    async def ask(link: Link, commands: Sequence[Command]) -> list[Any]:
        if commands[0][:2] == (b"EVALSHA", CHANGE.digest):
            do(link)
        return await through(link, commands)

    monkeypatch.setattr(Link, "ask", ask)


async def test_a_change_whose_connection_is_cut_anywhere_is_made_once(redis: RedisServer):
    cuts = scaled(300)
    async with proxied(redis.port) as proxy:
        facts = redis_at(proxy.address, call_s=LATEST_S)
        async with running(facts):
            for number in range(cuts):
                await facts._link.until_up()
                proxy.cut_after_bytes = 1 + 900 * number // cuts
                change = await facts.change(ANN, save("diet", f"text {number}", f"k{number}"))
                assert await facts.outcome(ANN, f"k{number}") == change
            changes = await facts.changes(ANN)
    assert proxy.cuts >= cuts // 2
    assert len(changes) == cuts
    assert_chained(changes)


async def test_a_change_without_an_answer_is_in_doubt_and_its_outcome_is_known_later(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    async with proxied(redis.port) as proxy:
        facts = redis_at(proxy.address, call_s=2.0)
        async with running(facts):
            before_each_change(monkeypatch, lambda _: proxy.hold_answers())
            with capture_logs() as logs, pytest.raises(FactsInDoubt):
                await facts.change(ANN, save("diet", "vegetarian", "k1"))
            assert [line["event"] for line in logs] == ["memory.in_doubt"]
            monkeypatch.undo()
            proxy.answers.set()
            facts.call_s = LATEST_S
            change = await facts.outcome(ANN, "k1")
            assert change is not None
            assert await facts.of(ANN) == (change.after,)


async def test_a_change_that_was_not_sent_is_in_no_doubt(redis: RedisServer):
    async with proxied(redis.port) as proxy:
        facts = redis_at(proxy.address, call_s=0.2)
        async with running(facts):
            proxy.hold_answers()
            with pytest.raises(FactsUnavailable):
                await facts.change(ANN, save("diet", "vegetarian", "k1"))
            proxy.answers.set()
            facts.call_s = LATEST_S
            assert await facts.outcome(ANN, "k1") is None
            assert await facts.of(ANN) == ()


@pytest.mark.parametrize("key", [None, "diet"])
async def test_an_erasure_without_an_answer_is_in_doubt_and_may_be_done_again(
    redis: RedisServer, key: str | None
):
    async with proxied(redis.port) as proxy:
        facts = redis_at(proxy.address)
        async with running(facts):
            await facts.change(ANN, save("diet", "vegetarian"))
            proxy.hold_answers()
            facts.call_s = 0.1
            with capture_logs(), pytest.raises(FactsInDoubt):
                await facts.erase(ANN, key)
            proxy.answers.set()
            facts.call_s = LATEST_S
            await facts.erase(ANN, key)
            assert await facts.of(ANN) == ()
            assert await facts.changes(ANN) == ()


async def test_what_a_redis_that_hung_was_sent_is_made_or_never_made(
    own: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    one, two = (redis_at(address_of(own), call_s=LATEST_S) for _ in range(2))
    scope = trio.CancelScope()

    def hang(link: Link) -> None:
        own.pause()
        link.answer_s = 0.05  # then it hangs up, and what it has sent is not read yet
        scope.deadline = trio.current_time() + 0.1

    async with running(one), running(two):
        for number in range(scaled(60)):
            done_key, scope = f"k{number}", trio.CancelScope()
            before_each_change(monkeypatch, hang)
            with scope:
                await one.change(ANN, save("diet", f"text {number}", done_key))
            monkeypatch.undo()
            assert scope.cancelled_caught
            own.resume()
            one._link.answer_s = 2.0
            outcome = await two.outcome(ANN, done_key)
            own.say("PING")  # whatever had come before this has been read
            kept = {change.source.done_key: change for change in await two.changes(ANN)}
            assert kept.get(done_key) == outcome
            await one.of(ANN)  # it has connected again
        assert_chained(await two.changes(ANN))


async def test_writers_whose_connections_are_cut_at_random_make_one_history(redis: RedisServer):
    facts = redis_at(address_of(redis))
    async with running(facts):
        for seed in range(scaled(30)):
            with capture_logs():
                told = await three_write(redis, random.Random(seed))  # noqa: S311
            changes = await facts.changes(ANN)
            assert_chained(changes)
            made = {change.source.done_key: change for change in changes}
            assert {key: made.get(key) for key in told} == told
            assert set(made) <= set(told)
            await facts.erase(ANN)


async def three_write(redis: RedisServer, chance: random.Random) -> dict[str, Change | None]:
    """Let three processes change one fact; return what each change came to, by its key."""
    told: dict[str, Change | None] = {}

    async def write(name: str) -> None:
        async with proxied(redis.port) as proxy:
            facts = redis_at(proxy.address, call_s=0.5)
            async with running(facts):
                for number in range(25):
                    if chance.random() < 0.3:
                        proxy.cut_after_bytes = chance.randint(1, 2000)
                    done_key = f"{name}{number}"
                    try:
                        told[done_key] = await facts.change(ANN, save("diet", "x", done_key))
                    except FactsUnavailable:
                        told[done_key] = None
                    except FactsInDoubt:
                        told[done_key] = await asked(facts, done_key)

    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(write, name)
    return told


async def asked(facts: RedisFacts, done_key: str) -> Change | None:
    while True:
        try:
            return await facts.outcome(ANN, done_key)
        except FactsUnavailable:
            continue


# --- away -----------------------------------------------------------------------------------------


async def test_a_redis_that_restarts_delays_a_call_and_keeps_what_it_has_acknowledged(
    own: RedisServer,
):
    facts = redis_at(address_of(own), call_s=LATEST_S)
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        own.kill()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, own.start)
            await facts.change(ANN, save("diet", "vegan", "k2"))
        assert await texts(facts, ANN) == {"diet": "vegan"}
        assert [change.source.done_key for change in await facts.changes(ANN)] == ["k1", "k2"]


async def test_while_redis_is_away_calls_fail_in_time_and_later_ones_are_served(own: RedisServer):
    facts = redis_at(address_of(own))
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian", "k1"))
        own.kill()
        facts.call_s = 0.1
        with trio.fail_after(LATEST_S):
            for call in (
                lambda: facts.of(ANN),
                lambda: facts.changes(ANN),
                lambda: facts.outcome(ANN, "k1"),
                lambda: facts.erase(ANN),
                lambda: facts.change(ANN, forget("diet")),
            ):
                with pytest.raises(FactsUnavailable):
                    await call()
        await trio.to_thread.run_sync(own.start)
        facts.call_s = LATEST_S
        assert await texts(facts, ANN) == {"diet": "vegetarian"}


async def test_a_redis_that_is_away_at_the_start_is_found_by_a_later_call(own: RedisServer):
    own.kill()
    facts = redis_at(address_of(own), open_s=0.1, call_s=LATEST_S)
    with capture_logs() as logs:
        async with running(facts), trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, own.start)
            await facts.change(ANN, save("diet", "vegetarian"))
    assert [line["event"] for line in logs][:1] == ["memory.not_opened"]


async def test_no_more_calls_wait_than_are_allowed(redis: RedisServer):
    refused: list[str] = []

    async with proxied(redis.port) as proxy:
        facts = redis_at(proxy.address, call_s=LATEST_S)

        async def ask() -> None:
            try:
                await facts.of(ANN)
            except FactsUnavailable as error:
                refused.append(error.reason)
                proxy.answers.set()

        async with running(facts):
            proxy.hold_answers()
            async with trio.open_nursery() as nursery:
                for _ in range(MOST_WAITING + 1):
                    nursery.start_soon(ask)
    assert refused == ["too many calls wait for it"]


async def test_a_memory_that_is_not_open_says_so(redis: RedisServer):
    facts = redis_at(address_of(redis))
    with pytest.raises(FactsUnavailable, match="has not been opened"):
        await facts.of(ANN)
    async with running(facts):
        pass
    for call in (lambda: facts.change(ANN, save("diet", "x")), lambda: facts.erase(ANN)):
        with pytest.raises(FactsUnavailable, match="has been closed"):
            await call()


async def test_a_redis_without_memory_takes_no_change_and_lets_read_and_erase(own: RedisServer):
    facts = redis_at(address_of(own))
    async with running(facts):
        await facts.change(ANN, save("diet", "vegetarian"))
        own.say("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(FactsUnavailable, match="OOM"):
            await facts.change(ANN, save("home", "Delft", "k2"))
        assert await facts.outcome(ANN, "k2") is None
        assert await facts.outcome(BOB, "k2") is None
        assert await texts(facts, ANN) == {"diet": "vegetarian"}
        assert await facts.erase(ANN, "home") == Erased(0, 0)
        assert await facts.erase(ANN) == Erased(1, 1)
        own.say("CONFIG", "SET", "maxmemory", 0)
        await facts.change(ANN, save("home", "Delft", "k2"))


# --- replicas -------------------------------------------------------------------------------------


@pytest.fixture
def replica(own: RedisServer, tmp_path: Path) -> Generator[RedisServer]:
    """Return a replica of that Redis."""
    follow = ("--replicaof", "127.0.0.1", str(own.port), "--repl-ping-replica-period", "1")
    with redis_server(tmp_path / "replica", *IN_MEMORY, *follow) as server:
        yield server


async def test_what_was_done_is_on_the_replicas_that_are_asked_for(
    own: RedisServer, replica: RedisServer
):
    own.say("CONFIG", "SET", "repl-diskless-sync-delay", 0)
    facts = redis_at(address_of(own), replicas=1, call_s=LATEST_S)
    shelf = Shelf.of(ANN)
    async with running(facts):
        for number in range(20):
            await facts.change(ANN, save(f"fact_{number}", "x"))
            assert replica.say("HLEN", shelf.facts) == b":%d\r\n" % (number + 1)
        assert await facts.outcome(ANN, "never") is None
        assert replica.say("HGET", shelf.head, "version") == own.say("HGET", shelf.head, "version")
        await facts.erase(ANN)
        assert replica.say("EXISTS", shelf.facts) == b":0\r\n"


async def test_without_the_replicas_that_are_asked_for_all_that_is_written_is_in_doubt(
    own: RedisServer,
):
    facts = redis_at(address_of(own), replicas=1, call_s=2.0)
    async with running(facts):
        with capture_logs(), pytest.raises(FactsInDoubt, match=f"{TOO_FEW}|took longer"):
            await facts.change(ANN, save("diet", "vegetarian", "k1"))
        facts.call_s = 0.7
        for done_key in ("k1", "never"):
            with pytest.raises(FactsUnavailable, match=f"{TOO_FEW}|took longer"):
                await facts.outcome(ANN, done_key)
        facts.call_s = LATEST_S
        assert await texts(facts, ANN) == {"diet": "vegetarian"}
        facts.call_s = 0.7
        with capture_logs(), pytest.raises(FactsInDoubt, match=f"{TOO_FEW}|took longer"):
            await facts.erase(ANN)


async def test_a_change_that_a_failover_has_lost_is_made_anew_where_it_went(
    own: RedisServer, tmp_path: Path
):
    """The old primary has made it and waits for a replica; the new one has never seen it."""
    with redis_server(tmp_path / "next") as promoted:
        async with proxied(own.port) as proxy:
            facts = redis_at(proxy.address, replicas=1, call_s=LATEST_S)
            async with running(facts), trio.open_nursery() as nursery:
                nursery.start_soon(facts.change, ANN, save("diet", "vegetarian", "k1"))
                while own.say("EXISTS", Shelf.of(ANN).facts) != b":1\r\n":
                    await trio.lowlevel.checkpoint()
                proxy.target = promoted.port
                facts._copies.wanted = 0
                proxy.cut()
            assert promoted.say("HEXISTS", Shelf.of(ANN).facts, "diet") == b":1\r\n"
