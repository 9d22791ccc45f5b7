"""The orchestrator alone: no socket, no pipeline, a virtual clock."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest
import trio
from attrs import frozen
from structlog.testing import capture_logs

from bargein.actors.mailbox import ActorGone
from bargein.actors.orchestrator import NO_REASON, NOT_CHECKED, Refusal
from bargein.agents.guardrail import Ask, Check, Guardrail, Rule, Verdict
from bargein.agents.planning import Plan, PlannedStep, Planning, Titling
from bargein.models.client import ModelRefused
from bargein.protocol.events import (
    GuardrailPassed,
    GuardrailTripped,
    ModelEnd,
    ModelRetry,
    ModelStart,
    PlanReady,
    PlanStart,
    SessionTitled,
    Step,
    Usage,
)
from bargein.testing.scheduler import seeded_scheduler
from tests.actors.consultation import (
    HISTORY,
    PLAN,
    TEAM,
    WORDS,
    Answer,
    answers,
    consulted,
    on_stage,
    retryable,
    team,
)

ALWAYS: Final = Planning("always", model="planner-model")
POLITE: Final = Rule("polite", "be polite")
LEGAL: Final = Rule("legal", "be legal")
ALL: Final = team(planning=ALWAYS, titling=Titling(model="titler-model"), guardrails=(POLITE,))

TWO_STEPS: Final = Plan(
    (
        PlannedStep("step_1", "Look up both", "researcher"),
        PlannedStep("step_2", "Compare", "writer"),
    )
)


def scripts(**more: list[Answer]) -> dict[str, list[Answer]]:
    """Return what planner, titler and each rule answer, 300 ms after they were asked."""
    usual = {"plan": answers(PLAN), "title": answers("Two funds"), "rule": answers("PASS")}
    usual |= more
    return {
        "You plan": usual["plan"],
        "a title of": usual["title"],
        "be legal": usual.get("legal", usual["rule"]),
        "under this rule": usual["rule"],
    }


# --- all at the same time ------------------------------------------------------------


async def test_plan_title_and_guardrails_of_300_ms_each_take_300_ms_together(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(scripts()) as stage:
        began_s = trio.current_time()
        plan, orchestrator = await consulted(stage, ALL, first=True)
        assert trio.current_time() - began_s == pytest.approx(0.3)
        assert [call.began_s for call in stage.model.calls] == [began_s] * 3
    assert plan == orchestrator.plan == TWO_STEPS
    assert orchestrator.stop is None
    types = Counter(stage.page.types)
    assert types == {
        "plan.start": 1,
        "model.start": 3,
        "model.end": 3,
        "guardrail.passed": 1,
        "plan.ready": 1,
        "session.titled": 1,
    }
    assert stage.models_are_accounted_for()
    assert stage.page.spoken == 0


async def test_each_result_is_told_as_it_arrives(autojump_clock: trio.testing.MockClock) -> None:
    script = scripts(plan=[Answer(PLAN, 0.4)], title=[Answer("Two funds", 0.2)])
    script |= {"be legal": [Answer("PASS", 0.1)], "under this rule": [Answer("PASS", 0.3)]}
    async with on_stage(script) as stage:
        app = team(planning=ALWAYS, titling=Titling(), guardrails=(POLITE, LEGAL))
        await consulted(stage, app, first=True)
    results = [
        payload
        for payload in stage.page.payloads
        if isinstance(payload, GuardrailPassed | SessionTitled | PlanReady)
    ]
    assert results == [
        GuardrailPassed("legal"),
        SessionTitled("Two funds"),
        GuardrailPassed("polite"),
        PlanReady(
            (
                Step("step_1", "Look up both", "researcher", "pending"),
                Step("step_2", "Compare", "writer", "pending"),
            )
        ),
    ]
    assert stage.page.told(PlanStart)
    assert stage.page.outside == [SessionTitled("Two funds")]


async def test_each_call_says_whose_it_is_and_what_it_cost(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = scripts(title=[Answer("Two funds", estimated=True)], rule=[Answer("PASS", retries=2)])
    async with on_stage(script) as stage:
        await consulted(stage, ALL, first=True, history=HISTORY)
    starts = {(start.model, start.agent) for start in stage.page.told(ModelStart)}
    assert starts == {
        ("planner-model", "planner"),
        ("titler-model", "titler"),
        ("fake", "guardrail:polite"),
    }
    ends = stage.page.told(ModelEnd)
    assert ends.count(ModelEnd("end_turn", Usage(10, 2), "planner")) == 1
    assert ends.count(ModelEnd("end_turn", Usage(10, 2), "guardrail:polite")) == 1
    assert ends.count(ModelEnd("end_turn", Usage(10, 2, estimated=True), "titler")) == 1
    assert len(ends) == 3
    assert stage.page.told(ModelRetry) == [
        ModelRetry(2, 100.0, "model_overloaded"),
        ModelRetry(3, 100.0, "model_overloaded"),
    ]
    (planner,) = stage.model.asked("You plan")
    assert planner.messages[:-1] == HISTORY
    assert [message.content for message in planner.messages[-1:]] == [WORDS]
    (judge,) = stage.model.asked("under this rule")
    assert [message.content for message in judge.messages] == [WORDS]


# --- whether there is a plan ------------------------------------------------------------


async def test_an_app_that_never_plans_asks_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with on_stage(scripts()) as stage:
        plan, orchestrator = await consulted(stage, team(), first=True)
    assert plan is orchestrator.plan is None
    assert stage.page.lines == []
    assert stage.model.calls == []


async def test_guardrails_are_asked_where_nothing_is_planned(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(scripts()) as stage:
        plan, _ = await consulted(stage, team(guardrails=(POLITE,)))
    assert plan is None
    assert stage.page.types == ["model.start", "model.end", "guardrail.passed"]


async def test_the_planner_may_say_that_no_plan_is_needed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(scripts(plan=answers('{"steps": []}'))) as stage:
        plan, orchestrator = await consulted(stage, team(planning=Planning("auto")))
    assert plan is orchestrator.plan is None
    assert stage.page.types == ["plan.start", "model.start", "model.end", "plan.ready"]
    assert stage.page.told(PlanReady) == [PlanReady(())]


# --- the title ------------------------------------------------------------------------


async def test_consult_does_not_wait_for_the_title(autojump_clock: trio.testing.MockClock) -> None:
    async with on_stage(scripts(title=[Answer("Two funds", 2.0)])) as stage:
        began_s = trio.current_time()
        with stage.turn.scope:
            async with trio.open_nursery() as background:
                await stage.orchestrator(ALL, background, first=True).consult()
                assert trio.current_time() - began_s == pytest.approx(0.3)
        await trio.testing.wait_all_tasks_blocked()
        assert stage.page.at_s(SessionTitled) == [pytest.approx(2.0)]


async def test_only_the_first_turn_asks_for_a_title(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(scripts()) as stage:
        await consulted(stage, ALL, first=False)
    assert stage.model.asked("a title of") == []
    assert stage.page.outside == []


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ('  "Two funds"\n\nI chose it because …', "Two funds"),
        ("**Two funds**", "Two funds"),
        ("x" * 500, "x" * 120),
    ],
)
async def test_a_title_is_one_short_line(
    said: str, title: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage(scripts(title=answers(said))) as stage:
        await consulted(stage, ALL, first=True)
    assert stage.page.outside == [SessionTitled(title)]


@pytest.mark.parametrize(
    "answer",
    [
        Answer(" \n "),
        Answer('""'),
        Answer("Two funds", after_s=60.0),
        Answer("Two", error=retryable()),
        Answer("I won't", stop="refusal"),
    ],
    ids=["blank", "quotes", "late", "failed", "refused"],
)
async def test_a_title_that_does_not_come_is_left_out(
    answer: Answer, autojump_clock: trio.testing.MockClock
) -> None:
    with capture_logs() as logs:
        async with on_stage(scripts(title=[answer])) as stage:
            plan, _ = await consulted(stage, ALL, first=True)
    assert plan == TWO_STEPS
    assert stage.page.outside == []
    assert "title.left_out" in [log["event"] for log in logs]
    assert stage.models_are_accounted_for()
    assert all(call.ended for call in stage.turn.model_calls)


async def test_a_title_is_given_up_when_the_answer_is_complete(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(scripts(title=[Answer("Two funds", 5.0)])) as stage:
        with stage.turn.scope:
            async with trio.open_nursery() as background:
                await stage.orchestrator(ALL, background, first=True).consult()
                background.cancel_scope.cancel(reason="the answer is complete")
        await trio.testing.wait_all_tasks_blocked()
    assert stage.page.outside == []
    assert stage.page.told(ModelEnd)[-1] == ModelEnd(
        "cancelled", Usage(10, 0, estimated=True), "titler"
    )
    assert all(call.ended for call in stage.turn.model_calls)


# --- guardrails -----------------------------------------------------------------------


async def test_a_tripped_guardrail_stops_everything_else_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    script = scripts(plan=[Answer(PLAN, 2.0)], title=[Answer("T", 2.0)], rule=[Answer("PASS", 2.0)])
    script["be legal"] = [Answer("STOP: That is not legal.", 0.3)]
    app = team(planning=ALWAYS, titling=Titling(), guardrails=(POLITE, LEGAL))
    async with on_stage(script) as stage:
        began_s = trio.current_time()
        refusal, orchestrator = await consulted(stage, app, first=True)
        assert trio.current_time() - began_s == pytest.approx(0.3)
    assert refusal == orchestrator.stop == Refusal("legal", "That is not legal.")
    assert orchestrator.plan is None
    assert stage.page.told(GuardrailTripped) == [GuardrailTripped("legal", "That is not legal.")]
    assert Counter(call.cancelled for call in stage.model.calls) == {True: 3, False: 1}
    assert Counter(end.stop_reason for end in stage.page.told(ModelEnd)) == {
        "cancelled": 3,
        "end_turn": 1,
    }
    assert not {"plan.ready", "guardrail.passed", "session.titled"} & set(stage.page.types)
    assert all(call.ended for call in stage.turn.model_calls)
    assert stage.models_are_accounted_for()


async def test_a_guardrail_in_code_trips_before_any_model_has_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def no(words: str) -> Verdict:
        return Verdict(passed=False, reason=f"Not {words!r}.")

    async with on_stage(scripts()) as stage:
        app = team(planning=ALWAYS, titling=Titling(), guardrails=(Check("code", no), POLITE))
        refusal, _ = await consulted(stage, app, first=True)
    assert refusal == Refusal("code", f"Not {WORDS!r}.")
    assert stage.page.told(PlanReady) == []
    assert all(call.cancelled for call in stage.model.calls)
    assert stage.models_are_accounted_for()


async def test_of_guardrails_that_trip_together_the_first_is_the_reason(
    autojump_clock: trio.testing.MockClock,
) -> None:
    tripped: list[str] = []
    now = trio.Event()

    def check(name: str) -> Check:
        async def no(words: str) -> Verdict:
            # Whoever waits here is woken with the others, and goes on even if one cancels it.
            await now.wait()
            tripped.append(name)
            return Verdict(passed=False, reason=f"{name} says no")

        return Check(name, no)

    async def give_word() -> None:
        await trio.sleep(0.1)
        now.set()

    async with on_stage(scripts()) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(give_word)
        app = team(guardrails=tuple(check(name) for name in "abcd"))
        refusal, orchestrator = await consulted(stage, app)
    assert len(tripped) == 4
    first = Refusal(tripped[0], f"{tripped[0]} says no")
    assert refusal == orchestrator.stop == first
    assert stage.page.payloads == [GuardrailTripped(first.name, first.reason)]


@frozen
class Odd:
    """A guardrail of the app's that does what it should not."""

    answer: Any
    name: str = "odd"
    deadline_s: float = 1.0
    otherwise: Any = "stop"

    async def check(self, words: str, ask: Ask) -> Verdict:
        if self.answer == "sleep":
            await trio.sleep_forever()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


