"""Everything that runs together while a server serves, from its start to its drain."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, evolve, field
from prometheus_client import REGISTRY

from bargein.actors.clock import Clock, SystemChance, SystemClock
from bargein.actors.composition import untold
from bargein.actors.limits import Limits
from bargein.actors.registry import Sessions, anybody
from bargein.actors.retention import Retention
from bargein.agents.app import Apps
from bargein.agents.loading import app_named
from bargein.agents.sources import opened
from bargein.gateway.account import Share
from bargein.gateway.admission import Doorkeeper
from bargein.gateway.auth.attempts import Attempts
from bargein.gateway.auth.authority import Authority, secret_in
from bargein.gateway.auth.keys import shared_secret
from bargein.gateway.auth.stays import Stays
from bargein.gateway.auth.tokens import Claims
from bargein.gateway.auth.trail import Trail
from bargein.gateway.capacity import Capacity, Caps
from bargein.gateway.client import Reception
from bargein.gateway.egress import WireLimits
from bargein.gateway.handshake import AllowList, Upgrade
from bargein.gateway.handshakes import LOOPBACK, HandshakeLimits, Networks
from bargein.gateway.listener import Edge, listen
from bargein.gateway.logs import say
from bargein.gateway.pages import Pages
from bargein.gateway.quotas import Accounts
from bargein.gateway.rates import Rates
from bargein.gateway.request_head import Refusal
from bargein.gateway.served_model import ServedModel
from bargein.gateway.session_list import SessionList
from bargein.gateway.settings import Settings
from bargein.gateway.settings_groups import DAY_S, Auth, Quotas, Tls
from bargein.gateway.site import read_site
from bargein.gateway.tls import Certificate, CertificateInvalid
from bargein.gateway.tracing import Tracing, tracing_of
from bargein.gateway.visit import Manners
from bargein.gateway.vitals import Vitals
from bargein.gateway.watchdog import Watchdog
from bargein.memory.facts import Facts
from bargein.protocol.commands import Budgets
from bargein.protocol.contract import encoded as protocol_json
from bargein.timeline.archive import Archive

RECONNECT_AFTER_MS: Final = 1000

_log = structlog.get_logger()


@define(eq=False)
class Server:
    """Everything that runs together.  Lives as long as the process."""

    settings: Settings
    apps: Apps
    store: Archive
    served: ServedModel
    clock: SystemClock = field(factory=SystemClock)
    facts: Facts | None = field(default=None, kw_only=True)
    _recovered: bool = field(default=False, init=False)
    _capacity: Capacity | None = field(default=None, init=False)
    _certificate: Certificate | None = field(init=False)
    _authority: Authority | None = field(init=False)
    _entry: Doorkeeper = field(init=False)
    _stays: Stays = field(init=False)
    _accounts: Accounts = field(init=False)
    _tracing: Tracing | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        auth, limits = self.settings.auth, self.settings.limits
        uncounted = Networks.of(limits.uncounted_networks)
        attempts = Attempts(
            auth.failures_most, auth.failures_window_s, auth.shut_out_s, uncounted.__contains__
        )
        self._certificate = certificate_of(self.settings.tls)
        self._authority = authority_of(auth, self.clock)
        trail = Trail(self.store.record_audit, self.clock) if auth.on else None
        here = Networks.of(LOOPBACK).__contains__
        self._entry = Doorkeeper(self._authority, attempts, here, trail)
        self._accounts = Accounts(shares_of(self.settings) if auth.on else None, trail)
        self._stays = Stays(self._authority, auth.connection_s, auth.look_s, trail)
        traces = self.settings.traces
        self._tracing = tracing_of(traces.endpoint, traces.service, traces.queue_most)

    async def run(self, *, task_status: trio.TaskStatus[Edge] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until a signal asks for the end, then drain.

        Raises:
            PortTaken: Stop the other program, or choose another port.
            AddressUnusable: Choose an address of this machine, and a port that it lets you have.
            StoreError: If the store can't be opened, or died before all was over.
            FactsError: If what is remembered can't be opened.
        """
        sessions = Sessions(
            self.store,
            self.apps,
            self.served.model,
            self.clock,
            SystemChance(),
            self._limits(),
            may_commit=anybody if self._authority is None else self._authority.may_act,
            facts=self.facts,
            allowance=self._accounts.allowance,
            on_turn_over=untold if self._tracing is None else self._tracing.turn_over,
        )
        # Before anything is announced: a signal from now on is an orderly end.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as outer:
                # The store ends last: what the sessions wrote in their last moment is kept.
                await outer.start(self.store.run)
                if self._tracing is not None:
                    await outer.start(self._tracing.run)
                if self.facts is not None:
                    await outer.start(self.facts.run)
                await self._serve_until(signals, sessions, task_status)
                outer.cancel_scope.cancel(reason="drained")
        # Only now: it may also have died in the drain, or of the last that it was to write.
        if self.store.health.condition == "dead":
            raise await self.store.death()

    async def _serve_until(
        self,
        signals: AsyncIterator[int],
        sessions: Sessions,
        task_status: trio.TaskStatus[Edge],
    ) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(sessions.run)
            edge = await nursery.start(partial(self._listen, sessions))
            self._capacity = self._capacity_of(edge, sessions)
            self._announce(edge)
            task_status.started(edge)
            nursery.start_soon(self._recover, sessions)
            nursery.start_soon(self._renew)
            nursery.start_soon(self._stays.run)
            nursery.start_soon(self._capacity.keep)
            nursery.start_soon(self._retention(sessions).run)
            nursery.start_soon(Watchdog().run)
            nursery.start_soon(Vitals(lambda: self.store.health).run)
            if self.served.warm is not None:
                nursery.start_soon(self.served.warm)
            await self._end_of_service(signals)
            await edge.drain("the server stops", RECONNECT_AFTER_MS)
            nursery.cancel_scope.cancel(reason="drained")

    async def _end_of_service(self, signals: AsyncIterator[int]) -> None:
        """Wait for a signal, or for the store's death."""

        async def mourn(scope: trio.CancelScope) -> None:
            await self.store.death()
            scope.cancel(reason="the store is dead")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(mourn, nursery.cancel_scope)
            await _asked_to_stop(signals)
            nursery.cancel_scope.cancel(reason="asked to stop")

    async def _listen(
        self, sessions: Sessions, *, task_status: trio.TaskStatus[Edge] = trio.TASK_STATUS_IGNORED
    ) -> None:
        settings = self.settings

        async def go_away(reason: str, _: int) -> None:
            await sessions.drain(settings.drain_s, reason)

        entry = self._entry
        reception = Reception(sessions, self._manners(), self._stays, entry.renew, self._accounts)
        await listen(
            reception.serve,
            pages=Pages(
                self._readiness,
                REGISTRY,
                protocol_json(),
                read_site(console=settings.console),
            ),
            allowed=AllowList(settings.hosts, settings.origins),
            host=settings.host,
            port=settings.port,
            go_away=go_away,
            limits=WireLimits(
                message_bytes=settings.limits.command_bytes, stall_limit_s=settings.limits.stall_s
            ),
            admit=self._admit,
            admit_reader=entry.admit_reader,
            session_list=SessionList(self.store, sessions.holds, entry.caller_of),
            heartbeat_s=settings.heartbeat_s,
            frame_bytes=settings.limits.frame_bytes,
            open_limit_s=settings.limits.handshake_s,
            handshake_limits=handshake_limits_of(settings),
            certificate=self._certificate,
            task_status=task_status,
        )

    async def _admit(self, upgrade: Upgrade) -> Upgrade | Refusal:
        turned_away = None if self._capacity is None else self._capacity.turn_away(upgrade)
        return turned_away or await self._entry.admit(upgrade)

    def _capacity_of(self, edge: Edge, sessions: Sessions) -> Capacity:
        limits = self.settings.limits
        caps = Caps(limits.connections_most, limits.sessions_most, limits.memory_bytes)
        return Capacity(caps, sessions, lambda: edge.connections, lambda: edge.count)

    async def _recover(self, sessions: Sessions) -> None:
        settled = await sessions.recover()
        self._recovered = True
        if settled:
            _log.info("sessions.recovered", count=settled)

    async def _renew(self) -> None:
        """Read certificate, keys and app anew at each SIGHUP; running turns keep their app."""
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async with trio.open_nursery() as holders:
                async for _ in signals:
                    self._renew_certificate()
                    if self._authority is not None:
                        await self._authority.refresh(anyway=True)
                    try:
                        await holders.start(self._hold_app)
                    except Exception as error:  # noqa: BLE001 - it is somebody else's file
                        _log.exception("app.not_renewed", error=type(error).__name__)

    def _renew_certificate(self) -> None:
        if self._certificate is None:
            return
        try:
            self._certificate.renew()
        except CertificateInvalid as error:
            _log.error("certificate.not_renewed", reason=error.reason)
        else:
            _log.info("certificate.renewed")

    async def _hold_app(self, *, task_status: trio.TaskStatus[None]) -> None:
        # Held until the server ends: turns that began with it may run for long.
        async with opened(app_named(self.settings.app)) as app:
            self.apps.current = app
            _log.info("app.renewed", app=app.name)
            task_status.started()
            await trio.sleep_forever()

    def _retention(self, sessions: Sessions) -> Retention:
        days = self.settings.retention_days
        return Retention(self.store, self.clock, sessions, days * DAY_S if days else None)

    def _readiness(self) -> tuple[bool, str]:
        if not self._recovered:
            return False, "sessions are being recovered"
        health = self.store.health
        trouble = self.served.trouble() if health.is_sound else health.reason
        return not trouble, trouble or "ready"

    def _announce(self, edge: Edge) -> None:
        own = self.apps.current.client
        model = self.served.model if own is None else own
        origin = self.served.origin if own is None else "the app's own"
        scheme = "ws" if self._certificate is None else "wss"
        where = f"{scheme}://{edge.host}:{edge.port}/v1/session"
        _log.info(
            "server.started",
            url=where,
            app=self.apps.current.name,
            store=self.settings.store,
            auth=self.settings.auth.on,
            behind_proxy=self.settings.behind_proxy,
        )
        page = f"open:  {where.removesuffix('/v1/session').replace('ws', 'http', 1)}/\n"
        say(
            f"bargein serves {where}\n"
            f"model: {model.name} ({origin})\n"
            f"{page if self.settings.console else ''}"
            f"try:   npx wscat -c '{where}?view=text'"
        )

    def _limits(self) -> Limits:
        settings, budgets = self.settings, self.settings.budgets
        return Limits(
            queue_most=settings.queue_most,
            abandon_s=settings.abandon_ms / 1000,
            grace_s=settings.grace_s,
            idle_s=settings.idle_s,
            confirm_s=settings.confirm_s,
            budgets=Budgets(budgets.first_token_ms, budgets.turn_ms, budgets.cancel_ms),
            tail_events=settings.limits.tail_events,
            tail_bytes=settings.limits.tail_bytes,
        )

    def _manners(self) -> Manners:
        limits = self.settings.limits
        told = {
            "durability": self.store.durability,
            "command_bytes": limits.command_bytes,
            "frame_bytes": limits.frame_bytes,
            "queue_most": self.settings.queue_most,
            "history_events": 1000,
        }
        return Manners(
            f"bargein/{version('bargein')}",
            told,
            self.settings.heartbeat_s,
            limits.strikes_most,
            limits.strikes_window_s,
            limits.lagging_events,
            limits.lagging_s,
            Rates(
                limits.commands_per_s,
                limits.commands_burst,
                limits.speech_per_s,
                limits.speech_burst,
                limits.interrupts_per_s,
            ),
        )


