"""The strict gate for JSON from outside: what passes has one meaning everywhere.

The standard library's parser takes NaN, `1e999`, duplicate keys, lone
surrogates, integers of any length and text of any depth.  Each of them means
something else, or an exception, in the next program that reads it: the store,
a browser, a tool.  So all inbound JSON passes here before anything looks at it.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

MOST_DEPTH: Final = 32
MOST_NODES: Final = 10_000
MOST_KEYS: Final = 1_000
SAFE_INTEGER: Final = 2**53 - 1
"""The largest integer that JavaScript holds exactly."""

_MOST_DIGITS: Final = 40


class JsonRefused(ValueError):
    """The text is not JSON that this server takes.

    Attributes:
        reason: What is wrong, in words.
        position: Index of the character at fault, or None where it has no place.
    """

    def __init__(self, reason: str, position: int | None = None) -> None:
        place = "" if position is None else f" at character {position}"
        super().__init__(f"{reason}{place}")
        self.reason = reason
        self.position = position


def parse(text: str) -> Any:
    """Return the value of *text*.

    Raises:
        JsonRefused: If it is malformed, too deep, too large, or ambiguous.
    """
    if text.startswith("\ufeff"):
        raise JsonRefused("a byte order mark has no place in a frame", 0)
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonRefused(error.msg, error.pos) from None
    except RecursionError:
        raise JsonRefused(f"nested deeper than {MOST_DEPTH}") from None
    _check_nodes(value)
    return value


def _check_depth(text: str) -> None:
    # Counted before parsing, so that 100,000 brackets cost a scan and no stack.
    # Brackets inside strings count too where there are many: then look closely.
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return
    depth = 0
    in_string = escaped = False
    for position, char in enumerate(text):
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > MOST_DEPTH:
                raise JsonRefused(f"nested deeper than {MOST_DEPTH}", position)
        elif char in "]}":
            depth -= 1


def _check_nodes(value: Any) -> None:
    nodes = 0
    pending = [value]
    while pending:
        node = pending.pop()
        nodes += 1
        if nodes > MOST_NODES:
            raise JsonRefused(f"more than {MOST_NODES} values")
        if isinstance(node, dict):
            if len(node) > MOST_KEYS:  # pyright: ignore[reportUnknownArgumentType]
                raise JsonRefused(f"more than {MOST_KEYS} keys in one object")
            for key, item in node.items():  # pyright: ignore[reportUnknownVariableType]
                _check_text(key)  # pyright: ignore[reportUnknownArgumentType]
                pending.append(item)
        elif isinstance(node, list):
            pending.extend(node)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(node, str):
            _check_text(node)


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise JsonRefused("a lone surrogate is not a character") from error


def _refuse_constant(name: str) -> NoReturn:
    raise JsonRefused(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS or abs(number := int(digits)) > SAFE_INTEGER:
        raise JsonRefused("an integer beyond 2^53 is not exact everywhere")
    return number


def _real(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonRefused("a number beyond what a double can hold")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Keys above the limit are refused here, before a large dictionary is made.
    if len(pairs) > MOST_KEYS:
        raise JsonRefused(f"more than {MOST_KEYS} keys in one object")
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonRefused("an object has the same key twice")
    return value


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_refuse_constant,
    parse_int=_integer,
    parse_float=_real,
)
