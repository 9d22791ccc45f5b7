"""Everything that runs together while a server serves, from its start to its drain."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field, frozen
from prometheus_client import REGISTRY

from bargein.actors.clock import Clock, SystemChance, SystemClock
from bargein.actors.composition import untold
from bargein.actors.registry import Sessions, anybody
from bargein.actors.retention import Retention
from bargein.actors.slots import LocalSlots
from bargein.agents.app import Apps
from bargein.cluster.membership import Cluster, Membership
from bargein.cluster.slots import SharedSlots
from bargein.gateway.admission import Doorkeeper
from bargein.gateway.app_renewal import AppRenewal
from bargein.gateway.auth.attempts import Attempts
from bargein.gateway.auth.authority import Authority, secret_in
from bargein.gateway.auth.keys import shared_secret
from bargein.gateway.auth.stays import Stays
from bargein.gateway.auth.trail import Trail
from bargein.gateway.auth.watched_file import Stamp
from bargein.gateway.capacity import Capacity
from bargein.gateway.client import Reception
from bargein.gateway.collector import Collector
from bargein.gateway.handshake import Upgrade
from bargein.gateway.handshakes import LOOPBACK, Networks
from bargein.gateway.listener import Edge, listen
from bargein.gateway.logs import say
from bargein.gateway.pages import Pages
from bargein.gateway.quotas import Accounts
from bargein.gateway.redaction import Redaction
from bargein.gateway.renewal import Missed, Renewal
from bargein.gateway.request_head import Refusal
from bargein.gateway.served_model import ServedModel
from bargein.gateway.session_list import SessionList
from bargein.gateway.settings import Settings
from bargein.gateway.settings_groups import Auth, Tls
from bargein.gateway.site import read_site
from bargein.gateway.stopping import asked_to_stop
from bargein.gateway.terms import (
    age_limit_s,
    caps_of,
    claims_of,
    limits_of,
    manners_of,
    shares_of,
    slot_terms_of,
    terms_of,
)
from bargein.gateway.tls import Certificate
from bargein.gateway.tracing import Tracing, tracing_of
from bargein.gateway.vitals import Vitals
from bargein.gateway.watchdog import Watchdog
from bargein.gateway.workers.tether import Standing, Tether
from bargein.memory.facts import Facts
from bargein.protocol.contract import encoded as protocol_json
from bargein.timeline.archive import Archive

RECONNECT_AFTER_MS: Final = 1000

_log = structlog.get_logger()


@frozen
class _Parts:
    """Where settings are held to in a running server, beside what the server itself has."""

    sessions: Sessions
    reception: Reception
    edge: Edge
    capacity: Capacity
    retention: Retention


@define(eq=False)
class Server:
    """Everything that runs together.  Lives as long as the process.

    Attributes:
        settings: What holds now; a SIGHUP puts others in their place.
        reread: Reads all sources of settings anew; None where there are none.
        redaction: What hides secrets from the logs.
        app_seen: What the app's file looked like before it was read; None where nobody looked.
        cluster: The processes that serve together; by default this one alone.
        missed: Has taken the SIGHUPs that came before the port is open.
        tether: To the supervisor of this worker; None where this is no worker.
        renewal: What a SIGHUP does; None before the port is open.
    """

    settings: Settings
    apps: Apps
    store: Archive
    served: ServedModel
    clock: SystemClock = field(factory=SystemClock)
    facts: Facts | None = field(default=None, kw_only=True)
    reread: Callable[[], Settings] | None = field(default=None, kw_only=True)
    redaction: Redaction = field(factory=Redaction, kw_only=True)
    app_seen: Stamp | None = field(default=None, kw_only=True)
    cluster: Cluster = field(factory=Cluster, kw_only=True)
    missed: Missed = field(factory=Missed, kw_only=True)
    tether: Tether | None = field(default=None, kw_only=True)
    renewal: Renewal | None = field(default=None, init=False)
    _recovered: bool = field(default=False, init=False)
    _capacity: Capacity | None = field(default=None, init=False)
    _certificate: Certificate | None = field(init=False)
    _authority: Authority | None = field(init=False)
    _attempts: Attempts = field(init=False)
    _entry: Doorkeeper = field(init=False)
    _member: Membership = field(init=False)
    _stays: Stays = field(init=False)
    _accounts: Accounts = field(init=False)
    _slots: LocalSlots | SharedSlots = field(init=False)
    _tracing: Tracing | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        auth = self.settings.auth
        uncounted = Networks.of(self.settings.limits.uncounted_networks).__contains__
        self._attempts = Attempts(
            auth.failures_most, auth.failures_window_s, auth.shut_out_s, uncounted
        )
        self._certificate = certificate_of(self.settings.tls)
        self._authority = authority_of(auth, self.clock)
        trail = Trail(self.store.record_audit, self.clock) if auth.on else None
        here = Networks.of(LOOPBACK).__contains__
        self._entry = Doorkeeper(self._authority, self._attempts, here, trail)
        terms = slot_terms_of(self.settings)
        self._slots = self.cluster.slots or LocalSlots(terms)
        if self.cluster.slots is not None:
            self.cluster.slots.hold_to(terms)
        shares = shares_of(self.settings) if auth.on else None
        self._accounts = Accounts(shares, trail, self._slots)
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
            limits_of(self.settings),
            may_commit=anybody if self._authority is None else self._authority.may_act,
            facts=self.facts,
            allowance=self._accounts.allowance,
            on_turn_over=untold if self._tracing is None else self._tracing.turn_over,
            ownership=self.cluster.ownership,
        )
        self._member = Membership(self.cluster, sessions, self.clock)
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
            await nursery.start(self._member.run)
            reception = self._reception_of(sessions)
            edge = await nursery.start(partial(self._listen, sessions, reception))
            self._capacity = Capacity(
                caps_of(self.settings), sessions, lambda: edge.connections, lambda: edge.count
            )
            age_s = age_limit_s(self.settings)
            retention = Retention(self.store, self.clock, sessions, age_s)
            self.renewal = self._renewal_of(
                _Parts(sessions, reception, edge, self._capacity, retention)
            )
            self._announce(edge)
            task_status.started(edge)
            nursery.start_soon(self._recover)
            nursery.start_soon(self.renewal.run)
            nursery.start_soon(self._stays.run)
            nursery.start_soon(self._capacity.keep)
            nursery.start_soon(retention.run)
            nursery.start_soon(Watchdog().run)
            nursery.start_soon(Vitals(lambda: self.store.health).run)
            nursery.start_soon(Collector().run)
            if self.tether is not None:
                bury = self.cluster.nodes.bury
                nursery.start_soon(self.tether.run, lambda: self._standing(sessions, edge), bury)
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
            await asked_to_stop(signals)
            nursery.cancel_scope.cancel(reason="asked to stop")

    def _reception_of(self, sessions: Sessions) -> Reception:
        manners = manners_of(self.settings, self.store.durability)
        entry, follow = self._entry, self._member.follow
        return Reception(sessions, manners, self._stays, entry.renew, self._accounts, follow)

    async def _listen(
        self,
        sessions: Sessions,
        reception: Reception,
        *,
        task_status: trio.TaskStatus[Edge] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        settings, entry = self.settings, self._entry

        async def go_away(reason: str, _: int) -> None:
            await self._member.drain(self.settings.drain_s, reason)

        await listen(
            reception.serve,
            pages=Pages(
                self._readiness,
                REGISTRY,
                protocol_json,
                read_site(console=settings.console, page=self.apps.current.page),
                None if self.tether is None else self.tether.figures,
            ),
            terms=terms_of(settings),
            host=settings.host,
            port=settings.port,
            go_away=go_away,
            admit=self._admit,
            admit_reader=entry.admit_reader,
            session_list=SessionList(self.store, sessions.holds, entry.caller_of),
            certificate=self._certificate,
            shared=self.tether is not None,
            task_status=task_status,
        )

    async def _admit(self, upgrade: Upgrade) -> Upgrade | Refusal:
        turned_away = None if self._capacity is None else self._capacity.turn_away(upgrade)
        return turned_away or await self._entry.admit(upgrade)

    def _renewal_of(self, parts: _Parts) -> Renewal:
        return Renewal(
            lambda: self.settings,
            self.reread or (lambda: self.settings),
            partial(self._hold_to, parts),
            self._certificate,
            self._authority,
            AppRenewal(self.apps, self.settings.app, self.app_seen),
            self.missed,
        )

    def _hold_to(self, parts: _Parts, settings: Settings) -> None:
        """Put *settings* in the place of those that hold, and tell everybody who keeps a part.

        All is computed before anything is assigned, so what fails leaves everything as it was.
        """
        auth, terms, shares = settings.auth, terms_of(settings), shares_of(settings)
        manners = manners_of(settings, self.store.durability)
        limits, caps, age_s = limits_of(settings), caps_of(settings), age_limit_s(settings)
        claims, uncounted = claims_of(auth), terms.handshake_limits.uncounted
        slot_terms = slot_terms_of(settings)
        self.settings = settings
        self.redaction.pii = settings.logs.pii
        parts.sessions.limits = limits
        parts.reception.manners = manners
        parts.edge.hold_to(terms)
        parts.capacity.hold_to(caps)
        parts.retention.keep_for(age_s)
        self._accounts.share_out(shares)
        self._slots.hold_to(slot_terms)
        self._stays.longest_s, self._stays.look_s = auth.connection_s, auth.look_s
        attempts = self._attempts
        attempts.most, attempts.window_s = auth.failures_most, auth.failures_window_s
        attempts.shut_out_s, attempts.exempt = auth.shut_out_s, uncounted.__contains__
        if self._authority is not None:
            self._authority.claims = claims

    async def _recover(self) -> None:
        settled = await self._member.recover()
        self._recovered = True
        if settled:
            _log.info("sessions.recovered", count=settled)

    def _readiness(self) -> tuple[bool, str]:
        if not self._recovered:
            return False, "sessions are being recovered"
        health = self.store.health
        trouble = self.served.trouble() if health.is_sound else health.reason
        return not trouble, trouble or "ready"

    def _standing(self, sessions: Sessions, edge: Edge) -> Standing:
        ready, reason = self._readiness()
        trouble = None if ready else reason
        me = self.cluster.nodes.me
        return Standing(trouble, sessions.live, edge.count, self.settings.drain_s, me)

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
        if self.tether is not None:
            return  # its supervisor has said it for all
        page = f"open:  {where.removesuffix('/v1/session').replace('ws', 'http', 1)}/\n"
        say(
            f"bargein serves {where}\n"
            f"model: {model.name} ({origin})\n"
            f"{page if self.settings.console else ''}"
            f"try:   npx wscat -c '{where}?view=text'"
        )


def certificate_of(tls: Tls) -> Certificate | None:
    """Return what the port is encrypted with, None where it is not.

    Raises:
        CertificateInvalid: If the files can't be used.
    """
    if tls.certificate is None or tls.key is None:
        return None
    return Certificate(Path(tls.certificate), Path(tls.key))


def authority_of(auth: Auth, clock: Clock) -> Authority | None:
    """Return who says whose a token is; None where no auth is configured.

    Raises:
        AuthUnusable: If one of the files can't be used.
    """
    if not auth.on:
        return None
    authority = Authority(claims_of(auth), clock)
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
