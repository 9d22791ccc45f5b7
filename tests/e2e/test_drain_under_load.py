"""A server with many turns is asked to stop, and everybody comes back at once."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field, frozen

from tests.e2e.client import Client, path_of
from tests.e2e.evidence import check_client, check_timeline
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.scripts import assert_ladder
from tests.e2e.test_resume import whole_frames
from tests.gateway.raw_client import RawClient, dial, request
from tests.network.crowd import talking_server
from tests.scale import scaled

TURNS = scaled(200)
CLIENTS = scaled(5000)
SESSIONS = 50
AT_ONCE = 20
GRACE_S = 1.0
LATE_S = 10.0
BACK_S = 60.0
"""All are back by then; how long it took is printed."""

ATTEMPT_S = 10.0
FIRST_WAIT_S = 0.5
MOST_WAIT_S = 30.0

LIVE = b'"type":"live"'
OFFERED = {"Sec_WebSocket_Protocol": "bargein.v1"}


async def talking(server: ServerProcess) -> dict[Client, str]:
    """Return drivers, each with the turn that it is in the middle of."""
    turns: dict[Client, str] = {}

    async def talk() -> None:
        client = await server.attach()
        turns[client] = (await client.say("Talk to me"))["result"]["turn_id"]
        await client.until("model.token", turn_id=turns[client])

    for start in range(0, TURNS, AT_ONCE):
        async with trio.open_nursery() as nursery:
            for _ in range(start, min(start + AT_ONCE, TURNS)):
                nursery.start_soon(talk)
    return turns


@pytest.mark.slow
async def test_a_drain_with_many_turns_interrupts_them_all_and_loses_nothing(tmp_path: Path):
    async with talking_server(tmp_path, BARGEIN_DRAIN_S=str(GRACE_S)) as server:
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


@define(eq=False)
class Return:
    """How everybody came back: how long it took each, and how often one was turned away."""

    chance: random.Random
    took_s: list[float] = field(factory=list[float])
    turned_away: int = 0
    received: list[tuple[Place, RawClient]] = field(factory=list[tuple[Place, RawClient]])


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


async def come_back(server: ServerProcess, place: Place, back: Return) -> None:
    """Come back as clients do: who is turned away waits, longer each time, and tries again."""
    started_s = trio.current_time()
    most_s = FIRST_WAIT_S
    with trio.fail_after(BACK_S):
        while (raw := await attempt(server, place)) is None:
            back.turned_away += 1
            await trio.sleep(back.chance.uniform(0, most_s))
            most_s = min(2 * most_s, MOST_WAIT_S)
    back.took_s.append(trio.current_time() - started_s)
    back.received.append((place, raw))


async def check_rest(place: Place, raw: RawClient) -> None:
    """Check that exactly what was missing came before `live`."""
    assert (await raw.read_head()).startswith(b"HTTP/1.1 101 ")
    first, *frames = whole_frames(raw)
    hello: dict[str, Any] = json.loads(first)
    assert hello["resumed"] is True
    assert hello["replay_from"] == place.after + 1
    live = next(number for number, frame in enumerate(frames) if LIVE in frame)
    assert live == hello["replay_to"] - place.after
    missing = place.stored[place.after :]
    assert len(missing) <= live
    assert tuple(frames[: len(missing)]) == missing


async def attempt(server: ServerProcess, place: Place) -> RawClient | None:
    """Resume; return what came up to `live`, or None where the server had no place in time."""
    query = {"after": place.after, "epoch": place.epoch, "role": "watch"}
    # A kernel whose backlog is full lets a client wait, or believe that it was accepted.
    with trio.move_on_after(ATTEMPT_S):
        try:
            raw = await dial(server.port)
        except OSError:
            return None
        if await read_to_live(raw, request(path_of(place.session_id, query), **OFFERED)):
            return raw
    return None


async def read_to_live(raw: RawClient, asked: bytes) -> bool:
    """Ask, read up to `live`, and go; return whether it came."""
    try:
        await raw.send(asked)
        while LIVE not in raw.received:
            more = await raw.stream.receive_some()
            if not more:
                return False
            raw.received += more
    except trio.BrokenResourceError:
        return False
    finally:
        await trio.aclose_forcefully(raw.stream)
    return True


@pytest.mark.slow
async def test_everybody_comes_back_at_once_and_gets_exactly_what_is_missing(tmp_path: Path):
    chance = random.Random(1)  # noqa: S311
    async with server_process(tmp_path, deadline_s=300) as server:
        everyone = await places(server, chance)
        await server.kill()
        await server.start()
        back = Return(chance)
        started_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for place in everyone:
                nursery.start_soon(come_back, server, place, back)
        whole_s = trio.current_time() - started_s
        took_s = sorted(back.took_s)
        print(  # noqa: T201
            f"{CLIENTS} clients back in {whole_s:.1f} s, "
            f"each in p50 {took_s[CLIENTS // 2]:.2f} s, p99 {took_s[CLIENTS * 99 // 100]:.2f} s; "
            f"turned away {back.turned_away} times"
        )
        assert len(took_s) == CLIENTS
        for place, raw in back.received:
            await check_rest(place, raw)
