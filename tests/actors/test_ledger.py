"""What the agent wants done: proposed, decided, done once, and never claimed where nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from bargein.actors.limits import Limits
from bargein.protocol.events import (
    ActionCommitted,
    ActionCommitting,
    ActionConfirmed,
    ActionExpired,
    ActionFailed,
    ActionInDoubt,
    ActionProposed,
    ActionRejected,
    ActionReverted,
    CancelAck,
    CancelRequested,
    CancelStage,
    ToolResult,
)
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.tools.commitment import AutoConfirm, Commitment, Happened, NeverHappened, Settlement
from bargein.tools.tool import SECRET, Tool, ToolContext, ToolFailed, tool
from tests.actors.stage import Frame
from tests.actors.team import Room, call, calls, hangs, lone, room, says

SOLO = "I am solo."
CONFIRM_S = 120.0


@define(eq=False)
class World:
    """What is outside: it outlives every server.

    Attributes:
        done: The keys with which something was really done, in order.
        lets_go: Until this is set, what is being done takes time.
    """

    done: list[str] = field(factory=list[str], init=False)
    undone: list[str] = field(factory=list[str], init=False)
    began: list[tuple[str, int]] = field(factory=list[tuple[str, int]], init=False)
    lets_go: trio.Event = field(factory=trio.Event, init=False)
    busy: trio.Event = field(factory=trio.Event, init=False)

    def ready(self) -> World:
        self.lets_go.set()
        return self

    async def do(self, amount: int, context: ToolContext) -> str:
        assert context.key is not None
        self.began.append((context.key, amount))
        self.busy.set()
        await self.lets_go.wait()
        self.done.append(context.key)
        return f"bought {amount}"

    async def undo(self, done: Commitment) -> str:
        self.undone.append(done.revert_key)
        return f"gave back {done.args['amount']}"

    async def undo_all(self, done: Commitment) -> str:
        self.undone.append(done.revert_key)
        return "gave back all"


def buying(world: World, **more: Any) -> Tool:
    @tool(name="buy", summary="Buy {amount} of it", **more)
    async def buy(amount: int, context: ToolContext) -> str:
        """Buy."""
        return await world.do(amount, context)

    return buy


def proposing(amount: int = 3, *, then: Any = None) -> dict[str, Any]:
    return {SOLO: [calls(call("buy", amount=amount)), then or says("Shall I?"), says("Well.")]}


async def proposal(there: Room) -> ActionProposed:
    await there.until("action.proposed")
    (proposed,) = there.payloads(ActionProposed)
    return proposed


def told(frame: Frame) -> Any:
    return frame["result"] if frame["type"] == "reply" else frame["error"]["code"]


def of_actions(there: Room) -> list[str]:
    return [event.type for event in there.events() if event.type.startswith("action.")]


# --- from the proposal to the end --------------------------------------------------------------


async def test_what_is_confirmed_is_done_once_with_its_key_and_the_intent_came_first(
    autojump_clock: MockClock,
) -> None:
    world = World().ready()
    async with room(lone(buying(world)), proposing()) as there:
        assert await there.converse("Buy") == "completed"
        proposed = await proposal(there)
        assert (proposed.summary, proposed.args) == ("Buy 3 of it", {"amount": 3})
        assert world.began == []
        reply = await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        assert told(reply) == {"action_id": proposed.action_id, "state": "confirmed"}
        await there.until("action.committed")
        key = f"buy:{there.session.id}:turn_1:{proposed.confirmation_id}"
        assert world.began == [(key, 3)]
        assert of_actions(there) == [
            "action.proposed",
            "action.confirmed",
            "action.committing",
            "action.committed",
        ]
        (committed,) = there.payloads(ActionCommitted)
        assert (committed.idempotency_key, committed.result) == (key, "bought 3")


async def test_the_model_learns_what_became_of_it_in_its_next_turn(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(buying(World().ready())), proposing()) as there:
        await there.converse("Buy")
        proposed = await proposal(there)
        await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        await there.until("action.committed")
        await there.converse("And?")
        heard = [message.content for message in there.model.asked(SOLO)[-1].messages]
        (note,) = (text for text in heard if isinstance(text, str) and "became of actions" in text)
        assert "buy (Buy 3 of it): confirmed by the user, and done" in note
        assert '"bought 3"' in note
        assert heard[-1] == "And?"


async def test_a_turn_does_not_wait_and_a_commit_outlives_it(autojump_clock: MockClock) -> None:
    world = World()
    async with room(lone(buying(world)), proposing()) as there:
        await there.converse("Buy")
        proposed = await proposal(there)
        await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        await there.until("action.committing")
        assert await there.converse("Meanwhile") == "completed"
        world.lets_go.set()
        await there.until("action.committed")


async def test_edited_arguments_replace_the_proposed_ones_and_are_shown(
    autojump_clock: MockClock,
) -> None:
    world = World().ready()
    async with room(lone(buying(world)), proposing()) as there:
        await there.converse("Buy")
        word = (await proposal(there)).confirmation_id
        wrong = await there.ask("confirm", confirmation_id=word, args={"amount": "many"})
        assert (told(wrong), wrong["error"]["param"]) == ("invalid_command", "args.amount")
        unknown = await there.ask("confirm", confirmation_id=word, args={"amount": 1, "x": 2})
        assert told(unknown) == "invalid_command"
        await there.ask("confirm", confirmation_id=word, args={"amount": 5})
        await there.until("action.committed")
        assert [amount for _, amount in world.began] == [5]
        (confirmed,) = there.payloads(ActionConfirmed)
        assert confirmed.args == {"amount": 5}
        other = await there.ask("confirm", confirmation_id=word, args={"amount": 6})
        assert told(other) == "stale"


async def test_two_decisions_come_to_one(autojump_clock: MockClock) -> None:
    world = World().ready()
    async with room(lone(buying(world)), proposing()) as there:
        await there.converse("Buy")
        word = (await proposal(there)).confirmation_id
        async with trio.open_nursery() as nursery:
            for number in range(3):
                confirm = partial(there.ask, "confirm", confirmation_id=word, id=f"yes{number}")
                nursery.start_soon(confirm)
        await there.ask("reject", confirmation_id=word, id="r")
        await there.until("action.committed")
        answers = {f["command_id"]: f for f in there.viewer.frames if f.get("command_id")}
        states = {told(answers[f"yes{number}"])["state"] for number in range(3)}
        assert states == {"confirmed"}
        assert told(answers["r"]) == "stale"
        assert len(world.began) == 1


async def test_what_is_rejected_is_never_done(autojump_clock: MockClock) -> None:
    world = World().ready()
    async with room(lone(buying(world)), proposing()) as there:
        await there.converse("Buy")
        word = (await proposal(there)).confirmation_id
        reply = await there.ask("reject", confirmation_id=word, reason="too dear")
        assert told(reply)["state"] == "rejected"
        assert told(await there.ask("confirm", confirmation_id=word)) == "stale"
        assert told(await there.ask("reject", confirmation_id=word))["state"] == "rejected"
        assert there.payloads(ActionRejected)[0].reason == "too dear"
        assert world.began == []


async def test_nobody_decides_in_time_and_it_expires(autojump_clock: MockClock) -> None:
    world = World().ready()
    async with room(lone(buying(world)), proposing()) as there:
        await there.converse("Buy")
        word = (await proposal(there)).confirmation_id
        began_s = trio.current_time()
        await there.until("action.expired")
        assert CONFIRM_S - 1 < trio.current_time() - began_s <= CONFIRM_S
        assert told(await there.ask("confirm", confirmation_id=word)) == "expired"
        assert world.began == []


async def test_an_unknown_confirmation_is_not_found(autojump_clock: MockClock) -> None:
    async with room(lone(buying(World())), proposing()) as there:
        assert told(await there.ask("confirm", confirmation_id="conf_9")) == "not_found"
        assert told(await there.ask("revert", action_id="act_9")) == "not_found"


async def test_a_flood_of_proposals_has_an_end(autojump_clock: MockClock) -> None:
    uses = [call("buy", number, amount=number) for number in range(1, 5)]
    takes = {SOLO: [calls(*uses), says("Shall I?")]}
    limits = Limits(proposals_most=3)
    async with room(lone(buying(World())), takes, limits=limits) as there:
        await there.converse("Buy")
        statuses = sorted(result.status for result in there.payloads(ToolResult))
        assert statuses == ["error", "proposed", "proposed", "proposed"]
        assert len(there.payloads(ActionProposed)) == 3


async def test_so_many_are_done_at_a_time_and_the_rest_waits_as_confirmed(
    autojump_clock: MockClock,
) -> None:
    world = World()
    uses = [call("buy", number, amount=number) for number in range(1, 4)]
    takes = {SOLO: [calls(*uses), says("Shall I?")]}
    async with room(lone(buying(world)), takes, limits=Limits(commits_most=2)) as there:
        await there.converse("Buy")
        for proposed in there.payloads(ActionProposed):
            await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        await trio.testing.wait_all_tasks_blocked()
        assert len(there.payloads(ActionCommitting)) == 2
        world.lets_go.set()
        await there.viewer.until(lambda _: len(there.payloads(ActionCommitted)) == 3)


# --- failures, and what nobody knows --------------------------------------------------------------


def ending(how: Callable[[], Any], **more: Any) -> Tool:
    @tool(name="buy", timeout_s=5.0, **more)
    async def buy(amount: int) -> Any:
        """Buy."""
        return await how()

    return buy


async def _refuses() -> None:
    raise ToolFailed("sold out")


async def _breaks() -> None:
    raise ConnectionError


@pytest.mark.parametrize("how", [_breaks, trio.sleep_forever])
async def test_a_tool_that_broke_or_hung_leaves_a_doubt_that_a_person_settles(
    autojump_clock: MockClock, how: Callable[[], Any]
) -> None:
    async with room(lone(ending(how)), proposing()) as there:
        await there.converse("Buy")
        proposed = await proposal(there)
        await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        await there.until("action.in_doubt")
        view = told(await there.ask("projection", name="actions"))["actions"]
        assert [action["state"] for action in view] == ["in_doubt"]
        reply = await there.ask("confirm", confirmation_id=proposed.confirmation_id, id="it-did")
        assert told(reply)["state"] == "committed"
        assert told(await there.ask("reject", confirmation_id=proposed.confirmation_id)) == "stale"
        assert of_actions(there)[-2:] == ["action.in_doubt", "action.committed"]


async def test_a_person_may_say_that_it_did_not_happen(autojump_clock: MockClock) -> None:
    async with room(lone(ending(_breaks)), proposing()) as there:
        await there.converse("Buy")
        word = (await proposal(there)).confirmation_id
        await there.ask("confirm", confirmation_id=word)
        await there.until("action.in_doubt")
        assert told(await there.ask("reject", confirmation_id=word))["state"] == "failed"
        assert told(await there.ask("confirm", confirmation_id=word)) == "stale"
        assert told(await there.ask("reject", confirmation_id=word))["state"] == "failed"


async def test_a_tool_that_says_so_did_nothing(autojump_clock: MockClock) -> None:
    async with room(lone(ending(_refuses)), proposing()) as there:
        await there.converse("Buy")
        await there.ask("confirm", confirmation_id=(await proposal(there)).confirmation_id)
        await there.until("action.failed")
        assert there.payloads(ActionFailed)[0].error == "sold out"
        assert there.payloads(ActionInDoubt) == []


@pytest.mark.parametrize(
    ("settlement", "end"),
    [(Happened("it is yours"), "action.committed"), (NeverHappened("lost"), "action.failed")],
)
async def test_a_tool_that_can_tell_is_asked(
    autojump_clock: MockClock, settlement: Settlement, end: str
) -> None:
    asked: list[str] = []

    async def status(key: str) -> Settlement:
        asked.append(key)
        return settlement

    async with room(lone(ending(_breaks, status=status)), proposing()) as there:
        await there.converse("Buy")
        await there.ask("confirm", confirmation_id=(await proposal(there)).confirmation_id)
        await there.until(end)
        assert asked == [there.payloads(ActionCommitting)[0].idempotency_key]


async def test_who_may_not_act_any_more_has_nothing_done(autojump_clock: MockClock) -> None:
    world, asked = World().ready(), list[str]()

    def may_commit(principal: str) -> bool:
        asked.append(principal)
        return False

    async with room(lone(buying(world)), proposing(), may_commit=may_commit) as there:
        await there.converse("Buy")
        await there.ask("confirm", confirmation_id=(await proposal(there)).confirmation_id)
        await there.until("action.rejected", reason="unauthorized")
        assert asked == ["anonymous"]
        assert world.began == []


async def test_a_tool_that_cannot_be_reached_is_asked_again(autojump_clock: MockClock) -> None:
    asked_s: list[float] = []

    async def status(_: str) -> Settlement:
        asked_s.append(round(trio.current_time()))
        if len(asked_s) < 3:
            raise ConnectionError
        return Happened("it is yours")

    async with room(lone(ending(_breaks, status=status)), proposing()) as there:
        await there.converse("Buy")
        await there.ask("confirm", confirmation_id=(await proposal(there)).confirmation_id)
        await there.until("action.committed")
        assert [later - asked_s[0] for later in asked_s] == [0, 1, 6]
        await trio.sleep(CONFIRM_S)
        assert len(asked_s) == 3


# --- interrupts -----------------------------------------------------------------------------------


async def test_an_interrupted_turn_takes_its_proposals_with_it(autojump_clock: MockClock) -> None:
    world = World().ready()
    async with room(lone(buying(world)), proposing(then=hangs("Shall I"))) as there:
        await there.say("Buy")
        proposed = await proposal(there)
        ack = await there.interrupt()
        assert ack["payload"]["still_committing"] == []
        (requested,) = there.payloads(CancelRequested)
        assert requested.in_flight.actions == (proposed.action_id,)
        assert there.payloads(ActionRejected)[0].reason == "interrupted"
        late = await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        assert told(late) == "stale"
        assert world.began == []


async def test_what_is_being_done_goes_on_and_the_ack_says_so(autojump_clock: MockClock) -> None:
    world = World()
    async with room(lone(buying(world)), proposing(then=hangs("Shall I"))) as there:
        await there.say("Buy")
        proposed = await proposal(there)
        await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        await there.until("action.committing")
        reply = await there.ask("interrupt")
        assert told(reply)["still_committing"] == [proposed.action_id]
        (ack,) = there.payloads(CancelAck)
        assert ack.still_committing == (proposed.action_id,)
        rungs = [stage.outcome for stage in there.payloads(CancelStage)]
        assert rungs == ["frozen", "stopped", "committing"]
        world.lets_go.set()
        await there.until("action.committed")
        assert there.types()[-1] == "action.committed"


async def test_a_turn_that_is_over_leaves_its_proposal_to_the_user(
    autojump_clock: MockClock,
) -> None:
    world = World().ready()
    takes = {SOLO: [calls(call("buy", amount=1)), says("Shall I?"), hangs("Well")]}
    async with room(lone(buying(world)), takes) as there:
        await there.converse("Buy")
        proposed = await proposal(there)
        await there.say("Tell me more")
        await there.until("model.token", "turn_2")
        await there.interrupt("turn_2")
        await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        await there.until("action.committed")


async def test_a_doubt_of_the_turn_is_listed_by_the_ack(autojump_clock: MockClock) -> None:
    async with room(lone(ending(_breaks)), proposing(then=hangs("Shall I"))) as there:
        await there.say("Buy")
        proposed = await proposal(there)
        await there.ask("confirm", confirmation_id=proposed.confirmation_id)
        await there.until("action.in_doubt")
        ack = await there.interrupt()
        assert ack["payload"]["still_committing"] == [proposed.action_id]
        await there.ask("reject", confirmation_id=proposed.confirmation_id)
        await there.until("action.failed")


# --- idempotent tools -----------------------------------------------------------------------------


async def test_an_idempotent_tool_needs_no_person_and_its_turn_waits_for_it(
    autojump_clock: MockClock,
) -> None:
    world = World().ready()
    async with room(lone(buying(world, effect="idempotent")), proposing()) as there:
        await there.converse("Buy")
        assert of_actions(there) == [
            "action.proposed",
            "action.confirmed",
            "action.committing",
            "action.committed",
        ]
        assert there.payloads(ActionConfirmed)[0].by == "policy"
        (result,) = there.payloads(ToolResult)
        assert (result.status, result.result) == ("ok", "bought 3")


async def test_an_interrupt_leaves_an_idempotent_action_to_finish(
    autojump_clock: MockClock,
) -> None:
    world = World()
    async with room(lone(buying(world, effect="idempotent")), proposing()) as there:
        await there.say("Buy")
        await there.until("action.committing")
        ack = await there.interrupt()
        assert len(ack["payload"]["still_committing"]) == 1
        assert there.payloads(ToolResult)[0].status == "committing"
        assert there.payloads(CancelStage)[-1].outcome == "committing"
        world.lets_go.set()
        await there.until("action.committed")


# --- policies -------------------------------------------------------------------------------------


async def test_a_policy_confirms_within_its_budget_and_its_condition(
    autojump_clock: MockClock,
) -> None:
    world = World().ready()
    policy = AutoConfirm(10, lambda args: args["amount"] < 8, lambda args: args["amount"])
    uses = [call("buy", number, amount=number) for number in (6, 9, 5, 4)]
    takes = {SOLO: [*(calls(use) for use in uses), says("Done.")]}
    async with room(lone(buying(world, auto_confirm=policy)), takes) as there:
        await there.converse("Buy")
        await trio.testing.wait_all_tasks_blocked()
        assert [amount for _, amount in world.began] == [6, 4]
        assert {confirmed.by for confirmed in there.payloads(ActionConfirmed)} == {"policy"}
        assert [result.status for result in there.payloads(ToolResult)] == ["proposed"] * 4


async def test_a_policy_that_breaks_confirms_nothing(autojump_clock: MockClock) -> None:
    world = World().ready()
    policy = AutoConfirm(10, lambda args: args["missing"])
    async with room(lone(buying(world, auto_confirm=policy)), proposing()) as there:
        await there.converse("Buy")
        assert there.payloads(ActionConfirmed) == []


# --- reverts --------------------------------------------------------------------------------------


async def committed(there: Room) -> str:
    await there.converse("Buy")
    proposed = await proposal(there)
    await there.ask("confirm", confirmation_id=proposed.confirmation_id)
    await there.until("action.committed")
    return proposed.action_id


async def test_what_was_done_is_undone_once(autojump_clock: MockClock) -> None:
    world = World().ready()
    async with room(lone(buying(world, revert=world.undo)), proposing()) as there:
        action_id = await committed(there)
        reply = await there.ask("revert", action_id=action_id)
        assert told(reply) == {"action_id": action_id, "state": "reverting"}
        await there.until("action.reverted")
        assert told(await there.ask("revert", action_id=action_id))["state"] == "reverted"
        assert world.undone == [f"{world.done[0]}:revert"]
        assert there.payloads(ActionReverted)[0].result == "gave back 3"


async def test_who_may_not_act_any_more_has_nothing_undone(autojump_clock: MockClock) -> None:
    world, welcome = World().ready(), [True]
    app = lone(buying(world, revert=world.undo))
    async with room(app, proposing(), may_commit=lambda _: welcome[0]) as there:
        action_id = await committed(there)
        welcome[0] = False
        assert told(await there.ask("revert", action_id=action_id)) == "forbidden"
        assert world.undone == []
        assert of_actions(there)[-1] == "action.committed"


async def test_what_has_no_compensation_is_not_reverted(autojump_clock: MockClock) -> None:
    async with room(lone(buying(World().ready())), proposing()) as there:
        reply = await there.ask("revert", action_id=await committed(there))
        assert (told(reply), reply["error"]["param"]) == ("invalid_command", "action_id")


async def test_only_what_was_done_is_undone(autojump_clock: MockClock) -> None:
    world = World().ready()
    async with room(lone(buying(world, revert=world.undo)), proposing()) as there:
        await there.converse("Buy")
        proposed = await proposal(there)
        assert told(await there.ask("revert", action_id=proposed.action_id)) == "stale"
        refused = await there.ask("reject", confirmation_id=proposed.confirmation_id)
        assert told(refused)["state"] == "rejected"  # that it was to be reverted cost it no time
        assert told(await there.ask("revert", action_id=proposed.action_id)) == "stale"
        assert world.undone == []


# --- restarts -------------------------------------------------------------------------------------


async def test_a_commit_that_a_crash_cut_off_is_in_doubt_and_never_started_again(
    autojump_clock: MockClock,
) -> None:
    world, shelf = World(), Shelf()
    app = lone(buying(world))
    async with room(app, proposing(), store=MemoryStore(shelf)) as there:
        await there.converse("Buy")
        await there.ask("confirm", confirmation_id=(await proposal(there)).confirmation_id)
        await world.busy.wait()
        session_id = there.session.id
    world.lets_go.set()
    async with room(app, proposing(), store=MemoryStore(shelf), session_id=session_id) as there:
        await there.until("action.in_doubt")
        await trio.sleep(CONFIRM_S)
        assert len(world.began) == 1
        assert of_actions(there)[-1] == "action.in_doubt"


async def test_an_idempotent_one_is_repeated_with_its_key(autojump_clock: MockClock) -> None:
    world, shelf = World(), Shelf()
    app = lone(buying(world, effect="idempotent"))
    async with room(app, proposing(), store=MemoryStore(shelf)) as there:
        await there.say("Buy")
        await world.busy.wait()
        session_id = there.session.id
    world.lets_go.set()
    async with room(app, proposing(), store=MemoryStore(shelf), session_id=session_id) as there:
        await there.until("action.committed")
        assert len({key for key, _ in world.began}) == 1
        assert len(world.began) == 2


async def test_a_proposal_has_the_rest_of_its_time_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    world, shelf = World().ready(), Shelf()
    app = lone(buying(world, expires_s=3600.0))
    async with room(app, proposing(), store=MemoryStore(shelf)) as there:
        await there.converse("Buy")
        word, session_id = (await proposal(there)).confirmation_id, there.session.id
    async with room(app, proposing(), store=MemoryStore(shelf), session_id=session_id) as there:
        await there.ask("confirm", confirmation_id=word, id="yes")
        await there.until("action.committed")


async def test_a_proposal_whose_time_ran_out_meanwhile_expires(autojump_clock: MockClock) -> None:
    world, shelf = World().ready(), Shelf()
    app = lone(buying(world, expires_s=0.001))
    async with room(app, proposing(), store=MemoryStore(shelf)) as there:
        await there.say("Buy")
        await there.until("action.proposed")
        session_id = there.session.id
    async with room(app, proposing(), store=MemoryStore(shelf), session_id=session_id) as there:
        await there.until("action.expired")
        assert len(there.payloads(ActionExpired)) == 1


async def test_a_decision_sent_again_after_a_restart_has_its_first_answer(
    autojump_clock: MockClock,
) -> None:
    world, shelf = World().ready(), Shelf()
    app = lone(buying(world))
    async with room(app, proposing(), store=MemoryStore(shelf)) as there:
        await there.converse("Buy")
        word, session_id = (await proposal(there)).confirmation_id, there.session.id
        first = await there.ask("confirm", confirmation_id=word, id="yes")
        await there.until("action.committed")
    async with room(app, proposing(), store=MemoryStore(shelf), session_id=session_id) as there:
        again = await there.ask("confirm", confirmation_id=word, id="yes")
        assert told(again) == told(first)
        assert told(await there.ask("reject", confirmation_id=word, id="yes")) == "duplicate"
        assert len(world.began) == 1


async def test_the_budget_of_a_policy_outlives_the_process(autojump_clock: MockClock) -> None:
    world, shelf = World().ready(), Shelf()
    app = lone(buying(world, auto_confirm=AutoConfirm(1)))
    async with room(app, proposing(), store=MemoryStore(shelf)) as there:
        await there.converse("Buy")
        await there.until("action.committed")
        session_id = there.session.id
    async with room(app, proposing(), store=MemoryStore(shelf), session_id=session_id) as there:
        await there.converse("Again", id="again")
        await trio.testing.wait_all_tasks_blocked()
        assert len(world.began) == 1
        assert len(there.payloads(ActionProposed)) == 2


# --- the end of a session -------------------------------------------------------------------------


async def test_a_session_that_is_closed_refuses_what_waits_and_finishes_what_was_begun(
    autojump_clock: MockClock,
) -> None:
    world = World()
    uses = [call("buy", number, amount=number) for number in (1, 2)]
    takes = {SOLO: [calls(*uses), says("Shall I?")]}
    async with room(lone(buying(world)), takes) as there:
        await there.converse("Buy")
        first, _ = there.payloads(ActionProposed)
        await there.ask("confirm", confirmation_id=first.confirmation_id)
        await there.until("action.committing")
        await there.send("close")
        await there.until("action.rejected")
        assert there.payloads(ActionRejected)[0].reason == "closed"
        world.lets_go.set()
        await there.until("session.closed")
        assert of_actions(there)[-1] == "action.committed"
        there.viewer.closed = None  # as it should be, and as the room does not expect


async def test_a_session_with_a_proposal_stays_in_memory_until_that_is_settled(
    autojump_clock: MockClock,
) -> None:
    async with room(lone(buying(World())), proposing(), limits=Limits(idle_s=1.0)) as there:
        await there.converse("Buy")
        await there.session.detach(there.viewer)
        began_s = trio.current_time()
        await there.session.until_ended()
        assert trio.current_time() - began_s > CONFIRM_S - 2
        assert of_actions(there)[-1] == "action.expired"


async def test_secret_arguments_are_shown_to_nobody_and_reach_the_tool(
    autojump_clock: MockClock,
) -> None:
    seen: list[str] = []

    @tool(name="buy", summary="Pay with {card}", revert=World().undo_all)
    async def buy(card: Annotated[str, SECRET]) -> str:
        """Buy."""
        seen.append(card)
        return "paid"

    takes = {SOLO: [calls(call("buy", card="4111-canary")), says("Shall I?")]}
    async with room(lone(buy), takes) as there:
        await there.converse("Buy")
        await there.ask("confirm", confirmation_id=(await proposal(there)).confirmation_id)
        await there.until("action.committed")
        assert seen == ["4111-canary"]
        (proposed,) = there.payloads(ActionProposed)
        await there.ask("revert", action_id=proposed.action_id)
        await there.until("action.reverted")
        assert not any("canary" in str(event) for event in there.events())


async def test_an_action_whose_secret_died_with_the_process_is_not_done(
    autojump_clock: MockClock,
) -> None:
    seen: list[str] = []

    @tool(name="buy")
    async def buy(card: Annotated[str, SECRET]) -> str:
        """Buy."""
        seen.append(card)
        return "paid"

    shelf, takes = Shelf(), {SOLO: [calls(call("buy", card="4111-canary")), says("Shall I?")]}
    async with room(lone(buy), takes, store=MemoryStore(shelf)) as there:
        await there.converse("Buy")
        session_id = there.session.id
    again = MemoryStore(shelf)
    async with room(lone(buy), takes, store=again, session_id=session_id) as there:
        await there.until("action.expired")
        assert seen == []
