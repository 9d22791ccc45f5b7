"""How long a turn should take at most, and what is said where it took longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from bargein.actors.counters import OVERRUNS
from bargein.actors.phases import FIRST_BYTE, SLOT
from bargein.protocol.commands import Budgets
from bargein.protocol.events import Object, Span
from bargein.protocol.ids import TurnId
from bargein.protocol.state import SessionState

OVERRUN: Final = "budget.exceeded"
"""The `kind` of the `object` that says so."""

QUEUES: Final = ("queue", SLOT)
"""Phases in which a turn had not begun to work."""

WAITS: Final = (*QUEUES, "playback")
"""Phases in which nothing is waited for that a turn could do faster."""


def budgets_of(state: SessionState, default: Budgets) -> Budgets:
    """Return the budgets of a session: its own, or else the server's."""
    own = state.config.get("budgets")
    try:
        return default if own is None else msgspec.convert(own, Budgets)
    except msgspec.ValidationError:  # of a timeline that another version wrote
        return default


def given_in(budgets: Budgets) -> dict[str, float]:
    """Return those that are given, as they stand in a session's settings."""
    told: dict[str, float | None] = msgspec.to_builtins(budgets)
    return {name: most_ms for name, most_ms in told.items() if most_ms is not None}


def overruns_of_turn(
    budgets: Budgets, turn_id: TurnId, spans: Sequence[Span], total_ms: float
) -> tuple[Object, ...]:
    """Return an event for each budget that a turn has exceeded."""
    waited_ms = sum(span.ms for span in spans if span.name in WAITS and not span.parent)
    queued_ms = sum(span.ms for span in spans if span.name in QUEUES and not span.parent)
    first_ms = next((span.start_ms for span in spans if span.name == FIRST_BYTE), None)
    took_ms = {"turn_ms": total_ms - waited_ms}
    if first_ms is not None:
        took_ms["first_token_ms"] = first_ms - queued_ms
    return tuple(_overruns(budgets, turn_id, took_ms))


def overrun_of_cancel(budgets: Budgets, turn_id: TurnId, took_ms: float | None) -> Object | None:
    """Return the event of a cancel that took too long; None where it did not."""
    taken = {} if took_ms is None else {"cancel_ms": took_ms}
    return next(_overruns(budgets, turn_id, taken), None)


def _overruns(budgets: Budgets, turn_id: TurnId, took_ms: dict[str, float]) -> Iterator[Object]:
    for name, limit_ms in given_in(budgets).items():
        taken_ms = took_ms.get(name)
        if taken_ms is None or taken_ms <= limit_ms:
            continue
        OVERRUNS.labels(name).inc()
        told = {"budget": name, "limit_ms": limit_ms, "took_ms": round(taken_ms, 3)}
        yield Object(OVERRUN, {**told, "turn_id": turn_id})
