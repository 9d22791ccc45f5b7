"""The planner's words become a plan, or a plan of one step; nothing else comes of them."""

from __future__ import annotations

from typing import Any, Final

import pytest
import trio
from structlog.testing import capture_logs

from bargein.actors.drafting import IN_ONE_STEP, NOTHING_SAID
from bargein.agents.app import Agent, App
from bargein.agents.guardrail import Check, Verdict
from bargein.agents.planning import WHEN_NEEDED, Plan, PlannedStep, Planning
from bargein.models.client import ContextOverflow, Message, ModelOverloaded
from bargein.protocol.events import PlanReady, RecoveryEnd, RecoveryStart, Status, Step
from tests.actors.consultation import (
    HISTORY,
    PLAN,
    WORDS,
    Answer,
    answers,
    consulted,
    on_stage,
    retryable,
    team,
)

ALWAYS: Final = team(planning=Planning("always", deadline_s=5.0))

KIND: Final = "plan_invalid"


def recovery(stage: Any) -> list[Any]:
    return [
        payload
        for payload in stage.page.payloads
        if isinstance(payload, RecoveryStart | RecoveryEnd | Status)
    ]


def one_step(title: str = WORDS) -> Plan:
    return Plan((PlannedStep("step_1", title, "researcher"),))


@pytest.mark.parametrize(
    "said",
    [
        PLAN,
        f"```json\n{PLAN}\n```",
        f"Here is the plan:\n\n```\n{PLAN}\n```\nIs it good?",
        f"  \n{PLAN} That's it.",
    ],
    ids=["bare", "fenced", "prose and fence", "prose"],
)
async def test_a_plan_is_found_among_other_words(
    said: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage({"": answers(said)}) as stage:
        plan, _ = await consulted(stage, ALWAYS)
    assert [step.title for step in plan.steps] == ["Look up both", "Compare"]
    assert recovery(stage) == []


INVALID: Final = {
    "there is no JSON object in it": "I can't plan this.",
    "there is no JSON object in it.": "} backwards {",
    "it is not valid JSON: ": '{"steps": [}',
    "the same key twice": '{"steps": [], "steps": []}',
    "reply with": '{"steps": "none"}',
    "step 1 needs a title": '{"steps": [{"title": " ", "agent": "writer"}]}',
    "one of: researcher, writer": '{"steps": [{"title": "Sing", "agent": "singer"}]}',
    "at most 12 steps": '{"steps": [' + '{"title": "t", "agent": "writer"},' * 12
    + '{"title": "t", "agent": "writer"}]}',
    "at least one step": '{"steps": []}',
}  # fmt: skip


@pytest.mark.parametrize("reason", INVALID)
async def test_an_invalid_plan_goes_back_with_the_reason_and_is_mended(
    reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    said = INVALID[reason]
    async with on_stage({"": answers(said, PLAN)}) as stage:
        plan, _ = await consulted(stage, ALWAYS, history=HISTORY)
    assert len(plan.steps) == 2
    _, second = stage.model.calls
    before, (own, told) = second.request.messages[:-2], second.request.messages[-2:]
    assert before == (*HISTORY, Message("user", WORDS))
    assert own == Message("assistant", said)
    assert told.role == "user"
    assert reason in str(told.content)
    assert recovery(stage) == [RecoveryStart(KIND, 1), RecoveryEnd(KIND, 1, "mended")]
    assert stage.page.types == [
        "plan.start",
        "model.start",
        "model.end",
        "recovery.start",
        "model.start",
        "model.end",
        "recovery.end",
        "plan.ready",
    ]


async def test_a_plan_may_be_mended_twice(autojump_clock: trio.testing.MockClock) -> None:
    async with on_stage({"": answers("no", "", PLAN)}) as stage:
        plan, _ = await consulted(stage, ALWAYS)
    assert len(plan.steps) == 2
    assert len(stage.model.calls[2].request.messages) == 5
    assert stage.model.calls[2].request.messages[3] == Message("assistant", NOTHING_SAID)
    assert recovery(stage) == [
        RecoveryStart(KIND, 1),
        RecoveryEnd(KIND, 1, "still invalid"),
        RecoveryStart(KIND, 2),
        RecoveryEnd(KIND, 2, "mended"),
    ]


async def test_a_plan_that_is_never_mended_becomes_one_step(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with capture_logs() as logs:
        async with on_stage({"": answers("no")}) as stage:
            plan, orchestrator = await consulted(stage, ALWAYS)
    assert plan == orchestrator.plan == one_step()
    assert len(stage.model.calls) == 3
    assert recovery(stage) == [
        RecoveryStart(KIND, 1),
        RecoveryEnd(KIND, 1, "still invalid"),
        RecoveryStart(KIND, 2),
        Status(IN_ONE_STEP),
        RecoveryEnd(KIND, 2, "in one step"),
    ]
    assert stage.page.payloads[-1] == PlanReady((Step("step_1", WORDS, "researcher", "pending"),))
    assert [(log["event"], log["code"]) for log in logs] == [("plan.given_up", KIND)]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer("{", error=retryable(began=True)), "model_error"),
        (Answer(error=ModelOverloaded(3.0)), "model_overloaded"),
        (Answer(error=ContextOverflow()), "context_overflow"),
        (Answer(error=KeyError("a bug of the model's")), "model_error"),
        (Answer(PLAN, stop="refusal"), "model_refused"),
        (Answer(PLAN, after_s=60.0), "model_timeout"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_planner_that_fails_or_is_late_leaves_one_step(
    answer: Answer, code: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage({"": [answer]}) as stage:
        plan, _ = await consulted(stage, ALWAYS)
        assert trio.current_time() <= 5.0
    assert plan == one_step()
    assert recovery(stage) == [
        RecoveryStart(code, 1),
        Status(IN_ONE_STEP),
        RecoveryEnd(code, 1, "in one step"),
    ]
    assert stage.page.types[-1] == "plan.ready"
    assert all(call.ended for call in stage.turn.model_calls)
    assert stage.models_are_accounted_for()


async def test_all_tries_together_have_one_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer("no", 2.0)]}) as stage:
        plan, _ = await consulted(stage, ALWAYS)
        assert trio.current_time() == pytest.approx(5.0)
    assert plan == one_step()
    assert recovery(stage) == [
        RecoveryStart(KIND, 1),
        RecoveryEnd(KIND, 1, "still invalid"),
        RecoveryStart(KIND, 2),
        RecoveryEnd(KIND, 2, "broken off"),
        RecoveryStart("model_timeout", 1),
        Status(IN_ONE_STEP),
        RecoveryEnd("model_timeout", 1, "in one step"),
    ]
    assert stage.model.calls[-1].cancelled


async def test_a_guardrail_that_trips_closes_the_mending(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def late_no(words: str) -> Verdict:
        await trio.sleep(0.5)
        return Verdict(passed=False, reason="No.")

    app = team(planning=Planning("always"), guardrails=(Check("late", late_no),))
    async with on_stage({"": answers("no")}) as stage:
        await consulted(stage, app)
    assert recovery(stage) == [RecoveryStart(KIND, 1), RecoveryEnd(KIND, 1, "broken off")]
    assert stage.page.types[-2:] == ["recovery.end", "guardrail.tripped"]


async def test_a_tool_that_the_planner_makes_up_is_ignored(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage({"": [Answer(PLAN, calls_tool=True)]}) as stage:
        plan, _ = await consulted(stage, ALWAYS)
    assert len(plan.steps) == 2
    assert "tool.call" not in stage.page.types


async def test_the_planner_is_told_of_the_team(autojump_clock: trio.testing.MockClock) -> None:
    agents = (
        Agent("researcher", " You look things up. You are thorough."),
        Agent("writer", "You write\nwell."),
        Agent("silent"),
        Agent("wordy", "x" * 500),
    )
    asked: list[str] = []
    for policy in ("always", "auto"):
        app = App("team", agents, planning=Planning(policy, instructions="Plan it.\n"))
        async with on_stage({"": answers(PLAN)}) as stage:
            await consulted(stage, app)
        asked += [call.request.system for call in stage.model.calls]
    listed = (
        "The agents:\n"
        "- researcher: You look things up.\n"
        "- writer: You write\n"
        "- silent\n"
        f"- wordy: {'x' * 200}"
    )
    assert asked == [f"Plan it.\n{listed}", f"Plan it.\n{WHEN_NEEDED}{listed}"]


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("  Compare\n  them ", "Compare them"),
        ("word " * 40, "word " * 15 + "word…"),
        (" ", "Answer the user"),
    ],
)
async def test_the_one_step_has_a_short_title(
    words: str, title: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage({"": [Answer(error=retryable())]}, words) as stage:
        plan, _ = await consulted(stage, ALWAYS)
    assert plan == one_step(title)
    assert len(title) <= 80
