"""A tool's result as JSON that everybody reads alike, never more of it than may be kept.

A result may be of any size, and the event loop waits while it is encoded.  So it
is written piece by piece, and what is over the limit is never written at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from typing import Any, Final, Literal, cast

import attrs
import msgspec
import structlog
from attrs import define, field, frozen

from bargein.protocol.gate import MOST_DEPTH, JsonRefused, parse

MOST_VALUES: Final = 5_000
"""Well below what the timeline takes in one event, and some 10 ms of work for the loop."""

MOST_LOGGED_CHARS: Final = 200

Status = Literal["ok", "error", "timeout"]

# Made once: `json.dumps` would make one for each value.
_ENCODE: Final = json.JSONEncoder(allow_nan=False).encode
_QUOTE: Final = json.encoder.encode_basestring

_log = structlog.get_logger()


@frozen
class ToolOutput:
    """How a call ended.

    Attributes:
        result: JSON; what the timeline keeps.
        text: The same as the model reads it.
        happened: Whether the tool did what it was asked; None where nobody knows.
    """

    status: Status
    result: Any
    text: str
    happened: bool | None = True


def output_of(result: Any, most_bytes: int) -> ToolOutput:
    """Return a tool's *result* as JSON; what is longer than *most_bytes* is cut, and says so."""
    try:
        if isinstance(result, str):
            return _output_of_text(result, most_bytes)
        written = _Written(most_bytes)
        whole = written.write(result)
        text = "".join(written.pieces)
        if not whole:
            return _cut(text, most_bytes)
        return ToolOutput("ok", parse(text), text)
    except (TypeError, ValueError, RecursionError, JsonRefused) as error:
        reason = str(error)[:MOST_LOGGED_CHARS]
        _log.warning("tool.result_refused", error=type(error).__name__)
        return ToolOutput("error", message := f"{_REFUSED} {reason}", message)


_REFUSED: Final = "The tool's result is not JSON that can be kept:"


def _output_of_text(text: str, most_bytes: int) -> ToolOutput:
    # Cut before it is encoded: it may be the whole of a large file.
    encoded = text[: most_bytes + 1].encode()
    if len(encoded) <= most_bytes:
        return ToolOutput("ok", text, text)
    return _cut(encoded[:most_bytes].decode(errors="ignore"), most_bytes)


def _cut(kept: str, most_bytes: int) -> ToolOutput:
    text = f"{kept}\n[cut: the whole result is longer than {most_bytes} bytes]"
    return ToolOutput("ok", {"cut": True, "most_bytes": most_bytes, "text": kept}, text)


_PLAIN: Final = (str, int, float, dict, list, tuple)


class _Full(Exception):
    """There is no room for more."""


@define(eq=False)
class _Written:
    """JSON as far as it may go."""

    _bytes_left: int
    _values_left: int = field(default=MOST_VALUES, init=False)
    pieces: list[str] = field(factory=list[str], init=False)

    def write(self, value: Any) -> bool:
        """Write *value*; say whether all of it had room."""
        try:
            self._encode(value, 0)
        except _Full:
            return False
        return True

    def _put(self, piece: str) -> None:
        size_bytes = len(piece) if piece.isascii() else len(piece.encode())
        if size_bytes > self._bytes_left:
            self.pieces.append(piece.encode()[: self._bytes_left].decode(errors="ignore"))
            raise _Full
        self._bytes_left -= size_bytes
        self.pieces.append(piece)

    def _encode(self, value: Any, depth: int) -> None:
        if depth > MOST_DEPTH:
            raise JsonRefused(f"nested deeper than {MOST_DEPTH}")
        if self._values_left == 0:
            raise _Full
        self._values_left -= 1
        plain: Any = _plain(value)
        if isinstance(plain, str):
            self._put(self._quoted(plain))
        elif plain is None or isinstance(plain, int | float):
            self._put(_ENCODE(plain))
        elif isinstance(plain, Mapping):
            self._encode_object(cast("Mapping[Any, Any]", plain), depth)
        else:
            self._encode_array(plain, depth)

    def _encode_object(self, members: Mapping[Any, Any], depth: int) -> None:
        mark = "{"
        for key, member in members.items():
            name = _plain(key)
            if type(name) is int:
                name = str(name)
            if not isinstance(name, str):
                raise TypeError(f"a key is {type(key).__name__} and not a string")
            self._put(f"{mark}{self._quoted(name)}:")
            self._encode(member, depth + 1)
            mark = ","
        self._put("{}" if mark == "{" else "}")

    def _encode_array(self, items: Iterable[Any], depth: int) -> None:
        mark = "["
        for item in items:
            self._put(mark)
            self._encode(item, depth + 1)
            mark = ","
        self._put("[]" if mark == "[" else "]")

    def _quoted(self, text: str) -> str:
        # As above, cut before it is quoted.
        return _QUOTE(text[: self._bytes_left + 1])


def _plain(value: object) -> Any:
    """Return *value* as what JSON has: a scalar, a mapping, or a collection.

    Raises:
        TypeError: If JSON has nothing for it.
    """
    match value:
        case None | str() | bool() | int() | float() | list() | tuple() | dict():
            return cast("object", value)
        case bytes() | bytearray() | memoryview():
            raise TypeError("bytes are no text; decode them, or say where they are")
        case msgspec.Struct():
            return {name: getattr(value, name) for name in value.__struct_fields__}
        case _ if attrs.has(type(value)):
            return {part.name: getattr(value, part.name) for part in attrs.fields(type(value))}
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {part.name: getattr(value, part.name) for part in fields(value)}
        case Mapping() | AbstractSet():
            return cast("object", value)
        case _:
            return msgspec.to_builtins(value)