UNCHECKED: Final[list[tuple[str, Any]]] = [
    ("late", "sleep"),
    ("raised", RuntimeError("bug")),
    ("no verdict", True),
    ("half a verdict", Verdict(passed="yes")),  # pyright: ignore[reportArgumentType]
    ("reason of a wrong type", Verdict(True, None)),  # pyright: ignore[reportArgumentType]
]


@pytest.mark.parametrize("answer", [a for _, a in UNCHECKED], ids=[name for name, _ in UNCHECKED])
async def test_a_guardrail_that_can_not_say_counts_as_its_app_says(
    answer: Any, autojump_clock: trio.testing.MockClock
) -> None:
    for otherwise in ("pass", "stop"):
        odd: Guardrail = Odd(answer, otherwise=otherwise)
        with capture_logs() as logs:
            async with on_stage(scripts()) as stage:
                decided, _ = await consulted(stage, team(guardrails=(odd,)))
        if otherwise == "pass":
            assert decided is None
            assert stage.page.payloads == [GuardrailPassed("odd")]
        else:
            assert decided == Refusal("odd", NOT_CHECKED)
            assert stage.page.payloads == [GuardrailTripped("odd", NOT_CHECKED)]
        assert logs[-1]["event"] == "guardrail.unchecked"


@pytest.mark.parametrize(
    "answer",
    [Answer("PASS", 60.0), Answer("P", error=retryable()), Answer("no", stop="refusal")],
    ids=["late", "failed", "refused"],
)
async def test_a_judge_whose_model_does_not_answer_stops_the_request(
    answer: Answer, autojump_clock: trio.testing.MockClock
) -> None:
    async with on_stage(scripts(rule=[answer])) as stage:
        began_s = trio.current_time()
        decided, _ = await consulted(stage, team(guardrails=(POLITE,)))
        assert trio.current_time() - began_s <= POLITE.deadline_s
    assert decided == Refusal("polite", NOT_CHECKED)
    (call,) = stage.turn.model_calls
    assert call.ended
    assert stage.page.types[-1] == "guardrail.tripped"


