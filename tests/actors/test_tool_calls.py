"""Tool calls of a turn: durable before they start, side by side, with one result each."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import trio
from attrs import evolve
from trio.testing import MockClock

from bargein.actors.clock import SystemClock
from bargein.actors.notes import MOST_KEPT_NOTES, Notebook
from bargein.actors.phases import Phases
from bargein.actors.tool_calls import AT_ONCE
from bargein.actors.turn import Turn
from bargein.agents.shaping import Shaping
from bargein.agents.stages import Group, Stage
from bargein.models.client import Completion, Text, ToolUse
from bargein.protocol.codec import decode_event
from bargein.protocol.events import (
    ActionProposed,
    CancelStage,
    Fault,
    ModelEnd,
    Object,
    Status,
    ToolCall,
    ToolProgress,
    ToolResult,
    Usage,
)
from bargein.protocol.ids import NOTHING, CallId, TurnId
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.store import Append
from bargein.tools.tool import ToolContext, ToolFailed, tool
from tests.actors.team import (
    PLANNER,
    USAGE,
    Room,
    building,
    call,
    calls,
    fails,
    lone,
    outcomes_in,
    plan,
    room,
    says,
)

SOLO = "I am solo"


def answering(*uses: ToolUse, then: Any = None) -> dict[str, Any]:
    return {SOLO: [calls(*uses), then or says("Done.")]}


async def told(there: Room) -> list[tuple[str, bool]]:
    """What the model was told of its first calls."""
    await there.done()
    last = there.model.asked(SOLO)[1].messages[-1]
    return [(outcome.content, outcome.failed) for outcome in outcomes_in(last)]


# --- side by side ------------------------------------------------------------------------


async def test_tools_run_side_by_side_four_at_a_time(autojump_clock: MockClock) -> None:
    running: list[int] = []
    most: list[int] = []

    @tool(effect="read", at_once=100)
    async def look(number: int) -> int:
        """Look."""
        running.append(number)
        most.append(len(running))
        await trio.sleep(1)
        running.remove(number)
        return number

    uses = [call("look", n, number=n) for n in range(1, 11)]
    async with room(lone(look), answering(*uses)) as there:
        began_s = trio.current_time()
        await there.say()
        # In the order of the calls, whoever came first.
        assert await told(there) == [(str(n), False) for n in range(1, 11)]
        assert max(most) == AT_ONCE == 4
        assert trio.current_time() - began_s == pytest.approx(3)
        assert there.types("turn_1", "tool.")[:10] == ["tool.call"] * 10


async def test_the_agents_of_a_group_share_the_places_of_their_turn(
    autojump_clock: MockClock,
) -> None:
    running: list[int] = []
    most: list[int] = []

    @tool(effect="read", at_once=100)
    async def look() -> str:
        """Look."""
        running.append(1)
        most.append(len(running))
        await trio.sleep(1)
        running.pop()
        return "seen"

    app = building((Group((Stage("a", "A", "alf"), Stage("b", "B", "bea"))),), "alf", "bea")
    app = evolve(app, agents=tuple(evolve(agent, tools=(look,)) for agent in app.agents))
    three = [call("look", number) for number in (1, 2, 3)]
    playing = {
        PLANNER: plan("alf"),
        "I am alf": [calls(*three), says("found")],
        "I am bea": [calls(*three), says("counted")],
    }
    async with room(app, playing) as there:
        assert await there.converse() == "completed"
        assert max(most) == 4
        # Both agents' models named their calls alike; on the timeline no two are.
        names = [payload.call_id for payload in there.payloads(ToolCall)]
        assert len(set(names)) == 6
        assert set(names) == {r.call_id for r in there.payloads(ToolResult)}


# --- what goes wrong -----------------------------------------------------------------------


async def test_an_unknown_tool_and_malformed_arguments_are_told_to_the_model(
    autojump_clock: MockClock,
) -> None:
    ran: list[str] = []

    @tool(effect="read")
    async def look(where: str) -> str:
        """Look."""
        ran.append(where)
        return "seen"

    malformed = evolve(call("look", 2), malformed='{"where": ')
    uses = (call("peer"), malformed, call("look", 3, where=1), call("look", 4, where="up"))
    async with room(lone(look), answering(*uses)) as there:
        await there.say()
        results = await told(there)
        assert results[0] == ("There is no tool 'peer'. There are: look.", True)
        assert results[1][0].startswith("The arguments are no JSON object")
        assert "where" in results[2][0]
        assert results[3] == ("seen", False)
        assert ran == ["up"]
        statuses = {r.call_id: r.status for r in there.payloads(ToolResult)}
        assert statuses == {
            "call_1": "error",
            "call_2": "error",
            "call_3": "error",
            "call_4": "ok",
        }


async def test_an_agent_without_tools_is_told_that_there_are_none(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(), answering(call("peer"))) as there:
        await there.say()
        assert await told(there) == [("There is no tool 'peer'. There are: none.", True)]


async def test_a_tool_that_fails_or_is_late_is_an_error_event_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    @tool(effect="read")
    async def stumble() -> str:
        """Fail."""
        raise ToolFailed("It is closed.")

    @tool(effect="read", timeout_s=2)
    async def dawdle() -> str:
        """Take long."""
        await trio.sleep(60)
        return ""

    @tool(effect="read")
    async def explode() -> str:
        """Fail badly."""
        raise ExceptionGroup("bugs", [ValueError("secret")])

    @tool(effect="read")
    async def look() -> str:
        """Look."""
        await trio.sleep(3)
        return "seen"

    uses = (call("stumble"), call("dawdle", 2), call("explode", 3), call("look", 4))
    async with room(lone(stumble, dawdle, explode, look), answering(*uses)) as there:
        await there.say()
        assert await told(there) == [
            ("It is closed.", True),
            ("The tool did not finish within 2 s.", True),
            ("The tool failed.", True),
            ("seen", False),
        ]
        faults = {(fault.code, fault.message) for fault in there.payloads(Fault)}
        assert faults == {
            ("tool_error", "It is closed."),
            ("tool_timeout", "The tool did not finish within 2 s."),
            ("tool_error", "The tool failed."),
        }
        assert await there.done() == "completed"


async def test_a_side_effect_is_proposed_and_not_run(autojump_clock: MockClock) -> None:
    bought: list[int] = []

    @tool
    async def buy() -> str:
        """Buy."""
        bought.append(1)
        return "bought"

    async with room(lone(buy), answering(call("buy"))) as there:
        await there.say()
        ((text, failed),) = await told(there)
        assert "NOT done" in text
        assert not failed
        assert bought == []
        (proposed,) = there.payloads(ActionProposed)
        assert (proposed.summary, proposed.effect) == ("buy()", "side_effect")
        assert there.payloads(ToolResult)[0].status == "proposed"
        (announced,) = there.payloads(ToolCall)
        assert announced.effect == "side_effect"


# --- durable first --------------------------------------------------------------------------


async def test_no_tool_starts_before_its_call_is_durable(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    early: list[bool] = []

    async def slow(_: Sequence[Append]) -> None:
        await trio.sleep(0.5)

    @tool(effect="read")
    async def look(context: ToolContext) -> str:
        """Look."""
        kept = [
            decode_event(stored.frame).payload
            for stored in shelf.events(context.session_id, NOTHING, 999)
        ]
        early.append(not any(isinstance(payload, ToolCall) for payload in kept))
        return "seen"

    async with room(lone(look), answering(call("look")), store=MemoryStore(shelf, slow)) as there:
        assert await there.converse() == "completed"
        assert early == [False]


async def test_an_interrupt_while_a_call_waits_to_be_durable_starts_nothing(
    autojump_clock: MockClock,
) -> None:
    ran: list[int] = []
    gate = trio.Event()
    closed: list[bool] = []

    async def slow(_: Sequence[Append]) -> None:
        if closed:
            await gate.wait()

    @tool(effect="read")
    async def look() -> str:
        """Look."""
        ran.append(1)
        return "seen"

    async def calls_late(_: Any, listener: Any) -> Any:
        closed.append(True)
        listener.tool_called(call("look"))
        return Completion("tool_use", USAGE)

    store = MemoryStore(before_commit=slow)
    async with room(lone(look), {SOLO: calls_late}, store=store) as there:
        await there.say()
        await trio.sleep(1)
        await there.send("interrupt")
        await trio.sleep(1)
        gate.set()
        ack = await there.until("cancel.ack")
        assert ack["payload"]["stopped"] == ["tool:call_1"]
        assert ran == []
        assert there.payloads(ToolResult) == [ToolResult(CallId("call_1"), "cancelled")]


# --- interrupted --------------------------------------------------------------------------------


def outcomes(there: Room) -> dict[str, str]:
    return {rung.target: rung.outcome for rung in there.payloads(CancelStage)}


async def test_a_ladder_tells_what_stopped_what_had_finished_and_what_was_abandoned(
    autojump_clock: MockClock,
) -> None:
    free = trio.Event()

    @tool(effect="read")
    async def wait() -> str:
        """Wait."""
        await trio.sleep(60)
        return "waited"

    @tool(effect="read")
    async def ignore() -> str:
        """Go on, whoever says stop."""
        with trio.CancelScope(shield=True):
            await free.wait()
        return "a ghost"

    async with room(lone(wait, ignore), answering(call("wait"), call("ignore", 2))) as there:
        await there.say()
        await trio.sleep(1)
        ack = await there.interrupt()
        assert outcomes(there) == {
            "transcript": "frozen",
            "model": "already_done",
            # The whole turn has not unwound: of nothing in it is it known.
            "tool:call_1": "abandoned",
            "tool:call_2": "abandoned",
        }
        assert ack["payload"]["abandoned"] == ["tool:call_1", "tool:call_2"]
        free.set()
        await trio.sleep(1)
        assert [r.status for r in there.payloads(ToolResult)] == ["cancelled", "cancelled"]
        assert await there.converse("Next") == "completed"


async def test_a_tool_in_a_thread_is_abandoned_and_its_result_never_appears() -> None:
    began, free, over = (threading.Event() for _ in range(3))

    @tool(effect="read")
    def block(context: ToolContext) -> str:
        """Block a thread."""
        context.notes.progress("begun")
        began.set()
        free.wait(10)
        try:
            context.notes.progress("a ghost")
            context.notes.note(Status("a ghost"))
        finally:
            over.set()
        return "a ghost"

    async with room(lone(block), answering(call("block"))) as there:
        await there.say()
        await there.until("tool.progress")
        ack = await there.interrupt()
        assert ack["payload"]["abandoned"] == ["tool:call_1"]
        assert outcomes(there)["tool:call_1"] == "abandoned"
        free.set()
        await trio.to_thread.run_sync(over.wait, 10)
        await there.converse("Next")
        assert b"a ghost" not in b"".join(
            stored.frame for stored in there.store.shelf.events(there.session.id, NOTHING, 999)
        )


async def test_a_thread_that_outlives_its_time_says_nothing_more() -> None:
    free, over = threading.Event(), threading.Event()

    @tool(effect="read", timeout_s=0.05)
    def block(context: ToolContext) -> str:
        """Block a thread."""
        free.wait(10)
        try:
            context.notes.progress("a ghost")
            context.notes.note(Status("a ghost"))
        finally:
            over.set()
        return "a ghost"

    # In real time: the virtual clock does not wait for a thread.
    async with room(lone(block), answering(call("block"))) as there:
        assert await there.converse() == "completed"
        free.set()
        await trio.to_thread.run_sync(over.wait, 10)
        await there.converse("Next")
        assert there.payloads(ToolProgress) == []
        assert there.payloads(Status) == []
        assert [r.status for r in there.payloads(ToolResult, "turn_1")] == ["timeout"]


async def test_a_result_that_was_there_before_the_interrupt_is_finished_and_shown_as_ruled(
    autojump_clock: MockClock,
) -> None:
    held = trio.Event()

    class Slow:
        async def enrich(self, payload: Any) -> Any:
            if isinstance(payload, ToolResult):
                held.set()
                await trio.sleep(60)
            return payload

    def hide(payload: Any, _: Any) -> Any:
        return evolve(payload, result="hidden") if isinstance(payload, ToolResult) else payload

    @tool(effect="read")
    async def look() -> str:
        """Look."""
        return "a secret"

    shaping = Shaping(enrichments=(Slow(),), rules=(hide,), enrich_limit_s=100)
    app = evolve(lone(look), shaping=shaping)
    async with room(app, answering(call("look"))) as there:
        await there.say()
        await held.wait()
        await there.interrupt()
        assert outcomes(there)["tool:call_1"] == "finished"
        assert there.payloads(ToolResult) == [ToolResult(CallId("call_1"), "ok", "hidden")]


# --- a stage whose time is up ------------------------------------------------------------------


async def test_calls_that_a_stage_leaves_behind_when_its_time_is_up_are_cancelled(
    autojump_clock: MockClock,
) -> None:
    @tool(effect="read")
    async def look() -> str:
        """Look."""
        await trio.sleep(60)
        return "seen"

    stages = (Stage("a", "A", "alf", timeout_s=2), Stage("b", "B", "bea", speaks=True))
    app = building(stages, "alf", "bea")
    app = evolve(app, agents=tuple(evolve(agent, tools=(look,)) for agent in app.agents))
    playing = {
        PLANNER: plan("alf"),
        "I am alf": calls(call("look"), call("look", 2)),
        "I am bea": says("So."),
    }
    async with room(app, playing) as there:
        assert await there.converse() == "completed"
        assert [(r.call_id, r.status) for r in there.payloads(ToolResult)] == [
            ("call_1", "cancelled"),
            ("call_2", "cancelled"),
        ]
        assert len(there.payloads(ModelEnd)) == 3


async def test_a_result_that_a_stage_could_not_hand_over_in_time_is_kept_all_the_same(
    autojump_clock: MockClock,
) -> None:
    class Slow:
        async def enrich(self, payload: Any) -> Any:
            if isinstance(payload, ToolResult):
                await trio.sleep(60)
            return payload

    @tool(effect="read")
    async def look() -> str:
        """Look."""
        return "seen"

    stages = (Stage("a", "A", "alf", timeout_s=2), Stage("b", "B", "bea", speaks=True))
    app = building(stages, "alf", "bea", shaping=Shaping(enrichments=(Slow(),), enrich_limit_s=99))
    app = evolve(app, agents=tuple(evolve(agent, tools=(look,)) for agent in app.agents))
    playing = {
        PLANNER: plan("alf"),
        "I am alf": calls(call("look")),
        "I am bea": says("So."),
    }
    async with room(app, playing) as there:
        assert await there.converse() == "completed"
        assert there.payloads(ToolResult) == [ToolResult(CallId("call_1"), "ok", "seen")]


async def test_calls_that_were_never_announced_get_no_result(autojump_clock: MockClock) -> None:
    class Slow:
        async def enrich(self, payload: Any) -> Any:
            if isinstance(payload, ToolCall):
                await trio.sleep(60)
            return payload

    stages = (Stage("a", "A", "alf", timeout_s=2), Stage("b", "B", "bea", speaks=True))
    app = building(stages, "alf", "bea", shaping=Shaping(enrichments=(Slow(),), enrich_limit_s=99))
    playing = {
        PLANNER: plan("alf"),
        "I am alf": calls(call("look")),
        "I am bea": says("So."),
    }
    async with room(app, playing) as there:
        assert await there.converse() == "completed"
        assert there.types("turn_1", "tool.") == []


# --- notes ----------------------------------------------------------------------------------------


async def test_notes_come_from_the_loop_and_from_threads_before_the_result() -> None:
    @tool(effect="read")
    async def look(context: ToolContext) -> str:
        """Look."""
        context.notes.progress("half", 0.5)
        context.notes.note(Object("table", {"rows": 3}))
        return "seen"

    @tool(effect="read")
    def read(context: ToolContext) -> str:
        """Read."""
        context.notes.progress("half")
        context.notes.note(Status("reading"))
        return "read"

    # In real time: the virtual clock does not wait for a thread.
    async with room(lone(look, read), answering(call("look"), call("read", 2))) as there:
        assert await there.converse() == "completed"
        kinds = (ToolProgress, Object, Status, ToolResult)
        noted = [p for kind in kinds for p in there.payloads(kind)]
        assert ToolProgress(CallId("call_1"), "half", 0.5) in noted
        assert ToolProgress(CallId("call_2"), "half") in noted
        assert Object("table", {"rows": 3}) in noted
        types = there.types("turn_1", "tool.progress", "object", "status", "tool.result")
        assert types.index("object") < len(types) - 1
        assert types[-1] == "tool.result"


@pytest.mark.parametrize(
    "note",
    [
        ToolResult(CallId("call_1"), "ok"),
        ModelEnd("end_turn", Usage(1, 1)),
        Object("x", {1, object()}),
    ],
    ids=["a result", "a model's end", "no JSON"],
)
async def test_a_tool_cannot_write_what_would_break_the_timeline(
    note: Any, autojump_clock: MockClock
) -> None:
    @tool(effect="read")
    async def look(context: ToolContext) -> str:
        """Look."""
        context.notes.note(note)
        return "seen"

    async with room(lone(look), answering(call("look"))) as there:
        assert await there.converse() == "completed"
        assert [r.status for r in there.payloads(ToolResult)] == ["error"]
        assert [fault.code for fault in there.payloads(Fault)] == ["tool_error"]


class Full:
    """An outlet without room, at first."""

    def __init__(self) -> None:
        self.has_room = False
        self.taken: list[Any] = []

    def offer(self, message: Any) -> bool:
        if self.has_room:
            self.taken.extend(message.drafts)
        return self.has_room


async def test_notes_wait_where_there_is_no_room_and_progress_is_dropped(
    autojump_clock: MockClock,
) -> None:
    outlet: Any = Full()
    turn = Turn(TurnId("turn_1"), "Go", Phases(SystemClock(), 0.0, "x"))
    notebook = Notebook(turn, CallId("call_1"), outlet, False)
    notebook.progress("one")
    for number in range(MOST_KEPT_NOTES + 1):
        notebook.note(Status(f"{number}"))
    outlet.has_room = True
    notebook.note(Status("after"))
    assert len(notebook.kept) == MOST_KEPT_NOTES
    assert notebook.kept[0] == Status("0")
    assert outlet.taken == []
    notebook.close()
    notebook.progress("late")
    assert outlet.taken == []


async def test_notes_that_waited_are_written_before_the_result(autojump_clock: MockClock) -> None:
    @tool(effect="read")
    async def look(context: ToolContext) -> str:
        """Look, and tell more than there is room for without a pause."""
        for number in range(100):
            context.notes.note(Status(f"{number}"))
        return "seen"

    async with room(lone(look), answering(call("look"))) as there:
        assert await there.converse() == "completed"
        texts = [status.text for status in there.payloads(Status)]
        assert texts == [f"{number}" for number in range(100)]
        types = there.types("turn_1", "status", "tool.result")
        assert types[-1] == "tool.result"


# --- limits ---------------------------------------------------------------------------------


@tool(effect="read")
async def quick(number: int) -> int:
    """Count."""
    return number


def counting(*sizes: int) -> list[Any]:
    """Takes that call the tool so often each."""
    takes: list[Any] = []
    number = 0
    for size in sizes:
        uses = [call("quick", number + n, number=number + n) for n in range(size)]
        number += size
        takes.append(calls(*uses))
    return takes


async def test_sixty_calls_with_a_limit_of_25_at_a_time_finish_with_nothing_lost(
    autojump_clock: MockClock,
) -> None:
    needed = list(range(60))
    done: list[int] = []

    async def counts(request: Any, listener: Any) -> Any:
        if not isinstance(request.messages[-1].content, str):
            ran = [each for each in outcomes_in(request.messages[-1]) if not each.failed]
            done.extend(int(outcome.content) for outcome in ran)
        left = [number for number in needed if number not in done]
        if not left:
            listener.heard("All sixty.", 1)
            return Completion("end_turn", USAGE)
        for number in left:  # all that are left, as often as it is told that some were not run
            listener.tool_called(call("quick", len(done) * 100 + number, number=number))
        return Completion("tool_use", USAGE)

    async with room(lone(quick), {SOLO: counts}) as there:
        assert await there.converse() == "completed"
        assert done == needed  # each once, in the order of the calls
        results = [result.result for result in there.payloads(ToolResult)]
        assert sorted(results) == needed
        recoveries = there.types("turn_1", "recovery.")
        assert recoveries == ["recovery.start", "recovery.end"] * 2
        assert there.text() == "All sixty."


async def test_an_agent_that_uses_up_all_its_calls_may_still_answer(
    autojump_clock: MockClock,
) -> None:
    playing = {SOLO: [*counting(2, 2, 2, 2), says("With what I have.")]}
    async with room(lone(quick, tool_limit=2), playing) as there:
        assert await there.converse() == "completed"
        assert there.text() == "With what I have."
        assert len(there.payloads(ToolResult)) == 8
        last = there.model.asked(SOLO)[-1].messages[-1].content[-1]
        assert isinstance(last, Text)
        assert "Answer now" in last.text


async def test_an_agent_that_wants_more_than_all_its_calls_fails_and_can_be_resumed(
    autojump_clock: MockClock,
) -> None:
    playing = {SOLO: [*counting(2, 2, 2, 2, 1), says("unreached")]}
    async with room(lone(quick, tool_limit=2), playing) as there:
        assert await there.converse() == "failed"
        (fault,) = there.payloads(Fault)
        assert fault.code == "tool_limit"
        assert fault.recover.resume_token
        assert len(there.payloads(ToolCall)) == 8
        assert there.types("turn_1", "recovery.start") == ["recovery.start"] * 3


async def test_a_stage_that_reaches_its_limit_has_failed(autojump_clock: MockClock) -> None:
    stages = (Stage("a", "A", "alf"), Stage("b", "B", "bea", speaks=True))
    app = building(stages, "alf", "bea")
    agents = tuple(evolve(agent, tools=(quick,), tool_limit=1) for agent in app.agents)
    playing = {
        PLANNER: plan("alf"),
        "I am alf": [*counting(1, 1, 1, 1, 1), fails()],
        "I am bea": says("So."),
    }
    async with room(evolve(app, agents=agents), playing) as there:
        assert await there.converse() == "completed"
        assert [fault.code for fault in there.payloads(Fault)] == ["tool_limit"]


# --- what no encoding can carry ------------------------------------------------------------


async def test_lone_surrogates_and_nan_around_tools_crash_nothing(
    autojump_clock: MockClock,
) -> None:
    seen: list[Any] = []

    @tool(effect="read")
    async def look(where: str, context: ToolContext) -> str:
        """Look."""
        seen.append(where)
        context.notes.progress("at \ud800", math.nan)
        context.notes.note(Object("x\udfff", {"k\ud800": ["\ud800"]}))
        raise ToolFailed("no \ud800 here")

    @tool(effect="read")
    async def measure(value: float) -> float:
        """Measure."""
        seen.append(value)
        return value

    @tool(effect="read")
    async def read() -> str:
        """Read."""
        return "a \ud800 b"

    uses = (
        call("look", 1, where="up\ud800"),
        call("measure", 2, value=math.nan),
        call("read", 3),
        call("lo\ud800ok", 4),
        evolve(call("measure", 5), malformed="{\ud800"),
        evolve(call("read"), call_id=CallId("\ud800")),
    )
    async with room(lone(look, measure, read), answering(*uses)) as there:
        await there.say()
        results = await told(there)
        assert seen == ["up\ufffd"]
        assert results[0] == ("no \ufffd here", True)
        assert results[1][0].startswith("The arguments are no JSON object")
        assert results[2][0].startswith("The tool's result is not JSON that can be kept")
        assert "lo\ufffdok" in results[3][0]
        assert there.payloads(ToolCall)[0].args == {"where": "up\ufffd"}
        assert there.payloads(ToolCall)[1].args == {}
        assert there.payloads(ToolCall)[5].call_id == "\ufffd"
        assert there.payloads(Object) == [Object("x\ufffd", {"k\ufffd": ["\ufffd"]})]
        assert await there.done() == "completed"
