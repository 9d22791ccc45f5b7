"""Words for the running turn: taken in at a boundary, or put into the queue."""

from __future__ import annotations

from typing import Any

import trio
from attrs import evolve
from trio.testing import MockClock

from bargein.actors.limits import Limits
from bargein.agents.app import App
from bargein.agents.stages import Group, Stage
from bargein.protocol.events import InputDropped, InputText
from bargein.protocol.ids import CommandId
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.tools.tool import tool
from tests.actors.team import (
    PLANNER,
    Room,
    building,
    call,
    calls,
    fails,
    hangs,
    lone,
    plan,
    room,
    says,
    team,
    texts_in,
)

SOLO = "I am solo"


@tool(effect="read")
async def look() -> str:
    """Look, for two seconds."""
    await trio.sleep(2)
    return "seen"


def equipped(app: App) -> App:
    """Give every agent the tool."""
    return evolve(app, agents=tuple(evolve(agent, tools=(look,)) for agent in app.agents))


def takes(**more: Any) -> dict[str, Any]:
    names = {"alf": says("found", after_s=2), "bea": says("counted", after_s=2), "cid": says("So.")}
    steps = plan("alf", "bea", "cid")
    return {PLANNER: steps, **{f"I am {name}": take for name, take in (names | more).items()}}


async def steered(there: Room, text: str, **fields: Any) -> Any:
    """Steer, and return the answer's result."""
    return (await there.ask("say", text=text, when_busy="steer", **fields))["result"]


# --- boundaries ---------------------------------------------------------------------------


async def test_words_are_consumed_at_a_stage_boundary_and_all_later_stages_see_them(
    autojump_clock: MockClock,
) -> None:
    async with room(team("alf", "bea", "cid"), takes()) as there:
        await there.say()
        await there.until("plan.step", id="step_1", state="active")
        answer = await steered(there, "only cheap ones")
        assert answer == {"turn_id": "turn_1", "outcome": "consumed", "interrupted": None}
        assert await there.done() == "completed"
        for key in ("I am bea", "I am cid"):
            system = there.model.asked(key)[0].system
            assert system.count("The user added meanwhile: only cheap ones") == 1
        order = there.types("turn_1", "input.text", "stage.", "turn.checkpoint")
        at = order.index("input.text", 1)
        assert order[at - 2 : at + 2] == [
            "stage.end",
            "turn.checkpoint",
            "input.text",
            "stage.start",
        ]


async def test_words_are_consumed_at_a_tool_boundary_and_the_next_model_call_sees_them(
    autojump_clock: MockClock,
) -> None:
    playing = {SOLO: [calls(call("look")), says("Done.")]}
    async with room(lone(look), playing) as there:
        await there.say()
        await there.until("tool.call")
        assert (await steered(there, "and be brief"))["outcome"] == "consumed"
        assert await there.done() == "completed"
        last = there.model.asked(SOLO)[1].messages[-1]
        assert texts_in(last) == ["and be brief"]
        assert InputText("and be brief", CommandId("c2"), steered=True) in there.payloads(InputText)


async def test_words_taken_at_a_tool_boundary_are_told_to_later_stages_too(
    autojump_clock: MockClock,
) -> None:
    app = equipped(team("alf", "cid"))
    playing = takes(alf=[calls(call("look")), says("found")], cid=says("So."))
    playing[PLANNER] = plan("alf", "cid")
    async with room(app, playing) as there:
        await there.say()
        await there.until("tool.call")
        assert (await steered(there, "only cheap ones"))["outcome"] == "consumed"
        assert await there.done() == "completed"
        assert texts_in(there.model.asked("I am alf")[1].messages[-1]) == ["only cheap ones"]
        assert "only cheap ones" in there.model.asked("I am cid")[0].system


async def test_stages_that_reach_their_boundaries_together_take_words_once(
    autojump_clock: MockClock,
) -> None:
    group = (
        Group((Stage("a", "A", "alf"), Stage("b", "B", "bea"))),
        Stage("c", "C", "cid", speaks=True),
    )
    app = equipped(building(group, "alf", "bea", "cid"))
    playing = takes(
        alf=[calls(call("look")), says("found")],
        bea=[calls(call("look")), says("counted")],
    )
    async with room(app, playing) as there:
        await there.say()
        await there.until("tool.call")
        for text in ("one", "two"):
            await there.send("say", text=text, when_busy="steer")
        assert await there.done() == "completed"
        taken = [event.text for event in there.payloads(InputText) if event.steered]
        assert taken == ["one", "two"]
        seen = [
            text
            for key in ("I am alf", "I am bea")
            for text in texts_in(there.model.asked(key)[1].messages[-1])
        ]
        assert sorted(seen) == ["one", "two"]


# --- no boundary left ----------------------------------------------------------------------


async def test_words_wait_in_the_queue_where_no_boundary_is_left(autojump_clock: MockClock) -> None:
    async with room(lone(), {SOLO: [says("One.", after_s=5), says("Two.")]}) as there:
        await there.say()
        await there.model.until_asked(SOLO)
        answer = await steered(there, "more")
        assert answer == {"turn_id": "turn_2", "outcome": "queued", "interrupted": None}
        assert await there.done("turn_2") == "completed"
        assert there.text("turn_2") == "Two."


