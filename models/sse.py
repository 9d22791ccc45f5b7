"""Bytes of an HTTP body, taken apart: chunks, then server-sent events.  Pure."""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

LINE_LIMIT_BYTES: Final = 16 * 1024 * 1024
"""Longest event we take: far above any honest one, so that memory stays bounded."""

_CHUNK_LINE_LIMIT_BYTES: Final = 4096
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r\n")


class NotHttp(ValueError):
    """The bytes are no chunked body: the stream is lost."""


class EventTooLong(ValueError):
    """An event exceeds what is worth buffering."""


@define(eq=False)
class Dechunker:
    """Undoes HTTP/1.1's chunked transfer encoding, however the network cut it up.

    Attributes:
        ended: The last chunk and its trailers are in: the body is whole.
    """

    ended: bool = field(default=False, init=False)
    _rest: bytes = field(default=b"", init=False)
    _left_bytes: int = field(default=0, init=False)
    _close_chunk: bool = field(default=False, init=False)
    _in_trailers: bool = field(default=False, init=False)

    @property
    def surplus(self) -> bytes:
        """What came after the end of the body: nothing, from an honest server."""
        return self._rest if self.ended else b""

    @property
    def between_chunks(self) -> bool:
        """Whether the next bytes begin a chunk."""
        return not (self._rest or self._left_bytes or self._close_chunk or self._in_trailers)

    def feed(self, raw: bytes) -> bytes:
        """Return the part of the body that *raw* completes.

        Raises:
            NotHttp: The framing is broken.
        """
        if self._rest:
            raw = self._rest + raw
        parts: list[bytes] = []
        at = 0
        if not (self._left_bytes or self._close_chunk or self._in_trailers):
            at = _whole_chunks(raw, parts)
        while at < len(raw) and not self.ended:
            if self._left_bytes:
                part = raw[at : at + self._left_bytes]
                at += len(part)
                self._left_bytes -= len(part)
                parts.append(part)
                if self._left_bytes:
                    break
                self._close_chunk = True
            after = self._framing(raw, at)
            if after is None:
                break
            at = after
        self._rest = raw[at:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _framing(self, raw: bytes, at: int) -> int | None:
        """Read one piece of framing; return where it ends, None while it is not all there."""
        if self._close_chunk:
            if not b"\r\n".startswith(raw[at : at + 2]):
                raise NotHttp("a chunk is longer than it says")
            if len(raw) < at + 2:
                return None
            self._close_chunk = False
            return at + 2
        end = raw.find(b"\n", at) + 1
        if not end:
            if len(raw) - at > _CHUNK_LINE_LIMIT_BYTES:
                raise NotHttp("a line of the framing does not end")
            return None
        if self._in_trailers:
            self.ended = raw[at:end] == b"\r\n"
            return end
        line = _CHUNK_LINE.fullmatch(raw, at, end)
        if line is None:
            raise NotHttp("a chunk's size cannot be read")
        self._left_bytes = int(line[1], 16)
        self._in_trailers = self._left_bytes == 0
        return end


def _whole_chunks(raw: bytes, parts: list[bytes]) -> int:
    """Add what *raw* begins with to *parts*, as long as it is whole chunks; return where they end.

    Nearly all of each read is, because nearly every token is a chunk.
    """
    at = 0
    while (line := _CHUNK_LINE.match(raw, at)) is not None:
        start = line.end()
        end = start + int(line[1], 16)
        if end == start or raw[end : end + 2] != b"\r\n":
            break
        parts.append(raw[start:end])
        at = end + 2
    return at


@define(eq=False)
class EventSplitter:
    """Finds the data of server-sent events, however the network cut them up."""

    _rest: list[bytes] = field(factory=list[bytes], init=False)
    _rest_bytes: int = field(default=0, init=False)
    _pending: bytes | None = field(default=None, init=False)

    @property
    def holds_nothing(self) -> bool:
        """Whether the next bytes begin an event."""
        return not self._rest and self._pending is None

    def feed(self, body: bytes) -> list[bytes]:
        """Return the data of each event that *body* completes, without their names.

        Raises:
            EventTooLong: One event would need more memory than any honest one.
        """
        *lines, rest = body.split(b"\n")
        if lines and self._rest:
            self._rest.append(lines[0])
            lines[0] = b"".join(self._rest)
            self._rest.clear()
            self._rest_bytes = 0
        if rest:
            self._rest.append(rest)
            self._rest_bytes += len(rest)
            if self._rest_bytes > LINE_LIMIT_BYTES:
                raise EventTooLong(self._rest_bytes)
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._gather(line[5:])
            elif line in (b"", b"\r") and self._pending is not None:
                events.append(self._pending)
                self._pending = None
        return events

    def _gather(self, data: bytes) -> None:
        data = data.removesuffix(b"\r").removeprefix(b" ")
        if self._pending is None:
            self._pending = data
            return
        self._pending += b"\n" + data
        if len(self._pending) > LINE_LIMIT_BYTES:
            raise EventTooLong(len(self._pending))
