"""The real server in this process: its real composition, real sockets, and a fake vendor.

    async with world([saying("Hello ", "you")]) as w:
        alice = await w.attach()
        await alice.converse("Hi")

At the end of a world everything that any client saw is held against the stored timelines, and
nothing may have been logged as an error.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import structlog
import trio
from attrs import define, evolve, field, has
from structlog.testing import capture_logs

from bargein.agents.app import App, Apps
from bargein.agents.assistant import ASSISTANT
from bargein.gateway.listener import Edge
from bargein.gateway.secret import Secret
from bargein.gateway.service import Server
from bargein.gateway.settings import AnthropicAccess, Limits, Quotas, Settings
from bargein.protocol.ids import NOTHING, SessionId
from bargein.server import cluster_of, open_facts, open_model, open_store
from bargein.timeline.store import Store, Stored
from tests.e2e.client import DEADLINE_S, Client, attached, dial
from tests.e2e.evidence import check_client, check_timeline
from tests.fakes.anthropic_answers import Answer
from tests.fakes.anthropic_api import Exchange, FakeAnthropic, Script, serving

KEY = "sk-fake"

FREE_LIMITS = Limits(
    commands_per_s=100_000,
    commands_burst=100_000,
    speech_per_s=100_000,
    speech_burst=100_000,
    interrupts_per_s=100_000,
)
"""A test sends as fast as it can; who wants to see the limits sets them."""


FREE_QUOTAS = Quotas(
    connections_most=1000,
    sessions_most=1000,
    new_sessions_per_minute_most=10_000,
    turns_most=1000,
    tokens_per_hour_most=10**9,
)
"""In the same way, of one principal."""


@define(eq=False)
class World:
    """A server, its vendor, and the clients that were attached to it."""

    settings: Settings
    api: FakeAnthropic
    app: App
    nursery: trio.Nursery
    logs: list[structlog.typing.EventDict]
    clients: list[Client] = field(factory=list[Client], init=False)
    forgiven: set[str] = field(factory=set[str], init=False)
    _store: Store | None = field(default=None, init=False)
    _edge: Edge | None = field(default=None, init=False)
    _server: Server | None = field(default=None, init=False)
    _running: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _ended: trio.Event = field(factory=trio.Event, init=False)

    @property
    def edge(self) -> Edge:
        assert self._edge is not None
        return self._edge

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    @property
    def port(self) -> int:
        return self.edge.port

    @property
    def store(self) -> Store:
        assert self._store is not None
        return self._store

    # --- the server ---------------------------------------------------------------

    async def start(self) -> None:
        """Start the server, on the port that it had before if there was one."""
        if self._edge is not None:
            self.settings = evolve(self.settings, port=self._edge.port)
        self._running, self._ended = trio.CancelScope(), trio.Event()
        self._edge = await self.nursery.start(self._serve)

    async def _serve(self, *, task_status: trio.TaskStatus[Edge]) -> None:
        store = self._store = open_store(self.settings)
        try:
            with self._running:
                async with open_model(self.settings) as served:
                    facts = open_facts(self.settings)
                    apps = Apps(self.app)
                    self._server = Server(
                        self.settings,
                        apps,
                        self._store,
                        served,
                        cluster=cluster_of(store),
                        facts=facts,
                        reread=lambda: self.settings,
                    )
                    await self._server.run(task_status=task_status)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel the server; it says no goodbye."""
        self._running.cancel()
        with trio.fail_after(DEADLINE_S):
            await self._ended.wait()

    async def renew(self, **changes: Any) -> None:
        """Let the sources of the settings say something else, and have them read as a SIGHUP does.

        A group is changed with a dictionary of what is to be other in it.
        """
        for name, value in changes.items():
            own = getattr(self.settings, name)
            is_group = has(cast("type[Any]", type(own)))
            new = evolve(own, **value) if is_group else value
            self.settings = evolve(self.settings, **{name: new})
        assert self.server.renewal is not None
        assert await self.server.renewal.renew_settings()

    # --- its clients --------------------------------------------------------------

    async def attach(self, session_id: str | None = None, **query: Any) -> Client:
        """Attach a client and wait until that is on the timeline."""
        client = await attached(self.nursery, self.port, session_id, **query)
        self.clients.append(client)
        return client

    async def dial(self, session_id: str | None = None, **query: Any) -> Client:
        """Connect a client and wait for nothing."""
        client = await dial(self.nursery, self.port, session_id, **query)
        self.clients.append(client)
        return client

    async def back(self, client: Client, **query: Any) -> Client:
        """Let a client that was cut off come back where it was."""
        return await self.attach(
            client.session_id, **{"after": client.last_seq, "epoch": client.epoch, **query}
        )

    # --- its vendor ---------------------------------------------------------------

    def exchange_about(self, words: str) -> Exchange | None:
        """Return the latest request whose last user message is *words*."""
        for exchange in reversed(self.api.exchanges):
            if last_words(exchange) == words:
                return exchange
        return None

    # --- what was kept ------------------------------------------------------------

    async def timeline(self, session_id: str) -> list[Stored]:
        """Read a whole timeline from the store."""
        stored: list[Stored] = []
        while page := await self.store.read(
            SessionId(session_id),
            stored[-1].seq if stored else NOTHING,
            limit=1000,
            most_bytes=1024 * 1024,
        ):
            stored += page
        return stored

    async def check(self) -> None:
        """Hold what every client saw against the store, and both against the rules."""
        for client in self.clients:
            if not client.frames or client.hello.type != "hello":
                continue
            last_seq = client.last_seq
            stored = [event.frame for event in await self.timeline(client.session_id)]
            assert len(stored) >= last_seq
            check_timeline(stored)
            check_client(client, stored)

    def errors(self) -> list[structlog.typing.EventDict]:
        return [
            line
            for line in self.logs
            if line["log_level"] in ("error", "critical") and line["event"] not in self.forgiven
        ]


