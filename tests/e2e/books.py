"""The audit of an end: what was really done, held against what the timelines say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec
from attrs import define, field

from bargein.protocol.codec import decode_event
from bargein.protocol.events import Event
from tests.action_rules import Deed, broken_action_rules
from tests.e2e.attempts import SETTLED

_DEEDS: Final[dict[str, Literal["started", "done"]]] = {"started": "started", "applied": "done"}
"""What lines of the ledger are to the checker."""

# --- the audit --------------------------------------------------------------------------


@define(eq=False)
class Found:
    """What an audit found."""

    broken: list[str] = field(factory=list[str])
    effects: int = 0
    asked: int = 0
    repeated: int = 0
    by_person: int = 0
    reverted: int = 0

    def __str__(self) -> str:
        return (
            f"{self.effects} effects, {self.repeated} of them asked for again and had once, "
            f"{self.asked} keys asked about, {self.by_person} doubts settled by a person, "
            f"{self.reverted} undone"
        )


def audit(timelines: Sequence[Sequence[bytes]], ledger: Sequence[dict[str, Any]]) -> Found:
    """Hold what the world did against what the sessions know of it."""
    found = Found()
    lines = {what: Counter(line["key"] for line in ledger if line["what"] == what)
             for what in ("started", "applied", "repeated", "refused", "asked")}  # fmt: skip
    found.effects, found.repeated = lines["applied"].total(), lines["repeated"].total()
    found.asked = lines["asked"].total()
    known: dict[str, str] = {}
    deeds = [Deed(line["key"], _DEEDS[line["what"]]) for line in ledger if line["what"] in _DEEDS]
    for timeline in timelines:
        events = [decode_event(frame) for frame in timeline]
        found.broken += broken_action_rules(events, deeds)
        for story in _stories(events):
            found.broken += story.broken()
            known |= story.outcomes()
            found.by_person += story.judged
            found.reverted += "action.reverted" in story.types
    for key, count in lines["applied"].items():
        if count > 1:
            found.broken.append(f"{key} was done {count} times")
        if known.get(key) != "done":
            found.broken.append(f"{key} was done, and the session says {known.get(key)}")
    for key, count in lines["started"].items():
        if count > 1 and not key.startswith("note:"):
            found.broken.append(f"{key} was started {count} times")
        if key not in known:
            found.broken.append(f"{key} was started without an intent")
    for key, outcome in known.items():
        if outcome == "done" and not lines["applied"][key]:
            found.broken.append(f"{key} is called done, and never was")
    found.broken += [f"{key} was started after its end" for key in lines["refused"]]
    return found


@define
class Story:
    """One action, as its timeline tells it."""

    events: list[Event]

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def judged(self) -> int:
        """How many doubts about it a person settled."""
        return sum(
            earlier.type == "action.in_doubt" and _by(later) is not None
            for earlier, later in zip(self.events, self.events[1:], strict=False)
        )

    def outcomes(self) -> dict[str, str]:
        """Return what is known of each key: done, not done, or nothing."""
        known: dict[str, str] = {}
        for event in self.events:
            name = event.type.removeprefix("action.")
            if name in ("committing", "reverting"):
                known[_key(event)] = "nothing"
            elif name in ("committed", "reverted"):
                known[list(known)[-1]] = "done"
            elif name in ("failed", "revert_failed"):
                known[list(known)[-1]] = "not done"
        return known

    def broken(self) -> list[str]:
        """Return what is wrong with it: no end, or a start that nobody confirmed."""
        types, name = self.types, self.events[0].event_id
        broken: list[str] = []
        if types[-1] not in SETTLED:
            broken.append(f"{name} ends with {types[-1]}")
        if "action.committing" in types:
            begun = types.index("action.committing")
            if "action.confirmed" not in types[:begun]:
                broken.append(f"{name} began unconfirmed: {types}")
        return broken


def _stories(events: Sequence[Event]) -> list[Story]:
    stories: dict[str, Story] = {}
    for event in events:
        if event.type.startswith("action."):
            action_id = msgspec.to_builtins(event.payload)["action_id"]
            stories.setdefault(action_id, Story([])).events.append(event)
    return list(stories.values())


def _key(event: Event) -> str:
    return msgspec.to_builtins(event.payload)["idempotency_key"]


def _by(event: Event) -> str | None:
    return msgspec.to_builtins(event.payload).get("by")
