"""A live server that moves quiet sessions from Redis into files, while clients come and go."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from bargein.gateway.settings_groups import RedisAccess
from bargein.protocol.ids import SessionId
from bargein.server import main
from tests.e2e.client import Client
from tests.e2e.harness import World, eventually, world
from tests.e2e.process import server_process
from tests.e2e.scripts import by_words, words
from tests.e2e.user import killed_and_back, start_turn, users
from tests.fakes.anthropic_answers import saying
from tests.timeline.cold_room import ColdRoom
from tests.timeline.redis_server import redis_server

SAFE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
SLOW = by_words({"slow": saying(*words(300), interval_s=0.01)})
AFTER_S = 1.0


@pytest.fixture
def room(tmp_path: Path) -> Generator[ColdRoom]:
    (root := tmp_path / "cold").mkdir()
    with redis_server(tmp_path / "redis", *SAFE) as server:
        yield ColdRoom(server, root)


def url_of(room: ColdRoom) -> str:
    return f"redis://127.0.0.1:{room.redis.port}/0"


def settings_of(room: ColdRoom) -> dict[str, Any]:
    access = RedisAccess(cold_after_s=AFTER_S, cold_dir=str(room.root))
    return {"store": url_of(room), "redis": access}


async def until_moved(room: ColdRoom, client: Client) -> None:
    name = SessionId(client.session_id)
    await eventually(lambda: room.cold(name) is not None and room.kept(name) == 0)


async def from_the_beginning(w: World, client: Client) -> Client:
    """Let somebody come who knows nothing, and wait until they have seen all."""
    late = await w.attach(client.session_id, after=0, epoch=client.epoch)
    await eventually(lambda: late.last_seq >= client.last_seq)
    return late


async def test_a_client_that_begins_anew_gets_all_of_a_session_that_is_in_a_file(
    room: ColdRoom,
) -> None:
    async with world(SLOW, **settings_of(room)) as w:
        alice = await w.attach()
        await alice.converse("Hello")
        await until_moved(room, alice)  # though she is there, and silent
        first = room.cold(SessionId(alice.session_id))
        late = await from_the_beginning(w, alice)
        assert late.hello["resumed"] is True
        assert await late.converse("And now?")
        await until_moved(room, alice)
        assert room.cold(SessionId(alice.session_id)) != first
        assert await alice.converse("Once more")


async def test_a_session_in_a_file_comes_back_into_the_memory_of_another_server(
    room: ColdRoom,
) -> None:
    async with world(SLOW, **settings_of(room)) as w:
        alice = await w.attach()
        await alice.converse("Hello")
        await until_moved(room, alice)
        await w.stop()
        await w.start()
        back = await w.back(alice)
        assert back.hello["resumed"] is True
        assert await back.converse("Hello again")
        late = await from_the_beginning(w, back)
        assert await late.converse("slow")


async def test_a_turn_that_runs_goes_on_while_others_are_moved(room: ColdRoom) -> None:
    async with world(SLOW, **settings_of(room)) as w:
        bob = await w.attach()
        await bob.converse("Hello")
        alice = await w.attach()
        turn_id = (await alice.say("slow"))["result"]["turn_id"]
        await until_moved(room, bob)
        await alice.until("turn.trace", turn_id=turn_id)
        assert alice.answer_of(turn_id) == "".join(words(300))


async def invoke(*arguments: str) -> Result:
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, list(arguments)))


async def test_commands_see_what_is_in_files_and_erase_it(room: ColdRoom) -> None:
    store = ("--store", url_of(room), "--redis-cold-dir", str(room.root))
    async with world(SLOW, **settings_of(room)) as w:
        alice = await w.attach()
        await alice.converse("Hello")
        await until_moved(room, alice)
        replayed = await invoke("replay", alice.session_id, *store)
        assert "Hello" in replayed.output
        row = await w.store.row(SessionId(alice.session_id))
        assert row is not None
        owner = ("--principal", row.principal)
        exported = await invoke("sessions", "export", *owner, *store)
        assert len(exported.output.splitlines()) == alice.last_seq + 1
        report = await invoke("report", "--json", *store)
        assert report.exit_code == 0, report.output
        erased = await invoke("sessions", "erase", *owner, *store)
        assert (erased.exit_code, erased.output) == (0, "1 sessions erased\n")
        assert room.files(SessionId(alice.session_id)) == []
        w.clients.remove(alice)  # nothing is left to hold against what she saw
    bare = await invoke("sessions", "list", "--store", url_of(room))
    assert (bare.exit_code, "redis.cold_dir" in bare.output) == (70, True)


async def test_a_directory_that_is_missing_keeps_the_server_from_starting(room: ColdRoom) -> None:
    missing = ("--redis-cold-dir", str(room.root / "missing"))
    served = await trio.run_process(
        [sys.executable, "-m", "bargein.server", "serve", "--store", url_of(room), *missing],
        capture_stderr=True,
        capture_stdout=True,
        check=False,
    )
    assert (served.returncode, b"is no directory" in served.stderr) == (78, True)
    alone = await invoke("check", "--store", url_of(room), "--redis-cold-after-s", "60")
    assert (alone.exit_code, "redis.cold_dir" in alone.output) == (78, True)


@pytest.mark.slow
async def test_a_server_that_is_killed_while_it_moves_loses_nothing(
    tmp_path: Path, room: ColdRoom
) -> None:
    async with server_process(
        tmp_path,
        url=url_of(room),
        BARGEIN_REDIS_COLD_DIR=str(room.root),
        BARGEIN_REDIS_COLD_AFTER_S=str(AFTER_S),
    ) as server:
        everybody = await users(server, 3)
        for user in everybody:
            await user.client.converse("Brief, please")
        names = [SessionId(user.client.session_id) for user in everybody]
        await eventually(lambda: any(room.files(name) for name in names))
        await start_turn(everybody[0], "Long story")
        await killed_and_back(server, everybody)
        for user in everybody:
            await user.client.converse("Brief, please")
            await user.check()
        await eventually(lambda: all(room.kept(name) == 0 for name in names))
        for user in everybody:
            await user.check()
