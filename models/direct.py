"""Sends what an SDK would send, without asking it each time.

The SDK stays the authority on what a request says: it builds two, and what stays the same in both
is kept.  An SDK whose requests differ in more than their bodies is asked for each.

Importing this module imports httpx2, which takes a while: see `bargein.models.anthropic`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import httpx2
from attrs import define, field, frozen

from bargein.models.body import Body, PlainBody
from bargein.models.http1 import Head, header_line, request_head, request_parts
from bargein.models.transport import Origin, Transport

_PORTS: Final = {"http": 80, "https": 443}
_SUCCESS: Final = range(200, 300)
_AS_IT_IS: Final = frozenset({b"", b"identity"})


class Refused(Exception):
    """The server answered, but not with success.

    Attributes:
        response: What it answered, read to its end.
    """

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"the server answered with {response.status_code}")
        self.response = response


@frozen
class Template:
    """A request without its body.

    Attributes:
        url: Whom it is for, and what of it.
        head: The request line and the headers, that of the length not among them.
    """

    method: str
    url: httpx2.URL
    head: bytes = field(repr=False)  # the key is in it

    @property
    def origin(self) -> Origin | None:
        """Whom it is for; None for what is not HTTP."""
        port = self.url.port or _PORTS.get(self.url.scheme)
        if port is None or self.url.scheme not in _PORTS:
            return None
        return Origin(self.url.host, port, secure=self.url.scheme == "https")


@define(eq=False)
class Capture(httpx2.AsyncBaseTransport):
    """Takes requests, and sends none: the transport of a client whose requests are wanted."""

    _last: httpx2.Request | None = field(default=None, init=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Keep *request*, and say that all is well."""
        self._last = request
        return httpx2.Response(200, content=b"{}", request=request)

    async def template(self, ask: Callable[[], Awaitable[object]]) -> Template | None:
        """Return what the requests that *ask* makes have in common.

        None where they differ in more than their bodies, or could not be sent as they are.

        Raises:
            Exception: What *ask* raised.
        """
        first = await self._made_by(ask)
        return first if first == await self._made_by(ask) else None

    async def _made_by(self, ask: Callable[[], Awaitable[object]]) -> Template | None:
        self._last = None
        await ask()
        request = self._last
        if request is None:
            return None
        try:
            method = request.method.encode("ascii")
            head = request_head(method, request.url.raw_path, request.headers.raw)
        except ValueError:
            return None
        return Template(request.method, request.url, head)


@define(eq=False)
class Direct:
    """Posts bodies by a template.  Lives until `close`.

    Cookies are kept as the SDK's client would, which lives as long.
    """

    _template: Template
    _transport: Transport
    _cookies: httpx2.Cookies = field(factory=httpx2.Cookies, init=False)
    _has_cookies: bool = field(default=False, init=False)

    async def post(self, body: Sequence[bytes]) -> Body:
        """Send *body*, which is in pieces, and return the answer's, once its head is in.  Close it.

        Raises:
            Refused: The server answered with anything but success.
            httpx2.HTTPError: What it answered so could not be read.
            trio.TooSlowError: The connection took too long.
            WireBroken: There is no connection, or it broke.
            NotHttp: What is answered can't be read.
        """
        head, answer = await self._transport.ask(request_parts(self._head(), body))
        if head.all(b"set-cookie"):
            self._take_cookies(head)
        encoding = head.all(b"content-encoding").strip().lower()
        if head.status in _SUCCESS and encoding in _AS_IT_IS:
            return answer
        response = httpx2.Response(
            head.status, headers=list(head.headers), stream=answer, request=self._request()
        )
        if head.status in _SUCCESS:
            return PlainBody(response)
        try:
            await response.aread()
        finally:
            await answer.close()
        raise Refused(response)

    async def close(self) -> None:
        """Close the connections that nobody uses."""
        self._transport.close()

    def _head(self) -> bytes:
        head = self._template.head
        if self._has_cookies:
            request = self._request()
            self._cookies.set_cookie_header(request)
            cookies = [line for line in request.headers.raw if line[0].lower() == b"cookie"]
            return head + b"".join(header_line(*line) for line in cookies)
        return head

    def _take_cookies(self, head: Head) -> None:
        response = httpx2.Response(head.status, headers=list(head.headers), request=self._request())
        self._cookies.extract_cookies(response)
        # One that was configured has the word.
        self._has_cookies = b"\r\ncookie:" not in self._template.head.lower()

    def _request(self) -> httpx2.Request:
        return httpx2.Request(self._template.method, self._template.url)
