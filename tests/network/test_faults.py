"""A real server behind a network that breaks.  `BARGEIN_TEST_SEED` sets how."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.e2e.evidence import check_timeline
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import BRIEF, by_words, words
from tests.e2e.test_resume import whole_frames
from tests.fakes.anthropic_answers import saying
from tests.faults.frames import command
from tests.gateway.raw_client import RawClient, dial, request
from tests.network.proxy import Fault, Kind, Proxy, drawn, proxied
from tests.network.traveller import OFFERED, Traveller, check_seen
from tests.scale import scaled

SEED = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
FAULTS = scaled(200)
TRAVELLERS = 4
LONG = saying(*words(120), interval_s=0.005)
VENDOR = by_words({"Long": LONG}, BRIEF)


async def travelled(w: World, number: int, happened: Counter[str]) -> None:
    chance = random.Random(f"{SEED}/{number}")  # noqa: S311
    witness = await w.attach()
    async with proxied(w.port) as proxy:
        traveller = Traveller(w, proxy, witness, chance)
        for fault_number in range(number, FAULTS, TRAVELLERS):
            fault = drawn(fault_number, chance)
            await traveller.trip(fault_number, fault)
            happened[fault.kind] += proxy.latest.acted.is_set()
    await traveller.check()


@pytest.mark.slow
async def test_clients_lose_and_repeat_nothing_whatever_the_network_does(tmp_path: Path):
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    happened: Counter[str] = Counter()
    async with world(VENDOR, store=tmp_path / "a.sqlite3", deadline_s=60 + 3 * FAULTS) as w:
        async with trio.open_nursery() as nursery:
            for number in range(TRAVELLERS):
                nursery.start_soon(travelled, w, number, happened)
        for client in w.clients[:TRAVELLERS]:
            stored = [event.frame for event in await w.timeline(client.session_id)]
            check_timeline(stored)
    print(f"{FAULTS} faults, of which acted: {dict(happened)}")  # noqa: T201
    assert len(happened) == 5
    assert happened.total() > FAULTS // 3  # the others were drawn behind the end of their answer


# --- every byte -----------------------------------------------------------------------------


async def cut_while_saying(w: World, proxy: Proxy, fault: Fault, path: str, frame: bytes) -> None:
    proxy.plan(fault)
    client = await dial(proxy.port)
    try:
        with suppress(trio.BrokenResourceError, EOFError):
            await client.send(request(path, **OFFERED))
            await client.read_head()
            await client.send(frame)
            await client.read_to_end()
    finally:
        await trio.aclose_forcefully(client.stream)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_command_that_breaks_off_at_any_byte_is_done_whole_or_not_at_all(kind: Kind):
    async with world(by_words({})) as w, proxied(w.port) as proxy:
        alice = await w.attach()
        path = f"/v1/session/{alice.session_id}?after=1&epoch={alice.epoch}"
        whole: list[str] = []
        size = len(command(type="say", text="Words 000"))
        for cut in range(size + 1):
            text = f"Words {cut:03}"
            frame = command(type="say", text=text)
            fault = Fault(kind, "up", after_bytes=cut)
            await cut_while_saying(w, proxy, fault, path, frame)
            whole += [text] * (cut == size)
        await eventually(lambda: len(w.edge.connections) == 1)
        await alice.until("turn.trace", turn_id="turn_1")
        said = [e.payload["text"] for e in alice.events if e.type == "input.text"]
        assert said == whole == [f"Words {size:03}"]


async def first_frames(port: int, path: str) -> tuple[RawClient, list[bytes]]:
    """Read hello and two events, and go."""
    client = await dial(port)
    try:
        await client.send(request(path, **OFFERED))
        await client.read_head()
        frames = [await client.read_text() for _ in range(3)]
    finally:
        await trio.aclose_forcefully(client.stream)
    return client, frames


async def reset_while_reading(proxy: Proxy, path: str, cut: int) -> list[bytes]:
    proxy.plan(Fault("reset", "down", after_bytes=cut))
    client = await dial(proxy.port)
    try:
        with suppress(trio.BrokenResourceError, EOFError):
            await client.send(request(path, **OFFERED))
            await client.read_head()
            await client.read_to_end()
    finally:
        await trio.aclose_forcefully(client.stream)
    return whole_frames(client)


@pytest.mark.slow
async def test_a_client_that_is_reset_at_any_byte_of_an_event_resumes_with_the_rest():
    async with world(by_words({})) as w, proxied(w.port) as proxy:
        alice = await w.attach()
        await alice.converse("Brief, please")
        stored = [event.frame for event in await w.timeline(alice.session_id)]
        path = f"/v1/session/{alice.session_id}?role=watch"
        _, (hello, event, _) = await first_frames(w.port, path)
        assert event == stored[0]
        # A frame's header is two or four bytes; `hello` grows by a digit or two on the way.
        start, end = len(hello), len(hello) + len(event) + 16
        met: set[int] = set()
        for cut in range(start, end):
            frames = await reset_while_reading(proxy, path, cut)
            events = [frame for frame in frames if b'"event_id"' in frame]
            met.add(len(events))
            check_seen(events, stored)
            resumed = f"{path}&after={len(events)}&epoch={alice.epoch}"
            _, (hello, *rest) = await first_frames(w.port, resumed)
            assert json.loads(hello)["resumed"] is True
            check_seen([*events, *rest], stored)
        assert met == {0, 1}
