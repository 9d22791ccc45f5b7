"""Facts on a Redis: what one server remembers all others tell, and an operator can erase it."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.harness import world
from tests.e2e.test_memory import (
    APP,
    NOBODY,
    SCRIPT,
    committed_means_remembered,
    confirmed,
    told_to_a_new_session,
)
from tests.e2e.test_redis import SAFE, invoke, url_of
from tests.memory.facts import address_of, redis_at
from tests.timeline.redis_server import RedisServer, redis_server

TOLD = ['{"diet": "vegetarian"}']
ERASED = "erased: 1 facts, and 1 changes that could be undone\n"


@pytest.fixture
def redis(tmp_path: Path) -> Generator[RedisServer]:
    with redis_server(tmp_path / "redis", *SAFE) as server:
        yield server


async def test_what_one_server_remembers_and_forgets_another_tells_and_tells_no_more(
    redis: RedisServer,
):
    store = url_of(redis)
    async with (
        world(SCRIPT, app=APP, store=store) as one,
        world(SCRIPT, app=APP, store=store) as two,
    ):
        alice, bob = await one.attach(), await two.attach()
        await confirmed(alice, "Remember this")
        assert await told_to_a_new_session(two) == TOLD
        action_id = await confirmed(bob, "Forget that")
        assert await told_to_a_new_session(one) == []
        await bob.ask("revert", action_id=action_id)
        await bob.until("action.reverted")
        assert await told_to_a_new_session(one) == TOLD


async def test_facts_outlive_servers_and_an_operator_reads_and_erases_them(redis: RedisServer):
    async def command(*words: str) -> tuple[int, str]:
        done = await invoke(*words, "--principal", NOBODY, "--store", url_of(redis))
        return done.exit_code, done.output

    async with world(SCRIPT, app=APP, store=url_of(redis)) as w:
        alice = await w.attach()
        await confirmed(alice, "Remember this")
        await w.stop()
        await w.start()
        assert await told_to_a_new_session(w) == TOLD

        code, listed = await command("memory", "list")
        assert (code, listed.split("  ")[0::2]) == (0, ["diet", '"vegetarian"\n'])
        code, exported = await command("memory", "export")
        (fact,) = json.loads(exported)["facts"]
        assert (code, fact["source"]["session_id"]) == (0, alice.session_id)
        assert await command("memory", "forget", "home") == (1, ERASED.replace("1", "0"))
        assert await command("memory", "forget", "diet") == (0, ERASED)
        assert await told_to_a_new_session(w) == []

        await confirmed(await w.attach(), "Remember this")
        assert await command("memory", "erase") == (0, ERASED)
        assert await told_to_a_new_session(w) == []
        await confirmed(await w.attach(), "Remember this")
    code, said = await command("sessions", "erase")
    assert (code, "1 facts are still remembered" in said) == (0, True)
    code, said = await command("sessions", "erase", "--facts")
    assert (code, said.endswith(ERASED)) == (0, True)
    assert (await command("memory", "erase"))[0] == 1


async def test_an_operator_is_told_when_a_memory_can_t_be_asked(redis: RedisServer):
    redis.kill()
    given = ("--principal", NOBODY, "--store", url_of(redis))
    done = await invoke("memory", "list", *given)
    assert (done.exit_code, done.output.splitlines()[-1]) == (
        70,
        "bargein: the memory is unavailable: Redis can't be reached: Connection refused",
    )


@pytest.mark.slow
async def test_committed_means_remembered_and_failed_means_not_whenever_the_server_is_killed(
    redis: RedisServer, tmp_path: Path
):
    facts = redis_at(address_of(redis))
    await committed_means_remembered(tmp_path, facts, url_of(redis))
