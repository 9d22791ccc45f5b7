"""Letters between servers through a real Redis: in order, once, and within bounds."""

# pyright: reportPrivateUsage=false
# What waits is seen from inside.

from __future__ import annotations

import statistics
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define, field
from prometheus_client import REGISTRY

from bargein.cluster import redis_bus as bus_module
from bargein.cluster.redis_bus import RedisBus
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.keys import inbox_key
from bargein.timeline.redis_address import Address
from tests.scale import scaled
from tests.timeline.redis_proxy import proxied
from tests.timeline.redis_server import RedisServer, redis_server

LATEST_S = 20.0
ONE, TWO, THREE = NodeId("host.1.aa"), NodeId("host.2.bb"), NodeId("host.3.cc")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("bus")) as server:
        yield server


@pytest.fixture
def redis(server: RedisServer) -> RedisServer:
    server.say("FLUSHALL")
    return server


@define(eq=False)
class Desk:
    """A node's end of the bus, and what has come to it."""

    bus: RedisBus
    came: list[tuple[NodeId, bytes]] = field(factory=list[tuple[NodeId, bytes]])
    scope: trio.CancelScope = field(factory=trio.CancelScope)
    done: trio.Event = field(factory=trio.Event)
    _more: trio.Event = field(factory=trio.Event)

    def receive(self, sender: NodeId, letter: bytes) -> None:
        self.came.append((sender, letter))
        self._more.set()
        if letter == b"raise":
            raise ValueError

    async def count(self, count: int) -> list[tuple[NodeId, bytes]]:
        while len(self.came) < count:
            self._more = trio.Event()
            await self._more.wait()
        return self.came

    async def until(self, letter: bytes) -> None:
        while not self.came or self.came[-1][1] != letter:
            self._more = trio.Event()
            await self._more.wait()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.bus.run(self.receive, task_status=task_status)
        self.done.set()


def at(port: int) -> Address:
    return Address("127.0.0.1", port)


@asynccontextmanager
async def desks(*ends: tuple[int, NodeId]) -> AsyncGenerator[list[Desk]]:
    made = [Desk(RedisBus(at(port), name)) for port, name in ends]
    async with trio.open_nursery() as nursery:
        with trio.fail_after(LATEST_S):
            for desk in made:
                await nursery.start(desk.run)
            yield made
        nursery.cancel_scope.cancel()


def dropped() -> float:
    return REGISTRY.get_sample_value("bargein_letters_dropped_total") or 0.0


def missed() -> float:
    return REGISTRY.get_sample_value("bargein_letters_missed_total") or 0.0


def entries_added(redis: RedisServer, node: NodeId) -> int:
    """Return how many entries the inbox of a node has ever had."""
    words = redis.say("XINFO", "STREAM", inbox_key(node)).split(b"\r\n")
    return int(words[words.index(b"entries-added") + 1].removeprefix(b":"))


async def test_letters_come_in_the_order_sent_from_each_node(redis: RedisServer) -> None:
    port, count = redis.port, 2000
    async with desks((port, ONE), (port, TWO), (port, THREE)) as (one, two, three):
        for number in range(count):
            one.bus.send(THREE, b"one %d" % number)
            two.bus.send(THREE, b"two %d" % number)
            three.bus.send(ONE, b"three %d" % number)
            three.bus.send(THREE, b"self %d" % number)
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
        await three.count(3 * count)
        await one.count(count)
        for sender, name in ((ONE, b"one"), (TWO, b"two"), (THREE, b"self")):
            told = [letter for by, letter in three.came if by == sender]
            assert told == [b"%s %d" % (name, number) for number in range(count)]
        assert one.came == [(THREE, b"three %d" % number) for number in range(count)]
        assert two.came == []


async def test_what_is_sent_together_goes_together(redis: RedisServer) -> None:
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        for number in range(100):
            one.bus.send(TWO, b"%d" % number)
        await two.count(100)
        assert entries_added(redis, TWO) == 1


async def test_any_bytes_are_carried(redis: RedisServer) -> None:
    letters = [b"", b"\x00\xff\r\n", b"x" * 2**20, b"last"]
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        for letter in letters:
            one.bus.send(TWO, letter)
        assert [letter for _, letter in await two.count(len(letters))] == letters


async def test_who_was_written_to_before_it_listened_gets_its_letters(redis: RedisServer) -> None:
    async with desks((redis.port, ONE)) as (one,):
        one.bus.send(TWO, b"early")
        while redis.say("XLEN", inbox_key(TWO)) != b":1\r\n":
            await trio.lowlevel.checkpoint()
        async with desks((redis.port, TWO)) as (two,):
            await two.until(b"early")