def last_words(exchange: Exchange) -> str:
    """Return the last user message of a request, as one text."""
    message = exchange.body["messages"][-1]
    assert message["role"] == "user", message
    return text_of(message)


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def eventually(what: Callable[[], Any], within_s: float = DEADLINE_S) -> Any:
    """Wait until *what* returns something true, for facts that nobody announces."""
    with trio.fail_after(within_s):
        while not (found := what()):  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.005)
    return found


def _store_url(store: Path | str | None) -> str:
    if isinstance(store, Path):
        return f"sqlite:///{store}"
    return "memory:" if store is None else store


@asynccontextmanager
async def world(
    answers: Script | Sequence[Answer],
    *,
    store: Path | str | None = None,
    app: App = ASSISTANT,
    limits: Limits = FREE_LIMITS,
    quotas: Quotas = FREE_QUOTAS,
    deadline_s: float = 120.0,
    **settings: Any,
) -> AsyncGenerator[World]:
    """Run a server that asks a vendor who plays *answers*.

    Args:
        answers: See `tests.fakes.anthropic_api`.
        store: A SQLite file, or the URL of another store; else the timelines are in memory.
        app: What is served.
        limits: Of the settings.
        quotas: Of the settings; they hold where auth is on.
        deadline_s: For all of it.
        settings: Further settings.
    """
    # On a busy machine this takes longer than anybody here waits for an answer.
    import_module("anthropic")
    with capture_logs() as logs, trio.fail_after(deadline_s):
        async with serving(answers) as api, trio.open_nursery() as nursery:
            chosen = Settings(
                port=0,
                store=_store_url(store),
                limits=limits,
                quotas=quotas,
                anthropic=AnthropicAccess(Secret(KEY), api.url),
                **settings,
            )
            there = World(chosen, api, app, nursery, logs)
            await there.start()
            yield there
            await there.check()
            await there.stop()
            nursery.cancel_scope.cancel()
    assert there.errors() == []
