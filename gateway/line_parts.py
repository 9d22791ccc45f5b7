"""Parts that the lines of the text view are put together from."""

from __future__ import annotations

from textwrap import wrap
from typing import Any, Final, TypeVar

import msgspec

from bargein.protocol.lines import MOST_CHARS, visible

T = TypeVar("T")

MOST_KEPT: Final = 64
"""Names of calls, actions or steps that a view remembers, each."""


def as_json(value: Any) -> str:
    """Return *value* as JSON."""
    return msgspec.json.encode(value).decode()


def keep(names: dict[str, T], key: str, value: T) -> None:
    """Remember *value*, and forget the oldest of too many."""
    names[key] = value
    if len(names) > MOST_KEPT:
        del names[next(iter(names))]


def uncut(prefix: str, text: str) -> list[str]:
    """Return *text* to its end, on several lines if need be: it is to be decided or mended."""
    pieces = wrap(" ".join(text.split()), MOST_CHARS, break_on_hyphens=False)
    return [f"{prefix}  {visible(piece)}" for piece in pieces or [""]]
