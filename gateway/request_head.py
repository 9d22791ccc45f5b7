"""The head of an HTTP request, taken in under limits before any parser sees it."""

import re
from http import HTTPStatus
from typing import Final

import trio
from attrs import define, field, frozen

# A token of 3 KiB fits in a line, and a browser behind two proxies sends about 25 headers.
LINE_BYTES: Final = 4096
MOST_HEADERS: Final = 32

_PLAIN: Final = re.compile(rb"[\t\x20-\x7e]*\r\n")

SECURITY_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'self'"),
    ("Cache-Control", "no-store"),
)


@frozen
class Refusal:
    """A request that is answered with an error instead of an upgrade or a page.

    Attributes:
        status: HTTP status.
        sentence: Tells a person what to do; goes into the body.
        headers: Further headers of the answer, such as `Retry-After`.
    """

    status: int
    sentence: str
    headers: tuple[tuple[str, str], ...] = ()


@define(eq=False)
class RequestHead:
    """Collect a request's head as it trickles in, and refuse what is out of bounds at once.

    Stricter than the WebSocket library, which lets non-ASCII values pass, takes 128 headers of
    8 KiB, and answers nothing at all to a malformed head.
    """

    _buffer: bytearray = field(factory=bytearray, init=False)
    _line_starts_at: int = field(default=0, init=False)
    _lines: int = field(default=0, init=False)

    def feed(self, received: bytes | bytearray) -> bytes | Refusal | None:
        """Take what was received.

        Returns:
            The whole head once it is there, None while more is needed, or why it is refused.
        """
        searched = len(self._buffer)
        self._buffer += received
        while (end := self._buffer.find(b"\n", searched) + 1) > 0:
            line = bytes(self._buffer[self._line_starts_at : end])
            if len(line) > LINE_BYTES:
                return self._too_long()
            if _PLAIN.fullmatch(line) is None:
                return _bad("A request's head is printable ASCII in lines that end with CR LF.")
            if line == b"\r\n":
                return self._whole(end)
            self._lines += 1
            if self._lines > 1 + MOST_HEADERS:
                return Refusal(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"A request may have at most {MOST_HEADERS} headers.",
                )
            self._line_starts_at = searched = end
        if len(self._buffer) - self._line_starts_at > LINE_BYTES:
            return self._too_long()
        return None

    def _whole(self, end: int) -> bytes | Refusal:
        if len(self._buffer) > end:
            # RFC 6455, 4.1: the client has to wait for the answer.  It also ends request smuggling.
            return _bad("Send nothing after the request's head before it has been answered.")
        return bytes(self._buffer)

    def _too_long(self) -> Refusal:
        if self._lines == 0:
            return Refusal(
                HTTPStatus.REQUEST_URI_TOO_LONG,
                f"The request line may have at most {LINE_BYTES} bytes.",
            )
        return Refusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"A header may have at most {LINE_BYTES} bytes.",
        )


async def read_head(stream: trio.abc.ReceiveStream, read_bytes: int) -> bytes | Refusal | None:
    """Read a request's head from a client, and nothing after it.

    Returns:
        The whole head, why it is refused, or None if the client hung up first.
    """
    head = RequestHead()
    while received := await stream.receive_some(read_bytes):
        if (whole := head.feed(received)) is not None:
            return whole
    return None


def _bad(sentence: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, sentence)


MALFORMED: Final = _bad(
    "This is no HTTP/1.1 request without a body, and nothing else is served here."
)
