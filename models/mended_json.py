"""JSON of a model: taken strictly, but for text that no encoding can carry, which is mended."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, cast

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def mended_json(text: str) -> object:
    """Return the value of *text*, strictly JSON but for lone surrogates, which it replaces.

    Raises:
        ValueError: It is no JSON, or holds a number that JSON can't carry on.
        RecursionError: It is nested too deeply.
    """
    return _mended(json.loads(text, parse_constant=_refused, parse_float=_finite))


def _mended(value: Any) -> Any:
    """Return *value* with each lone surrogate replaced by U+FFFD, keys included."""
    match value:
        case str():
            return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
        case list():
            return [_mended(item) for item in cast("list[Any]", value)]
        case dict():
            pairs = cast("dict[str, Any]", value)
            return {_mended(key): _mended(item) for key, item in pairs.items()}
        case _:
            return value


def _refused(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value
