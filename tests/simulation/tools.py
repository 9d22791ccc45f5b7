"""The tools of the simulated agents: quick, slow, failing, or deaf to a cancel."""

from __future__ import annotations

import trio
from attrs import define, field

from bargein.agents.app import Agent, App
from bargein.protocol.ids import NOTHING
from bargein.tools.tool import ToolContext, ToolFailed, tool
from tests.simulation.world import GRID_S, World

NAMES = ("look", "stumble", "ignore", "buy", "nothing_of_the_kind")
"""What the model calls; the last of them does not exist."""

MOST_EVENTS = 100_000


@define(eq=False)
class Toolbox:
    """The tools of one life.

    Attributes:
        early: Calls that began before their `tool.call` was stored.
        bought: Calls of a side effect that ran without a confirmation.
    """

    _world: World
    early: list[str] = field(factory=list[str], init=False)
    bought: list[str] = field(factory=list[str], init=False)

    def app(self) -> App:
        """Return the app whose agents have these tools."""

        @tool(effect="read")
        async def look(ticks: int, context: ToolContext) -> str:
            """Look something up."""
            self._begin(context)
            context.notes.progress("looking")
            await trio.sleep(ticks * GRID_S)
            return "seen"

        @tool(effect="read", timeout_s=0.05)
        async def stumble(ticks: int, context: ToolContext) -> str:
            """Fail, or take too long."""
            self._begin(context)
            await trio.sleep(ticks * GRID_S)
            raise ToolFailed("there is nothing to see")

        @tool(effect="read")
        async def ignore(ticks: int, context: ToolContext) -> str:
            """Go on, whoever says stop."""
            self._begin(context)
            with trio.CancelScope(shield=True):  # bounded: at most 600 ms
                await trio.sleep(10 * ticks * GRID_S)
            return "done"

        @tool
        async def buy(ticks: int, context: ToolContext) -> str:
            """Buy something: only with a confirmation."""
            self.bought.append(context.call_id)
            return f"bought {ticks}"

        tools = (look, stumble, ignore, buy)
        first = Agent("first", "Be brief.", tools=tools, tool_limit=3)
        return App("simulated", (first, Agent("second", "Be long.", tools=(look,))))

    def _begin(self, context: ToolContext) -> None:
        world = self._world
        world.note("tool", context.call_id)
        if world.dead:
            return
        stored = world.shelf.events(context.session_id, NOTHING, MOST_EVENTS)
        mark = b'"type":"tool.call"', context.call_id.encode()
        if not any(all(part in event.frame for part in mark) for event in stored):
            self.early.append(context.call_id)
