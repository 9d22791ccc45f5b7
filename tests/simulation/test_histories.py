"""Whole sessions, two thousand times: no schedule, delay or fault breaks a rule."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scale import scaled
from tests.simulation.history import History, play
from tests.simulation.script import VERBS, Script, Step
from tests.simulation.verdict import RulesBroken, hold_to_the_rules

SHARDS = 4
SEEDS = scaled(2000)

WHAT_HAPPENS = (
    "model.retry",
    "flush",
    "lagging",
    "caught_up",
    "first_seq",
    "go_away",
    "resume_token",
    "continues",
    "replaces",
    "input.dropped",
    "session.configured",
    "session.closed",
    "abandoned",
    "already_done",
    "refused",
    "disconnected",
    '"by":"preempted"',
    "operator",
    "playback.stop",
    "busy",
    "duplicate",
    "not_found",
    "forbidden",
    "stale",
    "unknown_command",
    "store_unavailable",
    "commit.failed",
    "action.rejected",
    "action.expired",
    "action.failed",
    "action.in_doubt",
    "action.reverted",
    "action.revert_failed",
    "invalid_command",
    '"reason":"interrupted"',
    '"outcome":"committing"',
    "loses",
    "does_and_hangs",
    "says nothing",
)
"""Words that stand in the journals of a few hundred histories, or they test too little."""


@pytest.fixture(scope="module")
def happened() -> Counter[str]:
    return Counter()


@pytest.fixture(scope="module")
def digests() -> dict[int, str]:
    return {}


def _note(history: History, happened: Counter[str]) -> None:
    journal = repr([life.world.journal for life in history.lives])
    happened.update(word for word in WHAT_HAPPENS if word in journal)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_history_breaks_a_rule(
    shard: int, happened: Counter[str], digests: dict[int, str]
) -> None:
    for seed in range(shard, SEEDS, SHARDS):
        history = play(seed)
        hold_to_the_rules(history)
        _note(history, happened)
        digests[seed] = history.digest


def test_many_seeds_are_many_histories(digests: dict[int, str]) -> None:
    for seed in range(20):
        digests.setdefault(seed, play(seed).digest)
    assert len(set(digests.values())) == len(digests)


def test_the_histories_meet_every_fault(happened: Counter[str]) -> None:
    if not happened:
        for seed in range(200):
            _note(play(seed), happened)
    assert [word for word in WHAT_HAPPENS if not happened[word]] == []


def test_one_seed_is_one_history() -> None:
    for seed in range(0, 40, 4):
        assert len({play(seed, cut=300).digest for _ in range(3)}) == 1


def test_another_process_with_another_hash_seed_plays_the_same_history() -> None:
    for hash_seed in ("0", "1", "4711"):
        told = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "5", "--cut", "200", "--digest"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert told.stdout.split() == [play(5, cut=200).digest]


def test_a_failing_history_names_the_command_that_plays_it_again() -> None:
    error = RulesBroken(7, 81, ["a rule", "another"])
    assert str(error) == (
        "REPRO: python -m tests.simulation --seed 7 --cut 81\n  a rule\n  another"
    )


# --- scripts that a search may shrink ------------------------------------------------------

_steps = st.builds(
    Step,
    tick=st.integers(0, 40),
    client=st.integers(0, 1),
    verb=st.sampled_from(sorted({*VERBS, "close"})),
    choice=st.integers(0, 2**16),
)


@settings(
    max_examples=scaled(500),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    # Drawn as an argument: under a plain @given every example has one and the same schedule.
    seed=st.integers(0, 2**32),
    steps=st.lists(_steps, max_size=12),
    idle_s=st.sampled_from((0.05, 60.0)),
    drains=st.booleans(),
)
def test_no_script_breaks_a_rule(seed: int, steps: list[Step], idle_s: float, drains: bool) -> None:
    arrivals = (Step(0, 0, "attach", seed), Step(1, 0, "say", seed), Step(3, 1, "attach", seed))
    ordered = tuple(sorted((*arrivals, *steps), key=lambda step: step.tick))

    def script(_: int, life: int) -> Script:
        if life:
            return Script(arrivals, 2)
        return Script(ordered, 2, drains, idle_s, grace_s=min(idle_s, 0.2))

    hold_to_the_rules(play(seed, script=script))


def test_no_turn_begins_in_a_session_that_was_revived_while_its_end_was_being_stored() -> None:
    steps = (
        Step(0, 0, "attach", 0),
        Step(0, 0, "close", 0),
        Step(1, 0, "say", 0),
        Step(3, 1, "attach", 0),
        Step(6, 0, "say", 0),
    )

    def script(_: int, life: int) -> Script:
        return Script(() if life else steps, 2, idle_s=0.05, grace_s=0.05)

    hold_to_the_rules(play(0, script=script))
