"""Model slots that several server processes share: over sockets, with a real Redis, and faults."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import trio
from attrs import define, field

from tests.cluster.slot_servers import GOLD, seen_through, servers, token
from tests.e2e.client import DEADLINE_S, Client, Frame
from tests.e2e.process import ServerProcess
from tests.fakes.tokens import SHARED
from tests.scale import scaled
from tests.timeline.redis_server import RedisServer, redis_server

MOST_ADDED_S = 0.05
DURABLE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


def waited_s(trace: Frame) -> float:
    """Return how long a turn waited for its slot."""
    return sum(s["ms"] for s in trace.payload["spans"] if s["name"] == "slot") / 1000


async def figure(server: ServerProcess, name: str) -> float:
    """Return the sum of what a server counts under a name, over all labels."""
    _, page = await server.get("/metrics")
    values = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", page, re.MULTILINE)
    return sum(map(float, values))


@define
class Pings:
    """How long a server takes to answer at the worst; nobody gets a slot through it sooner."""

    client: Client
    most_s: float = field(default=0.0)

    async def run(self) -> None:
        while True:
            asked_s = trio.current_time()
            await self.client.ask("ping")
            self.most_s = max(self.most_s, trio.current_time() - asked_s)
            await trio.sleep(0.02)


@pytest.mark.slow
async def test_over_two_servers_a_higher_tier_hardly_waits_and_nobody_starves(
    tmp_path: Path, redis: RedisServer
) -> None:
    rounds, plain, slots = scaled(20), 18, 4
    put_off: list[int] = []
    waits_s: list[float] = []
    terms = {"BARGEIN_SLOTS_AGING_S": "1", "BARGEIN_SLOTS_PREEMPTED_MOST": "3"}
    async with servers(tmp_path, redis, 2, slots, **terms) as there:
        places = there.places
        users = [await places[n % 2].attach(token=token(f"u{n}")) for n in range(plain)]
        golden = [await place.attach(token=GOLD) for place in places]
        working = trio.Event()
        await golden[0].converse("Brief")  # a Redis that was just started gives out none
        pings = [Pings(await place.attach(token=token("ping"))) for place in places]

        async def work(client: Client) -> None:
            for _ in range(rounds):
                turn_id = (await client.say("Work"))["result"]["turn_id"]
                working.set()
                put_off.append(await seen_through(client, turn_id))

        async def ask(client: Client) -> None:
            await working.wait()
            while len(put_off) < plain * rounds - 2 * slots:
                turn_id = await client.converse("Brief")
                waits_s.append(waited_s(await client.until("turn.trace", turn_id=turn_id)))
                await trio.sleep(0.15)

        async with trio.open_nursery() as pinging:
            for ping in pings:
                pinging.start_soon(ping.run)
            async with trio.open_nursery() as everybody:
                for client in users:
                    everybody.start_soon(work, client)
                for client in golden:
                    everybody.start_soon(ask, client)
            pinging.cancel_scope.cancel()
        late_s = max(ping.most_s for ping in pings)
        await there.until_nobody_wants_one()
        counted = [await figure(p, "bargein_preemptions_total") for p in places]
        assert [await figure(p, "bargein_model_slots") for p in places] == [slots, slots]
        assert [await figure(p, "bargein_model_slots_in_use") for p in places] == [0, 0]
        assert [await figure(p, "bargein_model_slots_waiting") for p in places] == [0, 0]
    waits_s.sort()
    p99_s = waits_s[int(0.99 * (len(waits_s) - 1))]
    print(  # noqa: T201
        f"{len(waits_s)} gold: p50 {waits_s[len(waits_s) // 2] * 1000:.1f} ms, "
        f"p99 {p99_s * 1000:.1f} ms (a ping {late_s * 1000:.0f} ms at the worst); "
        f"{sum(put_off)} put off, one at most {max(put_off)} times"
    )
    assert len(put_off) == plain * rounds
    assert sum(put_off) > 0
    assert sum(counted) >= sum(put_off)
    assert max(put_off) <= 3
    assert there.most_run == slots
    # Its way goes through both servers, and on a machine that does much else each is late.
    assert p99_s <= MOST_ADDED_S + 2 * late_s, waits_s[-5:]


async def test_a_fresh_token_counts_for_the_next_turn_though_another_server_has_the_session(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with servers(tmp_path, redis, 2, 1) as there:
        one, two = there.places
        ann = await one.attach(token=token("ann"))
        there_too = await two.attach(ann.session_id, token=token("ann"))
        await there_too.converse("Brief")
        of_gold = r'bargein_model_slot_wait_seconds_count{tier="gold"} (\S+)'
        fresh = await there_too.ask("auth", token=SHARED.sign("ann", tier="gold"))
        assert fresh.type == "reply"
        await there_too.converse("Brief")
        await there_too.converse("Brief")
        with trio.fail_after(DEADLINE_S):  # a page of figures is shown for a while
            while re.findall(of_gold, (await one.get("/metrics"))[1]) != ["2.0"]:  # noqa: ASYNC110
                await trio.sleep(0.1)


@pytest.mark.slow
async def test_slots_of_a_killed_server_come_back_within_five_seconds(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with servers(tmp_path, redis, 2, 1) as there:
        one, two = there.places
        ann = await one.attach(token=token("ann"))
        await ann.say("Long")
        await ann.until("model.token")
        bob = await two.attach(token=token("bob"))
        turn_id = (await bob.say("Brief"))["result"]["turn_id"]
        await bob.until("turn.start")
        assert bob.find("model.start") is None
        killed_s = trio.current_time()
        await one.kill()
        start = await bob.until("model.start")
        took_s = start.at_s - killed_s
        print(f"after {took_s:.1f} s")  # noqa: T201
        assert await seen_through(bob, turn_id) == 0
        assert took_s < 5.0
        assert there.most_run == 1


@pytest.mark.slow
async def test_a_server_that_stood_still_goes_on_and_no_slot_is_lost(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with servers(tmp_path, redis, 2, 1) as there:
        one, two = there.places
        ann = await one.attach(token=token("ann"))
        await ann.say("Long")
        await ann.until("model.token")
        bob = await two.attach(token=token("bob"))
        os.kill(one.process.pid, signal.SIGSTOP)
        turn_id = (await bob.say("Brief"))["result"]["turn_id"]
        assert await seen_through(bob, turn_id) == 0
        os.kill(one.process.pid, signal.SIGCONT)
        # Its session may have been taken over meanwhile: then it comes back from the other server.
        await ann.until_closed()
        again = await two.attach(ann.session_id, token=token("ann"))
        await again.converse("Brief")
        await there.until_nobody_wants_one()
        last = [await place.attach(token=token("cid")) for place in there.places]
        for client in last:
            await client.converse("Brief")


@pytest.mark.slow
async def test_a_redis_that_ends_and_comes_back_has_no_slot_given_twice(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", *DURABLE) as redis:
        async with servers(tmp_path, redis, 2, 2, may_log=("store.failed",)) as there:
            users = [await there.places[n % 2].attach(token=token(f"u{n}")) for n in range(4)]
            turns = [(await user.say("Work"))["result"]["turn_id"] for user in users]
            redis.kill()
            await trio.to_thread.run_sync(redis.start)
            for user, turn_id in zip(users, turns, strict=True):
                assert await seen_through(user, turn_id) == 0
            await there.until_nobody_wants_one()
            assert there.most_run == 2
