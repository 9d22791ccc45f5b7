"""The composition root and the command line: here alone it is chosen what runs together.

What only some servers or other verbs need is imported where it is needed: most of the time until a
server is ready goes into imports.
"""

# ruff: noqa: E402  see below
from __future__ import annotations

import gc

_THRESHOLDS = gc.get_threshold()
gc.set_threshold(100_000)  # nothing of what is imported is garbage; to look takes 80 ms

import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import trio
from attrs import evolve

from bargein.actors.clock import SystemClock, utc_text
from bargein.agents.app import App, AppInvalid, Apps
from bargein.agents.loading import AppNotFound, app_named
from bargein.agents.sources import opened
from bargein.cluster.membership import Cluster
from bargein.cluster.nodes import Node
from bargein.gateway.app_renewal import stamp_of_app
from bargein.gateway.auth.authority import AuthUnusable
from bargein.gateway.auth.watched_file import Stamp
from bargein.gateway.flags import (
    BAD_CONFIGURATION,
    STORE_DIED,
    Verbs,
    fail,
    first_of,
    read_first,
    settings_of,
    sources_of,
    with_settings,
)
from bargein.gateway.interpreter import tune_interpreter, warm_for_good
from bargein.gateway.logs import set_up_logs
from bargein.gateway.otlp import TracesUnusable
from bargein.gateway.ports import AddressUnusable, PortTaken
from bargein.gateway.redaction import Redaction, secrets_in
from bargein.gateway.renewal import Missed
from bargein.gateway.served_model import ServedModel
from bargein.gateway.service import Server, authority_of, certificate_of, secret_of
from bargein.gateway.settings import Settings
from bargein.gateway.settings_groups import RedisAccess
from bargein.gateway.terms import bounds_of
from bargein.gateway.tls import CertificateInvalid
from bargein.gateway.workers.tether import Tether
from bargein.memory.errors import FactsError, FactsUnreadable
from bargein.memory.facts import Facts
from bargein.memory.schema import path_beside
from bargein.memory.sqlite import SqliteFacts
from bargein.memory.volatile import VolatileFacts
from bargein.models.anthropic import DEFAULT_URL, AnthropicModel
from bargein.models.breaker import Breaking
from bargein.models.retry import Retrying
from bargein.models.screenplay import ScreenplayInvalid, default_screenplay, screenplay_at
from bargein.models.scripted import ScriptedModel
from bargein.timeline.archive import Archive
from bargein.timeline.memory import MemoryStore
from bargein.timeline.redis_address import Address
from bargein.timeline.schema import is_in_use
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import (
    SchemaTooNew,
    StoreDead,
    StoreError,
    StoreUnavailable,
    StoreUnopened,
    StoreUnsuitable,
)
from bargein.tools.mcp import McpUnavailable

gc.set_threshold(*_THRESHOLDS)

WRONG: Final = (
    AppNotFound,
    AppInvalid,
    McpUnavailable,
    ScreenplayInvalid,
    PortTaken,
    AddressUnusable,
    SchemaTooNew,
    StoreUnopened,
    StoreUnsuitable,
    AuthUnusable,
    CertificateInvalid,
    FactsError,
    TracesUnusable,
)
"""What an operator has to mend before the server can start."""


def open_store(settings: Settings, *, is_server: bool = True) -> Archive:
    """Return the store that the settings name, to serve from it; it opens when it runs.

    A visitor, who only looks after what is stored, says that it is no server.

    Raises:
        StoreUnopened: If the password of a Redis can't be read.
    """
    if settings.store_on_redis:
        from bargein.timeline.redis.cold_folder import ColdFolder
        from bargein.timeline.redis.store import RedisStore

        access = settings.redis
        return RedisStore(
            Address.of(settings.store, password_of(access)),
            is_server=is_server,
            replicas=access.replicas,
            cold=None if access.cold_dir is None else ColdFolder(Path(access.cold_dir)),
            cold_after_s=access.cold_after_s,
        )
    path = settings.store_path
    return MemoryStore() if path is None else SqliteStore(path)


visit_store = partial(open_store, is_server=False)


