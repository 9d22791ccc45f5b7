"""docs/operations.md, tried on a server."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from pathlib import Path
from subprocess import STDOUT, CompletedProcess

import trio

from tests.docs import pages
from tests.docs.server_process import COMMAND, environment, running
from tests.e2e.client import Client, attached
from tests.project.tree import ROOT

PAGE = pages.read(ROOT / "docs" / "operations.md")
TEST_LIMIT_S = 90.0


async def bargein(*arguments: str, directory: Path = ROOT) -> CompletedProcess[bytes]:
    with trio.fail_after(TEST_LIMIT_S):
        return await trio.run_process(
            [COMMAND, *arguments],
            capture_stdout=True,
            stderr=STDOUT,
            check=False,
            cwd=directory,
            env=environment(),
        )


async def conversation(port: int) -> str:
    """Have one; return the id of its session."""
    async with trio.open_nursery() as nursery:
        client: Client = await attached(nursery, port)
        await client.converse("Who are you?")
        nursery.cancel_scope.cancel()
    return client.session_id


async def test_check_takes_what_the_page_shows():
    (shown,) = [line for line in pages.commands(PAGE) if line.startswith("bargein check examples")]
    done = await bargein(*shlex.split(shown)[1:])
    assert done.returncode == 0, done.stdout
    assert b"listen  127.0.0.1:9000" in done.stdout


async def test_the_backup_of_a_running_server_holds_what_was_said(tmp_path: Path):
    (shown,) = [line for line in pages.commands(PAGE) if "backup" in line]
    _, flag, program = shlex.split(shown)
    store = "sqlite:///bargein.sqlite3"
    with trio.fail_after(TEST_LIMIT_S):
        async with running(directory=tmp_path, store=store) as server:
            session_id = await conversation(server.port)
            await trio.run_process([sys.executable, flag, program], cwd=tmp_path)
    told = await bargein(
        "replay", session_id, "--store", "sqlite:///backup.sqlite3", directory=tmp_path
    )
    assert told.returncode == 0
    assert b"Who are you?" in told.stdout
    assert b"response.end" in told.stdout


async def test_a_session_is_printed_beside_the_server_and_head_may_stop_reading(tmp_path: Path):
    store = f"sqlite:///{tmp_path}/t.sqlite3"
    with trio.fail_after(TEST_LIMIT_S):
        async with running(store=store) as server:
            session_id = await conversation(server.port)
            whole = await bargein("replay", session_id, "--store", store)
            assert whole.returncode == 0
            lines = whole.stdout.decode().splitlines()
            assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
            pipe = f"{shlex.quote(COMMAND)} replay {session_id} --store {store} | head -n 1"
            cut = await trio.run_process(
                ["bash", "-c", pipe], capture_stdout=True, capture_stderr=True, env=environment()
            )
            assert cut.stdout.decode().splitlines() == lines[:1]
            assert cut.stderr == b""
            await conversation(server.port)  # and the server goes on


async def test_asked_to_stop_it_ends_with_0_and_the_logs_say_so():
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server:
            await conversation(server.port)
            assert await server.stop() == 0
            assert '"event": "server.stopping"' in server.said


async def test_what_is_wrong_at_the_start_is_78_and_an_unknown_session_is_1(tmp_path: Path):
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server:
            taken = await bargein("serve", "--port", str(server.port), "--store", "memory:")
            assert taken.returncode == 78, taken.stdout
            assert b"is taken" in taken.stdout
    wrong = await bargein("serve", "--host", "0.0.0.0")  # noqa: S104 - it is refused
    assert wrong.returncode == 78
    assert re.match(rb"bargein: host \(", wrong.stdout)
    missing = await bargein("replay", "sess_none", "--store", f"sqlite:///{tmp_path}/t.sqlite3")
    assert missing.returncode == 1
    assert not (tmp_path / "t.sqlite3").exists()
    usage = await bargein("serve", "--no-such-flag")
    assert usage.returncode == 2


async def test_the_file_of_the_store_is_for_its_owner_alone(tmp_path: Path):
    with trio.fail_after(TEST_LIMIT_S):
        async with running(directory=tmp_path, store="sqlite:///bargein.sqlite3"):
            files = sorted(tmp_path.iterdir())
            assert [file.name for file in files] == [
                "bargein.sqlite3",
                "bargein.sqlite3-shm",
                "bargein.sqlite3-wal",
            ]
            assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


APP = """
from bargein.agents.app import Agent, App
app = App(name="renewed", agents=(Agent(name={name!r}),))
"""


async def test_a_hangup_while_the_server_starts_does_not_end_it(tmp_path: Path):
    hangs_up = "import os, signal\nos.kill(os.getpid(), signal.SIGHUP)\n"
    (tmp_path / "mine.py").write_text(hangs_up + APP.format(name="early"), encoding="utf-8")
    with trio.fail_after(TEST_LIMIT_S):
        async with running("mine.py:app", directory=tmp_path) as server:
            await conversation(server.port)
            assert await server.stop() == 0


async def test_a_hangup_reads_the_app_anew_and_a_broken_one_changes_nothing(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text(APP.format(name="first"), encoding="utf-8")
    with trio.fail_after(TEST_LIMIT_S):
        async with running("mine.py:app", directory=tmp_path) as server:
            assert await agent_of_a_new_session(server.port) == "first"
            file.write_text(APP.format(name="the second"), encoding="utf-8")
            server.process.send_signal(signal.SIGHUP)
            await server.says("app.renewed")
            assert await agent_of_a_new_session(server.port) == "the second"
            file.write_text("app = 1", encoding="utf-8")
            server.process.send_signal(signal.SIGHUP)
            await server.says("app.not_renewed")
            assert await agent_of_a_new_session(server.port) == "the second"


async def test_the_command_that_tunes_a_server_sends_nothing_where_the_file_is_wrong(
    tmp_path: Path,
):
    (shown,) = [line for line in pages.commands(PAGE) if "kill -HUP" in line]
    file = tmp_path / "bargein.toml"
    file.write_text("[bargein]\nqueue_most = 5\n", encoding="utf-8")

    async def tune(pid: int) -> int:
        variables = {"BARGEIN_PID": str(pid), "PATH": f"{Path(COMMAND).parent}:/usr/bin:/bin"}
        done = await trio.run_process(
            ["bash", "-c", shown],
            cwd=tmp_path,
            env=environment(**variables),
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
        return done.returncode

    with trio.fail_after(TEST_LIMIT_S):
        async with running("--config", str(file), directory=tmp_path) as server:
            file.write_text("[bargein]\nqueue_most = -5\n", encoding="utf-8")
            assert await tune(server.process.pid) == 78
            file.write_text("[bargein]\nqueue_most = 6\n", encoding="utf-8")
            assert await tune(server.process.pid) == 0
            await server.says('"keys": ["queue_most"], "event": "settings.renewed"')
            assert "settings.invalid" not in server.said


async def agent_of_a_new_session(port: int) -> str:
    async with trio.open_nursery() as nursery:
        client = await attached(nursery, port)
        opened = await client.until("session.opened")
        nursery.cancel_scope.cancel()
    return opened.payload["agent"]