async def test_a_reason_is_never_empty_and_never_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for said, reason in (("  ", NO_REASON), ("x" * 900, "x" * 500)):
        odd: Guardrail = Odd(Verdict(passed=False, reason=said))
        async with on_stage(scripts()) as stage:
            decided, _ = await consulted(stage, team(guardrails=(odd,)))
        assert decided == Refusal("odd", reason)


async def test_a_guardrail_may_ask_several_questions_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    heard: list[str] = []

    @frozen
    class Both:
        name: str = "both"
        deadline_s: float = 1.0
        otherwise: Any = "stop"

        async def check(self, words: str, ask: Ask) -> Verdict:
            async def one(instructions: str) -> None:
                heard.append(await ask(instructions, words))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(one, "first under this rule")
                nursery.start_soon(one, "second under this rule")
            return Verdict(passed=True)

    both: Guardrail = Both()
    async with on_stage(scripts()) as stage:
        await consulted(stage, team(guardrails=(both,)))
        assert trio.current_time() == pytest.approx(0.3)
    assert heard == ["PASS", "PASS"]
    assert stage.page.types[-1] == "guardrail.passed"
    assert stage.models_are_accounted_for()


# --- interrupts and ends -----------------------------------------------------------------


@pytest.mark.parametrize("at_ms", [0, 50, 150, 299, 300, 301, 450, 700])
async def test_an_interrupt_at_any_moment_leaves_no_task_and_true_books(
    at_ms: int, autojump_clock: trio.testing.MockClock
) -> None:
    # The planner mends its words twice, so there is something to interrupt at each time.
    script = scripts(plan=answers("no", "no", PLAN), title=[Answer("Two funds", 0.6)])
    async with on_stage(script) as stage:
        ended = trio.Event()

        async def turn() -> None:
            await consulted(stage, ALL, first=True)
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn)
            await trio.sleep(at_ms / 1000)
            stage.interrupt()
            stopped_at_s = trio.current_time()
            await ended.wait()
            assert trio.current_time() == stopped_at_s
        assert stage.models_are_accounted_for()
        running = sum(not call.ended for call in stage.turn.model_calls)
        assert running == len(stage.page.told(ModelStart)) - len(stage.page.told(ModelEnd))


