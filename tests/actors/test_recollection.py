"""What is remembered is read once for a turn, in time or not at all."""

from __future__ import annotations

from typing import Any, cast

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs

from bargein.actors.recollection import READ_LIMIT_S, UNREAD
from bargein.agents.app import App
from bargein.memory.errors import FactsUnavailable
from bargein.memory.facts import Fact, Facts, Owner
from bargein.memory.recall import FIRST
from bargein.memory.volatile import VolatileFacts
from bargein.protocol.events import Status
from bargein.tools.memory import memory_tools
from bargein.tools.tool import ToolContext, tool
from tests.actors.team import PLANNER, call, calls, lone, outcomes_in, plan, room, says, team
from tests.memory.facts import save, ticking

SOLO = "I am solo"
ME = Owner("anonymous")
LINE = '{"diet": "vegetarian"}'


@define(eq=False)
class Counted:
    """A memory that counts how often it is read, and may take its time or fail."""

    kept: VolatileFacts = field(factory=lambda: VolatileFacts(ticking()))
    reads: int = 0
    takes_s: float = 0.0
    error: Exception | None = None

    async def of(self, owner: Owner) -> tuple[Fact, ...]:
        self.reads += 1
        await trio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return await self.kept.of(owner)


def port(counted: Counted) -> Facts:
    return cast("Any", counted)


async def remembering(owner: Owner = ME) -> Counted:
    facts = Counted()
    await facts.kept.change(owner, save("diet", "vegetarian"))
    return facts


async def test_every_agent_of_a_plan_is_told_and_the_memory_is_read_once(autojump_clock: Any):
    facts = await remembering()
    takes = {PLANNER: plan("a", "b"), "I am a.": says("A"), "I am b.": says("B")}
    async with room(team("a", "b", memory=True), takes, facts=port(facts)) as there:
        turn_id = await there.say()
        await there.until("turn.trace", turn_id)
        for name in ("I am a.", "I am b."):
            (request,) = there.model.asked(name)
            assert request.system.startswith(name)
            assert request.system.count(FIRST) == request.system.count(LINE) == 1
    assert facts.reads == 1


async def test_nothing_is_read_for_an_app_that_does_not_ask(autojump_clock: Any):
    facts = await remembering()
    async with room(lone(), {SOLO: says("Hi")}, facts=port(facts)) as there:
        await there.until("turn.trace", await there.say())
        (request,) = there.model.asked(SOLO)
        assert request.system == "I am solo."
    assert facts.reads == 0


async def test_a_server_without_a_memory_serves_an_app_that_has_one(autojump_clock: Any):
    async with room(lone(*memory_tools()), {SOLO: says("Hi")}) as there:
        await there.until("turn.trace", await there.say())
        (request,) = there.model.asked(SOLO)
        assert request.system == "I am solo."


async def test_the_memory_of_somebody_else_is_not_told(autojump_clock: Any):
    facts = await remembering(Owner("bob"))
    async with room(lone(*memory_tools()), {SOLO: says("Hi")}, facts=port(facts)) as there:
        await there.until("turn.trace", await there.say())
        (request,) = there.model.asked(SOLO)
        assert request.system == "I am solo."
    assert facts.reads == 1


@pytest.mark.parametrize("how", ["slow", "failing"])
async def test_a_memory_that_can_t_be_read_does_not_fail_the_turn(how: str, autojump_clock: Any):
    facts = await remembering()
    if how == "slow":
        facts.takes_s = 1000.0
    else:
        facts.error = FactsUnavailable("locked")
    with capture_logs() as logs:
        async with room(lone(*memory_tools()), {SOLO: says("Hi")}, facts=port(facts)) as there:
            began_s = trio.current_time()
            turn_id = await there.say()
            await there.until("response.end", turn_id, status="completed")
            assert trio.current_time() - began_s <= READ_LIMIT_S + 0.1
            assert there.payloads(Status, turn_id) == [Status(UNREAD)]
            (request,) = there.model.asked(SOLO)
            assert request.system == "I am solo."
    assert [line["event"] for line in logs].count("memory.not_read") == 1


async def test_an_interrupt_does_not_wait_for_the_memory(autojump_clock: Any):
    facts = await remembering()
    facts.takes_s = READ_LIMIT_S / 2
    async with room(lone(*memory_tools()), {SOLO: says("Hi")}, facts=port(facts)) as there:
        turn_id = await there.say()
        await there.ask("interrupt")
        await there.until("cancel.ack", turn_id)
        assert there.model.requests == []


async def test_a_tool_that_reads_has_the_memory_of_its_principal(autojump_clock: Any):
    @tool(effect="read")
    async def known(context: ToolContext) -> list[str]:
        """List what is known."""
        assert context.facts is not None
        return [fact.text for fact in await context.facts.facts()]

    facts = await remembering()
    takes = {SOLO: [calls(call("known")), says("Done.")]}
    async with room(lone(known), takes, facts=port(facts)) as there:
        await there.until("turn.trace", await there.say())
        (outcome,) = outcomes_in(there.model.asked(SOLO)[1].messages[-1])
        assert outcome.content == '["vegetarian"]'


def test_an_app_recalls_where_it_says_so_or_has_the_tools():
    silent = lone()
    assert not silent.recalls
    assert lone(*memory_tools()).recalls
    assert App("told", silent.agents, memory=True).recalls
    assert not App("silent", lone(*memory_tools()).agents, memory=False).recalls
