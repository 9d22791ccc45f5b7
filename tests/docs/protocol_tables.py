"""Writes the tables of docs/protocol.md from the protocol's own classes: `make docs`.

The prose of the page is written by hand; what stands between two markers is generated.
"""

from __future__ import annotations

import ast
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import attrs
from msgspec import UnsetType

from bargein.protocol import events
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import ASKS, COMMANDS, FOR_WATCHERS
from bargein.protocol.contract import HTTP
from bargein.protocol.frames import FRAMES
from bargein.protocol.projections import PROJECTIONS
from tests.project.tree import ROOT

PAGE = ROOT / "docs" / "protocol.md"

NOT_SERVED = frozenset[str]()
"""Commands that are known and answered with `unknown_command`; a test asks a server."""

_REGION = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_GROUPS = {
    "session": "Session",
    "input": "Input",
    "thinking": "Thinking",
    "output": "Output",
    "cancellation": "Cancellation",
    "action": "Commit points",
    "fault": "Errors and traces",
}
_PLAIN: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Any: "any",
    type(None): "null",
}


# --- what the classes say -------------------------------------------------------------


def sentence(kind: type[Any]) -> str:
    """Return the first sentence of a class's documentation, on one line."""
    text = " ".join((kind.__doc__ or "").partition("\n\n")[0].split())
    return text.replace("|", "\\|")


def fields(kind: type[Any]) -> Iterator[str]:
    """Return each field as `name`: type, with a ? where it may be missing."""
    hints = typing.get_type_hints(kind, include_extras=True)
    for attribute in attrs.fields(kind):
        name = attribute.name.rstrip("_")
        optional = "" if attribute.default is attrs.NOTHING else "?"
        default = attribute.default
        shown = f" = `{default}`" if isinstance(default, str) and default else ""
        yield f"`{name}`{optional}: {type_text(hints[attribute.name])}{shown}"


def type_text(hint: Any) -> str:
    """Return a type as a client author reads it."""
    if get_origin(hint) is Annotated:
        return type_text(get_args(hint)[0])
    if isinstance(hint, typing.NewType):
        return type_text(hint.__supertype__)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if get_origin(hint) is Literal:
        return " · ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        # That a field may be missing is said by its ?; null where it is not sent so.
        members = [member for member in get_args(hint) if member is not UnsetType]
        return " or ".join(dict.fromkeys(map(type_text, members)))
    if get_origin(hint) is tuple:
        return f"list of {type_text(get_args(hint)[0])}"
    if get_origin(hint) is dict:
        return "object"
    if hint is ErrorCode:
        return "an error code"
    if attrs.has(hint):
        return f"{{{', '.join(fields(hint))}}}"
    raise TypeError(f"no words for {hint!r}")


def sent_today() -> frozenset[str]:
    """Return the types of events that the server writes: those that its code constructs."""
    classes = {kind.__name__: kind.type for kind in events.PAYLOADS.values()}
    sources = [*sorted((ROOT / "actors").glob("*.py")), ROOT / "protocol" / "recovery.py"]
    called: set[str] = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in classes:
                    called.add(classes[name])
                case _:
                    pass
    return frozenset(called)


# --- tables ---------------------------------------------------------------------------


def event_tables() -> Iterator[str]:
    """Return the events, a table for each group; those not sent yet are set in italics."""
    today = sent_today()
    kinds = events.PAYLOADS.values()
    for module, members in groupby(kinds, key=lambda kind: kind.__module__.rpartition(".")[2]):
        yield f"### {_GROUPS[module]}\n\n| type | payload | meaning |\n|---|---|---|\n"
        for kind in members:
            name = f"`{kind.type}`" if kind.type in today else f"*`{kind.type}`*"
            yield f"| {name} | {'<br>'.join(fields(kind)) or 'none'} | {sentence(kind)} |\n"
        yield "\n"


def command_table() -> Iterator[str]:
    """Return the commands; those not served yet are set in italics."""
    yield "| type | fields | meaning | watchers | without `id` |\n|---|---|---|---|---|\n"
    for name, kind in COMMANDS.items():
        shown = f"*`{name}`*" if name in NOT_SERVED else f"`{name}`"
        own = [field for field in fields(kind) if not field.startswith("`id`")]
        watch = "yes" if issubclass(kind, FOR_WATCHERS) else "no"
        answered = "`reply`" if issubclass(kind, ASKS) else "silent"
        row = [shown, "<br>".join(own) or "none", sentence(kind), watch, answered]
        yield f"| {' | '.join(row)} |\n"


def frame_table() -> Iterator[str]:
    """Return the connection frames."""
    yield "| type | fields | meaning |\n|---|---|---|\n"
    for name, kind in FRAMES.items():
        yield f"| `{name}` | {'<br>'.join(fields(kind))} | {sentence(kind)} |\n"


def error_table() -> Iterator[str]:
    """Return the error codes."""
    yield "| code | retryable | message, where nothing more precise is said |\n|---|---|---|\n"
    for code in ErrorCode:
        yield f"| `{code.value}` | {'yes' if code.retryable else 'no'} | {code.sentence} |\n"


def close_table() -> Iterator[str]:
    """Return the close codes."""
    yield "| code | name | come back? | meaning |\n|---|---|---|---|\n"
    for code in CloseCode:
        back = "yes, with `after`" if code.reconnect else "no" if code >= 4100 else "as you like"
        yield f"| {code.value} | {code.name.lower()} | {back} | {code.sentence} |\n"


def projection_table() -> Iterator[str]:
    """Return the views that `projection` answers with."""
    yield "| name | fields | meaning |\n|---|---|---|\n"
    for name, kind in PROJECTIONS.items():
        yield f"| `{name}` | {'<br>'.join(fields(kind))} | {sentence(kind)} |\n"


def http_table() -> Iterator[str]:
    """Return what a plain GET finds."""
    yield "| path | what is there | as |\n|---|---|---|\n"
    for path, said in HTTP.items():
        yield f"| `{path}` | {said['summary']} | {said['content']} |\n"


TABLES: dict[str, Callable[[], Iterable[str]]] = {
    "events": event_tables,
    "commands": command_table,
    "frames": frame_table,
    "errors": error_table,
    "closes": close_table,
    "projections": projection_table,
    "http": http_table,
}


def generated(page: str) -> str:
    """Return *page* with every generated part as it has to be now."""

    def renewed(found: re.Match[str]) -> str:
        table = "".join(TABLES[found[2]]()).rstrip()
        return f"{found[1]}\n{table}\n\n{found[3]}"

    return _REGION.sub(renewed, page)


def regions(page: str) -> list[str]:
    """Return the names of the generated parts of *page*, in order."""
    return [found[2] for found in _REGION.finditer(page)]


if __name__ == "__main__":
    PAGE.write_text(generated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
