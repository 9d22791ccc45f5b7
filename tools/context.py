"""What a running tool is given of the call: for whom, under which key, and where to tell things."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar, get_type_hints

from attrs import frozen

from bargein.memory.facts import FactBook
from bargein.protocol.events import Payload
from bargein.protocol.ids import CallId, SessionId, TurnId

R = TypeVar("R")


class Notes(Protocol):
    """Where a running tool tells how far it is; never waits for the session.

    A plain function calls these from its thread: whoever implements them crosses over.
    """

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Show the user how far the tool is; *fraction* from 0 to 1."""
        ...

    def note(self, payload: Payload) -> None:
        """Put an event of the tool's own on the timeline, such as an `object`."""
        ...


@frozen
class ToolContext:
    """What a tool may know of the call: declare a parameter of this type to get it.

    Attributes:
        principal: For whom the agent works.
        key: The idempotency key; None for a `read`.
        facts: What is remembered of this principal, and of nobody else; None where the
            server remembers nothing.
    """

    session_id: SessionId
    turn_id: TurnId
    call_id: CallId
    principal: str
    notes: Notes
    key: str | None = None
    facts: FactBook | None = None


def with_context(function: Callable[..., R], context: ToolContext) -> Callable[..., R]:
    """Return *function* with *context* given to its parameter of that type, if it has one."""
    name = _context_parameter(function)
    return function if name is None else partial(function, **{name: context})


def _context_parameter(function: Callable[..., Any]) -> str | None:
    declared: Any = function if inspect.isroutine(function) else type(function).__call__
    if isinstance(function, partial):
        declared = function.func
    try:
        hints = get_type_hints(declared)
    except (NameError, TypeError):
        return None  # its annotations can't be read, so it asks for nothing
    return next(
        (name for name, kind in hints.items() if kind is ToolContext and name != "return"), None
    )
