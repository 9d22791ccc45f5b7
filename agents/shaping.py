"""What an app does to events on their way out: transform, enrich, process.

Three phases, each with its own error boundary.  A transform is pure, so an
error in one is a bug: the event goes on as it was.  An enrichment does I/O, so
it may fail or be late: the event goes on unenriched.  A rule is business
logic, so where one fails nothing is shown that it might have hidden.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from attrs import define, evolve, field, frozen
from attrs.validators import gt

from bargein.protocol.events import KnownPayload, Payload, ToolCall, ToolResult

ENRICH_LIMIT_S: Final = 0.5
HIDDEN: Final = "hidden"


@frozen
class Viewer:
    """For whom the session is: what rules decide by."""

    principal: str
    tenant: str | None = None


Transform: TypeAlias = Callable[[Payload], Payload]
"""Pure: no I/O, no clock, no chance."""

Rule: TypeAlias = Callable[[Payload, Viewer], Payload]
"""Decides what this viewer sees of an event."""


class Enrichment(Protocol):
    """Adds what only I/O can tell, such as a tool's title from a table."""

    async def enrich(self, payload: Payload) -> Payload:
        """Return the payload with more in it; the same where there is nothing to add."""
        ...


@frozen
class Shaping:
    """The three phases of an app, each in its order.

    Attributes:
        enrich_limit_s: How long all enrichments of one event may take together.
    """

    transforms: tuple[Transform, ...] = ()
    enrichments: tuple[Enrichment, ...] = ()
    rules: tuple[Rule, ...] = ()
    enrich_limit_s: float = field(default=ENRICH_LIMIT_S, validator=gt(0))

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.transforms or self.enrichments or self.rules)


@define(eq=False)
class ToolTitles:
    """An enrichment: gives tool calls the `title` that a table has for the tool.

    Looked up once for each tool; the latest *most* are remembered.
    """

    _look_up: Callable[[str], Awaitable[str | None]]
    _most: int = 256
    _known: OrderedDict[str, str | None] = field(factory=OrderedDict[str, str | None], init=False)

    async def enrich(self, payload: Payload) -> Payload:
        """Return a tool call with the title of its tool."""
        if not isinstance(payload, ToolCall):
            return payload
        if payload.tool not in self._known:
            self._known[payload.tool] = await self._look_up(payload.tool)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        title = self._known[payload.tool]
        return payload if title is None else evolve(payload, title=title)


@frozen
class HideArguments:
    """A rule: the arguments of some tools are not for some viewers."""

    tools: frozenset[str]
    sees: Callable[[Viewer], bool]

    def __call__(self, payload: Payload, viewer: Viewer) -> Payload:
        """Return a tool call without its arguments, unless the viewer may see them."""
        if isinstance(payload, ToolCall) and payload.tool in self.tools and not self.sees(viewer):
            return evolve(payload, args=dict.fromkeys(payload.args, HIDDEN))
        return payload


def withheld(payload: KnownPayload) -> Payload | None:
    """Return what may be shown of an event whose rule has failed: that it happened, at most."""
    match payload:
        case ToolCall():
            return evolve(payload, args=dict.fromkeys(payload.args, HIDDEN))
        case ToolResult():
            return evolve(payload, result=HIDDEN)
        case _:
            return None
