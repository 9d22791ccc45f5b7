from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from bargein.gateway.workers.command import table_of
from bargein.gateway.workers.status import (
    Row,
    StatusUnavailable,
    asked,
    serve_status,
    socket_path,
)
from bargein.server import main

ROWS = [
    Row(1, 4242, "ready", 12, 10, 0.0123, 0.456, 96 * 2**20, 0, 59.9),
    Row(2, 4243, "draining", 3, 1, 0.0, 1.2, 100 * 2**20, 3, 7261.0),
]
LIMIT_S = 20.0


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return socket_path("127.0.0.1", 8710)


async def ask(path: Path, nursery: trio.Nursery) -> list[Row]:
    nursery.start_soon(serve_status, path, lambda: ROWS)
    with trio.fail_after(LIMIT_S):
        while True:
            try:
                return await trio.to_thread.run_sync(asked, path)
            except StatusUnavailable:
                await trio.sleep(0.01)


async def test_who_asks_is_told_and_the_socket_is_this_users_alone(path: Path):
    async with trio.open_nursery() as nursery:
        assert await ask(path, nursery) == ROWS
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_a_socket_that_a_killed_supervisor_left_is_replaced(path: Path):
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with trio.open_nursery() as nursery:
        assert await ask(path, nursery) == ROWS
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["open to others", "a link", "no directory"])
async def test_a_directory_that_others_may_reach_is_not_used(path: Path, tmp_path: Path, how: str):
    match how:
        case "open to others":
            path.parent.mkdir(mode=0o755)
        case "a link":
            (tmp_path / "elsewhere").mkdir(mode=0o700)
            path.parent.symlink_to(tmp_path / "elsewhere")
        case _:
            path.parent.write_text("a file")
    with pytest.raises(StatusUnavailable):
        await serve_status(path, lambda: ROWS)
    assert not path.exists()


def test_the_table_has_a_line_for_each():
    head, first, second = table_of(ROWS)
    assert head.split()[:3] == ["worker", "pid", "state"]
    assert first.split() == ["1", "4242", "ready", "12", "10", "12.3", "46", "96", "0", "59s"]
    assert second.split() == ["2", "4243", "draining", "3", "1", "0.0", "120", "100", "3", "2h01m"]
    assert len({len(head), len(first), len(second)}) == 1


async def test_the_command_shows_them_as_a_table_and_as_json(path: Path):
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, ["workers", "--port", "8710", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    async with trio.open_nursery() as nursery:
        await ask(path, nursery)
        told = await trio.to_thread.run_sync(run)
        assert told.splitlines() == list(table_of(ROWS))
        lines = (await trio.to_thread.run_sync(run, "--json")).splitlines()
        assert [json.loads(line)["pid"] for line in lines] == [4242, 4243]
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("path")
def test_where_nobody_watches_workers_the_command_says_so():
    done = CliRunner().invoke(main, ["workers", "--port", "8711"])
    assert done.exit_code == 1
    assert "nobody watches workers on port 8711 of 127.0.0.1" in done.output
