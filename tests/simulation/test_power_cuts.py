"""The power fails before any step: what was acknowledged is there, and the rest is settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count, islice
from typing import Any

import pytest

from tests.scale import scaled
from tests.simulation.chance import chance
from tests.simulation.history import History, play
from tests.simulation.rules import timelines
from tests.simulation.script import Script, Step
from tests.simulation.verdict import hold_to_the_rules

SHARDS = 4
SEEDS = scaled(20_000)
LATE_STEP = 500
"""Most histories are longer; one that ended before is cut again where it has steps."""

MOST_STEPS = 320

Event = dict[str, Any]


@pytest.mark.slow
@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_power_cut_before_any_drawn_step_breaks_no_rule(shard: int) -> None:
    whole = 0
    for seed in range(shard, SEEDS, SHARDS):
        drawn = chance(f"{seed}/cuts")
        history = play(seed, cut=drawn.randint(1, LATE_STEP))
        hold_to_the_rules(history)
        if not history.lives[0].world.dead:
            whole += 1
            cut = play(seed, cut=drawn.randint(1, history.steps))
            assert cut.lives[0].world.dead
            hold_to_the_rules(cut)
    assert whole < SEEDS / SHARDS / 2, "most of the drawn cuts came too late"


# --- every single step ----------------------------------------------------------------------


def short_script(_: int, life: int) -> Script:
    """A barge-in with words that wait, and everybody back after the cut.

    What is proposed is decided by whoever sees it.
    """
    if life:
        return Script((Step(0, 0, "attach", 0), Step(2, 1, "attach", 0), Step(8, 0, "say", 6)), 2)
    return Script(
        (
            Step(0, 0, "attach", 0),
            Step(1, 0, "say", 1),
            Step(3, 1, "attach", 3),
            Step(5, 1, "say", 6),
            Step(7, 0, "interrupt", 4),
            Step(9, 0, "report", 5),
            Step(10, 0, "say", 7),
        ),
        2,
        idle_s=0.1,
        grace_s=0.05,
    )


def quiet_script(_: int, life: int) -> Script:
    """Words that nobody interrupts by plan, so that what they lead to can go on."""
    if life:
        return Script((Step(0, 0, "attach", 0), Step(2, 1, "attach", 0)), 2, confirm_s=0.5)
    return Script(
        (Step(0, 0, "attach", 0), Step(1, 0, "say", 1), Step(2, 1, "attach", 0)),
        2,
        idle_s=0.1,
        confirm_s=0.5,
    )


def _types(events: Iterable[Event]) -> set[str]:
    return {event["type"] for event in events}


def _barge_in(events: list[Event]) -> bool:
    return {"cancel.ack", "input.text"} < _types(events)


def _undone(events: list[Event]) -> bool:
    return "action.reverted" in _types(events)


def _left_to_finish(events: list[Event]) -> bool:
    listed = [e["payload"]["still_committing"] for e in events if e["type"] == "cancel.ack"]
    return any(listed)


def _settled_doubt(events: list[Event]) -> bool:
    effects = {e["payload"]["effect"] for e in events if e["type"] == "action.proposed"}
    return "side_effect" in effects and {"action.in_doubt", "action.committed"} < _types(events)


def _refused(events: list[Event]) -> bool:
    return {"action.rejected", "action.expired"} < _types(events)


SCENES: dict[str, tuple[Callable[[int, int], Script], Callable[[list[Event]], bool]]] = {
    "a barge-in with words that wait": (short_script, _barge_in),
    "done and undone": (quiet_script, _undone),
    "interrupted while committing": (quiet_script, _left_to_finish),
    "in doubt, and settled": (quiet_script, _settled_doubt),
    "rejected, and expired": (quiet_script, _refused),
}


def _seeds_of(what: str) -> Iterable[int]:
    """Find histories in which this happens, and soon: each of their steps is tried."""
    script, happens = SCENES[what]

    def shows(history: History) -> bool:
        soon = history.steps <= MOST_STEPS
        return soon and any(happens(events) for events in timelines(history).values())

    return (seed for seed in count() if shows(play(seed, script=script)))


@pytest.mark.slow
@pytest.mark.parametrize("what", SCENES)
def test_a_power_cut_before_every_single_step_breaks_no_rule(what: str) -> None:
    script, _ = SCENES[what]
    for seed in islice(_seeds_of(what), scaled(10)):
        steps = play(seed, script=script).steps
        assert steps > 100
        for cut in range(1, steps + 1):
            hold_to_the_rules(play(seed, cut=cut, script=script))