def certificate_of(tls: Tls) -> Certificate | None:
    """Return what the port is encrypted with, None where it is not.

    Raises:
        CertificateInvalid: If the files can't be used.
    """
    if tls.certificate is None or tls.key is None:
        return None
    return Certificate(Path(tls.certificate), Path(tls.key))


def shares_of(settings: Settings) -> Callable[[str], Share]:
    """Return what says how much a principal of a tier may use."""

    def share(own: Quotas) -> Share:
        sessions = own.sessions_most, own.new_sessions_per_minute_most
        work = own.turns_most, own.tokens_per_hour_most, own.timeline_bytes
        return Share(own.connections_most, *sessions, *work)

    usual = share(settings.quotas)
    tiers = {name: share(evolve(settings.quotas, **own)) for name, own in settings.tiers.items()}
    return lambda tier: tiers.get(tier, usual)


def handshake_limits_of(settings: Settings) -> HandshakeLimits:
    """Return how many connections may be on their way to an upgrade."""
    limits = settings.limits
    return HandshakeLimits(
        limits.handshakes_most,
        limits.handshakes_per_address_most,
        Networks.of(limits.uncounted_networks),
        Networks.of(settings.trusted_proxies),
    )


def authority_of(auth: Auth, clock: Clock) -> Authority | None:
    """Return who says whose a token is; None where no auth is configured.

    Raises:
        AuthUnusable: If one of the files can't be used.
    """
    if not auth.on:
        return None
    authority = Authority(Claims(auth.leeway_s, auth.issuer, auth.audience), clock)
    if (secret := secret_of(auth)) is not None:
        authority.use_key("secret", shared_secret(secret))
    if auth.public_key is not None:
        authority.use_public_key(auth.public_key)
    if auth.jwks is not None:
        authority.use_published_keys(auth.jwks)
    if auth.revoked is not None:
        authority.use_revocations(auth.revoked)
    return authority


def secret_of(auth: Auth) -> str | None:
    """Return the shared secret, None where there is none.

    Raises:
        AuthUnusable: If its file can't be used.
    """
    if auth.secret is not None:
        return auth.secret.get_secret_value()
    return None if auth.secret_file is None else secret_in(auth.secret_file)


async def _asked_to_stop(signals: AsyncIterator[int]) -> None:
    """Wait for SIGTERM or SIGINT; a second one ends the process at once."""
    async for _ in signals:
        break
    _log.info("server.stopping")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
