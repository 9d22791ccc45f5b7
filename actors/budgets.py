"""How long a turn should take at most, and what is said where it took longer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from bargein.actors.counters import OVERRUNS
from bargein.actors.phases import CANCEL, FIRST_BYTE, SLOT
from bargein.protocol.commands import Budgets
from bargein.protocol.events import Object, Span
from bargein.protocol.ids import TurnId
from bargein.protocol.state import SessionState, TurnState

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
    return tuple(_overruns(budgets, turn_id, _took_ms(spans, total_ms)))


def overrun_of_cancelled(budgets: Budgets, turn: TurnState, name: str) -> Object | None:
    """Return the event for one budget of a turn that was cancelled; None where it kept to it.

    Its work ended with the interrupt.  Who interrupts before the first words had waited so long
    for them.
    """
    asked_ms = next((span.start_ms for span in turn.spans if span.name == CANCEL), None)
    took_ms = {} if asked_ms is None else _took_ms(turn.spans, asked_ms, asked_ms)
    if turn.cancel_took_ms is not None:
        took_ms["cancel_ms"] = turn.cancel_took_ms
    told = {name: took_ms[name]} if name in took_ms else {}
    return next(_overruns(budgets, turn.turn_id, told), None)


def _took_ms(
    spans: Sequence[Span], total_ms: float, silent_ms: float | None = None
) -> dict[str, float]:
    """Return by budget what was taken; *silent_ms* counts where no word came."""
    waited_ms = sum(span.ms for span in spans if span.name in WAITS and not span.parent)
    queued_ms = sum(span.ms for span in spans if span.name in QUEUES and not span.parent)
    first_ms = next((span.start_ms for span in spans if span.name == FIRST_BYTE), silent_ms)
    took_ms = {"turn_ms": total_ms - waited_ms}
    if first_ms is not None:
        took_ms["first_token_ms"] = first_ms - queued_ms
    return took_ms


def _overruns(budgets: Budgets, turn_id: TurnId, took_ms: dict[str, float]) -> Iterator[Object]:
    for name, limit_ms in given_in(budgets).items():
        taken_ms = took_ms.get(name)
        if taken_ms is None or taken_ms <= limit_ms:
            continue
        OVERRUNS.labels(name).inc()
        told = {"budget": name, "limit_ms": limit_ms, "took_ms": round(taken_ms, 3)}
        yield Object(OVERRUN, {**told, "turn_id": turn_id})