async def test_words_that_came_too_late_for_the_last_boundary_are_answered_as_queued(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(look), {SOLO: [says("One.", after_s=5), says("Two.")]}) as there:
        await there.say()
        await there.model.until_asked(SOLO)
        asked_s = trio.current_time()
        assert (await steered(there, "more"))["outcome"] == "queued"
        assert trio.current_time() - asked_s == 5
        assert await there.done("turn_2") == "completed"


async def test_words_do_not_wait_for_the_end_of_a_playback(autojump_clock: MockClock) -> None:
    async with room(lone(look), {SOLO: says("One.", after_s=5)}) as there:
        await there.say()
        await there.until("response.start")
        await there.ask("playback.start", turn_id="turn_1", chunk_id="1")
        asked_s = trio.current_time()
        assert (await steered(there, "more"))["outcome"] == "queued"
        assert trio.current_time() - asked_s == 5
        await there.ask("playback.stop", turn_id="turn_1", chunk_id="1", offset_ms=10)
        assert await there.done("turn_2") == "completed"


async def test_words_for_the_last_stage_go_to_the_queue_at_once(autojump_clock: MockClock) -> None:
    playing = takes(cid=says("So.", after_s=9))
    async with room(team("alf", "bea", "cid"), playing) as there:
        await there.say()
        await there.until("plan.step", id="step_3", state="active")
        asked_s = trio.current_time()
        assert (await steered(there, "more"))["outcome"] == "queued"
        assert trio.current_time() == asked_s
        await there.done("turn_2")


# --- interrupts, ids, bounds -----------------------------------------------------------------


async def test_an_interrupt_before_the_boundary_puts_words_into_the_queue(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(look), {SOLO: [calls(call("look")), says("Two.")]}) as there:
        await there.say()
        await there.until("tool.call")
        steer = await there.send("say", text="more", when_busy="steer")
        await there.interrupt()
        answer = await there.viewer.until(lambda f: f.get("command_id") == steer)
        assert answer["result"] == {"turn_id": "turn_2", "outcome": "queued", "interrupted": None}
        assert await there.done("turn_2") == "completed"
        assert there.model.asked(SOLO)[1].messages[-1].content == "more"


async def test_an_interrupt_that_drops_the_queue_drops_words_that_wait_for_a_boundary(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(look), {SOLO: calls(call("look"))}) as there:
        await there.say()
        await there.until("tool.call")
        await there.send("say", text="more", when_busy="steer")
        await there.interrupt(queue="drop")
        assert there.payloads(InputDropped, "turn_2") == [
            InputDropped(CommandId("c2"), "interrupted")
        ]
        await trio.sleep(10)
        assert there.types("turn_2") == ["input.text", "input.dropped"]


async def test_a_drop_without_a_turn_of_its_own_gives_up_nothing(autojump_clock: MockClock) -> None:
    async with room(lone(look), {SOLO: says("One.")}) as there:
        assert (await there.ask("interrupt", queue="drop"))["result"] == {"interrupted": False}
        assert await there.converse() == "completed"


async def test_the_same_id_again_gets_the_same_answer_also_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    shelf = Shelf()
    store = MemoryStore(shelf)
    playing = takes(bea=hangs())
    async with room(team("alf", "bea", "cid"), playing, store=store) as there:
        await there.say()
        await there.until("plan.step", id="step_1", state="active")
        first = await steered(there, "cheap", id="steer")
        assert await steered(there, "cheap", id="steer") == first
        await there.until("plan.step", id="step_2", state="active")
        session_id = there.session.id
        store.crash()
    kept = MemoryStore(shelf)
    async with room(team("alf"), takes(), store=kept, session_id=session_id) as there:
        assert await steered(there, "cheap", id="steer") == first
        other = await there.ask("say", text="dear", when_busy="steer", id="steer")
        assert other["error"]["code"] == "duplicate"


async def test_words_that_a_failed_turn_took_in_are_told_when_it_is_taken_up_again(
    autojump_clock: MockClock,
) -> None:
    playing = takes(bea=says("counted", after_s=2), cid=[fails(), says("So.")])
    async with room(team("alf", "bea", "cid"), playing) as there:
        await there.say()
        await there.until("plan.step", id="step_1", state="active")
        await steered(there, "only cheap ones")
        assert await there.done() == "failed"
        assert await there.converse("", resume="resume.turn_1") == "completed"
        assert "meanwhile: only cheap ones" in there.model.asked("I am cid")[1].system


async def test_no_more_words_wait_for_a_boundary_than_may_wait_at_all(
    autojump_clock: MockClock,
) -> None:
    playing = takes(alf=says("found", after_s=9))
    limits = Limits(queue_most=2)
    async with room(team("alf", "bea", "cid"), playing, limits=limits) as there:
        await there.say()
        await there.until("plan.step", id="step_1", state="active")
        steers = [await there.send("say", text=f"{n}", when_busy="steer") for n in range(5)]
        outcomes: list[str] = []
        for steer in steers:
            frame = await there.viewer.until(lambda f, s=steer: f.get("command_id") == s)
            outcomes.append(frame.get("result", frame.get("error", {})).get("outcome", "busy"))
        assert outcomes == ["consumed", "consumed", "queued", "queued", "busy"]
        assert Limits().queue_most == 8
        for number in (2, 3):
            await there.done(f"turn_{number}")
