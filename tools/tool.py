"""Tools: functions that an agent may call, and what is declared of them.

    @tool(effect="read")
    async def holdings(account: int) -> list[Holding]:
        '''List what is in an account.'''

The arguments' schema comes from the annotations, and arguments are checked
against it before the function sees them.  A tool that declares no effect is a
`side_effect`: it has to be confirmed before it runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast, get_type_hints, overload

import msgspec
from attrs import field, frozen

from bargein.protocol.events import Effect, Payload
from bargein.protocol.ids import CallId, SessionId, TurnId

TIMEOUT_S: Final = 30.0
MOST_RESULT_BYTES: Final = 256 * 1024
AT_ONCE: Final = 4


class ToolFailed(Exception):
    """The tool could not do what it was asked, and says why to the agent.

    Raise it from a tool with words for the model; any other exception is
    logged, and the model learns only that the tool failed.
    """


class ToolInvalid(TypeError):
    """A function can't be a tool as it is declared; mend it before you start.

    Attributes:
        tool: Its name.
        reason: What is wrong with it.
    """

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(f"tool {tool!r}: {reason}")
        self.tool = tool
        self.reason = reason


class ArgumentsRefused(ValueError):
    """The arguments don't fit the tool's schema; the agent is told, and may try again.

    Attributes:
        tool: Name of the tool.
        reason: What does not fit, and where.
    """

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(f"the arguments of {tool!r} don't fit: {reason}")
        self.tool = tool
        self.reason = reason


class Notes(Protocol):
    """Where a running tool tells how far it is; never waits."""

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
    """

    session_id: SessionId
    turn_id: TurnId
    call_id: CallId
    principal: str
    notes: Notes
    key: str | None = None


@frozen(eq=False)
class Tool:
    """A function and what is declared of it.

    Attributes:
        description: When to use it and what it answers, for the model.
        effect: `read` changes nothing; `idempotent` may be repeated with its key;
            `side_effect` has to be confirmed.
        schema: JSON Schema of the arguments, an object.
        timeout_s: How long one call may take.
        most_result_bytes: Longer results are cut, and say so.
        at_once: How many calls may run at the same time in this process.
        in_thread: The function is plain, and runs in a worker thread.
    """

    name: str
    description: str
    effect: Effect
    schema: Mapping[str, Any]
    timeout_s: float
    most_result_bytes: int
    at_once: int
    in_thread: bool
    _function: Callable[..., Any]
    _arguments: type[msgspec.Struct]
    _context_parameter: str | None = field(default=None)

    def bind(self, args: Mapping[str, Any], context: ToolContext) -> Callable[[], Any]:
        """Return the call, its arguments checked; calling it starts the tool.

        Raises:
            ArgumentsRefused: If *args* don't fit the schema.
        """
        try:
            checked = msgspec.convert(dict(args), self._arguments)
        except msgspec.ValidationError as error:
            raise ArgumentsRefused(self.name, str(error)) from None
        given = {name: getattr(checked, name) for name in checked.__struct_fields__}
        if self._context_parameter is not None:
            given[self._context_parameter] = context
        return lambda: self._function(**given)


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    effect: Effect = "side_effect",
    name: str | None = None,
    timeout_s: float = TIMEOUT_S,
    most_result_bytes: int = MOST_RESULT_BYTES,
    at_once: int = AT_ONCE,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    effect: Effect = "side_effect",
    name: str | None = None,
    timeout_s: float = TIMEOUT_S,
    most_result_bytes: int = MOST_RESULT_BYTES,
    at_once: int = AT_ONCE,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function; `@tool` alone declares a `side_effect`.

    An async function runs on the event loop, a plain one in a thread.

    Raises:
        ToolInvalid: If a parameter has no annotation, or none that JSON can hold.
    """

    def declare(declared: Callable[..., Any]) -> Tool:
        tool_name = name or declared.__name__
        arguments, context_parameter = _arguments_of(tool_name, declared)
        return Tool(
            tool_name,
            inspect.getdoc(declared) or "",
            effect,
            _schema_of(arguments),
            timeout_s,
            most_result_bytes,
            at_once,
            not inspect.iscoroutinefunction(declared),
            declared,
            arguments,
            context_parameter,
        )

    return declare if function is None else declare(function)


def _arguments_of(
    name: str, function: Callable[..., Any]
) -> tuple[type[msgspec.Struct], str | None]:
    hints = get_type_hints(function, include_extras=True)
    context_parameter: str | None = None
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ToolInvalid(name, f"`*{parameter.name}` has no schema")
        kind = hints.get(parameter.name)
        if kind is None:
            raise ToolInvalid(name, f"parameter {parameter.name!r} has no annotation")
        if kind is ToolContext:
            context_parameter = parameter.name
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            fields.append((parameter.name, kind, parameter.default))
    try:
        struct = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
        msgspec.json.schema(struct)
    except TypeError as error:
        raise ToolInvalid(name, str(error)) from None
    return struct, context_parameter


def _schema_of(arguments: type[msgspec.Struct]) -> Mapping[str, Any]:
    # The model's vendors want the object itself at the top, not a reference to it.
    schema = msgspec.json.schema(arguments)
    definitions = cast("dict[str, Any]", schema.pop("$defs", {}))
    top = cast("dict[str, Any]", definitions.pop(arguments.__name__, {}))
    top.pop("title", None)
    return {**top, "$defs": definitions} if definitions else top
