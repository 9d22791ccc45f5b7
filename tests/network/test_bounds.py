"""How much the server holds for a client that reads nothing, whatever the size of events."""

from __future__ import annotations

import json

import pytest
import trio

from bargein.gateway.settings import Limits
from tests.e2e.client import path_of
from tests.e2e.harness import eventually, world
from tests.e2e.scripts import by_words
from tests.e2e.test_stalled_reader import ANSWER, FLOOD, WINDOW_BYTES
from tests.faults.frames import command
from tests.gateway.raw_client import opened
from tests.network.traveller import OFFERED, check_seen

KIB = 1024
LARGE = "x" * 30 * KIB
EVENTS = 20
HELD_BYTES = 64 * KIB


@pytest.mark.parametrize("lagging_events", [8, 100_000], ids=["merged", "as they are"])
async def test_a_stalled_client_of_a_live_session_holds_64_kib_and_one_event(lagging_events: int):
    limits = Limits(lagging_events=lagging_events, tail_events=100_000)
    async with (
        world(by_words({"Flood": ANSWER}), limits=limits) as w,
        opened(w.port, window_bytes=WINDOW_BYTES, **OFFERED) as raw,
    ):
        await raw.send(command(type="say", text="Flood me"))
        exchange = await w.api.exchange(0)
        await eventually(lambda: exchange.tokens_sent > FLOOD + 3)
        (wire,) = w.edge.connections
        await eventually(lambda: not wire.has_room)
        held_bytes = wire.buffered_bytes
        frames = [await raw.read_text() for _ in range(FLOOD // 2)]  # all goes on once it reads
        assert wire.buffered_bytes < HELD_BYTES * 2
        hello = json.loads(frames[0])
        assert hello["type"] == "hello"
        # Texts that came together are one event, so the largest one is not of a fixed size.
        largest = max(len(event.frame) for event in await w.timeline(hello["session_id"]))
        assert HELD_BYTES < held_bytes < HELD_BYTES + largest + KIB


@pytest.mark.parametrize("tail_events", [32, 100_000], ids=["from the store", "from memory"])
async def test_a_replay_of_large_events_is_held_back_and_comes_whole(tail_events: int):
    limits = Limits(tail_bytes=8 * KIB * KIB, tail_events=tail_events, lagging_events=8)
    async with world(by_words({}), limits=limits) as w:
        alice = await w.attach()
        for _ in range(EVENTS):
            await alice.converse(LARGE)
        path = path_of(alice.session_id, {"role": "watch"})
        stored = [event.frame for event in await w.timeline(alice.session_id)]
        async with opened(w.port, path, window_bytes=WINDOW_BYTES, **OFFERED) as raw:
            # Not the frames of alice, who has read all of hers.
            await eventually(lambda: any(not wire.has_room for wire in w.edge.connections))
            assert max(wire.buffered_bytes for wire in w.edge.connections) < HELD_BYTES + 32 * KIB
            frames: list[bytes] = []
            with trio.fail_after(15):
                while len(frames) < len(stored):
                    frame = await raw.read_text()
                    if b'"event_id"' in frame:
                        frames.append(frame)
            check_seen(frames, stored)