async def test_a_receiver_that_raises_gets_the_letters_behind_it(redis: RedisServer) -> None:
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        for letter in (b"raise", b"next"):
            one.bus.send(TWO, letter)
        await two.until(b"next")


async def test_an_entry_that_nobody_understands_is_passed_over(redis: RedisServer) -> None:
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        redis.say("XADD", inbox_key(TWO), "*", "what", "ever")
        redis.say("XADD", inbox_key(TWO), "*", "s", "x", "n", "many", "l", "no")
        one.bus.send(TWO, b"sound")
        assert await two.count(1) == [(ONE, b"sound")]


async def test_the_last_letters_of_a_node_that_ends_are_sent_and_its_inbox_goes(
    redis: RedisServer,
) -> None:
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        two.bus.send(ONE, b"read")
        await one.until(b"read")
        one.bus.send(TWO, b"goodbye")
        one.scope.cancel()
        await one.done.wait()
        await two.until(b"goodbye")
        assert redis.say("EXISTS", inbox_key(ONE)) == b":0\r\n"


async def test_what_was_read_is_kept_no_longer(redis: RedisServer) -> None:
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        for number in range(50):
            one.bus.send(TWO, b"a secret %d" % number)
            await two.until(b"a secret %d" % number)
        with trio.fail_after(LATEST_S):
            while redis.say("XLEN", inbox_key(TWO)) != b":0\r\n":
                await trio.lowlevel.checkpoint()
        one.bus.send(TWO, b"and it goes on")
        await two.until(b"and it goes on")
        assert len(two.came) == 51


async def test_the_inbox_of_a_dead_node_goes_by_itself(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "KEPT_MS", 100)
    async with desks((redis.port, ONE)) as (one,):
        one.bus.send(TWO, b"nobody reads this")
        while one.bus._entries == 0 or one.bus._under_way:
            await trio.testing.wait_all_tasks_blocked()
        while redis.say("EXISTS", inbox_key(TWO)) != b":0\r\n":
            await trio.lowlevel.checkpoint()


# --- away, slow, forgetful -------------------------------------------------------------------


