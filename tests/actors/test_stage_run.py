"""Stages: one after the other, several at the same time, and what passes between them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import evolve, frozen
from trio.testing import MockClock

from bargein.agents.stages import (
    Done,
    EndWhen,
    Flow,
    Group,
    RequireWords,
    Stage,
)
from bargein.models.client import ModelRefused
from bargein.protocol.events import Fault, ModelToken, Object, PlanStep, StageEnd
from bargein.protocol.ids import TurnId
from bargein.protocol.recovery import resume_token
from tests.actors.team import (
    PLANNER,
    building,
    fails,
    hangs,
    plan,
    room,
    says,
    team,
)

A = Stage("a", "Look", "alf")
B = Stage("b", "Count", "bea")
C = Stage("c", "Tell", "cid", speaks=True)
NAMES = ("alf", "bea", "cid")
ONE_STEP = plan("alf")


def takes(**more: Any) -> dict[str, Any]:
    names = {"alf": says("found"), "bea": says("counted"), "cid": says("It is ", "so.")}
    return {PLANNER: ONE_STEP, **{f"I am {name}": take for name, take in (names | more).items()}}


# --- order ----------------------------------------------------------------------------


async def test_stages_run_in_order_and_each_is_told_what_came_before(
    autojump_clock: MockClock,
) -> None:
    async with room(team(*NAMES), takes() | {PLANNER: plan("alf", "bea", "cid")}) as there:
        assert await there.converse("Go") == "completed"
        assert there.model.order() == [PLANNER, "I am alf", "I am bea", "I am cid"]
        assert there.types("turn_1", "plan.", "stage.", "turn.checkpoint", "object") == [
            "plan.start",
            "plan.ready",
            *("plan.step", "stage.start", "object", "stage.end", "plan.step", "turn.checkpoint"),
            *("plan.step", "stage.start", "object", "stage.end", "plan.step", "turn.checkpoint"),
            *("plan.step", "stage.start", "stage.end", "plan.step"),
        ]
        told = there.model.asked("I am cid")[0].system
        assert "Result of 'T1':\nfound" in told
        assert "Result of 'T2':\ncounted" in told
        assert "Your words go to the user" in told
        assert "go to the next step" in there.model.asked("I am alf")[0].system
        assert there.text() == "It is so."


async def test_the_plan_can_be_looked_at_in_every_moment(autojump_clock: MockClock) -> None:
    seen: list[list[str]] = []
    app = team("alf", "cid")
    async with room(app, takes(alf=says("x", after_s=1), cid=says("y", after_s=1))) as there:
        there.model.takes[PLANNER] = [plan("alf", "cid")]
        assert await there.plan() == []
        await there.say()
        for name, payload in (
            ("plan.ready", {}),
            ("plan.step", {"id": "step_1", "state": "active"}),
            ("plan.step", {"id": "step_1", "state": "done"}),
            ("plan.step", {"id": "step_2", "state": "done"}),
        ):
            await there.until(name, **payload)
            seen.append([step.partition(":")[2] for step in await there.plan()])
        await there.done()
    # What was asked is answered with what is known by then, which may be more.
    assert seen[-1] == ["done", "done"]
    assert seen[1] == ["active", "pending"]
    assert seen[2][0] == "done"


async def test_stages_of_a_group_run_at_the_same_time_and_tell_as_each_ends(
    autojump_clock: MockClock,
) -> None:
    pipeline = (Group((A, B)), C)
    slow = takes(alf=says("found", after_s=3), bea=says("counted", after_s=1))
    async with room(building(pipeline, *NAMES), slow) as there:
        began_s = trio.current_time()
        assert await there.converse() == "completed"
        assert 3 <= trio.current_time() - began_s < 3.5
        ended = [end.stage for end in there.payloads(StageEnd)]
        assert ended == ["b", "a", "c"]
        # To the next stage they are in the order of the plan.
        told = there.model.asked("I am cid")[0].system
        assert told.index("found") < told.index("counted")


async def test_a_stage_that_takes_too_long_ends_alone_and_its_model_call_is_closed(
    autojump_clock: MockClock,
) -> None:
    pipeline = (Group((evolve(A, timeout_s=2.0), B)), C)
    async with room(building(pipeline, *NAMES), takes(alf=hangs("half"))) as there:
        assert await there.converse() == "completed"
        assert [(e.stage, e.status) for e in there.payloads(StageEnd)] == [
            ("b", "ok"),
            ("a", "timeout"),
            ("c", "ok"),
        ]
        assert PlanStep("a", "failed") in there.payloads(PlanStep)
        (fault,) = there.payloads(Fault)
        assert (fault.code, fault.message) == (
            "model_timeout",
            "The step 'Look' did not finish within 2 s.",
        )
        starts, ends = (there.types("turn_1", f"model.{name}") for name in ("start", "end"))
        assert len(starts) == len(ends) == 4
        assert "did not succeed (timeout)" in there.model.asked("I am cid")[0].system


# --- partial failure ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("need", "status"), [(0, "completed"), (1, "completed"), (2, "failed"), (None, "failed")]
)
async def test_a_group_goes_on_where_enough_of_it_succeeded(
    need: int | None, status: str, autojump_clock: MockClock
) -> None:
    pipeline = (Group((A, B), need), C)
    async with room(building(pipeline, *NAMES), takes(alf=fails())) as there:
        assert await there.converse() == status
        told_user = bool(there.model.asked("I am cid"))
        assert told_user is (status == "completed")
        if status == "failed":
            fault = there.payloads(Fault)[-1]
            assert "too many steps of a group did not succeed" in fault.message
            assert fault.recover.resume_token == resume_token(TurnId("turn_1"))
            assert fault.recover.done == ("b",)
        else:
            assert "'Look' did not succeed (failed)" in there.model.asked("I am cid")[0].system


async def test_a_group_gathers_once_and_the_next_stage_is_told(autojump_clock: MockClock) -> None:
    gathered: list[tuple[Done, ...]] = []

    def gather(results: tuple[Done, ...]) -> str:
        gathered.append(results)
        return " & ".join(done.text for done in results)

    pipeline = (Group((A, B), gather=gather), C)
    async with room(building(pipeline, *NAMES), takes(alf=says("found", after_s=1))) as there:
        assert await there.converse() == "completed"
        assert [[done.stage.id for done in results] for results in gathered] == [["a", "b"]]
        assert "\nfound & counted" in there.model.asked("I am cid")[0].system


@pytest.mark.parametrize("gathered", [None, ValueError("a bug")], ids=str)
async def test_a_gather_that_fails_ends_the_turn_and_not_the_session(
    gathered: Any, autojump_clock: MockClock
) -> None:
    def gather(_: tuple[Done, ...]) -> Any:
        if gathered is not None:
            raise gathered

    pipeline = (Group((A, B), gather=gather), C)
    async with room(building(pipeline, *NAMES), takes()) as there:
        assert await there.converse() == "failed"
        assert "could not be put together" in there.payloads(Fault)[-1].message
        assert there.model.asked("I am cid") == []


async def test_a_last_group_is_spoken_as_what_was_gathered_or_all_of_it(
    autojump_clock: MockClock,
) -> None:
    def both(_: tuple[Done, ...]) -> str:
        return "both"

    for gather, text in ((None, "found\n\ncounted"), (both, "both")):
        async with room(building((Group((A, B), gather=gather),), *NAMES), takes()) as there:
            assert await there.converse() == "completed"
            assert there.text() == text
            assert there.payloads(ModelToken) == [ModelToken(text, 0)]


# --- what an agent's failure comes to ---------------------------------------------------------


async def test_a_refused_stage_has_failed_and_leaves_no_result_behind(
    autojump_clock: MockClock,
) -> None:
    refused = takes(alf=says("I would ra", stop="refusal"))
    async with room(building((A, C), *NAMES), refused) as there:
        assert await there.converse() == "completed"
        assert there.payloads(Object) == []
        assert there.payloads(StageEnd)[0].status == "failed"
        assert there.payloads(Fault)[0].code == "model_refused"


async def test_a_speaking_stage_that_fails_breaks_the_answer_off(autojump_clock: MockClock) -> None:
    async with room(building((A, C), *NAMES), takes(cid=fails(text="Half "))) as there:
        assert await there.converse() == "failed"
        faults = there.payloads(Fault)
        assert [(fault.code, fault.layer) for fault in faults] == [
            ("model_error", "pipeline"),
            ("model_error", "executor"),
        ]
        assert faults[1].recover.done == ("a",)
        assert "'Tell' did not succeed" in faults[1].message
        assert there.text() == "Half "


async def test_a_model_that_refuses_outright_is_a_failed_stage(autojump_clock: MockClock) -> None:
    async with room(building((A, C), *NAMES), takes(alf=fails(ModelRefused()))) as there:
        assert await there.converse() == "completed"
        assert there.payloads(Fault)[0].code == "model_refused"


# --- hooks ----------------------------------------------------------------------------------


@frozen
class Tell:
    """Tells the next stages, and keeps state of its own."""

    word: str

    async def after(self, done: Done, flow: Flow) -> Flow:
        seen = (*flow.state.get("seen", ()), done.stage.id)
        return evolve(flow.told(f"{self.word} {','.join(seen)}"), state={"seen": seen})


async def test_a_hook_injects_context_and_its_state_goes_on(autojump_clock: MockClock) -> None:
    app = building((A, B, C), *NAMES, hooks=(Tell("Seen:"),))
    async with room(app, takes()) as there:
        assert await there.converse() == "completed"
        assert "\nSeen: a\n" in there.model.asked("I am bea")[0].system
        assert "\nSeen: a,b\n" in there.model.asked("I am cid")[0].system


async def test_hooks_are_values_and_two_alike_are_the_same(autojump_clock: MockClock) -> None:
    hooks = [Tell(word) for word in ("one", "two")]
    flow = Flow()
    told = [(await hook.after(Done(A, "ok", ""), flow)).notes for hook in hooks]
    assert told == [("one a",), ("two a",)]
    assert Tell("one") == hooks[0]
    with pytest.raises(AttributeError):
        hooks[0].word = "three"  # pyright: ignore[reportAttributeAccessIssue]


async def test_a_validation_that_fails_ends_the_turn_with_a_token(
    autojump_clock: MockClock,
) -> None:
    app = building((A, C), *NAMES, hooks=(RequireWords(),))
    async with room(app, takes(alf=says(" "))) as there:
        assert await there.converse() == "failed"
        fault = there.payloads(Fault)[-1]
        assert "'Look' came to nothing" in fault.message
        assert (fault.recover.resume_token, fault.recover.done) == ("resume.turn_1", ("a",))
        assert there.model.asked("I am cid") == []


async def test_an_early_end_speaks_what_there_is(autojump_clock: MockClock) -> None:
    app = building((A, B, C), *NAMES, hooks=(EndWhen(lambda done: done.stage.id == "b"),))
    async with room(app, takes()) as there:
        assert await there.converse() == "completed"
        assert there.text() == "counted"
        assert there.model.asked("I am cid") == []


async def test_an_early_end_with_nothing_to_say_is_an_end_too(autojump_clock: MockClock) -> None:
    app = building((A, C), *NAMES, hooks=(EndWhen(lambda _: True),))
    async with room(app, takes(alf=fails())) as there:
        assert await there.converse() == "completed"
        assert there.text() == ""


async def test_a_turn_that_spoke_before_its_early_end_says_nothing_twice(
    autojump_clock: MockClock,
) -> None:
    app = building((C, A), *NAMES, hooks=(EndWhen(lambda _: True),))
    async with room(app, takes()) as there:
        assert await there.converse() == "completed"
        assert there.text() == "It is so."


@frozen
class Raising:
    async def after(self, done: Done, flow: Flow) -> Flow:
        raise ExceptionGroup("bugs", [ValueError("a bug")])


@frozen
class Late:
    async def after(self, done: Done, flow: Flow) -> Flow:
        await trio.sleep(100)
        return flow


@frozen
class Forgetful:
    async def after(self, done: Done, flow: Flow) -> Any:
        return None


@pytest.mark.parametrize("hook", [Raising(), Late(), Forgetful()], ids=lambda h: type(h).__name__)
async def test_a_hook_that_fails_ends_the_turn_and_not_the_session(
    hook: Any, logs: Any, autojump_clock: MockClock
) -> None:
    async with room(building((A, C), *NAMES, hooks=(hook,)), takes()) as there:
        assert await there.converse() == "failed"
        fault = there.payloads(Fault)[-1]
        assert "a check after 'Look' failed" in fault.message
        assert fault.recover.resume_token == resume_token(TurnId("turn_1"))
    assert [log["hook"] for log in logs if log["event"] == "hook.raised"] == [type(hook).__name__]


@frozen
class Heal:
    """Makes a failure a state that the pipeline recovers from."""

    async def after(self, done: Done, flow: Flow) -> Flow:
        return evolve(flow.told("Take the cached numbers."), failure=None)


async def test_a_later_hook_may_heal_what_an_earlier_one_refused(autojump_clock: MockClock) -> None:
    app = building((A, C), *NAMES, hooks=(RequireWords(), Heal()))
    async with room(app, takes(alf=says(" "))) as there:
        assert await there.converse() == "completed"
        assert "cached numbers" in there.model.asked("I am cid")[0].system


# --- pipelines of the app's own -----------------------------------------------------------


async def test_a_pipeline_that_cannot_be_built_ends_the_turn_and_not_the_session(
    autojump_clock: MockClock,
) -> None:
    def build(_: Any) -> Any:
        raise KeyError("a bug")

    async with room(team(*NAMES, build=build), takes()) as there:
        assert await there.converse() == "failed"
        assert "could not be built" in there.payloads(Fault)[-1].message
        assert there.steps() == ["skipped"]


async def test_an_agent_that_is_gone_is_stood_in_for_by_the_default(
    autojump_clock: MockClock,
) -> None:
    gone = evolve(A, agent="nobody")
    async with room(building((gone, C), *NAMES), takes()) as there:
        assert await there.converse() == "completed"
        assert there.model.order()[1] == "I am alf"


async def test_a_result_is_cut_in_the_brief_of_the_next_stage(autojump_clock: MockClock) -> None:
    async with room(building((A, C), *NAMES), takes(alf=says("x" * 30_000))) as there:
        await there.converse()
        assert there.model.asked("I am cid")[0].system.count("x") == 20_000
        (result,) = there.payloads(Object)
        assert len(result.data["text"]) == 30_000


async def test_the_plan_says_which_steps_are_done_together(autojump_clock: MockClock) -> None:
    async with room(team(*NAMES), takes() | {PLANNER: plan("alf/1", "bea/1", "cid")}) as there:
        assert await there.converse() == "completed"
        view = (await there.ask("projection", name="plan"))["result"]
        assert [step.get("group") for step in view["steps"]] == [1, 1, None]
        assert "group" not in view["steps"][2]
