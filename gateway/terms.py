"""What settings come to for each part of a server: values, computed from values."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from attrs import evolve

from bargein.actors.limits import Limits
from bargein.actors.slot_queue import SlotTerms
from bargein.gateway.account import USUAL, Share
from bargein.gateway.auth.tokens import Claims
from bargein.gateway.capacity import Caps
from bargein.gateway.egress import WireLimits
from bargein.gateway.handshake import AllowList
from bargein.gateway.handshakes import HandshakeLimits, Networks
from bargein.gateway.listener import Terms
from bargein.gateway.manners import Manners
from bargein.gateway.rates import Rates
from bargein.gateway.settings import Settings
from bargein.gateway.settings_groups import DAY_S, Auth, Quotas
from bargein.gateway.settings_kinds import AUTO
from bargein.gateway.workers.scaling import Bounds
from bargein.protocol.commands import Budgets

SERVER: Final = f"bargein/{version('bargein')}"
"""Read once: in an upgrade the package's files may be away for a while."""


def limits_of(settings: Settings) -> Limits:
    """Return what sessions are held to."""
    budgets = settings.budgets
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


def manners_of(settings: Settings, durability: str) -> Manners:
    """Return what clients are told and held to."""
    limits = settings.limits
    told = {
        "durability": durability,
        "command_bytes": limits.command_bytes,
        "frame_bytes": limits.frame_bytes,
        "queue_most": settings.queue_most,
        "history_events": 1000,
    }
    return Manners(
        SERVER,
        told,
        settings.heartbeat_s,
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


def terms_of(settings: Settings) -> Terms:
    """Return what whoever comes to the port is held to."""
    limits = settings.limits
    return Terms(
        AllowList(settings.hosts, settings.origins),
        WireLimits(
            stall_limit_s=limits.stall_s,
            heartbeat_s=settings.heartbeat_s,
            open_limit_s=limits.handshake_s,
            message_bytes=limits.command_bytes,
            frame_bytes=limits.frame_bytes,
        ),
        HandshakeLimits(
            limits.handshakes_most,
            limits.handshakes_per_address_most,
            Networks.of(limits.uncounted_networks),
            Networks.of(settings.trusted_proxies),
        ),
    )


def caps_of(settings: Settings) -> Caps:
    """Return what the process may hold."""
    limits = settings.limits
    return Caps(limits.connections_most, limits.sessions_most, limits.memory_bytes)


def bounds_of(settings: Settings) -> Bounds:
    """Return how many workers there may be."""
    limits = settings.limits
    full = limits.sessions_most, limits.connections_most
    if settings.workers != AUTO:
        return Bounds(int(settings.workers), int(settings.workers), *full)
    least = settings.workers_min or 1
    return Bounds(least, settings.workers_max or max(least, _cores()), *full)


def _cores() -> int:
    """Count the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # no Linux
        return os.cpu_count() or 1


def claims_of(auth: Auth) -> Claims:
    """Return what is asked of tokens."""
    return Claims(auth.leeway_s, auth.issuer, auth.audience)


def age_limit_s(settings: Settings) -> float | None:
    """Return the age at which a session goes; None where all are kept."""
    return settings.retention_days * DAY_S if settings.retention_days else None


def shares_of(settings: Settings) -> Callable[[str], Share]:
    """Return what says how much a principal of a tier may use."""

    def share(own: Quotas, tier: str = USUAL) -> Share:
        sessions = own.sessions_most, own.new_sessions_per_minute_most
        work = own.turns_most, own.tokens_per_hour_most, own.timeline_bytes
        place = own.rank or 0, own.weight or 1
        return Share(own.connections_most, *sessions, *work, *place, tier)

    usual = share(settings.quotas)
    quotas, tiers = settings.quotas, settings.tiers
    shares = {name: share(evolve(quotas, **own), name) for name, own in tiers.items()}
    return lambda tier: shares.get(tier, usual)


def slot_terms_of(settings: Settings) -> SlotTerms:
    """Return how model slots are shared."""
    own = settings.slots
    waits = own.waiting_most, own.wait_s
    return SlotTerms(settings.model_slots, own.aging_s, own.preempted_most, *waits)
