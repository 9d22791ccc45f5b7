"""The past of a long session, in pages from a real server.  `BARGEIN_TEST_SEED` sets the faults."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from attrs import evolve

from bargein.gateway.settings import Limits
from bargein.protocol.codec import decode_event
from bargein.protocol.projections import transcript
from bargein.protocol.state import fold
from tests.browser import long_session
from tests.browser.long_session import LONG
from tests.e2e.client import Client
from tests.e2e.harness import World, world
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words, words
from tests.fakes.anthropic_answers import saying
from tests.network.proxy import Fault, Proxy, drawn, proxied
from tests.scale import scaled
from tests.sdk.node import HERE, Program, program, why_not
from tests.sdk.test_faults import check_log, check_read

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

SEED = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
OPENED = scaled(150)
EVENTS = 2500
HEARTBEAT_S = 2.5
WAIT_S = 120.0
VENDOR = by_words(
    {"Long": saying(*words(20), interval_s=0.005), "Go": FOR_EVER},
    BRIEF,
)


async def written(store: Path) -> int:
    """Write a long session with interrupted turns into *store*; return its last seq."""
    async with world(VENDOR, store=store) as w:
        client = await w.attach()
        await client.send("say", text="Long words")
        await client.until("model.token")
        await client.send("say", text="Brief, please")
        await client.until("turn.trace", turn_id="turn_2")
        events = [json.loads(stored.frame) for stored in await w.timeline(client.session_id)]
    return await long_session.put(store, events, EVENTS)


async def check(w: World, seen: dict[str, Any]) -> None:
    """Hold log, reader, listener and view against the timeline."""
    stored = [event.frame for event in await w.timeline(LONG)]
    # In a thread, or everybody who is connected here would be silent meanwhile.
    await trio.to_thread.run_sync(check_seen, seen, stored)


def check_seen(seen: dict[str, Any], stored: list[bytes]) -> None:
    known = check_log(seen["log"], stored)
    events = [decode_event(frame) for frame in stored[:known]]
    assert seen["transcript"] == json.loads(msgspec.json.encode(transcript(fold(events))))
    check_read(seen)


async def opened(node: Program, **options: Any) -> dict[str, Any]:
    return await node.ask(WAIT_S, do="open", sessionId=LONG, **options)


async def report(node: Program, up_to: int) -> dict[str, Any]:
    return await node.ask(WAIT_S, do="report", upTo=up_to)


def url_of(port: int) -> str:
    return f"ws://127.0.0.1:{port}/v1/session"


async def test_a_long_session_is_whole_and_its_past_came_in_pages(tmp_path: Path):
    store = tmp_path / "a.sqlite3"
    last_seq = await written(store)
    async with (
        world(VENDOR, store=store) as w,
        program(HERE / "opener.mjs", url_of(w.port), "1") as node,
    ):
        for options in ({}, {"role": "watch"}):
            there = await opened(node, lastSeq=last_seq, **options)
            assert there["from"] == last_seq + 1
            assert (there["seq"] >= last_seq, there["state"]) == (True, "live")
            seen = await report(node, last_seq + 1)
            assert seen["counts"] == {
                "connections": 1,
                "gaps": 0,
                "doubles": 0,
                "late": 0,
                "resets": 0,
            }
            await check(w, seen)


@pytest.mark.parametrize("wrong", [1, 10**6])
async def test_where_the_last_seq_is_too_large_all_is_replayed(tmp_path: Path, wrong: int):
    store = tmp_path / "a.sqlite3"
    last_seq = await written(store)
    async with (
        world(VENDOR, store=store) as w,
        program(HERE / "opener.mjs", url_of(w.port), "1") as node,
    ):
        there = await opened(node, lastSeq=last_seq + wrong)
        assert there["from"] == 1
        await check(w, await report(node, last_seq))


async def test_a_closed_session_answers_no_page_and_is_there_all_the_same(tmp_path: Path):
    store = tmp_path / "a.sqlite3"
    last_seq = await written(store)
    async with (
        world(VENDOR, store=store) as w,
        program(HERE / "opener.mjs", url_of(w.port), "1") as node,
    ):
        driver = await w.attach(LONG, after=last_seq)
        await driver.send("close")
        assert await driver.until_closed() == 4102
        there = await opened(node, lastSeq=driver.last_seq)
        assert there["seq"] == driver.last_seq
        seen = await report(node, driver.last_seq)
        assert seen["counts"]["connections"] == 2
        await check(w, seen)


@pytest.mark.parametrize(("per_s", "burst"), [(5, 2), (1, 1)])
async def test_a_server_that_takes_few_commands_still_gives_all(
    tmp_path: Path, per_s: int, burst: int
):
    store = tmp_path / "a.sqlite3"
    last_seq = await written(store)
    limits = Limits(commands_per_s=per_s, commands_burst=burst)
    async with (
        world(VENDOR, store=store, limits=limits) as w,
        program(HERE / "opener.mjs", url_of(w.port), "1") as node,
    ):
        there = await opened(node, lastSeq=last_seq)
        assert there["seq"] >= last_seq
        await check(w, await report(node, last_seq))


async def test_a_turn_and_its_interrupt_while_the_past_is_on_its_way_come_behind_it(
    tmp_path: Path,
):
    store = tmp_path / "a.sqlite3"
    last_seq = await written(store)
    async with (
        world(VENDOR, store=store) as w,
        proxied(w.port) as proxy,
        program(HERE / "opener.mjs", url_of(proxy.port), "1") as node,
    ):
        driver = await w.attach(LONG, after=last_seq)
        # The first page is cut in two, and the rest comes when the turn is over.
        proxy.plan(Fault("half_open", "down", after_bytes=100_000))
        there: dict[str, Any] = {}

        async def open_it() -> None:
            there.update(await opened(node, lastSeq=last_seq))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_it)
            await driver.until(lambda frame: frame.type == "session.attached", connections=2)
            await driver.send("say", text="Go on")
            await driver.until("model.token")
            await driver.send("say", text="Brief, now")
            ack = await driver.until("cancel.ack")
            await driver.until("turn.trace", since=ack.place)
            assert there == {}, "nobody is told of a part"
            proxy.latest.reset()
        assert there["seq"] >= ack.seq
        seen = await report(node, driver.last_seq)
        await check(w, seen)
        turns = seen["transcript"]["turns"]
        assert [turn["status"] for turn in turns[-2:]] == ["cancelled", "completed"]
        assert (seen["counts"]["connections"], seen["counts"]["resets"]) == (2, 0)


async def test_what_has_not_come_in_pages_yet_was_heard_by_nobody(tmp_path: Path):
    store = tmp_path / "a.sqlite3"
    last_seq = await written(store)
    async with (
        world(VENDOR, store=store) as w,
        proxied(w.port) as proxy,
        program(HERE / "opener.mjs", url_of(proxy.port), "1") as node,
    ):
        driver = await w.attach(LONG, after=last_seq)
        await driver.send("say", text="Go on")
        spoken = await driver.until("model.token")
        await driver.ask("ack", seq=spoken.seq - 1)
        proxy.plan(Fault("half_open", "down", after_bytes=100_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(opened, node, lastSeq=spoken.seq))
            await driver.until(lambda frame: frame.type == "session.attached", connections=2)
            with trio.fail_after(WAIT_S):
                await proxy.latest.acted.wait()  # it was answered, so what it said first was taken
            await driver.ask("interrupt")
            frozen = await driver.until("cancel.stage", target="transcript", turn_id=spoken.turn_id)
            proxy.latest.reset()
        assert frozen.payload["heard"] == ""
        assert frozen.payload["text"].startswith(spoken.payload["text"])
        await check(w, await report(node, driver.last_seq))


def fault_for_pages(number: int, chance: random.Random) -> Fault:
    """Draw a fault that hits somewhere in the pages, and lets them through before long."""
    fault = drawn(number, chance)
    deep = 400 if fault.way == "up" else 700_000
    return evolve(
        fault,
        after_bytes=chance.choice((fault.after_bytes, chance.randrange(deep))),
        bytes_per_s=chance.choice((300_000, 2_000_000)),
    )


async def lived(driver: Client, chance: random.Random) -> None:
    """Let something happen in the session, or nothing."""
    await trio.lowlevel.checkpoint()
    what = chance.choice(("nothing", "nothing", "a turn", "an interrupt"))
    if what == "nothing":
        return
    place = len(driver.frames)
    await driver.send("say", text="Long words")
    if what == "an interrupt":
        await driver.until("model.token", since=place)
        await driver.send("interrupt")
        await driver.until("cancel.ack", since=place)
    else:
        await driver.until("turn.trace", since=place)


async def opened_anyhow(
    node: Program, proxy: Proxy, driver: Client, number: int, happened: Counter[str]
) -> dict[str, Any]:
    """Open it over a way that breaks while it goes on; return what the SDK has in the end."""
    chance = random.Random(f"{SEED}/past/{number}")  # noqa: S311
    faults = [fault_for_pages(number + extra, chance) for extra in range(chance.randrange(1, 3))]
    for fault in faults:
        proxy.plan(fault)
    known = driver.last_seq
    stale = chance.choice((0, 0, 0, chance.randrange(900), -5))
    there: dict[str, Any] = {}

    async def open_it() -> None:
        role = chance.choice(("drive", "watch"))
        meddles = chance.random() < 0.5
        asked = {"lastSeq": known - stale, "role": role, "meddles": meddles}
        there.update(await opened(node, **asked))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(open_it)
        await lived(driver, chance)
    assert there["seq"] >= known, "all there was has come"
    happened["opened in pages"] += there["from"] > 1
    for relay in proxy.relays:
        if relay.fault in faults:
            happened[relay.fault.kind] += relay.acted.is_set()
    return await report(node, driver.last_seq)


@pytest.mark.slow
async def test_a_session_in_pages_is_whole_whatever_the_network_does(tmp_path: Path):
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    happened: Counter[str] = Counter()
    store = tmp_path / "a.sqlite3"
    last_seq = await written(store)
    async with (
        world(VENDOR, store=store, deadline_s=120 + 20.0 * OPENED, heartbeat_s=HEARTBEAT_S) as w,
        proxied(w.port) as proxy,
        program(HERE / "opener.mjs", url_of(proxy.port), str(SEED)) as node,
    ):
        driver = await w.attach(LONG, after=last_seq)
        for number in range(OPENED):
            seen = await opened_anyhow(node, proxy, driver, number, happened)
            await check(w, seen)
            happened.update({f"sdk {name}": count for name, count in seen["counts"].items()})
            happened.update({f"frame {name}": count for name, count in seen["done"].items()})
    print(f"opened {OPENED} times: {dict(happened)}")  # noqa: T201
    assert happened["opened in pages"] > OPENED // 2
    assert happened["sdk connections"] > OPENED
