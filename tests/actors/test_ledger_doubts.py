"""Where the ledger could lie, wait for nothing, or tell a secret: what it does instead."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
import trio
from trio.testing import MockClock

from bargein.actors.limits import Limits
from bargein.agents.app import Agent, App
from bargein.agents.planning import Planning
from bargein.agents.stages import Stage
from bargein.protocol.events import (
    ActionCommitted,
    ActionFailed,
    ActionProposed,
    ToolResult,
)
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.tools.commitment import Commitment, NeverHappened, Settlement
from bargein.tools.errors import ToolInvalid
from bargein.tools.tool import HIDDEN, SECRET, Tool, ToolFailed, tool
from tests.actors.stage import Frame
from tests.actors.team import PLANNER, Room, call, calls, lone, plan, room, says

SOLO = "I am solo."


def told(frame: Frame) -> Any:
    return frame["result"] if frame["type"] == "reply" else frame["error"]["code"]


async def proposal(there: Room) -> ActionProposed:
    await there.until("action.proposed")
    return there.payloads(ActionProposed)[-1]


async def confirmed(there: Room, **more: Any) -> Frame:
    word = (await proposal(there)).confirmation_id
    return await there.ask("confirm", confirmation_id=word, **more)


async def test_a_turn_learns_at_once_that_its_action_may_not_be_done(
    autojump_clock: MockClock,
) -> None:
    @tool(name="put", effect="idempotent")
    async def put(amount: int) -> None:
        """Put."""

    takes = {SOLO: [calls(call("put", amount=1)), says("Well.")]}
    async with room(lone(put), takes, may_commit=lambda _: False) as there:
        began_s = trio.current_time()
        await there.converse("Put")
        assert trio.current_time() - began_s < 5.0
        (result,) = there.payloads(ToolResult)
        assert result.status == "error"
        assert "being done" not in str(result.result)


async def test_a_yes_with_a_secret_sent_again_after_a_restart_has_its_first_answer(
    autojump_clock: MockClock,
) -> None:
    @tool(name="pay")
    async def pay(card: Annotated[str, SECRET], amount: int) -> str:
        """Pay."""
        return "paid"

    shelf = Shelf()
    takes = {SOLO: [calls(call("pay", card="4111", amount=1)), says("Shall I?")]}
    edited = {"card": "4222", "amount": 2}
    async with room(lone(pay), takes, store=MemoryStore(shelf)) as there:
        await there.converse("Pay")
        word, session_id = (await proposal(there)).confirmation_id, there.session.id
        first = await confirmed(there, args=edited, id="yes")
        await there.until("action.committed")
    async with room(lone(pay), takes, store=MemoryStore(shelf), session_id=session_id) as there:
        other = {"card": "4222", "amount": 3}
        wrong = await there.ask("confirm", confirmation_id=word, args=other, id="yes")
        assert told(wrong) == "duplicate"
        again = await there.ask("confirm", confirmation_id=word, args=edited, id="yes")
        assert told(again) == told(first)


async def test_what_a_person_settled_while_its_tool_was_asked_is_not_repeated(
    autojump_clock: MockClock,
) -> None:
    began: list[int] = []
    asked, lets_tell, busy = trio.Event(), trio.Event(), trio.Event()

    async def status(_: str) -> Settlement:
        asked.set()
        await lets_tell.wait()
        return None

    @tool(name="put", effect="idempotent", status=status)
    async def put(amount: int) -> None:
        """Put."""
        began.append(amount)
        busy.set()
        await trio.sleep_forever()

    shelf = Shelf()
    takes = {SOLO: [calls(call("put", amount=1)), says("Well.")]}
    async with room(lone(put), takes, store=MemoryStore(shelf)) as there:
        await there.say("Put")
        await busy.wait()
        session_id = there.session.id
    async with room(lone(put), takes, store=MemoryStore(shelf), session_id=session_id) as there:
        await asked.wait()
        no = await there.ask("reject", confirmation_id="conf_1", id="no")
        assert told(no)["state"] == "failed"
        lets_tell.set()
        await trio.testing.wait_all_tasks_blocked()
        assert began == [1]


class Odd(msgspec.Struct):
    name: str

    def __post_init__(self) -> None:
        if self.name == "odd":
            raise KeyError(self.name)


@tool(name="send")
async def send(to: Odd) -> None:
    """Send."""


async def test_an_app_whose_classes_break_refuses_arguments_and_no_more(
    autojump_clock: MockClock,
) -> None:
    takes = {SOLO: [calls(call("send", to={"name": "odd"})), says("Well.")]}
    async with room(lone(send), takes) as there:
        assert await there.converse("Send") == "completed"
        assert [result.status for result in there.payloads(ToolResult)] == ["error"]


async def test_an_edit_that_breaks_an_apps_class_is_refused(autojump_clock: MockClock) -> None:
    takes = {SOLO: [calls(call("send", to={"name": "even"})), says("Shall I?")]}
    async with room(lone(send), takes) as there:
        await there.converse("Send")
        assert told(await confirmed(there, args={"to": {"name": "odd"}})) == "invalid_command"
        assert told(await confirmed(there))["state"] == "confirmed"
        await there.until("action.committed")


def no_secret(there: Room, secret: str) -> None:
    assert not any(secret in str(event) for event in there.events())
    for request in there.model.asked(SOLO):
        for message in request.messages:
            heard = [part for part in message.content if "ToolUse" not in type(part).__name__]
            assert secret not in str(heard)


class Card(msgspec.Struct):
    number: str

    def __post_init__(self) -> None:
        if self.number.endswith("canary"):
            raise ValueError(f"{self.number} is no card")


async def test_what_is_wrong_with_a_secret_is_told_without_it(autojump_clock: MockClock) -> None:
    @tool(name="pay")
    async def pay(card: Annotated[Card, SECRET]) -> None:
        """Pay."""

    takes = {SOLO: [calls(call("pay", card={"number": "4111-canary"})), says("Well.")]}
    async with room(lone(pay), takes) as there:
        await there.converse("Pay")
        assert [result.status for result in there.payloads(ToolResult)] == ["error"]
        no_secret(there, "canary")


async def test_a_secret_that_is_none_of_those_allowed_is_not_told(
    autojump_clock: MockClock,
) -> None:
    @tool(name="pay")
    async def pay(pin: Annotated[Literal["1234"], SECRET]) -> None:
        """Pay."""

    takes = {SOLO: [calls(call("pay", pin="canary")), says("Well.")]}
    async with room(lone(pay), takes) as there:
        await there.converse("Pay")
        no_secret(there, "canary")


async def test_a_tool_that_names_a_secret_in_its_refusal_is_not_repeated(
    autojump_clock: MockClock,
) -> None:
    @tool(name="pay")
    async def pay(card: Annotated[str, SECRET]) -> None:
        """Pay."""
        raise ToolFailed(f"{card} was declined")

    takes = {SOLO: [calls(call("pay", card="4111-canary")), says("Shall I?"), says("Oh.")]}
    async with room(lone(pay), takes) as there:
        await there.converse("Pay")
        await confirmed(there)
        await there.until("action.failed")
        await there.converse("And?")
        assert there.payloads(ActionFailed)[0].error == f"{HIDDEN} was declined"
        no_secret(there, "canary")


@pytest.mark.parametrize("expires_s", [float("inf"), 1e12])
async def test_a_proposal_that_would_wait_for_ever_is_none(
    autojump_clock: MockClock, expires_s: float
) -> None:
    with pytest.raises(ToolInvalid):

        @tool(name="buy", expires_s=expires_s)
        async def buy(amount: int) -> None:
            """Buy."""


async def test_a_secret_that_is_none_any_more_is_not_made_of_its_mask(
    autojump_clock: MockClock,
) -> None:
    seen: list[str] = []

    @tool(name="pay")
    async def before(card: Annotated[str, SECRET]) -> None:
        """Pay."""

    @tool(name="pay")
    async def since(card: str) -> None:
        """Pay."""
        seen.append(card)

    shelf = Shelf()
    takes = {SOLO: [calls(call("pay", card="4111")), says("Shall I?")]}
    async with room(lone(before), takes, store=MemoryStore(shelf)) as there:
        await there.converse("Pay")
        session_id = there.session.id
    async with room(lone(since), takes, store=MemoryStore(shelf), session_id=session_id) as there:
        late = await there.ask("confirm", confirmation_id="conf_1", id="late")
        assert told(late) == "expired"
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []


async def test_what_needs_no_person_does_not_wait_behind_what_does(
    autojump_clock: MockClock,
) -> None:
    @tool(name="buy")
    async def buy(amount: int) -> None:
        """Buy."""

    @tool(name="put", effect="idempotent")
    async def put(amount: int) -> str:
        """Put."""
        return "done"

    takes = {
        SOLO: [calls(call("buy", amount=1)), calls(call("put", 2, amount=1)), says("Shall I?")]
    }
    async with room(lone(buy, put), takes, limits=Limits(proposals_most=1)) as there:
        await there.converse("Buy")
        assert [result.status for result in there.payloads(ToolResult)] == ["proposed", "ok"]


@pytest.mark.parametrize("reason", [None, 7, "x" * 3_000_000])
async def test_an_odd_reason_ends_no_session(autojump_clock: MockClock, reason: Any) -> None:
    async def status(_: str) -> Settlement:
        return NeverHappened(reason)

    @tool(name="buy", status=status)
    async def buy(amount: int) -> None:
        """Buy."""
        raise ConnectionError

    takes = {SOLO: [calls(call("buy", amount=1)), says("Shall I?"), says("Well.")]}
    async with room(lone(buy), takes) as there:
        await there.converse("Buy")
        await confirmed(there)
        await there.until("action.failed")
        assert len(str(there.payloads(ActionFailed)[0].error)) < 300_000
        assert await there.converse("And?") == "completed"


async def test_a_long_refusal_is_cut(autojump_clock: MockClock) -> None:
    @tool(name="buy")
    async def buy(amount: int) -> None:
        """Buy."""
        raise ToolFailed("x" * 3_000_000)

    takes = {SOLO: [calls(call("buy", amount=1)), says("Shall I?"), says("Well.")]}
    async with room(lone(buy), takes) as there:
        await there.converse("Buy")
        await confirmed(there)
        await there.until("action.failed")
        assert len(there.payloads(ActionFailed)[0].error) < 300_000
        assert await there.converse("And?") == "completed"


async def test_a_doubt_is_not_settled_by_a_yes_to_something_else(
    autojump_clock: MockClock,
) -> None:
    @tool(name="buy")
    async def buy(amount: int) -> None:
        """Buy."""
        raise ConnectionError

    takes = {SOLO: [calls(call("buy", amount=3)), says("Shall I?")]}
    async with room(lone(buy), takes) as there:
        await there.converse("Buy")
        await confirmed(there)
        await there.until("action.in_doubt")
        assert told(await confirmed(there, args={"amount": 5})) == "stale"
        assert there.payloads(ActionCommitted) == []
        assert told(await confirmed(there, args={"amount": 3}))["state"] == "committed"


async def test_a_step_that_ran_out_of_time_does_not_call_an_action_cancelled_that_goes_on(
    autojump_clock: MockClock,
) -> None:
    lets_go = trio.Event()

    @tool(name="put", effect="idempotent")
    async def put(amount: int) -> str:
        """Put."""
        await lets_go.wait()
        return "put"

    pipeline = (Stage("a", "Put", "solo", speaks=True, timeout_s=2.0),)
    app = App(
        "steps",
        (Agent("solo", SOLO, tools=(put,)),),
        planning=Planning("always"),
        build=lambda _: pipeline,
    )
    puts = calls(call("put", 1, amount=1), call("put", 2, amount=2))
    takes = {PLANNER: plan("solo"), SOLO: [puts, says("Well.")]}
    async with room(app, takes, limits=Limits(commits_most=1)) as there:
        await there.converse("Put")
        told_of = sorted(result.status for result in there.payloads(ToolResult))
        assert told_of == ["committing", "timeout"]
        lets_go.set()
        await there.viewer.until(lambda _: len(there.payloads(ActionCommitted)) == 2)


def _doing(done: list[str], name: str) -> Tool:
    async def undo(_: Commitment) -> None:
        done.append(f"undo {name}")

    @tool(name="book", summary=f"Book a {name}", revert=undo)
    async def book(amount: int) -> None:
        """Book."""
        done.append(name)

    return book


def _shop(done: list[str]) -> App:
    tables = Agent("tables", "I am tables.", tools=(_doing(done, "table"),))
    return App("shop", (tables, Agent("solo", SOLO, tools=(_doing(done, "room"),))))


async def test_what_one_agent_did_is_not_undone_by_the_tool_of_another(
    autojump_clock: MockClock,
) -> None:
    done: list[str] = []
    takes = {SOLO: [calls(call("book", amount=1)), says("Shall I?")]}
    async with room(_shop(done), takes) as there:
        await there.ask("configure", agent="solo")
        await there.converse("Book")
        proposed = await proposal(there)
        await confirmed(there)
        await there.until("action.committed")
        await there.ask("revert", action_id=proposed.action_id)
        await trio.testing.wait_all_tasks_blocked()
        assert done in (["room"], ["room", "undo room"])


async def test_what_one_agent_proposed_is_not_done_by_the_tool_of_another(
    autojump_clock: MockClock,
) -> None:
    done: list[str] = []
    shelf = Shelf()
    takes = {SOLO: [calls(call("book", amount=1)), says("Shall I?")]}
    async with room(_shop(done), takes, store=MemoryStore(shelf)) as there:
        await there.ask("configure", agent="solo")
        await there.converse("Book")
        word, session_id = (await proposal(there)).confirmation_id, there.session.id
    kept = MemoryStore(shelf)
    async with room(_shop(done), takes, store=kept, session_id=session_id) as there:
        await there.ask("confirm", confirmation_id=word, id="yes")
        await trio.testing.wait_all_tasks_blocked()
        assert "table" not in done


async def test_news_count_for_how_much_a_model_is_told(autojump_clock: MockClock) -> None:
    @tool(name="put", effect="idempotent")
    async def put(amount: int) -> str:
        """Put."""
        return "x" * 1500

    takes: list[Any] = []
    for number in range(30):
        takes += [calls(call("put", 1, amount=number)), says("Done.")]
    limits = Limits(history_chars=4000)
    async with room(lone(put), {SOLO: takes}, limits=limits) as there:
        for _ in range(15):
            await there.converse("Put")
        request = there.model.asked(SOLO)[-2]
        assert sum(len(str(message.content)) for message in request.messages) < 8000
