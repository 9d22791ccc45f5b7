"""The scenarios of the table against the real server, as small as they can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trio
from attrs import evolve

from examples.bench.__main__ import run
from examples.bench.contenders import BARGEIN, FASTAPI, Contender
from examples.bench.goals import GOALS, ScenarioName
from examples.bench.ground import Ground, Outcome
from examples.bench.link import LinkLost
from examples.bench.memory_scenarios import hibernated, idle
from examples.bench.processes import Cores
from examples.bench.scenarios import PROBE, Scenario, ghosts, pace
from examples.bench.session_scenarios import replay, turn_cost
from tests.project.tree import ROOT

LIMIT_S = 300.0
BRIEF = evolve(PROBE, seconds=1.0, warm_s=0.5, tokens=60, interval_ms=10, first_ms=20)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(Cores(None, None), tmp_path)


@pytest.mark.slow
async def test_a_long_session_is_replayed_and_its_turns_have_a_cost(ground: Ground):
    with trio.fail_after(LIMIT_S):
        replayed = await replay(ground, BARGEIN, events=60, replays=2)
        assert replayed.notes == ()
        assert replayed.raw["events"] >= 60
        assert replayed.figures["replay_ms"] > 0

        turns = await turn_cost(ground, BARGEIN, sizes=(1, 5))
        assert turns.notes == ()
        assert turns.figures.keys() == {"turn_1", "turn_5", "turn_growth"}
        assert turns.figures["turn_1"] > 0


@pytest.mark.slow
async def test_idle_sessions_are_held_and_hibernated_ones_leave_memory(ground: Ground):
    with trio.fail_after(LIMIT_S):
        held = await idle(ground, BARGEIN, sessions=20, hold_s=0.2)
        assert held == Outcome({**held.figures, "idle_held": 20})
        asleep = await hibernated(ground, BARGEIN, wave=10, waves=1, fillings=1)
        assert asleep.figures["hibernated_live"] == 0
        assert "hibernated_kib" in asleep.figures


@pytest.mark.slow
async def test_interrupts_are_counted_and_a_pace_is_found(ground: Ground):
    with trio.fail_after(LIMIT_S):
        interrupted = await ghosts(ground, BARGEIN, interrupts=12, bots=4)
        assert interrupted.notes == ()
        assert interrupted.figures["ghosts"] == 0
        assert interrupted.figures["ghost_interrupts"] >= 12

        found = await pace(ground, BARGEIN, BRIEF, least=2, most=2, step=1)
        assert found.raw["tried"].keys() == {2}
        assert found.figures["pace_sessions"] in {0, 2}


# --- and the command ------------------------------------------------------------------


async def test_contenders_take_turns_and_what_fails_is_a_note(ground: Ground):
    asked: list[str] = []

    async def measured(_: Ground, contender: Contender) -> Outcome:
        await trio.lowlevel.checkpoint()
        asked.append(contender.name)
        if contender is FASTAPI:
            raise LinkLost("connection cut")
        return Outcome({"cpu_us": float(len(asked))})

    scenarios: dict[ScenarioName, Scenario] = {
        "paced": Scenario(measured, (BARGEIN, FASTAPI), rounds=True),
        "start": Scenario(measured, (BARGEIN,)),
    }
    results = await run([goal for goal in GOALS if goal.scenario == "paced"], ground, 2, scenarios)
    assert asked == ["bargein", "FastAPI", "bargein", "FastAPI"]
    assert results.figures == {"cpu_us": {"bargein": [1.0, 3.0]}}
    assert list(results.notes) == ["paced, FastAPI, came to nothing: connection cut"]


def test_the_command_names_the_rows_that_there_are():
    done = subprocess.run(
        (sys.executable, "-m", "examples.bench", "--only", "nonsense"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 2
    assert all(goal.name in done.stderr for goal in GOALS)
