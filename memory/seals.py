"""How facts and changes are written: as JSON, with a checksum that holds them to a place.  Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import structlog

from bargein.memory.facts import Change, Fact, Owner

T = TypeVar("T", Fact, Change)

log = structlog.get_logger()


def name_of(owner: Owner) -> str:
    """Return the name of *owner* in a store; two owners never share one."""
    # As JSON: whatever is in it, it ends where it ends.
    return msgspec.json.encode([owner.principal, owner.tenant]).decode()


def sealed(owner: Owner, place: str, value: Fact | Change) -> tuple[str, int]:
    """Return *value* as text, and the checksum that it has in its place."""
    text = msgspec.json.encode(value).decode()
    return text, _crc(owner, place, text)


def unsealed(kind: Callable[..., T], owner: Owner, place: str, text: Any, crc: Any) -> T | None:
    """Read what was sealed for this place; None, and a line in the log, where it is damaged."""
    try:
        if crc == _crc(owner, place, text):
            return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, TypeError, ValueError):
        pass
    log.error("fact.damaged", place=place)
    return None


def _crc(owner: Owner, place: str, text: str) -> int:
    return zlib.crc32("\0".join((name_of(owner), place, text)).encode())
