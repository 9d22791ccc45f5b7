"""HTTP/1.1 as a client speaks it: a request, and the head and frame of a response.  Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from attrs import define, field, frozen

from bargein.models.sse import Dechunker, NotHttp

HEAD_LIMIT_BYTES: Final = 64 * 1024
"""Longest head we take, those of interim responses before it included."""

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\0\r]*))?\r?")
_HEADER_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\0\r]*?)[ \t]*\r?")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_INTERIM: Final = range(100, 200)
_SWITCHING: Final = 101
_WITHOUT_BODY: Final = frozenset({204, 304})


@frozen
class Head:
    """The head of a response.

    Attributes:
        reason: The vendor's words for the status; may be empty.
        minor: Minor version of its HTTP/1.
    """

    status: int
    reason: bytes
    headers: Headers
    minor: int

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may be used again after the body."""
        options = [each.strip() for each in self.all(b"connection").lower().split(b",")]
        return self.minor == 1 and b"close" not in options

    def all(self, name: bytes) -> bytes:
        """Return all values of the header *name* (lower case), with commas between them."""
        return b",".join(value for other, value in self.headers if other.lower() == name)


class Framing(Protocol):
    """Where a body ends, and what of the bytes is body."""

    @property
    def ended(self) -> bool:
        """Whether the body is whole."""
        ...

    @property
    def surplus(self) -> bytes:
        """What came after the end: nothing, from an honest server."""
        ...

    @property
    def between_chunks(self) -> bool:
        """Whether the next bytes begin a chunk; never, where there are none."""
        ...

    def feed(self, raw: bytes) -> bytes:
        """Return the part of the body that *raw* completes.

        Raises:
            NotHttp: The framing is broken.
        """
        ...


@define(eq=False)
class Sized:
    """A body whose length was told."""

    _left_bytes: int
    surplus: bytes = field(default=b"", init=False)
    between_chunks: bool = field(default=False, init=False)

    @property
    def ended(self) -> bool:
        """Whether all of it came."""
        return self._left_bytes == 0

    def feed(self, raw: bytes) -> bytes:
        """Return the part of *raw* that belongs to it."""
        part, self.surplus = raw[: self._left_bytes], raw[self._left_bytes :]
        self._left_bytes -= len(part)
        return part


@define(eq=False)
class UntilClosed:
    """A body that ends with its connection.

    Attributes:
        ended: Set by whoever sees that the connection has ended.
    """

    ended: bool = False
    surplus: bytes = field(default=b"", init=False)
    between_chunks: bool = field(default=False, init=False)

    def feed(self, raw: bytes) -> bytes:
        """Return *raw*: all of it is body."""
        return raw


UNFRAMED: Final = UntilClosed()
"""Of bytes that are nothing but body."""


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """Return the head of a request as far as it is the same for every body.

    Raises:
        ValueError: A header would not stay one line: a key with a line end in it, perhaps.
    """
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
    lines.extend(
        header_line(name, value)
        for name, value in headers
        if name.lower() not in (b"transfer-encoding", b"content-length")
    )
    return b"".join(lines)


def header_line(name: bytes, value: bytes) -> bytes:
    """Return a header with its line end.

    Raises:
        ValueError: It would not stay one line.
    """
    line = b"%b: %b" % (name, value)
    if _HEADER_LINE.fullmatch(line) is None or b"\n" in line or line.endswith(b"\r"):
        raise ValueError("a header of the request is not fit to be sent")
    return line + b"\r\n"


def request_parts(head: bytes, body: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return a whole request: *head*, which ends with a line, how long *body* is, and *body*."""
    return (b"%bContent-Length: %d\r\n\r\n" % (head, sum(map(len, body))), *body)


def split_head(raw: bytes) -> tuple[Head, bytes] | None:
    """Return the head of a response and what follows it; None while it is not all there.

    Interim responses, such as early hints, are passed over.

    Raises:
        NotHttp: It is none, or is too long.
    """
    at = 0
    while (blank := _BLANK_LINE.search(raw, at)) is not None:
        head = _head(raw[at : blank.start()].split(b"\n"))
        if head.status not in _INTERIM:
            return head, raw[blank.end() :]
        if head.status == _SWITCHING:
            raise NotHttp("the server goes on in another protocol")
        at = blank.end()
    if len(raw) > HEAD_LIMIT_BYTES:
        raise NotHttp("the head of the response does not end")
    if raw and not raw.startswith(b"HTTP/"[: len(raw)]):
        raise NotHttp("the response does not begin like one")
    return None


def framing_of(head: Head) -> Framing:
    """Return how the body after *head* is framed.

    Raises:
        NotHttp: It says two things at a time, or something that we did not ask for.
    """
    if head.status in _WITHOUT_BODY:
        return Sized(0)
    coding = head.all(b"transfer-encoding").lower()
    if coding:
        if coding != b"chunked":
            raise NotHttp("the body has a transfer encoding that was not asked for")
        return Dechunker()
    lengths = {each.strip() for each in head.all(b"content-length").split(b",")} - {b""}
    if not lengths:
        return UntilClosed()
    length = lengths.pop()
    if lengths or _LENGTH.fullmatch(length) is None:
        raise NotHttp("the length of the body can't be read")
    return Sized(int(length))


def _head(lines: Iterable[bytes]) -> Head:
    first, *rest = lines
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise NotHttp("the response has no status")
    headers: list[tuple[bytes, bytes]] = []
    for line in rest:
        header = _HEADER_LINE.fullmatch(line)
        if header is None:
            raise NotHttp("a header of the response can't be read")
        headers.append((header[1], header[2]))
    return Head(int(status[2]), status[3] or b"", headers, int(status[1]))
