"""The strict gate for JSON from outside: what passes has one meaning everywhere.

The standard library's parser takes NaN, `1e999`, duplicate keys, lone
surrogates, integers of any length and text of any depth.  Each of them means
something else, or an exception, in the next program that reads it: the store,
a browser, a tool.  So all inbound JSON passes here before anything looks at it.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn, TypeAlias

MOST_DEPTH: Final = 32
MOST_NODES: Final = 10_000
MOST_KEYS: Final = 1_000
SAFE_INTEGER: Final = 2**53
"""Up to here a double, and so a browser, holds every integer exactly."""

_MOST_DIGITS: Final = 40

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""What JSON can say."""


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


def parse(text: str) -> Json:
    """Return the value of *text*.

    Raises:
        JsonRefused: If it is malformed, too deep, too large, or ambiguous.
    """
    if text.startswith("\ufeff"):
        raise JsonRefused("a byte order mark has no place in a frame", 0)
    try:
        value: Json = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonRefused(error.msg, error.pos) from None
    except RecursionError:
        # The parser stops long before 100,000 brackets could cost anything.
        raise JsonRefused(_TOO_DEEP) from None
    _check(value)
    return value


def _check(value: Json) -> None:
    # Level by level: `level` holds what stands inside `depth` containers.
    level: list[Json] = [value]
    nodes = 0
    depth = 0
    while level:
        nodes += len(level)
        if nodes > MOST_NODES:
            raise JsonRefused(f"more than {MOST_NODES} values")
        inside: list[Json] = []
        for node in level:
            if isinstance(node, str):
                _check_text(node)
            elif isinstance(node, dict | list):
                if depth >= MOST_DEPTH:
                    raise JsonRefused(_TOO_DEEP)
                inside.extend(node.values() if isinstance(node, dict) else node)
        level = inside
        depth += 1


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise JsonRefused("a lone surrogate is not a character") from None


def _refuse_constant(name: str) -> NoReturn:
    raise JsonRefused(f"{name} is not a JSON number")


def _integer(digits: str) -> int:
    # `int` itself takes quadratic time, and refuses what has thousands of digits.
    if len(digits) > _MOST_DIGITS or abs(number := int(digits)) > SAFE_INTEGER:
        raise JsonRefused("an integer beyond 2^53 is not exact everywhere")
    return number


def _real(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonRefused("a number beyond what a double can hold")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise JsonRefused(f"more than {MOST_KEYS} keys in one object")
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonRefused("an object has the same key twice")
    for key in value:
        _check_text(key)
    return value


_TOO_DEEP: Final = f"nested deeper than {MOST_DEPTH}"
_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_refuse_constant,
    parse_int=_integer,
    parse_float=_real,
)
