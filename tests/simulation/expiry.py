"""When a proposal expires: not before its time, not after it, and never later for a restart."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from bargein.protocol.ids import SessionId
from tests.simulation.history import History
from tests.simulation.tools import SHORT_S
from tests.simulation.world import World

Event = dict[str, Any]

STEP_S: Final = 0.05
REVIVE_S: Final = 1.5
"""A restart reads all that is open before it lets anything expire."""

_DECISIONS: Final = ("action.confirmed", "action.rejected", "action.expired")


def broken_expiry(history: History, session_id: str, events: list[Event]) -> Iterator[str]:
    """Name what was decided too late, or expired too early."""
    if any(life.world.failing_store for life in history.lives):
        return  # a session that crashed waits for somebody to revive it
    proposals: dict[str, Event] = {}
    confirmed: dict[str, Event] = {}
    for event in events:
        action_id = event["payload"].get("action_id")
        if event["type"] == "action.proposed":
            proposals[action_id] = event
        elif event["type"] in _DECISIONS and action_id in confirmed:
            yield from _broken_end(history, session_id, confirmed.pop(action_id), event)
        elif event["type"] in _DECISIONS and action_id in proposals:
            yield from _broken_time(history, session_id, proposals.pop(action_id), event)
            if event["type"] == "action.confirmed":
                confirmed[action_id] = event


def _broken_end(history: History, session_id: str, yes: Event, no: Event) -> Iterator[str]:
    lives = (history.life_of(session_id, yes["seq"]), history.life_of(session_id, no["seq"]))
    if no["type"] == "action.expired" and lives[0] == lives[1]:
        yield f"I20: {yes['payload']['action_id']} expired in the life in which it was confirmed"


def _broken_time(history: History, session_id: str, made: Event, event: Event) -> Iterator[str]:
    born = history.life_of(session_id, made["seq"])
    number = history.life_of(session_id, event["seq"])
    world = history.lives[number].world
    at_s = _stored_at_s(world, session_id, event)
    made_s = _stored_at_s(history.lives[born].world, session_id, made)
    if at_s is None or made_s is None:
        return  # what the power cut itself pushed to the disk has no time
    name = made["payload"]["action_id"]
    by_tool = SHORT_S if made["payload"]["action"] == "book" else None
    whole_s = by_tool or history.lives[born].script.confirm_s
    slack_s = STEP_S + 3 * world.slowest_commit_s
    if born == number:
        earliest_s, latest_s = made_s + whole_s - slack_s, made_s + whole_s + slack_s
    else:
        rest_ms = _ms_of(made["payload"]["expires_at"]) - world.utc_began_ms
        rest_s = max(0.0, min(whole_s, rest_ms / 1000))
        # What it would be done with may be gone: then it expires at once.
        earliest_s, latest_s = 0.0, REVIVE_S + rest_s + slack_s
    if at_s > latest_s:
        yield f"{name} was decided after {at_s:.2f} s, and had to be by {latest_s:.2f} s"
    if event["type"] == "action.expired" and at_s < earliest_s:
        yield f"{name} expired after {at_s:.2f} s, and had until {earliest_s:.2f} s"


def _stored_at_s(world: World, session_id: str, event: Event) -> float | None:
    return world.committed_at_s.get((SessionId(session_id), event["seq"]))


def _ms_of(ts: str) -> float:
    return datetime.fromisoformat(ts).timestamp() * 1000
