"""What a plain HTTP request on the same port is answered with."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import trio
from attrs import define, field, frozen
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bargein.gateway.request_head import SECURITY_HEADERS

_TEXT: Final = "text/plain; charset=utf-8"
# A scraper asks every 15 s; whoever asks a hundred times a second gets the same bytes.
_METRICS_LIFE_S: Final = 1.0

UNCHECKED_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""Answered whatever the `Host`: an orchestrator asks by address, and there is nothing to steal."""

GUARDED_PATHS: Final = frozenset({"/metrics"})
"""Where auth is on, for this machine and for those who have a token."""

_FRONT: Final = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>bargein</title>
<h1>bargein</h1>
<p>This is a WebSocket server for conversations with agents that can be interrupted.
A browser can't do much with this page; a terminal can:</p>
<pre>npx wscat -c "ws://{host}/v1/session?view=text"</pre>
<p>Type a sentence to talk, another one to interrupt, <code>/help</code> for the rest.</p>
<p>Programs offer the subprotocol <code>bargein.v1</code> and get JSON:
<a href="/protocol.json">the contract</a>.
Operators look at <a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a> and
<a href="/metrics">/metrics</a>.</p>
</html>
"""


@frozen
class Page:
    """An HTTP answer.

    Attributes:
        body: Sent with GET; with HEAD only its length is.
        headers: All but Date, Connection and Content-Length.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


@define(eq=False)
class Pages:
    """Answer every path that is not a session's.  Lives as long as the listener.

    Attributes:
        readiness: Says whether new sessions can be served, and if not, why not.
        protocol_json: The contract as data, as it is to be sent.
    """

    readiness: Callable[[], tuple[bool, str]]
    registry: CollectorRegistry
    protocol_json: bytes
    _metrics: bytes = field(default=b"", init=False)
    _metrics_made_at_s: float = field(default=float("-inf"), init=False)

    def answer(self, method: str, path: str, host: str = "127.0.0.1:8710") -> Page:
        """Answer one request.

        Args:
            method: As in the request line.
            path: As in the request line; the query is not looked at.
            host: By which name the client called, already checked.
        """
        if method not in ("GET", "HEAD"):
            return _page(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "Only GET and HEAD are served here.\n",
                ("Allow", "GET, HEAD"),
            )
        match path.partition("?")[0]:
            case "/healthz":
                return _page(HTTPStatus.OK, "ok\n")
            case "/readyz":
                ready, reason = self.readiness()
                status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                return _page(status, reason + "\n")
            case "/metrics":
                return _page(HTTPStatus.OK, self._fresh_metrics(), kind=CONTENT_TYPE_LATEST)
            case "/protocol.json":
                return _page(HTTPStatus.OK, self.protocol_json, kind="application/json")
            case "/":
                # The host was on the allow-list, which holds no character that HTML would mind.
                front = _FRONT.format(host=host)
                return _page(HTTPStatus.OK, front, kind="text/html; charset=utf-8")
            case _:
                return _page(
                    HTTPStatus.NOT_FOUND,
                    "There is nothing here; sessions are opened on /v1/session, see /.\n",
                )

    def _fresh_metrics(self) -> bytes:
        now_s = trio.current_time()
        if now_s - self._metrics_made_at_s >= _METRICS_LIFE_S:
            self._metrics = generate_latest(self.registry)
            self._metrics_made_at_s = now_s
        return self._metrics


def _page(
    status: HTTPStatus, body: str | bytes, *headers: tuple[str, str], kind: str = _TEXT
) -> Page:
    content = body.encode() if isinstance(body, str) else body
    return Page(status, content, (("Content-Type", kind), *SECURITY_HEADERS, *headers))