def test_the_order_of_tasks_never_matters() -> None:
    async def once(*, trips: bool) -> tuple[Any, Counter[str]]:
        verdict = "STOP: no" if trips else "PASS"
        script = scripts(plan=[Answer("no", 0.1), Answer(PLAN, 0.2)], legal=answers(verdict))
        app = team(planning=ALWAYS, titling=Titling(), guardrails=(POLITE, LEGAL))
        # A mailbox of one message, so that everybody has to wait for everybody.
        async with on_stage(script, capacity=1) as stage:
            decided, orchestrator = await consulted(stage, app, first=True)
            assert trio.current_time() == pytest.approx(0.3)
        assert orchestrator.stop == (decided if trips else None)
        assert stage.models_are_accounted_for()
        assert all(call.ended for call in stage.turn.model_calls)
        types = Counter(stage.page.types)
        assert types["recovery.start"] == types["recovery.end"] == 1
        assert types["model.start"] == types["model.end"] == 5
        return decided, types

    for seed in range(50):
        for trips in (False, True):

            async def run(*, trips: bool = trips) -> tuple[Any, Counter[str]]:
                return await once(trips=trips)

            with seeded_scheduler(seed):
                clock = trio.testing.MockClock(autojump_threshold=0)
                decided, types = trio.run(run, clock=clock)
            assert decided == (Refusal("legal", "no") if trips else TWO_STEPS)
            assert types["guardrail.tripped"] == trips


async def test_a_session_that_ends_is_no_failure_of_a_guardrail(
    autojump_clock: trio.testing.MockClock,
) -> None:
    with capture_logs() as logs:
        async with on_stage(scripts()) as stage:
            stage.page.scope.cancel()
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ExceptionGroup) as raised:
                await consulted(stage, team(guardrails=(POLITE,)))
    assert raised.group_contains(ActorGone)
    assert logs == []


async def test_a_model_that_declines_before_it_begins_counts_as_failed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(scripts(plan=[Answer(error=ModelRefused())])) as stage:
        plan, _ = await consulted(stage, team(planning=ALWAYS))
    assert [step.agent for step in plan.steps] == [TEAM[0].name]
