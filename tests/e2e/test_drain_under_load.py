"""A server with many turns is asked to stop, and everybody comes back at once."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import frozen

from tests.e2e.client import Client, path_of
from tests.e2e.evidence import check_client, check_timeline
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.scripts import assert_ladder
from tests.gateway.raw_client import dial, request
from tests.scale import scaled

TURNS = scaled(200)
CLIENTS = scaled(5000)
SESSIONS = 50
GRACE_S = 1.0
LATE_S = 10.0
BACK_S = 60.0
"""All are back by then, with any machine; how long it took is printed."""

LIVE = b'"type":"live"'
OFFERED = {"Sec_WebSocket_Protocol": "bargein.v1"}


async def talking(server: ServerProcess) -> dict[Client, str]:
    """Return drivers, each with the turn that it is in the middle of."""
    turns: dict[Client, str] = {}
    for _ in range(TURNS):
        client = await server.attach()
        turns[client] = (await client.say("Long story"))["result"]["turn_id"]
    for client, turn_id in turns.items():
        await client.until("model.token", turn_id=turn_id)
    return turns


@pytest.mark.slow
async def test_a_drain_with_many_turns_interrupts_them_all_and_loses_nothing(tmp_path: Path):
    async with server_process(tmp_path, BARGEIN_DRAIN_S=str(GRACE_S)) as server:
        turns = await talking(server)
        asked_s = trio.current_time()
        server.terminate()
        for client in turns:
            assert await client.until_closed() == 4000
        assert await server.exit_code() == 0
        took_s = trio.current_time() - asked_s
        print(f"{TURNS} turns drained in {took_s:.2f} s, of which {GRACE_S} s grace")  # noqa: T201
        assert GRACE_S <= took_s < GRACE_S + LATE_S
        for client, turn_id in turns.items():
            away = client.find("go_away")
            requested = client.find("cancel.requested", turn_id=turn_id)
            assert away is not None
            assert requested is not None
            assert requested.payload["by"] == "operator"
            # Said at the start: who is told has the whole grace to finish reading.
            assert requested.at_s - away.at_s > GRACE_S * 0.5
            assert_ladder(client.of_turn(turn_id))

        await server.start()
        for client in turns:
            stored = await server.whole(client.session_id)
            check_timeline(stored, finished=True)
            check_client(client, stored)
            back = await server.back(client)
            assert back.hello["resumed"] is True


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_in_the_grace_ends_the_server_at_once(
    second: signal.Signals, tmp_path: Path
):
    async with server_process(tmp_path, BARGEIN_DRAIN_S="600") as server:
        client = await server.attach()
        turn_id = (await client.say("Long story"))["result"]["turn_id"]
        await client.until("model.token", turn_id=turn_id)
        server.terminate()
        await client.until("go_away")
        asked_s = trio.current_time()
        server.process.send_signal(second)
        assert await server.exit_code() == -second
        assert trio.current_time() - asked_s < LATE_S
        await client.closed.wait()

        await server.start()  # what was shown is there, and the turn is closed
        stored = await server.whole(client.session_id)
        check_timeline(stored, finished=True)
        check_client(client, stored)
        back = await server.back(client)
        fault = await back.until("error", turn_id=turn_id)
        assert fault.payload["code"] == "server_restarted"


# --- everybody comes back --------------------------------------------------------------------


@frozen
class Place:
    """Where a client stood when its connection was lost."""

    session_id: str
    epoch: str
    after: int
    stored: tuple[bytes, ...]


async def places(server: ServerProcess, chance: random.Random) -> list[Place]:
    """Make up clients that stood anywhere in the timelines of some sessions."""
    timelines: list[tuple[Client, tuple[bytes, ...]]] = []
    for _ in range(SESSIONS):
        client = await server.attach()
        await client.converse("Brief, please")
        await client.leave()
        timelines.append((client, tuple(await server.whole(client.session_id))))
    drawn = (chance.choice(timelines) for _ in range(CLIENTS))
    return [
        Place(client.session_id, client.epoch, chance.randrange(client.last_seq), stored)
        for client, stored in drawn
    ]


async def come_back(server: ServerProcess, place: Place, took_s: list[float]) -> None:
    """Resume and check that exactly the missing events come before `live`."""
    started_s = trio.current_time()
    query = {"after": place.after, "epoch": place.epoch, "role": "watch"}
    raw = await dial(server.port)
    try:
        await raw.send(request(path_of(place.session_id, query), **OFFERED))
        with trio.fail_after(BACK_S):
            while LIVE not in raw.received:
                more = await raw.stream.receive_some()
                assert more, bytes(raw.received)
                raw.received += more
        took_s.append(trio.current_time() - started_s)
        assert (await raw.read_head()).startswith(b"HTTP/1.1 101 ")
        hello: dict[str, Any] = json.loads(await raw.read_text())
        assert hello["resumed"] is True
        assert hello["replay_from"] == place.after + 1
        frames: list[bytes] = []
        while LIVE not in (frame := await raw.read_text()):
            frames.append(frame)
    finally:
        await trio.aclose_forcefully(raw.stream)
    assert len(frames) == hello["replay_to"] - place.after
    missing = place.stored[place.after :]
    assert tuple(frames[: len(missing)]) == missing[: len(frames)]


@pytest.mark.slow
async def test_everybody_comes_back_at_once_and_gets_exactly_what_is_missing(tmp_path: Path):
    chance = random.Random(1)  # noqa: S311
    async with server_process(tmp_path, deadline_s=300) as server:
        everyone = await places(server, chance)
        await server.kill()
        await server.start()
        took_s: list[float] = []
        started_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for place in everyone:
                nursery.start_soon(come_back, server, place, took_s)
        whole_s = trio.current_time() - started_s
        took_s.sort()
        print(  # noqa: T201
            f"{CLIENTS} clients back in {whole_s:.1f} s, "
            f"each in p50 {took_s[CLIENTS // 2]:.2f} s, p99 {took_s[CLIENTS * 99 // 100]:.2f} s"
        )
        assert len(took_s) == CLIENTS
        assert whole_s < BACK_S
