"""What is done to good bytes, texts and JSON to make bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final, cast

SPLINTERS: Final = (
    b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{", b"}", b"[", b"]", b'"',
    b"\\", b"\\ud800", b"\\u0000", b"NaN", b"1e999", b"-0", b"9" * 30, b"null", b"true", b",", b":",
    b"[" * 200, b'{"a":' * 50, b"\r\n", b"\xe2\x80\xae",
)  # fmt: skip
"""Bytes that parsers have stumbled over."""

ODD: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**53 + 1, -(2**63), 10**40, 0.5, -0.0, 1e308, "",
    " ", "x", "\x00", "\n", "\ud800", "\u202eabc", "ü" * 70, "a" * 65, "a" * 40_000, "🙂", [], {},
    [[]], {"": ""}, [None] * 20, {"a": {"b": {"c": []}}}, "turn_0", "turn_1", "turn_" + "9" * 17,
)  # fmt: skip
"""Values where others are expected."""


def bytes_like(drawn: Random, good: bytes) -> bytes:
    """Return *good* with one to four things done to it."""
    bad = bytearray(good)
    for _ in range(drawn.randint(1, 4)):
        bad = _DEEDS[drawn.randrange(len(_DEEDS))](drawn, bad)
    return bytes(bad[:100_000])


def _flip(drawn: Random, bad: bytearray) -> bytearray:
    if bad:
        bad[drawn.randrange(len(bad))] ^= 1 << drawn.randrange(8)
    return bad


def _set(drawn: Random, bad: bytearray) -> bytearray:
    if bad:
        bad[drawn.randrange(len(bad))] = drawn.randrange(256)
    return bad


def _insert(drawn: Random, bad: bytearray) -> bytearray:
    place = drawn.randint(0, len(bad))
    bad[place:place] = drawn.choice(SPLINTERS)
    return bad


def _delete(drawn: Random, bad: bytearray) -> bytearray:
    start = drawn.randint(0, len(bad))
    del bad[start : start + drawn.choice((1, 1, 2, 8, 64))]
    return bad


def _cut(drawn: Random, bad: bytearray) -> bytearray:
    return bad[: drawn.randint(0, len(bad))]


def _repeat(drawn: Random, bad: bytearray) -> bytearray:
    start = drawn.randint(0, len(bad))
    part = bad[start : start + drawn.choice((1, 8, 100))]
    bad[start:start] = part * drawn.choice((1, 2, 50))
    return bad


def _replace(drawn: Random, bad: bytearray) -> bytearray:
    start = drawn.randint(0, len(bad))
    splinter = drawn.choice(SPLINTERS)
    bad[start : start + len(splinter)] = splinter
    return bad


_DEEDS: Final[tuple[Callable[[Random, bytearray], bytearray], ...]] = (
    _flip,
    _set,
    _insert,
    _delete,
    _cut,
    _repeat,
    _replace,
)


def value_like(drawn: Random, good: Any) -> Any:
    """Return JSON like *good*, something in it changed."""
    if isinstance(good, dict) and good and drawn.random() < 0.85:
        return _object_like(drawn, cast("dict[str, Any]", good))
    if isinstance(good, list) and good and drawn.random() < 0.7:
        parts = list(cast("list[Any]", good))
        place = drawn.randrange(len(parts))
        parts[place] = value_like(drawn, parts[place])
        return parts * drawn.choice((1, 1, 1, 30))
    if isinstance(good, str) and good and drawn.random() < 0.5:
        return bytes_like(drawn, good.encode(errors="surrogatepass")).decode(errors="replace")
    if isinstance(good, int) and drawn.random() < 0.5:
        return good + drawn.choice((-1, 1, 2**20, -(2**40)))
    return drawn.choice(ODD)


def _object_like(drawn: Random, good: dict[str, Any]) -> dict[str, Any]:
    bad = dict(good)
    key = drawn.choice(list(bad))
    match drawn.randrange(6):
        case 0:
            del bad[key]
        case 1:
            bad[str(drawn.choice(ODD))[:80]] = bad[key]
        case 2:
            bad[drawn.choice(("id", "type", "text", "turn_id", "args", "seq"))] = drawn.choice(ODD)
        case _:
            bad[key] = value_like(drawn, bad[key])
    return bad


def text_of(drawn: Random, body: Any) -> bytes:
    """Return JSON as careless clients write it."""
    written = json.dumps(
        body,
        ensure_ascii=drawn.random() < 0.8,
        separators=drawn.choice(((",", ":"), (", ", ": "), (" ,", " :"))),
    ).encode(errors="surrogatepass")
    if isinstance(body, dict) and body and drawn.random() < 0.05:
        first = json.dumps(next(iter(cast("dict[str, Any]", body)))).encode()
        return b"{" + first + b":1," + written[1:]  # the same key twice
    return written
