"""The JavaScript SDK behind a network that breaks.  `BARGEIN_TEST_SEED` sets how."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from bargein.protocol.codec import decode_event
from bargein.protocol.projections import transcript
from bargein.protocol.state import fold
from tests import contract
from tests.e2e.client import Frame
from tests.e2e.evidence import check_merged, check_timeline
from tests.e2e.harness import World, world
from tests.e2e.scripts import BRIEF, by_words, words
from tests.fakes.anthropic_answers import saying
from tests.network.proxy import drawn, proxied
from tests.scale import scaled
from tests.sdk.node import HERE, program, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

SEED = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
FAULTS = scaled(500)
TRAVELLERS = 2
HEARTBEAT_S = 0.4
VENDOR = by_words({"Long": saying(*words(60), interval_s=0.005)}, BRIEF)


async def travelled(w: World, number: int, happened: Counter[str]) -> None:
    chance = random.Random(f"{SEED}/sdk/{number}")  # noqa: S311
    said: list[str] = []
    turns: list[str] = []
    async with proxied(w.port) as proxy:
        url = f"ws://127.0.0.1:{proxy.port}/v1/session"
        async with program(HERE / "traveller.mjs", url, str(SEED * 100 + number)) as user:
            for fault_number in range(number, FAULTS, TRAVELLERS):
                fault = drawn(fault_number, chance)
                proxy.plan(fault)
                if proxy.open:
                    proxy.latest.reset()  # so that the next connection is the one with the fault
                text = f"{chance.choice(('Long', 'Brief'))} words of trip {fault_number}"
                said.append(text)
                answer = await user.ask(do="trip", words=text)
                turns.append(answer["result"]["turn_id"])
                met = [relay for relay in proxy.relays if relay.fault is fault]
                happened[fault.kind] += any(relay.acted.is_set() for relay in met)
            seen = await user.ask(do="report")
    await check(w, seen, said, turns)
    happened.update({f"frame {name}": count for name, count in seen["done"].items()})
    happened.update({f"sdk {name}": count for name, count in seen["counts"].items()})


def check_log(log: list[dict[str, Any]], stored: list[bytes]) -> int:
    """Hold a log against the timeline, event by event; return how far it goes."""
    check_timeline(stored)
    expected = 1
    for place, event in enumerate(log):
        contract.check_sent(event)
        last: int = event["seq"]
        first: int = event.get("first_seq", last)
        assert first == expected
        if "first_seq" in event:
            check_merged(Frame(event, json.dumps(event), 0.0, place), stored[first - 1 : last])
        else:
            assert event == json.loads(stored[last - 1])
        expected = last + 1
    return expected - 1


async def check(w: World, seen: dict[str, Any], said: list[str], turns: list[str]) -> None:
    """Hold what the SDK has against the store: no gap, no double, each word once."""
    stored: list[bytes] = [event.frame for event in await w.timeline(seen["id"])]
    log: list[dict[str, Any]] = seen["log"]
    expected = check_log(log, stored) + 1
    known = [decode_event(frame) for frame in stored[: expected - 1]]
    # What it left behind: that it went, and the last of what it had shown.
    later = {decode_event(frame).type for frame in stored[expected - 1 :]}
    assert later <= {"session.attached", "session.detached", "playback.progress"}
    assert seen["transcript"] == json.loads(msgspec.json.encode(transcript(fold(known))))
    taken = [event for event in log if event["type"] == "input.text"]
    assert sorted(event["payload"]["text"] for event in taken) == sorted(said)
    assert len({event["payload"]["command_id"] for event in taken}) == len(said)
    where = {event["payload"]["text"]: event["turn_id"] for event in taken}
    assert [where[text] for text in said] == turns
    check_read(seen)


def check_read(seen: dict[str, Any]) -> None:
    """What the reader and the listener got is the log, but for tokens that came too late."""
    read = [event["seq"] for event in seen["read"]]
    logged = {event["seq"]: event for event in seen["log"]}
    assert read == sorted(set(read))
    left_out = [event for seq, event in logged.items() if seq not in set(read)]
    assert {event["type"] for event in left_out} <= {"model.token"}
    assert len(left_out) == seen["counts"]["late"]
    assert [seq for seq in read if seq in set(seen["listened"])] == seen["listened"]


@pytest.mark.slow
async def test_the_sdk_has_every_event_once_whatever_the_network_does(tmp_path: Path):
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    happened: Counter[str] = Counter()
    store = tmp_path / "a.sqlite3"
    limit_s = 60 + 3.0 * FAULTS
    async with (
        world(VENDOR, store=store, deadline_s=limit_s, heartbeat_s=HEARTBEAT_S) as w,
        trio.open_nursery() as nursery,
    ):
        for number in range(TRAVELLERS):
            nursery.start_soon(travelled, w, number, happened)
    print(f"{FAULTS} faults, of which acted: {dict(happened)}")  # noqa: T201
    assert happened["sdk connections"] > FAULTS
    assert happened["sdk doubles"] > 0
    assert happened["sdk gaps"] > 0
