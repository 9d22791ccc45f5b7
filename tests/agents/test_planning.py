from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.agents.planning import (
    MOST_STEPS,
    Plan,
    PlanInvalid,
    PlannedStep,
    Planning,
    Titling,
    plan_from,
)

AGENTS: Final = ("researcher", "writer")


def steps(*drafted: Any) -> Plan:
    return plan_from({"steps": list(drafted)}, agents=AGENTS, most_steps=3)


def step(title: Any = "Look", agent: Any = "researcher", **more: Any) -> dict[str, Any]:
    return {"title": title, "agent": agent, **more}


@pytest.mark.parametrize(
    "bounds", [{"deadline_s": 0}, {"deadline_s": -1}, {"most_steps": 0}], ids=str
)
def test_bounds_have_to_be_more_than_nothing(bounds: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bounds))):
        Planning(**bounds)


def test_a_title_has_a_deadline() -> None:
    assert Titling().deadline_s == 10.0
    with pytest.raises(ValueError, match="deadline_s"):
        Titling(deadline_s=0)


def test_nothing_is_planned_unless_the_app_says_so() -> None:
    assert (Planning().policy, Planning().most_steps) == ("never", MOST_STEPS)


def test_steps_are_numbered_and_their_titles_trimmed() -> None:
    plan = steps(step(" Look "), step("x" * 500, "writer", group=2), step("Say", group=None))
    assert plan == Plan(
        (
            PlannedStep("step_1", "Look", "researcher"),
            PlannedStep("step_2", "x" * 200, "writer", 2),
            PlannedStep("step_3", "Say", "researcher"),
        )
    )


def test_no_steps_are_no_plan_and_no_error() -> None:
    assert steps() == Plan(())


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"steps": None},
        {"steps": {}},
        {"steps": ["Look"]},
        {"steps": [{"title": "Look"}]},
        {"steps": [step(1)]},
        {"steps": [step(agent=None)]},
        {"steps": [step(group="1")]},
        {"steps": [step(group=1.5)]},
    ],
    ids=str,
)
def test_another_shape_is_no_plan_and_says_how_it_should_be(value: Any) -> None:
    with pytest.raises(PlanInvalid, match=r'reply with \{"steps": \[\.\.\.\]\}') as raised:
        plan_from(value, agents=AGENTS, most_steps=3)
    assert raised.value.reason == str(raised.value)


@pytest.mark.parametrize(
    ("drafted", "reason"),
    [
        ([step()] * 4, "at most 3 steps"),
        ([step(), step(" \n")], "step 2 needs a title in words"),
        ([step(), step(agent="singer")], "step 2 needs an agent, one of: researcher, writer"),
    ],
    ids=["too long", "no title", "nobody"],
)
def test_the_reason_says_what_to_mend(drafted: list[Any], reason: str) -> None:
    with pytest.raises(PlanInvalid) as raised:
        steps(*drafted)
    assert raised.value.reason == reason


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["steps", "title", "agent", "group", "x"]), inner)
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_a_planner_says_is_a_plan_or_says_why_not(value: Any) -> None:
    reason = "none"
    plan = Plan(())
    try:
        plan = plan_from(value, agents=AGENTS, most_steps=3)
    except PlanInvalid as error:
        reason = error.reason
    assert reason
    assert all(planned.agent in AGENTS and planned.title for planned in plan.steps)
