"""What becomes of a turn that was pre-empted: it goes on next, or is said not to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bargein.protocol.events import CancelAck, CancelRequested, Event, InputDropped, TurnStart
from bargein.protocol.ids import TurnId


def pre_empted_goes_on_next(events: Sequence[Event]) -> Iterator[str]:
    """Say where a turn was put off, and another began before that went on or was given up."""
    stopped: set[TurnId] = set()
    given_up: set[TurnId] = set()
    suspended: TurnId | None = None
    for event in events:
        match event:
            case Event(turn_id=str() as turn, payload=CancelRequested(by="preempted")):
                stopped.add(turn)
            case Event(turn_id=str() as turn, payload=CancelAck()) if turn in stopped - given_up:
                suspended = turn
            case Event(payload=InputDropped(continues=str() as turn)):
                given_up.add(turn)
                suspended = None if suspended == turn else suspended
            case Event(payload=TurnStart(continues=before)):
                if before in given_up:
                    yield f"preempted: {before} was given up, and goes on at seq {event.seq}"
                if suspended is not None and before != suspended:
                    yield f"preempted: {suspended} does not go on before seq {event.seq}"
                suspended = None
            case _:
                pass
