"""What one client may take of the server: how long it may lag, and how many there may be."""

from __future__ import annotations

from typing import Any

import trio
from prometheus_client import REGISTRY

from bargein.gateway.memory import resident_bytes
from bargein.gateway.settings import Limits
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import by_words, words
from tests.e2e.test_stalled_reader import ANSWER, WINDOW_BYTES, stalled
from tests.fakes.anthropic_answers import saying
from tests.gateway.raw_client import (
    CLOSE,
    DEADLINE_S,
    RawClient,
    ask,
    dial,
    opened,
    request,
    status,
)
from tests.scale import scaled


async def test_a_client_that_lags_for_too_long_is_closed_with_4001_and_loses_nothing():
    offered = {"Sec_WebSocket_Protocol": "bargein.v1"}
    limits = Limits(lagging_events=8, lagging_s=0.3)
    async with (
        world(by_words({"Flood": ANSWER}), limits=limits, deadline_s=60) as w,
        opened(w.port, window_bytes=WINDOW_BYTES, **offered) as raw,
    ):
        await stalled(w, raw)
        await eventually(lambda: all(not wire.is_open for wire in w.edge.connections))
        with trio.fail_after(DEADLINE_S):  # it reads again: all that was on its way is there
            assert await raw.read_close() == 4001


async def test_one_connection_over_the_limit_is_refused_with_503():
    async with world(by_words({}), limits=Limits(connections_most=1)) as w:
        first = await w.attach()
        answer = await ask(w.port, request())
        assert status(answer) == 503
        assert b"Retry-After: 5" in answer
        await first.send("ping")
        await first.until("pong")


# --- a process that is full ----------------------------------------------------------------------

PAGE: dict[str, Any] = {"Origin": "http://localhost:3000", "Sec_WebSocket_Protocol": "bargein.v1"}
MIB = 1024 * 1024


def turned_away(reason: str) -> float:
    name = "bargein_turned_away_total"
    return REGISTRY.get_sample_value(name, {"reason": reason}) or 0.0


async def test_a_page_over_the_limit_is_told_so_after_the_upgrade_without_a_hello():
    before = turned_away("connections")
    async with world(by_words({}), limits=Limits(connections_most=1)) as w:
        first = await w.attach()
        async with opened(w.port, **PAGE) as page:
            opcode, payload = await page.read_frame()
            assert (opcode, payload[:2]) == (CLOSE, (4002).to_bytes(2))
        await first.send("ping")
        await first.until("pong")
        assert turned_away("connections") == before + 1
        await first.leave()
        await eventually(lambda: not w.edge.connections)
        await w.attach()  # there is room again


async def test_sessions_over_the_limit_are_refused_and_those_in_memory_are_not():
    before = turned_away("sessions")
    async with world(by_words({}), limits=Limits(sessions_most=2)) as w:
        alice, _ = await w.attach(), await w.attach()
        assert status(await ask(w.port, request())) == 503
        unknown = "/v1/session/sess_unknown"
        assert status(await ask(w.port, request(unknown))) == 503
        tab = await w.attach(alice.session_id)  # costs no session
        await tab.send("ping")
        await tab.until("pong")
        assert turned_away("sessions") == before + 2


async def test_short_of_memory_new_clients_are_refused_and_the_longest_idle_is_sent_away():
    limits = Limits(memory_bytes=resident_bytes() + 256 * MIB)
    async with world(by_words({}, saying(*words(400), interval_s=0.02)), limits=limits) as w:
        idle, lively, listening = await w.attach(), await w.attach(), await w.attach()
        await lively.send("ping")
        await lively.until("pong")
        await listening.say("Tell me a long story")
        before = turned_away("memory")
        ballast = bytearray(1) * int(limits.memory_bytes or 0)
        try:
            async with opened(w.port, **PAGE) as page:  # it was measured a moment ago
                await page.read_frame()
            assert await idle.until_closed() == 4002
            assert status(await ask(w.port, request())) == 503
            assert turned_away("memory") >= before + 1
            assert not listening.closed.is_set()  # it has been silent for as long, but is spoken to
        finally:
            ballast.clear()
        while not await has_room(w):  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.05)
        back = await w.back(idle)
        assert back.hello["resumed"] is True


async def has_room(w: World) -> bool:
    client = await dial(w.port)
    try:
        await client.send(request())
        return status(await client.read_head()) == 101
    finally:
        await trio.aclose_forcefully(client.stream)


# --- before the upgrade -------------------------------------------------------------------------


async def test_idle_sockets_cost_little_and_hold_up_nobody_who_is_in():
    count = scaled(5000)
    limits = Limits(handshakes_most=count // 2)
    async with world(by_words({}), limits=limits, deadline_s=120) as w:
        alice = await w.attach()
        before_bytes = resident_bytes()
        idle: list[RawClient] = []
        try:
            for number in range(count):
                idle.append(await dial(w.port))
                if number % 50 == 0:
                    await alice.send("ping", nonce=str(number))
                    answered_s = trio.current_time()
                    await alice.until("pong", nonce=str(number))
                    assert trio.current_time() - answered_s < 1
            # Both ends are in this process.
            assert resident_bytes() - before_bytes < 10_000 * 2 * count + 5 * MIB
            measured_s = trio.current_time() + 1.5  # it is once a second
            await eventually(lambda: trio.current_time() > measured_s)
            assert live_sessions() == 1
            assert len(w.edge.connections) == 1
        finally:
            for client in idle:
                client.stream.socket.close()


def live_sessions() -> float:
    return REGISTRY.get_sample_value("bargein_sessions_live") or 0.0


async def test_many_who_come_at_once_are_all_served():
    count = scaled(2000)
    async with world(by_words({}), limits=Limits(handshakes_most=20), deadline_s=120) as w:
        greeted = 0

        async def come() -> None:
            nonlocal greeted
            async with opened(w.port, Sec_WebSocket_Protocol="bargein.v1") as raw:
                assert b'"hello"' in await raw.read_text()
                greeted += 1

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(come)
        assert greeted == count
