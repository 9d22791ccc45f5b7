"""An HTTP client for servers of others: with limits for what they say and how long it takes.

Import this where it is first needed: the library behind it takes its time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx2

CONNECT_LIMIT_S: Final = 10.0


class BodyTooLong(httpx2.StreamError):
    """The server's answer is longer than anybody would read."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._bytes_left = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._bytes_left -= len(chunk)
            if self._bytes_left < 0:
                raise BodyTooLong("the answer is too long")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def bounded_client(
    headers: Mapping[str, str], *, most_body_bytes: int, silence_limit_s: float
) -> httpx2.AsyncClient:
    """Return a client that sends *headers* and reads no body longer than *most_body_bytes*.

    An event stream may be of any length; whoever reads it bounds its events. The client is
    to be used in an `async with`.
    """

    async def bound(response: Any) -> None:
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _Bounded(response.stream, most_body_bytes)

    return httpx2.AsyncClient(
        headers=dict(headers),
        timeout=httpx2.Timeout(CONNECT_LIMIT_S, read=silence_limit_s),
        event_hooks={"response": [bound]},
    )
