"""Connections on which nothing comes any more, and readers that hardly read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from bargein.gateway.settings import Limits
from tests.checker import check_client_log, overlap_differs
from tests.e2e import client
from tests.e2e.client import Client, path_of
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import by_words
from tests.e2e.test_stalled_reader import ANSWER, FLOOD, WINDOW_BYTES
from tests.faults.frames import command
from tests.gateway.raw_client import DEADLINE_S, RawClient, dial, opened, request
from tests.network.proxy import Fault, Proxy, proxied
from tests.network.traveller import OFFERED

HEARTBEAT_S = 0.5
LATE_S = 5.0
"""What a machine that does a lot beside may add to any of the limits here."""


async def followed(w: World, proxy: Proxy, alice: Client) -> Client:
    """Attach a watcher through the proxy."""
    watcher = await client.dial(w.nursery, proxy.port, alice.session_id, role="watch")
    w.clients.append(watcher)
    await watcher.until("session.attached", role="watch")
    return watcher


async def came_back(w: World, watcher: Client) -> None:
    """Let the watcher resume without the proxy, and check that it gets exactly the rest."""
    back = await w.back(watcher, role="watch")
    assert back.hello["resumed"] is True
    assert back.hello["replay_from"] == watcher.last_seq + 1
    assert back.events[0].seq == watcher.last_seq + 1


async def test_a_half_open_connection_is_given_up_after_two_heartbeats_and_resumes():
    async with world(by_words({}), heartbeat_s=HEARTBEAT_S) as w, proxied(w.port) as proxy:
        alice = await w.attach()
        watcher = await followed(w, proxy, alice)
        silent_s = trio.current_time()
        proxy.latest.fall_silent()
        gone = await alice.until("session.detached", role="watch")
        # The last sign of life may be a heartbeat old when the silence begins.
        assert HEARTBEAT_S * 0.8 < gone.at_s - silent_s < 2 * HEARTBEAT_S + LATE_S
        assert [line for line in w.logs if line["event"] == "heartbeat.lost"]
        assert not watcher.closed.is_set()  # nobody has told it
        await watcher.cut()
        await came_back(w, watcher)


async def test_a_client_whose_own_bytes_get_lost_is_told_4004():
    async with world(by_words({}), heartbeat_s=HEARTBEAT_S) as w, proxied(w.port) as proxy:
        alice = await w.attach()
        watcher = await followed(w, proxy, alice)
        proxy.latest.fall_silent("up")
        assert await watcher.until_closed() == 4004
        await came_back(w, watcher)


async def test_a_half_open_connection_is_given_up_sooner_where_output_waits():
    limits = Limits(stall_s=0.3)
    async with (
        world(by_words({"Flood": ANSWER}), limits=limits, heartbeat_s=60.0) as w,
        proxied(w.port) as proxy,
    ):
        alice = await w.attach()
        watcher = await followed(w, proxy, alice)
        proxy.latest.fall_silent()
        turn_id = (await alice.say("Flood me"))["result"]["turn_id"]
        gone = await alice.until("session.detached", role="watch")
        assert gone.payload["connections"] == 1
        await alice.ask("interrupt", turn_id=turn_id)
        await watcher.cut()
        await came_back(w, watcher)


# --- readers that hardly read -----------------------------------------------------------------


async def read_a_byte_at_a_time(raw: RawClient, until: trio.Event) -> None:
    """Read one byte, wait long, read the next."""
    while not until.is_set():
        raw.received += await raw.stream.receive_some(1)
        with trio.move_on_after(0.05):
            await until.wait()


async def read_to_the_close(raw: RawClient) -> tuple[list[bytes], int]:
    """Read on at full speed; return the frames and the close code."""
    frames: list[bytes] = []
    with trio.fail_after(DEADLINE_S):
        while True:
            opcode, payload = await raw.read_frame()
            if opcode == 8:
                return frames, int.from_bytes(payload[:2])
            frames.append(payload)


async def test_a_reader_of_a_byte_at_a_time_is_told_that_it_lags_and_then_4001():
    limits = Limits(lagging_events=8, lagging_s=0.5)
    async with world(by_words({"Flood": ANSWER}), limits=limits) as w:
        async with opened(w.port, window_bytes=WINDOW_BYTES, **OFFERED) as raw:
            await raw.send(command(type="say", text="Flood me"))
            exchange = await w.api.exchange(0)
            given_up = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read_a_byte_at_a_time, raw, given_up)
                await eventually(lambda: exchange.tokens_sent > FLOOD)
                await eventually(lambda: not any(wire.is_open for wire in w.edge.connections))
                given_up.set()
            frames, code = await read_to_the_close(raw)
        assert code == 4001
        assert check_client_log(frames) == []
        bodies: list[dict[str, Any]] = [json.loads(frame) for frame in frames]
        assert [body["type"] for body in bodies][-1] == "lagging"
        hello = bodies[0]
        events = [body for body in bodies if "event_id" in body]
        back = await w.attach(
            hello["session_id"], after=events[-1]["seq"], epoch=hello["epoch"], role="watch"
        )
        assert back.hello["resumed"] is True
        assert back.events[0].seq == events[-1]["seq"] + 1


@pytest.mark.slow
async def test_a_reader_slower_than_the_session_gets_merged_tokens_and_then_4001():
    limits = Limits(lagging_events=8, lagging_s=1.5)
    slow = Fault("throttle", "down", bytes_per_s=60_000)
    async with world(by_words({"Flood": ANSWER}), limits=limits) as w, proxied(w.port) as proxy:
        alice = await w.attach()
        proxy.plan(slow)
        raw = await dial(proxy.port, window_bytes=WINDOW_BYTES)
        try:
            path = path_of(alice.session_id, {"role": "watch"})
            await raw.send(request(path, **OFFERED))
            await raw.read_head()
            turn_id = (await alice.say("Flood me"))["result"]["turn_id"]
            frames, code = await read_to_the_close(raw)
        finally:
            await trio.aclose_forcefully(raw.stream)
        assert code == 4001
        assert check_client_log(frames) == []
        assert any(b'"first_seq"' in frame for frame in frames)
        await alice.ask("interrupt", turn_id=turn_id)
        assert overlap_differs(frames, [frame.text for frame in alice.frames]) == []