async def test_while_redis_is_away_the_oldest_letters_are_dropped_and_counted(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MOST_WAITING", 50)
    async with proxied(redis.port) as proxy, desks((proxy.port, ONE), (redis.port, TWO)) as ends:
        one, two = ends
        one.bus.send(TWO, b"before")
        await two.until(b"before")
        proxy.target = 1
        proxy.cut()
        while one.bus._sending.is_up:
            await trio.testing.wait_all_tasks_blocked(0.001)
        before = dropped()
        for number in range(200):
            one.bus.send(TWO, b"%d" % number)
        one.bus.send(THREE, b"another's")  # is nobody's loss
        assert dropped() - before == 150
        proxy.target = redis.port
        await two.until(b"199")
        assert [letter for _, letter in two.came[1:]] == [b"%d" % n for n in range(150, 200)]


async def test_large_letters_are_bounded_by_their_bytes(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MOST_WAITING_BYTES", 1000)
    bus = RedisBus(at(redis.port), ONE)
    before = dropped()
    for _ in range(20):
        bus.send(TWO, b"x" * 100)
    assert dropped() - before == 10
    assert len(bus._outboxes[TWO].letters) == 10


async def test_who_is_one_too_many_is_written_to_and_letters_that_had_to_go_are_counted(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MOST_NODES", 2)
    async with (
        proxied(redis.port) as proxy,
        desks((proxy.port, ONE), (redis.port, TWO)) as (
            one,
            two,
        ),
    ):
        proxy.target = 1  # nobody is there
        proxy.cut()
        while one.bus._sending.is_up:
            await trio.testing.wait_all_tasks_blocked(0.001)
        before = dropped()
        for name in ("x", "y"):
            one.bus.send(NodeId(name), b"1")
            one.bus.send(NodeId(name), b"2")
        assert dropped() == before
        one.bus.send(TWO, b"new")
        assert dropped() - before == 2
        assert [*one.bus._outboxes] == ["y", TWO]
        proxy.target = redis.port
        await two.until(b"new")
        one.bus.send(NodeId("z"), b"3")  # nothing waits any more, and nothing is lost
        assert dropped() - before == 2
        assert [*one.bus._outboxes] == [TWO, "z"]


async def test_a_wire_cut_at_any_byte_loses_doubles_and_turns_round_no_letter(
    redis: RedisServer,
) -> None:
    for number in range(max(10, scaled(150))):
        redis.say("FLUSHALL")
        cut_at = 7 + number * 53 % 1500
        async with (
            proxied(redis.port) as proxy,
            desks((proxy.port, ONE), (proxy.port, TWO)) as (one, two),
        ):
            proxy.cut_after_bytes = cut_at
            for place in range(30):
                one.bus.send(TWO, b"%d" % place)
                two.bus.send(ONE, b"%d" % place)
                await trio.testing.wait_all_tasks_blocked(0.0002)
            await two.until(b"29")
            await one.until(b"29")
            for desk in (one, two):
                assert [letter for _, letter in desk.came] == [b"%d" % n for n in range(30)]
            assert proxy.cuts > 0


async def test_letters_whose_answer_was_lost_come_once(redis: RedisServer) -> None:
    async with proxied(redis.port) as proxy, desks((proxy.port, ONE), (redis.port, TWO)) as ends:
        one, two = ends
        proxy.hold_answers()
        one.bus.send(TWO, b"first")
        await two.until(b"first")
        proxy.cut()
        proxy.answers.set()
        one.bus.send(TWO, b"second")
        await two.until(b"second")
        assert [letter for _, letter in two.came] == [b"first", b"second"]
        assert entries_added(redis, TWO) == 3  # it was sent twice


async def test_a_letter_does_not_wait_for_the_answer_to_the_one_before_it(
    redis: RedisServer,
) -> None:
    async with proxied(redis.port) as proxy, desks((proxy.port, ONE), (redis.port, TWO)) as ends:
        one, two = ends
        proxy.hold_answers()
        letters = [b"%d" % number for number in range(bus_module.MOST_UNDER_WAY)]
        for letter in letters:
            one.bus.send(TWO, letter)
            await two.until(letter)
        one.bus.send(TWO, b"one more")  # so much is not under way at a time
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert entries_added(redis, TWO) == len(letters)
        proxy.cut()
        proxy.answers.set()
        await two.until(b"one more")
        assert [letter for _, letter in two.came] == [*letters, b"one more"]
        assert entries_added(redis, TWO) == 2 * len(letters) + 1


async def test_after_redis_has_lost_its_data_letters_go_on(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "BLOCK_S", 0.05)
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        one.bus.send(TWO, b"before")
        await two.until(b"before")
        redis.say("FLUSHALL")
        one.bus.send(TWO, b"after")
        await two.until(b"after")
        # And what is older by its name than all that was there, as after a failover to a
        # server whose clock is behind.
        redis.say("FLUSHALL")
        redis.say("XADD", inbox_key(TWO), "1-1", "s", "late", "n", 1, "l", "by an older clock")
        await two.until(b"by an older clock")
        redis.say("FLUSHALL")
        redis.say("XADD", inbox_key(TWO), "1-1", "s", "late", "n", 2, "l", "by the same name")
        await two.until(b"by the same name")


async def test_a_redis_that_restarts_empty_carries_letters_again(tmp_path: Path) -> None:
    with redis_server(tmp_path / "own") as own:
        async with desks((own.port, ONE), (own.port, TWO)) as (one, two):
            one.bus.send(TWO, b"before")
            await two.until(b"before")
            own.kill()
            one.bus.send(TWO, b"while it was away")
            await trio.to_thread.run_sync(own.start)
            await two.until(b"while it was away")
            one.bus.send(TWO, b"after")
            await two.until(b"after")
            assert len(two.came) == 3


async def test_a_reader_that_was_away_too_long_is_told_that_letters_are_missing(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MOST_KEPT", 100)
    async with proxied(redis.port) as proxy, desks((redis.port, ONE), (proxy.port, TWO)) as ends:
        one, two = ends
        one.bus.send(TWO, b"first")
        await two.until(b"first")
        before = missed()
        proxy.target = 1
        proxy.cut()
        for number in range(400):  # of which Redis keeps whole nodes of its stream
            one.bus.send(TWO, b"%d" % number)
            while one.bus._entries < number + 2 or one.bus._under_way:
                await trio.testing.wait_all_tasks_blocked()
        kept = int(redis.say("XLEN", inbox_key(TWO))[1:])
        assert kept < 400
        proxy.target = redis.port
        await two.until(b"399")
        assert missed() - before == 400 - kept == 401 - len(two.came)


# --- how fast --------------------------------------------------------------------------------


async def test_a_letter_takes_about_a_millisecond(redis: RedisServer) -> None:
    async with desks((redis.port, ONE), (redis.port, TWO)) as (one, two):
        took_s: list[float] = []
        for number in range(200):
            began_s = trio.current_time()
            one.bus.send(TWO, b"%d" % number)
            await two.until(b"%d" % number)
            took_s.append(trio.current_time() - began_s)
        assert statistics.median(took_s) < 0.02  # on a busy machine; alone it is 0.5 ms
