"""Text that every encoding can carry, whoever wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar, cast

import attrs

from bargein.protocol.gate import parse

T = TypeVar("T")

REPLACEMENT: Final = "\ufffd"

_LONE: Final = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return *text* with U+FFFD in place of each lone surrogate; free of cost for ASCII."""
    return text if text.isascii() else _LONE.sub(REPLACEMENT, text)


def cleaned(value: T) -> T:
    """Return *value*, a payload or JSON, with all text in it clean, keys too."""
    plain: Any = value
    kind: type[Any] = type(value)
    match plain:
        case str():
            changed: Any = clean(plain)
        case list() | tuple():
            items = map(cleaned, cast("list[Any]", plain))
            changed = list(items) if isinstance(plain, list) else tuple(items)
        case dict():
            members = cast("dict[Any, Any]", plain).items()
            changed = {cleaned(key): cleaned(member) for key, member in members}
        case _ if attrs.has(kind):
            names = [part.name for part in attrs.fields(kind)]
            changed = attrs.evolve(plain, **{name: cleaned(getattr(plain, name)) for name in names})
        case _:
            changed = plain
    return cast("T", changed)


def json_object(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return *value* as the JSON object that it is, its text clean.

    Raises:
        ValueError: If it is none that everybody reads alike: NaN, a cycle, far too deep.
        TypeError: If it holds what JSON has nothing for.
    """
    text = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
    return cast("dict[str, Any]", parse(clean(text)))
