"""Two real servers on one real Redis: clients on either, cuts, a killed owner, a paused owner."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from tests.e2e.client import Client, Frame
from tests.e2e.evidence import check_client, check_timeline
from tests.e2e.process import ServerProcess, server_process
from tests.scale import scaled
from tests.timeline.redis_server import RedisServer, redis_server

FREE = {
    "BARGEIN_LIMITS_COMMANDS_PER_S": "100000",
    "BARGEIN_LIMITS_COMMANDS_BURST": "100000",
    "BARGEIN_LIMITS_SPEECH_PER_S": "100000",
    "BARGEIN_LIMITS_SPEECH_BURST": "100000",
}
SERVER = "bargein.server"
TAKEOVER_S = 5.0


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis", "--save", "") as server:
        yield server


@asynccontextmanager
async def two_servers(
    tmp_path: Path, redis: RedisServer
) -> AsyncGenerator[tuple[ServerProcess, ServerProcess]]:
    url = f"redis://127.0.0.1:{redis.port}/0"
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    async with (
        server_process(one, deadline_s=120.0, module=SERVER, url=url, **FREE) as first,
        server_process(other, deadline_s=120.0, module=SERVER, url=url, **FREE) as second,
    ):
        yield first, second


def is_refusal(frame: Frame) -> bool:
    return frame.type in ("error", "go_away") and not frame.is_event


async def resumed(client: Client, at: ServerProcess) -> Client:
    """Come back where the client was, to any server, until it is let in."""
    while True:
        back = await at.dial(client.session_id, after=client.last_seq, epoch=client.epoch)
        first = await back.until(lambda f: f.type == "live" or is_refusal(f))
        if first.type == "live":
            return back
        await back.until_closed()
        await trio.sleep(0.1)


async def brief(client: Client) -> None:
    """Have a short turn."""
    turn_id = await client.converse("Brief, please")
    assert client.answer_of(turn_id) == "Very well."


async def checked(client: Client, at: ServerProcess, *seen: Client) -> list[bytes]:
    """Hold a timeline, and what clients saw of it, against the rules."""
    stored = await at.whole(client.session_id)
    check_timeline(stored)
    for each in (client, *seen):
        check_client(each, stored)
    return stored


async def test_a_session_is_driven_through_the_wrong_server(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with two_servers(tmp_path, redis) as (a, b):
        alice = await a.attach()
        bob = await b.attach(alice.session_id)
        await brief(bob)
        await alice.until("turn.trace", turn_id="turn_1")
        reply = await bob.ask("say", text="talk")
        assert reply["result"]["outcome"] == "started"
        await bob.until("model.token", turn_id="turn_2")
        stopped = await bob.ask("interrupt")
        assert stopped["result"]["interrupted"] is True
        for client in (alice, bob):
            flush = await client.until("flush")
            ack = await client.until("cancel.ack")
            assert flush.place < ack.place
        later = await bob.ask("configure", on_disconnect="continue")
        await alice.until("session.configured")
        await bob.until(lambda f: f.is_event and f.seq == later["at_seq"])
        shared = alice.last_seq
        assert [f.text for f in bob.events if f.seq <= shared] == [
            f.text for f in alice.events if bob.events[0].seq <= f.seq <= shared
        ]
        await checked(alice, b, bob)


async def test_clients_that_reconnect_anywhere_at_each_cut_miss_nothing(
    tmp_path: Path, redis: RedisServer
) -> None:
    random = Random(8)  # noqa: S311
    async with two_servers(tmp_path, redis) as servers:
        clients = [await servers[number % 2].attach() for number in range(4)]
        seen: list[Client] = []
        for round_ in range(scaled(40)):
            for place, client in enumerate(clients):
                await client.ask("say", text="talk", when_busy="interrupt")
                await client.until("model.token")
                await client.cut()
                seen.append(client)
                back = await resumed(client, random.choice(servers))
                assert back.hello["resumed"] is True, round_
                clients[place] = back
        for client in clients:
            await client.ask("interrupt")
            await client.until("response.end")
            before = [old for old in seen if old.session_id == client.session_id]
            await checked(client, random.choice(servers), *before)


async def test_the_sessions_of_a_killed_server_go_on_elsewhere(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with two_servers(tmp_path, redis) as (a, b):
        alice = await a.attach()
        bob = await b.attach(alice.session_id)
        nobody = await a.attach()
        for client in (bob, nobody):
            await client.ask("say", text="talk")
            await client.until("model.token")
        killed_s = trio.current_time()
        await a.kill()
        assert await bob.until_closed() == 4003
        back = await resumed(bob, b)
        took_s = trio.current_time() - killed_s
        assert back.hello["resumed"] is True
        failed = await back.until("error", turn_id="turn_1")
        assert failed.payload["code"] == "server_restarted"
        assert took_s < TAKEOVER_S
        await brief(back)
        await checked(back, b, bob, alice)
        left = await b.dial(nobody.session_id, role="watch")
        await left.until("turn.trace", turn_id="turn_1")
        await checked(left, b, nobody)


async def test_an_owner_that_was_paused_steps_down_and_writes_nothing_more(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with two_servers(tmp_path, redis) as (a, b):
        alice, quiet = await a.attach(), await a.attach()
        bob = await b.attach(alice.session_id)
        await bob.ask("say", text="talk")
        await alice.until("model.token")
        os.kill(a.process.pid, signal.SIGSTOP)
        try:
            assert await bob.until_closed() == 4003
            back = await resumed(bob, b)
            settled = await resumed(quiet, b)
            await brief(back)
        finally:
            os.kill(a.process.pid, signal.SIGCONT)
        for client in (alice, quiet):
            assert await client.until_closed() == 4003
        home = await resumed(alice, a)
        await brief(home)
        await back.until(lambda f: f.is_event and f.seq == home.last_seq)
        await checked(home, a, alice, bob, back)
        await checked(settled, a, quiet)


async def test_a_server_that_drains_hands_its_sessions_on(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with two_servers(tmp_path, redis) as (a, b):
        alice = await a.attach()
        bob = await b.attach(alice.session_id)
        guest = await b.attach()
        carol = await a.attach(guest.session_id)
        await brief(bob)
        a.terminate()
        for client in (alice, bob, carol):
            await client.until("go_away")
            assert await client.until_closed() == 4000
        assert await a.exit_code() == 0
        back = await resumed(bob, b)
        assert back.hello["resumed"] is True
        await brief(back)
        assert guest.close_code is None
        await checked(back, b, alice, bob)
