from __future__ import annotations

import pytest

from examples.bench.__main__ import chosen
from examples.bench.goals import GOALS, Bound, Goal, judged, ratio
from examples.bench.scenarios import SCENARIOS
from examples.bench.table import headline_table, table

COST = Goal(
    "cost",
    "cost, us",
    "paced",
    (
        Bound("cpu", "most", 10, " us"),
        Bound("cpu", "most", 0.65, versus="Node"),
    ),
    (("cpu", "{:.1f}"),),
)
PACE = Goal("pace", "sessions", "pace", (Bound("held", "least", 240),), (("held", "{:.0f}"),))
NONE = Goal("ghosts", "ghosts", "ghosts", (Bound("ghosts", "most", 0),), (("ghosts", "{:.0f}"),))


def test_a_goal_within_all_its_bounds_is_met():
    assert judged(COST, {"cpu": {"bargein": [6.0], "Node": [10.0]}}) == "met"
    assert judged(PACE, {"held": {"bargein": [240]}}) == "met"
    assert judged(NONE, {"ghosts": {"bargein": [0]}}) == "met"


def test_a_goal_that_is_missed_says_by_how_much():
    assert judged(COST, {"cpu": {"bargein": [12.5], "Node": [25.0]}}) == "short: by 2.5 us (25%)"
    assert judged(PACE, {"held": {"bargein": [180]}}) == "short: by 60 (25%)"
    assert judged(NONE, {"ghosts": {"bargein": [3]}}) == "short: by 3"


def test_a_ratio_that_is_missed_says_what_it_is():
    verdict = judged(COST, {"cpu": {"bargein": [9.0], "Node": [10.0]}})
    assert verdict == "short: Node 0.90 instead of 0.65"


def test_what_was_not_measured_is_never_met():
    assert judged(PACE, {}) == "not measured"
    assert judged(PACE, {"held": {"Node": [300]}}) == "not measured"


def test_without_the_peer_a_goal_is_met_only_as_far_as_it_was_measured():
    assert judged(COST, {"cpu": {"bargein": [6.0]}}) == "met, as far as measured; no Node"
    assert judged(COST, {"cpu": {"bargein": [12.0]}}) == "short: by 2 us (20%); no Node"


def test_a_figure_is_the_median_of_its_rounds():
    assert judged(COST, {"cpu": {"bargein": [6, 99, 6], "Node": [12, 12, 12]}}) == "met"


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    # A round in which the machine was twice as slow for both says the same as the others.
    assert ratio([5, 12, 6], [10, 20, 10]) == 0.6
    assert ratio([5], []) is None


def test_the_table_shows_every_contender_ratios_and_the_verdict():
    shown = table([COST], {"cpu": {"bargein": [6.0], "Node": [10.0], "FastAPI": [20.0]}})
    cells = [cell.strip() for cell in shown.splitlines()[2].strip("|").split("|")]
    assert cells == [
        *("cost, us", "<= 10 us, <= 0.65 x Node", "6.0", "10.0", "20.0", "0.60 0.30", "met"),
    ]


def test_what_a_person_asks_for_first_has_a_column_for_each_contender():
    shown = headline_table(
        {
            "bargein": (("interrupts", "100 %"), ("saved", "3")),
            "Node": (("interrupts", "99 %"),),
        }
    )
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in shown.splitlines()]
    assert rows[0] == ["", "bargein", "Node"]
    assert rows[2:] == [["interrupts", "100 %", "99 %"], ["saved", "3", "-"]]


def test_every_goal_has_a_scenario_and_every_scenario_a_goal():
    assert {goal.scenario for goal in GOALS} == SCENARIOS.keys()
    assert len({goal.name for goal in GOALS}) == len(GOALS)


def test_rows_can_be_chosen_by_name():
    assert [goal.name for goal in chosen("ack, flush")] == ["flush", "ack"]
    assert chosen(None) == GOALS
    with pytest.raises(Exception, match="no row nonsense"):
        chosen("ack,nonsense")
