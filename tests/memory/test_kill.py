"""Real processes, really killed: what was said to be remembered is there afterwards."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from bargein.memory.facts import Owner
from tests.memory import saving_process
from tests.memory.facts import address_of, running, texts
from tests.memory.saving_process import NOTHING, facts_at
from tests.scale import scaled

ROOT = Path(__file__).parents[2]
KILLS = scaled(50)
LATEST_S = 30.0


async def start(place: str, run: str) -> trio.Process:
    command = [sys.executable, "-m", saving_process.__name__, place, run]
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


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return f"redis://{address_of(request.getfixturevalue('redis'))}"
    return str(tmp_path / "facts.sqlite3")


async def test_what_was_done_survives_kill_9_and_what_was_not_is_whole_or_not_there(
    place: str,
) -> None:
    chance = random.Random(1)  # noqa: S311
    remembered: dict[str, str] = {}
    upcoming = await start(place, "run_0")
    try:
        for kill in range(KILLS):
            process, upcoming = upcoming, await start(place, f"run_{kill + 1}")
            with trio.fail_after(LATEST_S):
                lines = await kill_after(process, chance.randint(5, 200))
            remembered = await settled(place, remembered, lines)
    finally:
        upcoming.kill()
        await upcoming.wait()
    assert len(remembered) == saving_process.KEYS


async def settled(place: str, remembered: dict[str, str], lines: list[str]) -> dict[str, str]:
    """Hold the memory against what the process said; return what is in it, by key."""
    expected, begun = dict(remembered), dict[str, tuple[str, str]]()
    for line in lines:
        kind, key, then, done_key = line.split()
        if kind == "about":
            begun[key] = (then, done_key)
        else:
            expected[key] = then
            del begun[key]
    facts = facts_at(place)
    async with running(facts):
        found: dict[str, str] = {}
        for number in range(saving_process.KEYS):
            key = f"key_{number}"
            owner = Owner(f"owner of {key}")
            if key in begun:  # killed in the middle: the memory itself says which it was
                then, done_key = begun[key]
                outcome = await facts.outcome(owner, done_key)
                expected[key] = expected.get(key, NOTHING) if outcome is None else then
            found[key] = (await texts(facts, owner)).get(key, NOTHING)
            assert found[key] == expected.get(key, NOTHING), (key, lines[-20:])
    return found
