"""The text that a person confirms: rendered from the arguments, never by the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Any, Final

import msgspec
import structlog

from bargein.protocol.lines import visible
from bargein.tools.commitment import Summary
from bargein.tools.errors import ToolInvalid

MOST_CHARS: Final = 1000
CUT: Final = " … (cut: all of it is in the arguments)"

_log = structlog.get_logger()


def check_summary(tool: str, summary: Summary | None, arguments: Iterable[str]) -> None:
    """See that a declared text speaks of arguments that there are.

    Raises:
        ToolInvalid: If it can't be rendered from the arguments.
    """
    if not isinstance(summary, str):
        return
    known = set(arguments)
    try:
        parts = tuple(Formatter().parse(summary))
    except ValueError as error:
        raise ToolInvalid(tool, f"its summary is no text with arguments: {error}") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if name not in known:
            raise ToolInvalid(tool, f"its summary speaks of {name!r}, which is no argument")
        if form or conversion:
            raise ToolInvalid(tool, f"its summary has a format in {{{name}}}; use a function")


def summary_of(tool: str, summary: Summary | None, args: Mapping[str, Any]) -> str:
    """Return what a person is asked to confirm, on one line, with nothing invisible in it."""
    if callable(summary):
        try:
            text = str(summary(args))
        except Exception as error:  # noqa: BLE001 - an app's function; the plain form is always true
            _log.warning("summary.raised", tool=tool, error=type(error).__name__)
            text = _plain(tool, args)
    elif summary is None or any(name not in args for name in _names(summary)):
        text = _plain(tool, args)
    else:
        text = _filled(summary, args)
    line = visible(" ".join(text.split()))
    return line if len(line) <= MOST_CHARS else line[: MOST_CHARS - len(CUT)] + CUT


def _filled(summary: str, args: Mapping[str, Any]) -> str:
    pieces = Formatter().parse(summary)
    return "".join(
        words + ("" if name is None else _value(args[name])) for words, name, _, _ in pieces
    )


def _names(summary: str) -> Iterable[str]:
    return (name for _, name, _, _ in Formatter().parse(summary) if name is not None)


def _plain(tool: str, args: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name}={_json(value)}" for name, value in args.items())
    return f"{tool}({listed})"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
