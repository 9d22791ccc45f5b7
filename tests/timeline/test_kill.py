"""Real processes, really killed: what was announced as durable is there afterwards.

`BARGEIN_KILLS` sets how often (20), `BARGEIN_KILL_SEED` which histories.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import trio

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.sqlite import SqliteStore
from tests.timeline import appending_process
from tests.timeline.appends import LATEST_S, all_seqs, running

KILLS = int(os.environ.get("BARGEIN_KILLS", "20"))
SEED = int(os.environ.get("BARGEIN_KILL_SEED", "1"))
ROOT = Path(__file__).parents[2]


async def start(path: Path, seed: int) -> trio.Process:
    command = [sys.executable, "-m", appending_process.__name__, str(path), str(seed)]
    return await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )


async def kill_after(process: trio.Process, lines: int) -> list[str]:
    """Let *process* go, kill it once it has printed *lines* lines, return all of them."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.send_all(b"go\n")
    printed = b""
    async for some in process.stdout:
        printed += some
        if printed.count(b"\n") >= lines and process.returncode is None:
            process.kill()
    assert await process.wait() == -signal.SIGKILL, printed[-500:]
    return printed.decode().splitlines()


async def test_what_was_announced_survives_kill_9_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "timelines.sqlite3"
    chance = random.Random(SEED)  # noqa: S311
    durable: dict[str, int] = {}
    upcoming = await start(path, SEED)
    try:
        for kill in range(KILLS):
            process, upcoming = upcoming, await start(path, SEED + kill + 1)
            with trio.fail_after(LATEST_S):
                for line in await kill_after(process, chance.randint(1, 300)):
                    name, seq = line.split()
                    durable[name] = int(seq)
            await check(path, durable)
    finally:
        upcoming.kill()
        await upcoming.wait()
    assert len(durable) == appending_process.SESSIONS


async def check(path: Path, durable: dict[str, int]) -> None:
    store = SqliteStore(path)
    async with running(store):
        for name, announced in durable.items():
            session_id = SessionId(name)
            seqs = await all_seqs(store, session_id)
            assert seqs == list(range(1, len(seqs) + 1))
            assert len(seqs) >= announced
            row = await store.row(session_id)
            assert row is not None
            assert row.last_seq == Seq(len(seqs))
