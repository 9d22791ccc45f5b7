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
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast, get_args, overload

from attrs import field, frozen

from bargein.protocol.events import Effect
from bargein.tools.arguments import HIDDEN, SECRET, arguments_of, without_secrets
from bargein.tools.commitment import AutoConfirm, Revert, Status, Summary
from bargein.tools.context import Notes, ToolContext
from bargein.tools.docstring import docstring_of
from bargein.tools.errors import ArgumentsRefused, ToolFailed, ToolInvalid
from bargein.tools.summary import check_summary, summary_of

__all__ = [
    "AT_ONCE",
    "HIDDEN",
    "MOST_RESULT_BYTES",
    "SECRET",
    "TIMEOUT_S",
    "ArgumentsRefused",
    "Binding",
    "Notes",
    "Tool",
    "ToolContext",
    "ToolFailed",
    "ToolInvalid",
    "tool",
]

TIMEOUT_S: Final = 30.0
MOST_RESULT_BYTES: Final = 256 * 1024
AT_ONCE: Final = 4
MOST_EXPIRES_S: Final = 366 * 86_400.0

NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every model's vendor takes as the name of a tool."""


class Binding(Protocol):
    """What a tool does with arguments: the port behind which it may be anything."""

    def __call__(self, args: Mapping[str, Any], context: ToolContext, /) -> Callable[[], Any]:
        """Return the call, its arguments checked; calling it starts the tool.

        Raises:
            ArgumentsRefused: If *args* don't fit the schema.
        """
        ...


@frozen(eq=False)
class Tool:
    """Something that an agent may call, and what is declared of it.

    `@tool` makes one of a function.  Made directly it may be anything else: its *binding*
    returns an async call, or a plain one where it is `in_thread`.

    Attributes:
        description: When to use it and what it answers, for the model.
        schema: JSON Schema of the arguments, an object.
        effect: `read` changes nothing; `idempotent` may be repeated with its key;
            `side_effect` has to be confirmed.
        timeout_s: How long one call may take.
        most_result_bytes: Longer results are cut, and say so.
        at_once: How many calls may run at the same time in this process.
        in_thread: The call is plain, and runs in a worker thread.
        secrets: Arguments whose values are for the tool alone.
        summary: What a person is asked to confirm; by default the call as it is.
        status: Says what became of a key, so that no doubt needs a person.
        revert: Undoes what was done; None where nothing can.
        auto_confirm: Confirms in the user's place; None: a person always decides.
        expires_s: How long a proposal may wait for a decision; None: as the server says.

    Raises:
        ToolInvalid: If no model could call it so.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    _binding: Binding
    effect: Effect = field(default="side_effect", kw_only=True)
    timeout_s: float = field(default=TIMEOUT_S, kw_only=True)
    most_result_bytes: int = field(default=MOST_RESULT_BYTES, kw_only=True)
    at_once: int = field(default=AT_ONCE, kw_only=True)
    in_thread: bool = field(default=False, kw_only=True)
    secrets: frozenset[str] = field(default=frozenset(), kw_only=True)
    summary: Summary | None = field(default=None, kw_only=True)
    status: Status | None = field(default=None, kw_only=True)
    revert: Revert | None = field(default=None, kw_only=True)
    auto_confirm: AutoConfirm | None = field(default=None, kw_only=True)
    expires_s: float | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ToolInvalid(self.name, f"a model takes only names like {NAME.pattern}")
        if self.effect not in get_args(Effect):
            raise ToolInvalid(self.name, f"there is no effect {self.effect!r}")
        if self.schema.get("type") != "object":
            raise ToolInvalid(self.name, "its schema is not of an object")
        for limit in ("timeout_s", "most_result_bytes", "at_once"):
            if not getattr(self, limit) > 0:
                raise ToolInvalid(self.name, f"{limit} is not more than 0")
        if self.expires_s is not None and not 0 < self.expires_s <= MOST_EXPIRES_S:
            raise ToolInvalid(self.name, f"expires_s is not from 0 to {MOST_EXPIRES_S:g}, a year")
        check_summary(self.name, self.summary, self.schema.get("properties", {}))
        if self.effect == "read" and (self.status or self.revert or self.auto_confirm):
            raise ToolInvalid(self.name, "a read has nothing to confirm, to settle or to revert")

    def bind(self, args: Mapping[str, Any], context: ToolContext) -> Callable[[], Any]:
        """Return the call, its arguments checked; calling it starts the tool.

        Raises:
            ArgumentsRefused: If *args* don't fit the schema.
        """
        try:
            return self._binding(args, context)
        except ArgumentsRefused as refused:
            reason = refused.reason
        except Exception as error:  # noqa: BLE001 - an app's classes are built here
            reason = f"{type(error).__name__}: {error}"
        raise ArgumentsRefused(self.name, without_secrets(reason, self.secrets, args))

    def shown(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return *args* as others than the tool may see them, secret ones replaced.

        Where there are secrets, what the schema does not know is hidden too: it may be
        one under a wrong name.
        """
        if not self.secrets:
            return dict(args)
        open_to_all = self.schema.get("properties", {}).keys() - self.secrets
        return {name: value if name in open_to_all else HIDDEN for name, value in args.items()}

    def summarised(self, args: Mapping[str, Any]) -> str:
        """Return what a person is asked to confirm, of *args* as others may see them."""
        return summary_of(self.name, self.summary, self.shown(args))


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
    summary: Summary | None = None,
    status: Status | None = None,
    revert: Revert | None = None,
    auto_confirm: AutoConfirm | None = None,
    expires_s: float | None = None,
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
    summary: Summary | None = None,
    status: Status | None = None,
    revert: Revert | None = None,
    auto_confirm: AutoConfirm | None = None,
    expires_s: float | None = None,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function; `@tool` alone declares a `side_effect`.

    An async function runs on the event loop, a plain one in a thread.  Its docstring
    describes it to the model, `Args:` each parameter.

    Raises:
        ToolInvalid: If a parameter has no annotation, or none that JSON can hold.
    """

    def declare(declared: Callable[..., Any]) -> Tool:
        tool_name = name or str(getattr(declared, "__name__", ""))
        if inspect.isgeneratorfunction(declared) or inspect.isasyncgenfunction(declared):
            raise ToolInvalid(tool_name, "a generator has no one result")
        documented = docstring_of(declared)
        arguments = arguments_of(tool_name, declared, documented.parameters, ToolContext)

        def bind(args: Mapping[str, Any], context: ToolContext) -> Callable[[], Any]:
            given = arguments.checked(tool_name, args)
            if arguments.context is not None:
                given[arguments.context] = context
            return lambda: declared(**given)

        return Tool(
            tool_name,
            documented.text,
            arguments.schema,
            bind,
            effect=effect,
            timeout_s=timeout_s,
            most_result_bytes=most_result_bytes,
            at_once=at_once,
            in_thread=not is_async(declared),
            secrets=arguments.secrets,
            summary=summary,
            status=status,
            revert=revert,
            auto_confirm=auto_confirm,
            expires_s=expires_s,
        )

    return declare if function is None else declare(function)


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling *function* returns something to wait for; if not, it needs a thread."""
    called = cast("object", getattr(function, "__call__", None))  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)
