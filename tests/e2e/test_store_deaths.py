"""A server process whose store dies under it, or can't be opened: rows 90, 92 and 93."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import trio

from tests.e2e.ailments import bad_disk, locked
from tests.e2e.client import Client
from tests.e2e.evidence import check_client, check_timeline
from tests.e2e.process import SCREENPLAY, ServerProcess

DIED = 70
WRONG = 78
BRIEF = "Brief, please"


@asynccontextmanager
async def mortal_server(
    directory: Path, *, may_trace: bool = False, **settings: str
) -> AsyncGenerator[ServerProcess]:
    """Run a server that may log errors, and tracebacks only where that is said."""
    play = directory / "play.toml"
    play.write_text(SCREENPLAY, encoding="utf-8")
    async with trio.open_nursery() as nursery:
        server = ServerProcess(directory, nursery, {"BARGEIN_SCREENPLAY": str(play), **settings})
        try:
            with trio.fail_after(120):
                await server.start()
                yield server
        finally:
            if server.process.poll() is None:
                server.process.kill()
            with trio.CancelScope(shield=True):  # a killed process ends at once
                await server.process.wait()
        nursery.cancel_scope.cancel()
    assert may_trace or "Traceback" not in server.log, server.log


async def in_a_turn(server: ServerProcess) -> tuple[Client, str]:
    """Return a driver and the turn that it is in the middle of."""
    client = await server.attach()
    turn_id = (await client.say("Long story"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return client, turn_id


async def dies(server: ServerProcess, *clients: Client) -> None:
    """Check that the server says goodbye to everybody, and ends as one that died."""
    for client in clients:
        assert await client.until_closed() == 4000
        assert client.find("go_away") is not None
    assert await server.exit_code() == DIED
    assert '"event": "store.ended"' in server.log


async def goes_on(server: ServerProcess, client: Client, turn_id: str) -> None:
    """Check that a new server has all that was shown, and closes the turn."""
    await server.start()
    stored = await server.whole(client.session_id)
    check_timeline(stored, finished=True)
    check_client(client, stored)
    back = await server.back(client)
    assert back.hello["resumed"] is True
    assert (await back.until("error", turn_id=turn_id)).payload["code"] == "server_restarted"
    assert await back.converse(BRIEF)


async def test_a_failed_fsync_ends_the_server_and_is_never_tried_again(tmp_path: Path):
    environment = await bad_disk(tmp_path)
    if environment is None:
        pytest.skip("there is no compiler to make a bad disk with")
    async with mortal_server(tmp_path, may_trace=False, **environment) as server:
        idle = await server.attach()
        client, turn_id = await in_a_turn(server)
        (tmp_path / "bad").touch()
        await dies(server, client, idle)
        told = client.find("error")
        assert told is not None
        assert told["error"]["code"] == "store_unavailable"
        (tmp_path / "bad").unlink()
        await goes_on(server, client, turn_id)


async def test_a_store_that_dies_while_the_server_drains_is_70_all_the_same(tmp_path: Path):
    environment = await bad_disk(tmp_path)
    if environment is None:
        pytest.skip("there is no compiler to make a bad disk with")
    # The turn would let the drain wait for longer than the test does.
    environment["BARGEIN_DRAIN_S"] = "600"
    async with mortal_server(tmp_path, may_trace=False, **environment) as server:
        client, _ = await in_a_turn(server)
        server.terminate()
        await client.until("go_away")
        (tmp_path / "bad").touch()
        await dies(server, client)
        assert '"event": "server.stopping"' in server.log


def a_directory(database: Path) -> None:
    database.mkdir()


def no_database(database: Path) -> None:
    database.write_bytes(b"no database " * 100)


def of_another(database: Path) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("CREATE TABLE another (one)")


@pytest.mark.parametrize("spoil", [a_directory, no_database, of_another])
async def test_a_store_that_can_not_be_opened_is_no_death_but_78(
    spoil: Callable[[Path], None], tmp_path: Path
):
    async with mortal_server(tmp_path) as server:
        server.terminate()
        assert await server.exit_code() == 0
        for name in ("", "-wal", "-shm"):
            server.database.with_name(server.database.name + name).unlink(missing_ok=True)
        spoil(server.database)
        with pytest.raises(AssertionError):  # it ends before it answers
            await server.start()
        assert await server.exit_code() == WRONG
        assert "bargein: the store " in server.log


async def test_a_store_that_stays_locked_at_the_start_is_worth_another_try(tmp_path: Path):
    async with mortal_server(tmp_path) as server:
        server.terminate()
        assert await server.exit_code() == 0
        async with locked(server.database):
            with pytest.raises(AssertionError):  # it ends before it answers
                await server.start()
            assert await server.exit_code() == DIED
            assert "is locked by someone else" in server.log
        await server.start()
        assert await (await server.attach()).converse(BRIEF)


def wal_deleted(database: Path) -> None:
    database.with_name(f"{database.name}-wal").unlink()


def replaced(database: Path) -> None:
    database.rename(database.with_name("aside"))
    with closing(sqlite3.connect(database)) as other:
        other.execute("CREATE TABLE another (one)")


def deleted(database: Path) -> None:
    database.rename(database.with_name("aside"))


@pytest.mark.parametrize("lose", [wal_deleted, replaced, deleted])
async def test_a_file_that_is_lost_or_replaced_under_the_server_ends_it(
    lose: Callable[[Path], None], tmp_path: Path
):
    async with mortal_server(tmp_path) as server:
        idle = await server.attach()
        client, _ = await in_a_turn(server)
        lose(server.database)
        await dies(server, client, idle)


async def test_a_schema_newer_than_the_code_is_left_untouched(tmp_path: Path):
    async with mortal_server(tmp_path) as server:
        client = await server.attach()
        await client.converse(BRIEF)
        server.terminate()
        assert await server.exit_code() == 0
        with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
            (version,) = other.execute("PRAGMA user_version").fetchone()
            other.execute(f"PRAGMA user_version = {version + 1000}")
        before = server.database.read_bytes()
        with pytest.raises(AssertionError):  # it ends before it answers
            await server.start()
        assert await server.exit_code() == WRONG
        assert str(version + 1000) in server.log
        assert server.database.read_bytes() == before
