"""What a log line says of an exception, and how text from outside can't pretend to be a line.

Where an exception came from is for every operator.  What it says may quote a user, a prompt or a
password: it stands under a key that begins with `pii.`, which whoever ships logs can leave out.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from typing import Any, Final, cast

import structlog
from structlog.typing import EventDict

ERRORS_MOST: Final = 8
"""Exceptions of a chain or a group that a line tells of."""

TEXT_MOST_CHARS: Final = 2000

FRAMES_AT_EACH_END: Final = 20
"""Of a recursion without an end the first and the last frames tell all."""


def tell_exceptions(_: Any, __: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by `exception`, where it came from, and `pii.exception`, what it says."""
    error = _error_in(event.pop("exc_info", None))
    if error is None:
        return event
    told = list(_told(error))[:ERRORS_MOST]
    event["exception"] = "\n".join(_origin(one, how) for one, how in told)
    event["pii.exception"] = [_text(one) for one, _ in told]
    return event


def escape_controls(_: Any, __: str, event: EventDict) -> EventDict:
    """Escape what a terminal would obey: newlines, colours, marks that turn the direction."""
    return {
        key: _escaped(value, key) if isinstance(value, str) else value
        for key, value in event.items()
    }


def _escaped(value: str, key: str) -> str:
    if key == "exception":  # its lines are ours
        return "\n".join(_escaped(line, "") for line in value.split("\n"))
    return value if value.isprintable() else value.encode("unicode_escape").decode("ascii")


def _error_in(exc_info: Any) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case None | False | (None, None, None):
            return None
        case _:
            return sys.exc_info()[1]


def _told(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """Walk from an exception to what it was made of and what it came from, each once."""
    waiting, met = [(error, "")], set[int]()
    while waiting:
        one, how = waiting.pop(0)
        if id(one) in met:
            continue
        met.add(id(one))
        yield one, how
        if isinstance(one, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", one)
            waiting += [(inner, "one of its exceptions: ") for inner in group.exceptions]
        if one.__cause__ is not None:
            waiting.append((one.__cause__, "its cause: "))
        elif one.__context__ is not None and not one.__suppress_context__:
            waiting.append((one.__context__, "while this was dealt with: "))


def _origin(error: BaseException, how: str) -> str:
    frames = list(traceback.extract_tb(error.__traceback__))
    del frames[FRAMES_AT_EACH_END : max(FRAMES_AT_EACH_END, len(frames) - FRAMES_AT_EACH_END)]
    lines = "".join(traceback.format_list(frames))
    return f"{how}Traceback (most recent call last):\n{lines}{type(error).__qualname__}"


def _text(error: BaseException) -> str:
    try:
        return str(error)[:TEXT_MOST_CHARS]
    except Exception as broken:  # noqa: BLE001 - an exception is somebody else's code, too
        return f"(no text: {type(broken).__name__})"


def json_line(event: EventDict) -> str:
    """Return *event* as it stands in a log for machines."""
    rendered = structlog.processors.JSONRenderer()(None, "", tell_exceptions(None, "", event))
    return rendered if isinstance(rendered, str) else rendered.decode()
