"""Which plain HTTP request on the same port is answered with what."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final

import trio
from attrs import define, field
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from bargein.gateway.page import HTML, METHODS, NOT_ALLOWED, Page, Reader, page_of
from bargein.gateway.site import Site

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


@define(eq=False)
class Pages:
    """Answer every path that is not a session's.  Lives as long as the listener.

    Attributes:
        readiness: Says whether new sessions can be served, and if not, why not.
        protocol_json: Works out the contract as data, as it is to be sent: once, when somebody asks
            for it, in a thread.
        site: The files that are served; without the console among them, `/` is a page for people
            with a terminal.
        figures_of_all: Tells what all workers count, for `/metrics`; None where this is all of
            them.
    """

    readiness: Callable[[], tuple[bool, str]]
    registry: CollectorRegistry
    protocol_json: Callable[[], bytes]
    site: Site = field(factory=Site)
    figures_of_all: Callable[[], Awaitable[bytes]] | None = None
    _contract: bytes = field(default=b"", init=False)
    _working_out: trio.Lock = field(factory=trio.Lock, init=False)
    _metrics: bytes = field(default=b"", init=False)
    _metrics_made_at_s: float = field(default=float("-inf"), init=False)

    async def prepare(self, path: str) -> None:
        """Gather what takes a while, or is asked elsewhere, before a path can be answered."""
        if path == "/protocol.json" and not self._contract:
            async with self._working_out:
                # Whoever was first has worked it out for those who waited.
                if not self._contract:
                    self._contract = await trio.to_thread.run_sync(self.protocol_json)
        if self.figures_of_all is not None and path == "/metrics" and not self._metrics_fresh:
            self._metrics = await self.figures_of_all()
            self._metrics_made_at_s = trio.current_time()

    def answer(self, method: str, path: str, reader: Reader | None = None) -> Page:
        """Answer one request.

        Args:
            method: As in the request line.
            path: As in the request line; the query is not looked at.
            reader: Who asks; by default somebody on this machine who has nothing yet.
        """
        reader = reader or Reader()
        if method not in METHODS:
            return NOT_ALLOWED
        bare = path.partition("?")[0]
        if (page := self.site.page(bare, reader)) is not None:
            return page
        match bare:
            case "/healthz":
                return page_of(HTTPStatus.OK, "ok\n")
            case "/readyz":
                ready, reason = self.readiness()
                status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                return page_of(status, reason + "\n")
            case "/metrics":
                return page_of(HTTPStatus.OK, self._fresh_metrics(), kind=CONTENT_TYPE_LATEST)
            case "/protocol.json":
                return page_of(HTTPStatus.OK, self._told_contract, kind="application/json")
            case "/":
                # The host was on the allow-list, which holds no character that HTML would mind.
                return page_of(HTTPStatus.OK, _FRONT.format(host=reader.host), kind=HTML)
            case _:
                return page_of(
                    HTTPStatus.NOT_FOUND,
                    "There is nothing here; sessions are opened on /v1/session, see /.\n",
                )

    @property
    def _told_contract(self) -> bytes:
        return self._contract or self.protocol_json()

    @property
    def _metrics_fresh(self) -> bool:
        return trio.current_time() - self._metrics_made_at_s < _METRICS_LIFE_S

    def _fresh_metrics(self) -> bytes:
        if self.figures_of_all is None and not self._metrics_fresh:
            self._metrics = generate_latest(self.registry)
            self._metrics_made_at_s = trio.current_time()
        return self._metrics
