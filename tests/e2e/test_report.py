"""`bargein report`, beside a server that runs on the same store."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess

import trio

from tests.docs.server_process import COMMAND, environment
from tests.e2e.harness import world
from tests.e2e.scripts import PACE_S, words
from tests.fakes.anthropic_answers import saying

LIMIT_S = 90.0


async def _report(store: Path, *arguments: str) -> CompletedProcess[bytes]:
    with trio.fail_after(LIMIT_S):
        return await trio.run_process(
            [COMMAND, "report", "--store", f"sqlite:///{store}", *arguments],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=store.parent,
            env=environment(),
        )


async def test_a_report_beside_a_running_server_tells_what_was_said_and_stopped(tmp_path: Path):
    store = tmp_path / "t.sqlite3"
    long = saying(*words(400), interval_s=PACE_S)
    async with world([saying("Hello ", "you"), long], store=store, deadline_s=240.0) as w:
        client = await w.attach()
        await client.converse("Hi")
        await client.say("Tell me a story")
        await client.until("model.token", since=len(client.frames))
        await client.ask("interrupt")
        done = await _report(store, "--json")
        assert done.returncode == 0, done.stderr
        tree = json.loads(done.stdout)
        assert tree["turns"] == {"count": 2, "by_outcome": {"completed": 1, "cancelled": 1}}
        assert tree["interrupts"]["by_cause"] == {"user": {"interrupt": 1}}
        assert tree["interrupts"]["succeeded_share"] == 1.0
        assert tree["latency_ms"]["first_words"]["count"] == 2
        assert {turn["session_id"] for turn in tree["slowest_turns"]} == {client.session_id}
        assert tree["sessions"]["active"] == 1

        shown = await _report(store, "--since", "1h")
        assert shown.returncode == 0, shown.stderr
        assert b"\nINTERRUPTS\n" in shown.stdout

        later = await _report(store, "--since", "2999-01-01", "--json")
        assert json.loads(later.stdout)["turns"]["count"] == 0


async def test_a_time_that_is_none_is_refused_with_what_would_be_right(tmp_path: Path):
    done = await _report(tmp_path / "none.sqlite3", "--since", "yesterday")
    assert done.returncode == 2
    assert b"90m, 24h, 7d, 2w" in done.stderr


async def test_a_report_on_a_store_that_is_not_there_makes_none(tmp_path: Path):
    done = await _report(tmp_path / "none.sqlite3")
    assert done.returncode == 78
    assert list(tmp_path.iterdir()) == []
