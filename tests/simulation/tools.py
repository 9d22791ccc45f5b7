"""The tools of the simulated agents: those that look, and those that do something outside."""

from __future__ import annotations

from contextvars import ContextVar
from functools import cache
from typing import Annotated, Any, Final

import trio
from attrs import define, field

from bargein.agents.app import Agent, App
from bargein.protocol.ids import NOTHING, SessionId
from bargein.tools.commitment import AutoConfirm, Commitment, Settlement
from bargein.tools.tool import SECRET, Tool, ToolContext, ToolFailed, tool
from tests.simulation.outside import Outside
from tests.simulation.world import GRID_S, World

NAMES = (
    "look",
    "stumble",
    "ignore",
    "buy",
    "book",
    "rent",
    "send",
    "post",
    "pay",
    "nothing_of_the_kind",
)
"""What the model calls; the last of them does not exist."""

HOW_OFTEN: Final = (3, 2, 2, 3, 6, 4, 3, 4, 2, 1)

ACTS: Final = frozenset(("buy", "book", "rent", "send", "post", "pay"))
NEED_NOBODY: Final = frozenset(("rent", "send", "post"))
"""A policy may confirm these; all others wait for a person."""

REVERTIBLE: Final = frozenset(("book", "post"))

BUDGET: Final = 2.0
CHEAP_TICKS: Final = 3

SHORT_S: Final = 0.25
"""How long a `book` waits for a decision; all else waits as long as the script says."""

CARD: Final = "4711-secret"
MOST_EVENTS = 100_000


@define(eq=False)
class Toolbox:
    """The tools of one life.

    Attributes:
        early: Calls that began before their `tool.call` was stored.
    """

    _world: World
    _outside: Outside
    early: list[str] = field(factory=list[str], init=False)

    def app(self) -> App:
        """Return the app, whose tools in this task and its children are of this life."""
        BOX.set(self)
        return _app()

    async def do(self, context: ToolContext, ticks: int, args: dict[str, Any]) -> str:
        """Do something outside."""
        return await self._outside.do(self._world, context, ticks, args)

    async def undo(self, done: Commitment) -> str:
        """Undo it again."""
        session_id = SessionId(done.key.split(":")[1])
        return await self._outside.undo(self._world, session_id, done)

    async def asked(self, key: str) -> Settlement:
        """Say what became of it."""
        return await self._outside.settlement(self._world, key)

    def begin(self, context: ToolContext) -> None:
        """Look whether a call that begins is stored."""
        world = self._world
        world.note("tool", context.call_id)
        if world.dead:
            return
        stored = world.shelf.events(context.session_id, NOTHING, MOST_EVENTS)
        mark = b'"type":"tool.call"', context.call_id.encode()
        if not any(all(part in event.frame for part in mark) for event in stored):
            self.early.append(context.call_id)


BOX: Final[ContextVar[Toolbox]] = ContextVar("toolbox")
"""Of the life that runs: to declare a tool takes longer than to call it, so that is done once."""


@cache
def _app() -> App:
    tools = (*_readers(), *_payers(), *_changers())
    first = Agent("first", "Be brief.", tools=tools, tool_limit=3)
    second = Agent("second", "Be long.", tools=tuple(t for t in tools if t.name == "look"))
    return App("simulated", (first, second))


async def _undo(done: Commitment) -> str:
    return await BOX.get().undo(done)


async def _asked(key: str) -> Settlement:
    return await BOX.get().asked(key)


def _readers() -> tuple[Tool, ...]:
    @tool(effect="read")
    async def look(ticks: int, context: ToolContext) -> str:
        """Look something up."""
        BOX.get().begin(context)
        context.notes.progress("looking")
        await trio.sleep(ticks * GRID_S)
        return "seen"

    @tool(effect="read", timeout_s=0.05)
    async def stumble(ticks: int, context: ToolContext) -> str:
        """Fail, or take too long."""
        BOX.get().begin(context)
        await trio.sleep(ticks * GRID_S)
        raise ToolFailed("there is nothing to see")

    @tool(effect="read")
    async def ignore(ticks: int, context: ToolContext) -> str:
        """Go on, whoever says stop."""
        BOX.get().begin(context)
        with trio.CancelScope(shield=True):  # bounded: at most 600 ms
            await trio.sleep(10 * ticks * GRID_S)
        return "done"

    return look, stumble, ignore


def _payers() -> tuple[Tool, ...]:
    @tool(timeout_s=0.3)
    async def buy(ticks: int, context: ToolContext) -> str:
        """Buy something: who lost the answer never learns of it."""
        return await BOX.get().do(context, ticks, {"ticks": ticks})

    @tool(timeout_s=0.3, summary="Pay, with a card")
    async def pay(ticks: int, card: Annotated[str, SECRET], context: ToolContext) -> str:
        """Pay, with a card that nobody may see."""
        return await BOX.get().do(context, ticks, {"ticks": ticks, "card": card})

    @tool(
        timeout_s=0.3,
        status=_asked,
        auto_confirm=AutoConfirm(BUDGET, when=lambda args: args["ticks"] < CHEAP_TICKS),
    )
    async def rent(ticks: int, context: ToolContext) -> str:
        """Rent something: what is cheap needs nobody, as long as the budget lasts."""
        return await BOX.get().do(context, ticks, {"ticks": ticks})

    return buy, pay, rent


def _changers() -> tuple[Tool, ...]:
    @tool(
        timeout_s=0.3,
        summary="Book for {ticks}",
        status=_asked,
        revert=_undo,
        expires_s=SHORT_S,
    )
    async def book(ticks: int, context: ToolContext) -> str:
        """Book a table, which can be given back."""
        return await BOX.get().do(context, ticks, {"ticks": ticks})

    @tool(effect="idempotent", timeout_s=0.2)
    async def send(ticks: int, context: ToolContext) -> str:
        """Send something that may be sent again."""
        return await BOX.get().do(context, ticks, {"ticks": ticks})

    @tool(effect="idempotent", timeout_s=0.2, status=_asked, revert=_undo)
    async def post(ticks: int, context: ToolContext) -> str:
        """Post something that may be posted again, and taken back."""
        return await BOX.get().do(context, ticks, {"ticks": ticks})

    return book, send, post


def arguments_for(name: str, ticks: int) -> dict[str, Any]:
    """Return arguments that the tool *name* takes."""
    return {"ticks": ticks, "card": CARD} if name == "pay" else {"ticks": ticks}