def cluster_of(store: Archive) -> Cluster:
    """Return how this process reaches the others that serve from *store*; else that it is alone."""
    if isinstance(store, SqliteStore | MemoryStore):
        return Cluster()
    from bargein.cluster.redis_bus import RedisBus
    from bargein.cluster.redis_nodes import RedisNodes
    from bargein.cluster.redis_slots import RedisSlots
    from bargein.timeline.redis.store import RedisStore

    if not isinstance(store, RedisStore):
        return Cluster()
    nodes = RedisNodes(store.address, store.lease)
    bus, slots = RedisBus(store.address, nodes.me), RedisSlots(store.address, nodes.me)
    return Cluster(nodes, bus, store.owners, slots)


async def nodes_of(settings: Settings) -> list[Node]:
    """List who serves from the Redis that the settings name, on every machine.

    Raises:
        StoreError: If that can't be known now.
    """
    from bargein.cluster.redis_listing import listed_nodes

    return await listed_nodes(Address.of(settings.store, password_of(settings.redis)))


def password_of(access: RedisAccess) -> str | None:
    """Return the password for Redis, None where there is none.

    Raises:
        StoreUnopened: If its file can't be read.
    """
    if access.password is not None:
        return access.password.get_secret_value()
    if access.password_file is None:
        return None
    try:
        return Path(access.password_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise StoreUnopened(f"{access.password_file} (redis.password_file) can't be read") from None


async def is_served(settings: Settings) -> bool:
    """Say whether a server serves from the store that the settings name.

    Raises:
        StoreError: If that can't be known.
    """
    if not settings.store_on_redis:
        path = settings.store_path
        return path is not None and is_in_use(path)
    store: Any = visit_store(settings)  # of these, that on Redis can tell
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        served = await store.is_served()
        nursery.cancel_scope.cancel(reason="it is known")
    return served


def open_facts(settings: Settings) -> Facts:
    """Return the memory beside the store that the settings name; it opens when it runs.

    Raises:
        FactsUnreadable: If the password of a Redis can't be read.
    """
    clock = SystemClock()

    def now() -> str:
        return utc_text(clock.utc_ms())

    if settings.store_on_redis:
        from bargein.cluster.redis_facts import RedisFacts

        try:
            address = Address.of(settings.store, password_of(settings.redis))
            return RedisFacts(address, now, replicas=settings.redis.replicas)
        except StoreUnopened as error:
            raise FactsUnreadable(error.cause) from error
    path = settings.store_path
    return VolatileFacts(now) if path is None else SqliteFacts(path_beside(path), now)


@asynccontextmanager
async def open_model(settings: Settings, play: Path | None = None) -> AsyncGenerator[ServedModel]:
    """Return Anthropic's model where there is a key, else the scripted one.

    It plays what the settings name, else the app's *play*, else the default.

    Raises:
        ScreenplayInvalid: If the screenplay can't be played.
    """
    access = settings.anthropic
    if access.api_key is None:
        path = settings.screenplay or play
        scripted = ScriptedModel(screenplay_at(Path(path)) if path else default_screenplay())
        yield ServedModel(scripted, "because ANTHROPIC_API_KEY is not set")
        return
    key = access.api_key.get_secret_value()
    url = access.base_url or DEFAULT_URL
    async with AnthropicModel(key, settings.model, url=url) as model:
        origin = access.base_url or "Anthropic's API"
        breaking = Breaking(model)
        yield ServedModel(Retrying(breaking), origin, model.warm, breaking.trouble)


async def serve(
    settings: Settings,
    app: App,
    app_seen: Stamp | None,
    reread: Callable[[], Settings],
    redaction: Redaction,
    missed: Missed,
    tether: Tether | None = None,
) -> None:
    """Run the server until it is asked to stop; at a SIGHUP, *reread* says what is to hold then."""
    async with open_model(settings, app.screenplay) as model, opened(app) as ready:
        warm = None if model.warm is None else partial(warm_for_good, model.warm)
        served = evolve(model, warm=warm)
        store = open_store(settings)
        server = Server(
            settings,
            Apps(ready),
            store,
            served,
            cluster=cluster_of(store),
            facts=open_facts(settings),
            reread=reread,
            redaction=redaction,
            app_seen=app_seen,
            missed=missed,
            tether=tether,
        )
        await server.run()


# --- the command line -------------------------------------------------------------


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bargein")
def main() -> None:
    """Serve real-time agents that can be interrupted."""


@main.command("serve")
@click.argument("app", required=False)
@with_settings
def serve_command(app: str | None, config: Path | None, **flags: Any) -> None:
    """Serve APP (`path.py:name` or `module:name`; a built-in assistant without it)."""
    missed = Missed()
    signal.signal(signal.SIGHUP, missed.note)
    tether = Tether.of(os.environ)
    redaction = set_up_logs(worker=None if tether is None else tether.number)
    sources = sources_of(config, flags, app)
    settings = read_first(sources)
    redaction.pii = settings.logs.pii
    redaction.hide(*secrets_in(settings))

    def reread() -> Settings:
        again = sources()
        redaction.hide(*secrets_in(again))
        return again

    try:
        redaction.hide(secret_of(settings.auth) or "", password_of(settings.redis) or "")
        if settings.supervised:
            from bargein.gateway.workers.supervise import supervise

            sys.exit(supervise(settings, bounds_of(settings), app, config, flags))
        app_seen = stamp_of_app(settings.app)
        served = app_named(settings.app)
        tune_interpreter()
        trio.run(serve, settings, served, app_seen, reread, redaction, missed, tether)
    except* WRONG as group:
        fail(first_of(group), BAD_CONFIGURATION)
    except* (StoreDead, StoreUnavailable) as group:  # a new process may have better luck
        fail(first_of(group), STORE_DIED)
    except* StoreError as group:
        fail(first_of(group), BAD_CONFIGURATION)


@main.command("check")
@click.argument("app", required=False)
@with_settings
def check_command(app: str | None, config: Path | None, **flags: Any) -> None:
    """Validate a configuration and say what it comes to; exit 78 if it is wrong."""
    settings = settings_of(config, flags, app)
    try:
        served = app_named(settings.app)
        if path := settings.screenplay or served.screenplay:
            screenplay_at(Path(path))
        authority_of(settings.auth, SystemClock())
        password_of(settings.redis)
        certificate_of(settings.tls)
    except (
        AppNotFound,
        AppInvalid,
        ScreenplayInvalid,
        AuthUnusable,
        CertificateInvalid,
        StoreUnopened,
    ) as error:
        fail(str(error), BAD_CONFIGURATION)
    agents = ", ".join(agent.name for agent in served.agents)
    model = settings.model if settings.anthropic.api_key else "scripted"
    click.echo(f"app     {served.name} (agents: {agents})")
    click.echo(f"model   {model}")
    click.echo(f"store   {settings.store}")
    click.echo(f"listen  {settings.host}:{settings.port}")


def _verb(name: str) -> click.Command:
    """Return one of the verbs that a server which starts can do without."""
    match name:
        case "audit":
            from bargein.gateway.audit_commands import audit_commands

            verb = audit_commands(visit_store)
        case "chat":
            from bargein.gateway.terminal.command import chat_command as verb
        case "graph":
            from bargein.gateway.graph_command import graph_command as verb
        case "memory":
            from bargein.gateway.memory_commands import memory_commands

            verb = memory_commands(open_facts)
        case "replay":
            from bargein.gateway.replay import replay_command

            verb = replay_command(visit_store)
        case "report":
            from bargein.gateway.report_commands import report_command

            verb = report_command(visit_store)
        case "sessions":
            from bargein.gateway.session_commands import session_commands

            verb = session_commands(visit_store, is_served, open_facts)
        case "token":
            from bargein.gateway.token_command import token_command as verb
        case _:
            from bargein.gateway.workers.command import workers_command

            verb = workers_command(nodes_of)
    return verb


VERBS: Final = [
    "audit",
    "chat",
    "graph",
    "memory",
    "replay",
    "report",
    "sessions",
    "token",
    "workers",
]
for _name in VERBS:
    main.later(_name, partial(_verb, _name))

if __name__ == "__main__":
    main()
