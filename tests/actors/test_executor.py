"""A turn as a whole: refused, planned or not, broken off, taken up again, interrupted anywhere."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import evolve, frozen
from trio.testing import MockClock

from bargein.agents.guardrail import Check, Rule, Verdict
from bargein.agents.planning import Planning, Titling
from bargein.agents.stages import Done, Flow, Group, RequireWords, Stage
from bargein.protocol.events import (
    Fault,
    PlanReady,
    PlanStep,
    StageStart,
    Step,
    ToolResult,
    TurnCheckpoint,
    TurnTrace,
)
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.tools.tool import tool
from tests.actors.team import (
    JUDGE,
    PLANNER,
    TITLER,
    Take,
    building,
    call,
    calls,
    fails,
    hangs,
    lone,
    plan,
    room,
    says,
    socket_that_breaks,
    team,
)

NAMES = ("alf", "bea", "cid")
THREE = plan("alf", "bea", "cid")


def takes(steps: Take = THREE, **more: Any) -> dict[str, Any]:
    names = {"alf": says("found"), "bea": says("counted"), "cid": says("It is so.")}
    return {PLANNER: steps, **{f"I am {name}": take for name, take in (names | more).items()}}


# --- refused, and not planned --------------------------------------------------------------


async def test_a_tripped_guardrail_ends_the_turn_and_no_agent_is_asked(
    autojump_clock: MockClock,
) -> None:
    app = team(*NAMES, guardrails=(Rule("advice", "No advice."),), titling=Titling())
    playing = takes(hangs()) | {JUDGE: says("STOP: Ask your bank."), TITLER: hangs()}
    async with room(app, playing) as there:
        assert await there.converse() == "refused"
        assert set(there.model.order()) <= {PLANNER, JUDGE, TITLER}
        (fault,) = there.payloads(Fault)
        assert (fault.code, fault.message) == ("guardrail", "Ask your bank.")
        assert fault.layer == "orchestrator"


async def test_a_model_that_declines_without_a_plan_refuses_the_turn(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(), {"I am solo": says("No", stop="refusal")}) as there:
        assert await there.converse() == "refused"
        (fault,) = there.payloads(Fault)
        assert (fault.code, fault.retryable) == ("model_refused", False)
        assert not fault.recover.resume_token


async def test_a_planner_that_wants_no_plan_lets_the_agent_answer(
    autojump_clock: MockClock,
) -> None:
    app = team("alf", planning=Planning("auto"))
    async with room(app, takes(plan())) as there:
        assert await there.converse() == "completed"
        assert there.text() == "found"
        assert there.types("turn_1", "stage.") == []


async def test_a_turn_without_a_plan_is_taken_up_again_without_one(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(), {"I am solo": [fails(text="Half "), says("whole.")]}) as there:
        assert await there.converse() == "failed"
        token = there.payloads(Fault)[0].recover.resume_token
        assert await there.converse("", resume=token) == "completed"
        assert there.text("turn_2") == "whole."


# --- taken up again ------------------------------------------------------------------------


async def test_a_failed_plan_is_taken_up_behind_its_last_finished_step(
    autojump_clock: MockClock,
) -> None:
    failing = takes(cid=[fails(), says("It is so.")])
    async with room(team(*NAMES), failing) as there:
        assert await there.converse() == "failed"
        assert there.steps() == ["done", "done", "failed"]
        checkpoints = there.payloads(TurnCheckpoint)
        assert [point.resume_token for point in checkpoints] == ["resume.turn_1"] * 2
        assert await there.converse("", resume="resume.turn_1") == "completed"
        assert there.model.order() == [PLANNER, "I am alf", "I am bea", "I am cid", "I am cid"]
        (ready,) = there.payloads(PlanReady, "turn_2")
        assert [step.state for step in ready.steps] == ["done", "done", "pending"]
        told = there.model.asked("I am cid")[1].system
        assert "Result of 'T1':\nfound" in told
        assert "Result of 'T2':\ncounted" in told
        assert there.steps("turn_2") == ["done"] * 3
        assert there.text("turn_2") == "It is so."


async def test_a_plan_that_fails_twice_still_knows_all_that_is_done(
    autojump_clock: MockClock,
) -> None:
    failing = takes(bea=[fails(after_s=1), says("counted")], cid=[fails(), says("It is so.")])
    app = team(*NAMES, hooks=(Strict(),))
    async with room(app, failing) as there:
        assert await there.converse() == "failed"
        assert await there.converse("", resume="resume.turn_1") == "failed"
        assert await there.converse("", resume="resume.turn_2") == "completed"
        assert there.model.order().count("I am alf") == 1
        assert there.model.order().count("I am bea") == 2
        assert "Result of 'T1':\nfound" in there.model.asked("I am cid")[1].system


@frozen
class Strict:
    """Whatever fails ends the turn."""

    async def after(self, done: Done, flow: Flow) -> Flow:
        return flow if done.status == "ok" else evolve(flow, failure=f"{done.stage.id} failed")


async def test_a_plan_that_is_taken_up_keeps_its_groups_and_what_of_them_is_done(
    autojump_clock: MockClock,
) -> None:
    steps = plan("alf/1", "bea/1", "alf/2", "bea/2", "cid")
    failing = takes(steps, alf=says("found", after_s=1), bea=[fails(), says("counted", after_s=1)])
    app = team(*NAMES, hooks=(Strict(),))
    async with room(app, failing) as there:
        assert await there.converse() == "failed"
        began_s = trio.current_time()
        assert await there.converse("", resume="resume.turn_1") == "completed"
        started = [start.stage for start in there.payloads(StageStart, "turn_2")]
        assert sorted(started) == ["step_2", "step_3", "step_4", "step_5"]
        assert trio.current_time() - began_s < 2.5  # the second group at the same time
        ready = there.payloads(PlanReady, "turn_2")[0].steps
        assert [step.group or None for step in ready] == [1, 1, 2, 2, None]
        assert ready[0] == Step("step_1", "T1", "alf", "done", 1)


async def test_a_group_that_is_complete_is_gathered_again_for_the_stages_that_are_left(
    autojump_clock: MockClock,
) -> None:
    a, b = Stage("a", "Look", "alf"), Stage("b", "Count", "bea")
    pipeline = (
        Group((a, b), gather=lambda results: "+".join(done.text for done in results)),
        Stage("c", "Tell", "cid", speaks=True),
    )
    failing = takes(cid=[fails(), says("It is so.")])
    async with room(building(pipeline, *NAMES), failing) as there:
        assert await there.converse() == "failed"
        assert await there.converse("", resume="resume.turn_1") == "completed"
        assert "\nfound+counted" in there.model.asked("I am cid")[1].system
        assert there.model.order().count("I am alf") == 1


async def test_what_a_stage_spoke_is_not_spoken_again(autojump_clock: MockClock) -> None:
    pipeline = (
        Stage("step_1", "Greet", "alf", speaks=True),
        Stage("step_2", "Tell", "cid", speaks=True),
    )
    failing = takes(plan("alf", "cid"), cid=[fails(), says("It is so.")])
    app = building(pipeline, *NAMES, hooks=(RequireWords(),))
    async with room(app, failing) as there:
        assert await there.converse() == "failed"
        assert await there.converse("", resume="resume.turn_1") == "completed"
        assert (there.text(), there.text("turn_2")) == ("found", "It is so.")


async def test_a_stage_whose_result_did_not_pass_is_run_again(autojump_clock: MockClock) -> None:
    app = team(*NAMES, hooks=(RequireWords(),))
    async with room(app, takes(bea=[says(" "), says("counted")])) as there:
        assert await there.converse() == "failed"
        assert there.payloads(Fault)[-1].recover.done == ("step_1", "step_2")
        assert await there.converse("", resume="resume.turn_1") == "completed"
        assert there.model.order().count("I am alf") == 1
        assert there.model.order().count("I am bea") == 2


@frozen
class Sum:
    """Keeps state of its own, and ends the pipeline when it is enough."""

    enough: int

    async def after(self, done: Done, flow: Flow) -> Flow:
        count = flow.state.get("count", 0) + (done.status == "ok")
        return evolve(flow, state={"count": count}, ended=count == self.enough)


async def test_hooks_see_finished_results_again_and_so_their_state_is_back(
    autojump_clock: MockClock,
) -> None:
    app = team(*NAMES, hooks=(Strict(), Sum(2)))
    async with room(app, takes(bea=[fails(), says("counted")])) as there:
        assert await there.converse() == "failed"
        assert await there.converse("", resume="resume.turn_1") == "completed"
        assert there.text("turn_2") == "counted"
        assert there.model.asked("I am cid") == []


async def test_a_gather_that_fails_when_it_is_done_again_fails_the_turn(
    autojump_clock: MockClock,
) -> None:
    times: list[int] = []

    def gather(_: Any) -> str:
        times.append(1)
        if len(times) > 1:
            raise ValueError("a bug")
        return "both"

    pipeline = (
        Group((Stage("a", "Look", "alf"),), gather=gather),
        Stage("c", "Tell", "cid", speaks=True),
    )
    async with room(building(pipeline, *NAMES), takes(cid=fails())) as there:
        assert await there.converse() == "failed"
        assert await there.converse("", resume="resume.turn_1") == "failed"
        assert "put together" in there.payloads(Fault, "turn_2")[-1].message
        assert there.model.order().count("I am cid") == 1


async def test_words_that_resume_a_plan_pass_the_guardrails_like_all_words(
    autojump_clock: MockClock,
) -> None:
    async def check(words: str) -> Verdict:
        return Verdict("bomb" not in words, "Not that.")

    app = team(*NAMES, guardrails=(Check("words", check),))
    async with room(app, takes(cid=[fails(), says("It is so.")])) as there:
        assert await there.converse("Go") == "failed"
        assert await there.converse("a bomb", resume="resume.turn_1") == "refused"
        assert there.model.order() == [PLANNER, "I am alf", "I am bea", "I am cid"]


async def test_a_plan_survives_the_process_that_followed_it(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    store = MemoryStore(shelf)
    async with room(team(*NAMES), takes(bea=hangs()), store=store) as there:
        await there.say()
        await there.until("plan.step", id="step_2", state="active")
        session_id = there.session.id
        store.crash()
    async with room(
        team(*NAMES), takes(), store=MemoryStore(shelf), session_id=session_id
    ) as there:
        assert there.steps() == ["done", "failed", "skipped"]
        assert await there.converse("", id="again", resume="resume.turn_1") == "completed"
        assert there.model.order() == ["I am bea", "I am cid"]
        assert there.steps("turn_2") == ["done"] * 3


# --- interrupted, wherever it is -----------------------------------------------------------


def stubborn_tools() -> tuple[Any, ...]:
    @tool(effect="read")
    async def wait() -> str:
        """Wait."""
        await trio.sleep(50)
        return "waited"

    return (wait,)


PLANNED = takes()
PLACES: dict[str, tuple[Any, dict[str, Any], float]] = {
    "planning": (team(*NAMES), takes(hangs("{")), 1),
    "a guardrail": (
        team(*NAMES, guardrails=(Rule("r", "No."),)),
        PLANNED | {JUDGE: hangs("PA")},
        1,
    ),
    "a stage that is silent": (team(*NAMES), takes(alf=hangs("x")), 1),
    "a stage that speaks": (team(*NAMES), takes(cid=hangs("It ")), 1),
    "a group": (
        team(*NAMES),
        takes(plan("alf/1", "bea/1", "cid"), alf=hangs(), bea=hangs("x")),
        1,
    ),
    "an async tool": (lone(*stubborn_tools()), {"I am solo": calls(call("wait"))}, 1),
    "two tools in a group": (
        evolve(
            team(*NAMES),
            agents=tuple(evolve(a, tools=stubborn_tools()) for a in team(*NAMES).agents),
        ),
        takes(
            plan("alf/1", "bea/1", "cid"),
            alf=calls(call("wait"), call("wait", 2)),
            bea=calls(call("wait")),
        ),
        1,
    ),
}


@pytest.mark.parametrize("place", PLACES)
async def test_an_interrupt_descends_the_same_ladder_wherever_it_hits(
    place: str, autojump_clock: MockClock
) -> None:
    app, playing, after_s = PLACES[place]
    async with room(app, playing) as there:
        await there.say()
        await trio.sleep(after_s)
        ack = await there.interrupt()
        assert ack["payload"].get("abandoned") in (None, [])
        rungs = [
            f"{e.type} {getattr(e.payload, 'target', '')}".strip().partition(":")[0]
            for e in there.events("turn_1")
        ]
        ladder = rungs[rungs.index("cancel.requested") :]
        fixed = [rung for rung in ladder if rung not in ("model.end", "playback.stop")]
        tools = len(there.payloads(ToolResult))
        assert fixed == [
            "cancel.requested",
            "cancel.stage transcript",
            "cancel.stage model",
            *["tool.result", "cancel.stage tool"] * tools,
            "response.end",
            "turn.trace",
            "cancel.ack",
        ]
        types = there.types()
        assert types.count("model.start") == types.count("model.end")
        assert types.count("tool.call") == types.count("tool.result")
        assert not {"active", "pending"} & set(there.steps())
        # The session goes on as if nothing had been.
        assert (await there.ask("projection", name="session"))["result"]["state"] == "idle"


async def test_steps_that_an_interrupt_left_open_are_closed_by_the_fold(
    autojump_clock: MockClock,
) -> None:
    async with room(team(*NAMES), takes(bea=hangs())) as there:
        await there.say()
        await there.until("plan.step", id="step_2", state="active")
        await there.interrupt()
        assert there.steps() == ["done", "cancelled", "skipped"]
        assert await there.plan() == ["step_1:done", "step_2:cancelled", "step_3:skipped"]
        assert there.payloads(PlanStep)[-1] == PlanStep("step_2", "active")


@frozen
class Slow:
    async def after(self, done: Done, flow: Flow) -> Flow:
        await trio.sleep(20)
        return flow


async def test_an_interrupt_hits_a_hook(autojump_clock: MockClock) -> None:
    async with room(team(*NAMES, hooks=(Slow(),)), takes()) as there:
        await there.say()
        await there.until("plan.step", id="step_1", state="done")
        await there.interrupt()
        assert there.model.asked("I am bea") == []


@frozen
class OnTheNet:
    async def after(self, done: Done, flow: Flow) -> Flow:
        await socket_that_breaks()
        return flow


async def test_a_hook_whose_socket_breaks_at_an_interrupt_ends_nothing_else(
    autojump_clock: MockClock,
) -> None:
    async with room(team(*NAMES, hooks=(OnTheNet(),)), takes()) as there:
        await there.say()
        await there.until("plan.step", id="step_1", state="done")
        await there.interrupt()
        assert (await there.ask("projection", name="session"))["result"]["state"] == "idle"
        assert there.payloads(Fault) == []


async def test_a_guardrail_whose_socket_breaks_at_an_interrupt_ends_nothing_else(
    autojump_clock: MockClock,
) -> None:
    async def check(words: str) -> Verdict:
        await socket_that_breaks()
        return Verdict(bool(words))

    async with room(team(*NAMES, guardrails=(Check("net", check),)), takes()) as there:
        await there.say()
        await there.until("turn.start")
        await trio.testing.wait_all_tasks_blocked()
        await there.interrupt()
        assert (await there.ask("projection", name="session"))["result"]["state"] == "idle"
        assert there.payloads(Fault) == []


async def test_an_interrupt_hits_a_model_that_waits_to_try_again(autojump_clock: MockClock) -> None:
    async def backs_off(_: Any, listener: Any) -> Any:
        listener.retrying(2, 60.0, "model_overloaded")
        await trio.sleep(60)

    async with room(lone(), {"I am solo": backs_off}) as there:
        await there.say()
        await there.until("model.retry")
        ack = await there.interrupt()
        assert ack["payload"]["took_ms"] < 250
        assert there.types("turn_1", "model.") == ["model.start", "model.retry", "model.end"]


# --- where the time went ---------------------------------------------------------------------


async def test_a_trace_can_be_broken_down_to_stages_and_tools(autojump_clock: MockClock) -> None:
    @tool(effect="read")
    async def look() -> str:
        """Look."""
        await trio.sleep(2)
        return "seen"

    app = team(*NAMES)
    app = evolve(app, agents=tuple(evolve(agent, tools=(look,)) for agent in app.agents))
    playing = takes(
        plan("alf/1", "bea/1", "cid"),
        alf=[calls(call("look")), says("found", after_s=1)],
        bea=says("counted", after_s=4),
        cid=says("It is so.", after_s=1),
    )
    async with room(app, playing) as there:
        assert await there.converse() == "completed"
        (trace,) = there.payloads(TurnTrace)
    top = [span for span in trace.spans if not span.parent]
    assert [span.name for span in top][:3] == ["input", "plan", "stages"]
    assert abs(sum(span.ms for span in top) - trace.total_ms) < 1
    spans = {(span.parent or "", span.name): round(span.ms) for span in trace.spans}
    assert spans["stages", "stage:step_1"] == 3000
    assert spans["stages", "stage:step_2"] == 4000
    assert spans["stages", "stage:step_3"] == 1000
    assert spans["stage:step_1", "tool:call_1"] == 2000
    assert spans["stage:step_2", "model.first_token"] == 4000
    assert trace.total_ms >= 5000


async def test_a_turn_without_plan_and_guardrails_begins_with_its_first_token(
    autojump_clock: MockClock,
) -> None:
    for more, name in (({}, "model.first_token"), ({"guardrails": (PASS,)}, "guardrails")):
        app = evolve(lone(), **more)
        async with room(app, {"I am solo": says("Hi", after_s=1)}) as there:
            await there.converse()
            (trace,) = there.payloads(TurnTrace)
            assert trace.spans[1].name == name


async def _passes(_: str) -> Verdict:
    return Verdict(passed=True)


PASS = Check("all", _passes)
