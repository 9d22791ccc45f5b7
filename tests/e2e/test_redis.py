"""A live server on Redis: sessions that outlive it, and what its clients see when Redis fails."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from bargein.server import main
from tests.e2e.client import Client
from tests.e2e.harness import world
from tests.e2e.process import server_process
from tests.e2e.scripts import by_words, words
from tests.e2e.test_store_faults import code_of, page_of, sent_away, until_ready
from tests.e2e.user import killed_and_back, start_turn, users
from tests.fakes.anthropic_answers import saying
from tests.timeline.redis_server import RedisServer, redis_server

SAFE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
PASSWORD = "hunter22-and-more"  # noqa: S105 - of a server that lives for one test
SLOW = by_words({"slow": saying(*words(300), interval_s=0.01)})
FAULTS = {"store.failed", "client.turned_away", "session.crashed"}


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis", *SAFE) as server:
        yield server


def url_of(server: RedisServer) -> str:
    return f"redis://127.0.0.1:{server.port}/0"


async def restart(server: RedisServer) -> None:
    server.kill()
    await trio.to_thread.run_sync(server.start)


async def test_a_session_outlives_its_server_and_is_resumed_exactly(redis: RedisServer):
    async with world(SLOW, store=url_of(redis)) as w:
        alice = await w.attach()
        assert alice.hello["limits"]["durability"] == "server"
        assert await alice.converse("Hello")
        await w.stop()
        await w.start()
        back = await w.back(alice)
        assert back.hello["resumed"] is True
        assert await back.converse("Hello again")
        assert len(await w.timeline(alice.session_id)) == back.last_seq


async def test_a_redis_that_restarts_delays_a_turn_and_loses_nothing_of_it(redis: RedisServer):
    async with world(SLOW, store=url_of(redis)) as w:
        w.forgiven |= FAULTS
        alice = await w.attach()
        turn_id = (await alice.say("slow"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        await restart(redis)
        await alice.until("turn.trace", turn_id=turn_id)
        assert alice.answer_of(turn_id) == "".join(words(300))
        assert not alice.closed.is_set()
        await until_ready(w)


async def test_a_redis_that_stays_away_fails_the_turn_and_the_session_goes_on_when_it_is_back(
    redis: RedisServer,
):
    async with world(SLOW, store=url_of(redis)) as w:
        w.forgiven |= FAULTS
        alice, bob = await w.attach(), await w.attach()
        turn_id = (await alice.say("slow"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        redis.kill()
        await sent_away(alice)
        status, why = await page_of(w, "/readyz")
        assert (status, "Redis" in why) == (503, True)
        assert code_of(await bob.say("And you?")) == "store_unavailable"
        assert not bob.closed.is_set()  # his session has lost nothing
        await trio.to_thread.run_sync(redis.start)
        await until_ready(w)
        again = await w.back(alice)
        assert again.hello["resumed"] is True
        fault = await again.until("error", turn_id=turn_id)
        assert fault.payload["code"] == "store_unavailable"
        end = await again.until("response.end", turn_id=turn_id)
        seen = alice.answer_of(turn_id) + again.answer_of(turn_id)
        assert (end.payload["status"], end.payload["text"]) == ("failed", seen)
        assert await again.converse("And now?")
        assert await bob.converse("And now?")


async def test_a_history_that_may_have_lost_events_is_replayed_from_its_beginning(
    redis: RedisServer,
):
    async with world(SLOW, store=url_of(redis)) as w:
        alice = await w.attach()
        await alice.converse("Hello")
        await w.stop()
        await restart(redis)
        await w.start()
        back: Client = await w.back(alice)
        assert back.hello["resumed"] is False
        assert back.hello["replay_from"] == 1
        assert back.hello["epoch"] != alice.hello["epoch"]
        assert await back.converse("Hello again")
        once_more = await w.back(back)
        assert once_more.hello["resumed"] is True


@pytest.mark.slow
async def test_a_server_that_was_killed_on_redis_is_followed_by_one_that_finishes_its_turns(
    tmp_path: Path, redis: RedisServer
):
    async with server_process(tmp_path, url=url_of(redis)) as server:
        (user,) = await users(server, 1)
        await start_turn(user, "Long story")
        await killed_and_back(server, [user])
        await user.client.converse("Brief, please")
        await user.check()


async def test_a_password_is_read_from_a_file_and_shown_nowhere(tmp_path: Path):
    kept = tmp_path / "password"
    kept.write_text(f"{PASSWORD}\n", encoding="utf-8")
    with redis_server(tmp_path / "redis", *SAFE, "--requirepass", PASSWORD) as redis:
        url, file = url_of(redis), str(kept)
        async with server_process(tmp_path, url=url, BARGEIN_REDIS_PASSWORD_FILE=file) as server:
            client = await server.attach()
            await client.converse("Brief, please")
            assert url_of(redis) in server.log
            assert PASSWORD not in server.log
        for wrong in ({}, {"BARGEIN_REDIS_PASSWORD": "not-the-password"}):
            refused = await invoke("sessions", "list", "--store", url_of(redis), **wrong)
            assert refused.exit_code == 70
            assert "password" in refused.output
            assert "not-the-password" not in refused.output


# --- for an operator ----------------------------------------------------------------------


async def invoke(*arguments: str, **environ: str) -> Result:
    return await trio.to_thread.run_sync(
        lambda: CliRunner().invoke(main, list(arguments), env=environ)
    )


async def test_commands_look_at_what_a_running_server_keeps_and_ask_it_to_erase(
    redis: RedisServer,
):
    store = ("--store", url_of(redis))
    async with world(SLOW, store=url_of(redis)) as w:
        alice = await w.attach()
        await alice.converse("Hello")
        listed = await invoke("sessions", "list", *store)
        (line,) = [json.loads(line) for line in listed.output.splitlines()]
        assert line["session_id"] == alice.session_id
        assert line["epoch_changed"] is False
        replayed = await invoke("replay", alice.session_id, *store)
        assert replayed.exit_code == 0
        assert "Hello" in replayed.output
        report = await invoke("report", "--json", "--since", line["opened_at"][:10], *store)
        assert report.exit_code == 0, report.output
        owner = ("--principal", line["principal"])
        exported = await invoke("sessions", "export", *owner, *store)
        assert len(exported.output.splitlines()) == line["last_seq"] + 1
        erased = await invoke("sessions", "erase", *owner, *store)
        assert (erased.exit_code, erased.output) == (0, "1 sessions erased\n")
        assert await alice.until_closed() == 4104
        w.clients.remove(alice)  # nothing is left to hold against what she saw
    verified = await invoke("audit", "verify", *store)
    assert verified.exit_code == 0, verified.output
    shown = await invoke("audit", "show", *store)
    assert [json.loads(line)["act"] for line in shown.output.splitlines()] == ["session.erased"]
    nobody = await invoke("sessions", "erase", *owner, *store)
    assert (nobody.exit_code, nobody.output) == (0, "0 sessions erased\n")


async def test_two_servers_serve_from_one_redis(redis: RedisServer):
    async with world(SLOW, store=url_of(redis)) as one, world(SLOW, store=url_of(redis)) as two:
        alice, bob = await one.attach(), await two.attach()
        assert await alice.converse("Hello")
        assert await bob.converse("Hello")
        for w in (one, two):
            status, why = await page_of(w, "/readyz")
            assert status == 200, why
