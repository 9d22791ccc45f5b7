"""What a run promises: the same seed, the same bytes; a failure names its seed; bugs are found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from bargein.testing import Livelock, NeverCame, RulesBroken, World, simulate, simulated, world
from bargein.testing.simulation import SEED_VARIABLE, SEEDS_VARIABLE
from bargein.testing.world import Conversation
from tests.project.tree import ROOT
from tests.simulation.mutants import MUTANTS
from tests.testing.restaurant import HOST, Book

EXAMPLE = ROOT / "examples" / "testing"
LIMIT_S = 240

SEEDS = 5
"""A bug need not show in every run: a store that is quick enough hides who does not wait for it."""


async def booking(world: World) -> None:
    """Book a table while the line is bad, and cut in on the next words."""
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    await guest.say("book a table")
    await guest.until("action.proposed")
    guest.cut()
    await guest.confirm()
    await guest.until("action.committed")
    await guest.say("hello")
    await guest.until("model.token", nth=3)
    await guest.interrupt()


async def cutting_in(world: World) -> None:
    """Cut in on a proposal, and say yes to it all the same."""
    await world.serve(Book().app(), HOST)
    guest = await world.join()
    await guest.say("book a table")
    await guest.until("action.proposed")
    await guest.interrupt()


def test_the_same_seed_is_the_same_run_to_the_byte():
    digests = [simulate(booking, seed=seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_a_run_is_the_same_in_another_process():
    code = (
        "from tests.testing.test_runs import booking; from bargein.testing import simulate; "
        "print(simulate(booking, seed=3).digest)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for hash_seed in ("0", "1")
    }
    assert outputs == {simulate(booking, seed=3).digest + "\n"}


def test_a_world_can_be_read_when_it_is_over():
    there = simulate(booking, seed=4)
    assert there.timeline.shows("action.proposed", "action.committed", "cancel.ack")
    assert there.timeline.broken(finished=True) == []
    assert "action.committed" in repr(there.timeline)


# --- what fails says how to see it again -----------------------------------------------------


def test_a_failure_names_its_seed_and_the_line_that_plays_it_again():
    @simulated(seeds=50)
    async def conversation(world: World) -> None:
        await booking(world)
        assert world.seed != 7

    with pytest.raises(AssertionError) as failed:
        conversation()
    (note,) = failed.value.__notes__
    here = "tests/testing/test_runs.py::" + failed.traceback[0].frame.code.name
    assert note == f"REPLAY: BARGEIN_SEED=7 python -m pytest '{here}'"


def test_the_environment_chooses_the_seeds(monkeypatch: pytest.MonkeyPatch):
    played: list[int] = []

    @simulated(seeds=2)
    async def conversation(world: World) -> None:
        played.append(world.seed)
        await trio.lowlevel.checkpoint()

    conversation()
    monkeypatch.setenv(SEEDS_VARIABLE, "4")
    conversation()
    monkeypatch.setenv(SEED_VARIABLE, "77")
    conversation()
    assert played == [0, 1, 0, 1, 2, 3, 77]


def test_what_never_comes_is_named_with_what_came():
    async def conversation(world: World) -> None:
        await world.serve(Book().app(), HOST)
        guest = await world.join()
        await guest.say("hello")
        await guest.until("action.*", within_s=3)

    with pytest.raises(NeverCame, match=r"user1: action\.\* did not come within 3 s") as missed:
        simulate(conversation)
    assert "turn.trace" in str(missed.value)


def test_who_waits_for_ever_is_told():
    async def conversation(_: World) -> None:
        await trio.sleep_forever()

    with pytest.raises(NeverCame, match="the end of the conversation"):
        simulate(conversation)


def test_what_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(world, "MOST_STEPS", 5000)

    async def conversation(_: World) -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with pytest.raises(Livelock):
        simulate(conversation)


def test_a_test_that_takes_no_world_is_refused():
    async def conversation() -> None: ...

    with pytest.raises(TypeError, match="a parameter called world"):
        simulated(conversation)


def test_trio_is_as_it_was_when_a_run_is_over():
    before = trio.to_thread.run_sync, trio.from_thread.run_sync
    simulate(booking)
    assert (trio.to_thread.run_sync, trio.from_thread.run_sync) == before


# --- bugs of the server are found by whoever talks to it ---------------------------------------


@pytest.mark.parametrize(
    ("conversation", "name", "rule"),
    [
        (booking, "early", "I2"),
        (booking, "hasty_start", "I22"),
        (booking, "hasty_reply", "a reply comes after its at_seq"),
        (booking, "one_key", "I28"),
        (cutting_in, "left_to_confirm", "I26"),
    ],
)
def test_a_bug_of_the_server_is_found_in_a_conversation(
    conversation: Conversation, name: str, rule: str
):
    (mutant,) = (mutant for mutant in MUTANTS if mutant.name == name)
    with mutant.planted(), pytest.raises(RulesBroken) as found:
        simulated(seeds=SEEDS)(conversation)()
    assert rule in str(found.value)


# --- under any pytest --------------------------------------------------------------------------


@pytest.mark.parametrize("plugin", ["with pytest-trio", "without pytest-trio"])
def test_the_example_runs_under_any_pytest(plugin: str, tmp_path: Path):
    bare = tmp_path / "pytest.ini"
    bare.write_text("[pytest]\naddopts = --import-mode=importlib\n")
    without = ["-p", "no:trio", "-c", str(bare), "--rootdir", str(ROOT)]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            *(without if plugin == "without pytest-trio" else ()),
            str(EXAMPLE),
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), SEEDS_VARIABLE: "6"},
    )
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout
