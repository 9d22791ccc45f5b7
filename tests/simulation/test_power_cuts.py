"""The power fails before any step: what was acknowledged is there, and the rest is settled."""

from __future__ import annotations

import pytest

from tests.scale import scaled
from tests.simulation.chance import chance
from tests.simulation.history import play
from tests.simulation.script import Script, Step
from tests.simulation.verdict import hold_to_the_rules

CUTS_OF_A_SEED = 5


@pytest.mark.parametrize("shard", range(2))
def test_a_power_cut_before_any_drawn_step_breaks_no_rule(shard: int) -> None:
    for seed in range(shard, scaled(500) // CUTS_OF_A_SEED, 2):
        steps = play(seed).steps
        drawn = chance(f"{seed}/cuts")
        for _ in range(CUTS_OF_A_SEED):
            hold_to_the_rules(play(seed, cut=drawn.randint(1, steps)))


def short_script(_: int, life: int) -> Script:
    """A barge-in with words that wait, and everybody back after the cut."""
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


@pytest.mark.slow
def test_a_power_cut_before_every_single_step_breaks_no_rule() -> None:
    for seed in range(scaled(10)):
        steps = play(seed, script=short_script).steps
        assert steps > 100
        for cut in range(1, steps + 1):
            hold_to_the_rules(play(seed, cut=cut, script=short_script))
