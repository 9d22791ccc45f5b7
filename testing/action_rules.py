"""The offline checker's rules of actions: I20 to I28, and that none of them vanishes.

The edges are stated here once more, from the protocol's text: nothing asks the product's own
table.  What was really done is not on the timeline: whoever has a ledger of the world outside
gives its deeds, and they are held against what the timeline says.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
from attrs import define, field, frozen

from bargein.protocol.events import (
    ActionCommitting,
    ActionConfirmed,
    ActionProposed,
    ActionRejected,
    ActionReverting,
    CancelAck,
    CancelRequested,
    Event,
    ToolResult,
)
from bargein.protocol.ids import TurnId

REVERT: Final = ":revert"
POLICY: Final = "policy"
HIDDEN: Final = "[secret]"

EDGES: Final[dict[str, dict[str, str]]] = {
    "proposed": {"confirmed": "confirmed", "rejected": "rejected", "expired": "expired"},
    "confirmed": {"committing": "committing", "rejected": "rejected", "expired": "expired"},
    "committing": {"committed": "committed", "failed": "failed", "in_doubt": "in_doubt"},
    "in_doubt": {"committed": "committed", "failed": "failed"},
    "committed": {"reverting": "reverting"},
    "reverting": {
        "reverted": "reverted",
        "revert_failed": "revert_failed",
        "in_doubt": "revert_in_doubt",
    },
    "revert_in_doubt": {"reverted": "reverted", "revert_failed": "revert_failed"},
}
"""Where each event takes an action, by the state that it is in."""

_UNDECIDED: Final = ("proposed", "confirmed")
_UNSETTLED: Final = ("committing", "in_doubt")
"""Past its intent and not at its end: an interrupt leaves it, and its ack lists it."""

_PASSING: Final = ("confirmed", "committing", "reverting")
"""Somebody is at it: in none of these may an action be left."""

_WHY_REJECTED_AFTER_CONFIRM: Final = ("interrupted", "unauthorized")


@frozen
class Deed:
    """What was done in the world outside.

    Attributes:
        key: The idempotency key with which the tool, or the revert, was called.
        what: It `started`; or it is `done`: from now on it has happened.
        args: What the tool was given; None where the ledger does not have it.
        seq: How far the timeline was stored at that moment; None where nobody looked.
    """

    key: str
    what: Literal["started", "done"]
    args: dict[str, Any] | None = None
    seq: int | None = None


def digest_of(args: Any) -> str:
    """Return what a digest of arguments has to be."""
    return hashlib.sha256(msgspec.json.encode(args, order="sorted")).hexdigest()


def broken_action_rules(
    events: Sequence[Event], deeds: Sequence[Deed] | None = None, *, finished: bool = True
) -> list[str]:
    """Return a sentence for each rule of actions that the timeline of one session breaks.

    *deeds* is all that the world outside knows of the keys of this session; None: nobody
    keeps such a ledger.  *finished* as in `checker.broken_rules`.
    """
    reading = _Reading()
    for event in events:
        reading.take(event)
    broken = reading.broken
    if deeds is not None and events:
        broken += _broken_deeds(reading.actions, events[0].session_id, deeds)
    if finished:
        broken += [
            f"I25: {action.name} was left {action.state}"
            for action in reading.actions.values()
            if action.state in _PASSING
        ]
    return broken


@define
class _Action:
    """What the timeline says of one action; `at` is where it came into each state."""

    proposal: Event
    payload: ActionProposed
    args: dict[str, Any]
    state: str = "proposed"
    seen: Counter[str] = field(factory=Counter[str])
    at: dict[str, int] = field(factory=dict[str, int])
    by_person: set[str] = field(factory=set[str])

    @property
    def name(self) -> str:
        return f"{self.payload.action_id} of {self.proposal.turn_id}"

    @property
    def key(self) -> str:
        proposal, own = self.proposal, self.payload
        return f"{own.action}:{proposal.session_id}:{proposal.turn_id}:{own.confirmation_id}"


@define
class _Reading:
    """Reads a timeline from its first event on."""

    actions: dict[str, _Action] = field(factory=dict[str, _Action])
    broken: list[str] = field(factory=list[str])
    _cancelled: set[TurnId] = field(factory=set[TurnId])
    _passed: dict[TurnId, set[str]] = field(factory=dict[TurnId, set[str]])
    """Of each cancelled turn, what was committing at some time of its ladder."""

    def take(self, event: Event) -> None:
        match event.payload:
            case ActionProposed() as payload:
                self._propose(event, payload)
            case CancelRequested():
                self._cancel(event, event.payload)
            case CancelAck():
                self._acknowledge(event, event.payload)
            case ToolResult(call_id=call_id, status="proposed" | "committing" as status):
                self._answer(event, call_id, status)
            case _ if event.type.startswith("action."):
                self._follow(event)
            case _:
                pass

    def wrong(self, rule: str, event: Event, what: str) -> None:
        self.broken.append(f"{rule}: {event.type} of {event.turn_id} at seq {event.seq} {what}")

    # --- one event of an action --------------------------------------------------------

    def _propose(self, event: Event, payload: ActionProposed) -> None:
        if payload.action_id in self.actions:
            self.wrong("I28", event, f"gives {payload.action_id} a second time")
            return
        taken = {action.payload.confirmation_id for action in self.actions.values()}
        if payload.confirmation_id in taken:
            self.wrong("I28", event, f"gives {payload.confirmation_id} a second time")
        if event.turn_id is None:
            self.wrong("I28", event, "is of no turn")
        if event.turn_id in self._cancelled:
            self.wrong("I26", event, "comes after cancel.requested")
        if payload.effect not in ("side_effect", "idempotent"):
            self.wrong("I24", event, f"is of the effect {payload.effect}")
        if payload.digest and payload.digest != digest_of(payload.args):
            self.wrong("I24", event, "has a digest that is not of its args")
        self.actions[payload.action_id] = _Action(event, payload, payload.args)

    def _follow(self, event: Event) -> None:
        action = self.actions.get(getattr(event.payload, "action_id", ""))
        verb = event.type.removeprefix("action.")
        if action is None:
            self.wrong("I20", event, "is of an action that was never proposed")
            return
        if event.turn_id != action.proposal.turn_id:
            self.wrong("I27", event, f"is of {action.name}")
        after = EDGES.get(action.state, {}).get(verb)
        if after is None:
            self.wrong("I20", event, f"follows {action.state}")
            return
        edge = f"{action.state}.{verb}"
        action.seen[edge] += 1
        if action.seen[edge] > 1:
            self.wrong("I20", event, f"goes from {action.state} a second time")
        self._look_at(event, action, verb)
        action.state = after
        action.at.setdefault(after, event.seq)
        if getattr(event.payload, "by", None):
            action.by_person.add(verb)
        if after == "committing" and event.turn_id is not None:
            self._passed.setdefault(event.turn_id, set()).add(action.payload.action_id)

    def _look_at(self, event: Event, action: _Action, verb: str) -> None:
        payload = event.payload
        if verb in ("confirmed", "committing") and event.turn_id in self._cancelled:
            self.wrong("I26", event, "comes after cancel.requested")
        if isinstance(payload, ActionConfirmed):
            self._confirm(event, action, payload)
        confirmed = action.state == "confirmed"
        if (
            isinstance(payload, ActionRejected)
            and confirmed
            and payload.reason not in (_WHY_REJECTED_AFTER_CONFIRM)
        ):
            self.wrong("I20", event, f"rejects what was confirmed, because: {payload.reason}")
        key = getattr(payload, "idempotency_key", None)
        if key is not None:
            of_revert = action.state in ("reverting", "revert_in_doubt") or verb == "reverting"
            wanted = action.key + REVERT if of_revert else action.key
            if key != wanted:
                self.wrong("I28", event, f"has the key {key!r}, not {wanted!r}")

    def _confirm(self, event: Event, action: _Action, payload: ActionConfirmed) -> None:
        if not payload.by:
            self.wrong("I24", event, "says not by whom")
        if action.payload.effect == "idempotent" and payload.by != POLICY:
            self.wrong("I24", event, "confirms by a person what needs none")
        if isinstance(payload.args, dict):
            action.args = payload.args
        if payload.digest and payload.digest != digest_of(action.args):
            self.wrong("I24", event, "has a digest that is not of the args confirmed")

    # --- interrupts --------------------------------------------------------------------

    def _of_turn(self, event: Event, *states: str) -> set[str]:
        return {
            action_id
            for action_id, action in self.actions.items()
            if action.proposal.turn_id == event.turn_id and action.state in states
        }

    def _cancel(self, event: Event, payload: CancelRequested) -> None:
        if event.turn_id is None or event.turn_id in self._cancelled:
            return
        self._cancelled.add(event.turn_id)
        self._passed[event.turn_id] = self._of_turn(event, *_UNSETTLED)
        open_now = self._of_turn(event, *_UNDECIDED, *_UNSETTLED)
        listed: set[str] = set(payload.in_flight.actions)
        if listed != open_now:
            self.wrong("I25", event, f"has {sorted(listed)} in flight, not {sorted(open_now)}")

    def _acknowledge(self, event: Event, payload: CancelAck) -> None:
        if event.turn_id is None:
            return
        for action_id in sorted(self._of_turn(event, *_UNDECIDED)):
            self.wrong("I26", event, f"leaves {action_id} {self.actions[action_id].state}")
        still: set[str] = set(payload.still_committing)
        for action_id in sorted(self._of_turn(event, *_UNSETTLED) - still):
            self.wrong("I25", event, f"does not list {action_id}, which is not at its end")
        for action_id in sorted(still - self._passed.get(event.turn_id, set())):
            self.wrong("I25", event, f"lists {action_id}, which was not committing")

    def _answer(self, event: Event, call_id: str, status: str) -> None:
        own = [
            action
            for action in self.actions.values()
            if action.payload.call_id == call_id and action.proposal.turn_id == event.turn_id
        ]
        if not own:
            self.wrong("I25", event, f"says {status} of {call_id}, which proposed nothing")
        elif status == "committing" and not any("committing" in action.at for action in own):
            self.wrong("I25", event, f"says committing of {own[0].name}, which is {own[0].state}")


# --- what was done outside ---------------------------------------------------------------


def _broken_deeds(
    actions: dict[str, _Action], session_id: str, deeds: Sequence[Deed]
) -> Iterator[str]:
    by_key = {action.key: (action, False) for action in actions.values()}
    by_key |= {action.key + REVERT: (action, True) for action in actions.values()}
    ours = [deed for deed in deeds if session_id in deed.key.split(":")]
    starts: Counter[str] = Counter()
    for deed in ours:
        if deed.key not in by_key:
            yield f"I28: {deed.key!r} was {deed.what}, and is of no proposal"
            continue
        action, of_revert = by_key[deed.key]
        if deed.what == "started":
            starts[deed.key] += 1
            yield from _broken_start(deed, action, starts[deed.key], of_revert=of_revert)
        elif not starts[deed.key]:
            yield f"I21: {deed.key!r} is done, and was never started"
    done = {deed.key for deed in ours if deed.what == "done"}
    for action in actions.values():
        yield from _broken_outcome(action, done)


def _broken_start(deed: Deed, action: _Action, count: int, *, of_revert: bool) -> Iterator[str]:
    verb = ActionReverting.type if of_revert else ActionCommitting.type
    intent = action.at.get(verb.removeprefix("action."))
    if intent is None:
        yield f"I22: {deed.key!r} was started, and there is no {verb}"
    elif deed.seq is not None and deed.seq < intent:
        yield f"I22: {deed.key!r} was started at seq {deed.seq}, before its {verb} at {intent}"
    doubt = "revert_in_doubt" if of_revert else "in_doubt"
    if count > 1 and action.payload.effect != "idempotent":
        yield f"I21: {deed.key!r} was started {count} times"
    elif count > 1 and doubt not in action.at:
        yield f"I21: {deed.key!r} was started again, and was not in doubt"
    if not of_revert and action.payload.effect == "side_effect" and "confirmed" not in action.at:
        yield f"I24: {deed.key!r} was started, and nobody confirmed it"
    if deed.args is not None and not _fit(deed.args, action.args):
        yield f"I24: {deed.key!r} was started with {deed.args}, and confirmed with {action.args}"


def _fit(given: dict[str, Any], confirmed: dict[str, Any]) -> bool:
    """Whether a tool was given what was confirmed; what is hidden may be anything."""
    shown = {name: HIDDEN if confirmed.get(name) == HIDDEN else given[name] for name in given}
    return shown == confirmed


def _broken_outcome(action: _Action, done: set[str]) -> Iterator[str]:
    outcomes: tuple[tuple[str, str, bool], ...] = (
        ("committed", action.key, True),
        ("failed", action.key, False),
        ("reverted", action.key + REVERT, True),
        ("revert_failed", action.key + REVERT, False),
    )
    for verb, key, happened in outcomes:
        if verb not in action.at or verb in action.by_person:
            continue  # what a person says of a doubt is not for us to judge
        if (key in done) != happened:
            really = "did not happen" if happened else "happened"
            yield f"I23: {action.name} is {verb}, and {key!r} {really}"
