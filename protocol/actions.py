"""An action from its proposal to its outcome: the state machine as a table, and its fold.

    proposed ──→ confirmed ──→ committing ──→ committed ──→ reverting ──→ reverted
        │            │             │                            │  │
        ├→ rejected ←┤             ├→ failed                    │  └→ revert_failed
        └→ expired ←─┘             └→ in_doubt                  └→ revert_in_doubt
                                       ├→ committed                 ├→ reverted
                                       └→ failed                    └→ revert_failed

`confirmed` expires only after a restart.  Both doubts are `action.in_doubt` on the
wire, and `in_doubt` in every view: the key says which it is.  There is no other
edge, and an action goes along each at most once.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias

import msgspec
from attrs import Factory, define

from bargein.protocol.events import (
    ActionCommitted,
    ActionCommitting,
    ActionConfirmed,
    ActionExpired,
    ActionFailed,
    ActionInDoubt,
    ActionProposed,
    ActionRejected,
    ActionReverted,
    ActionRevertFailed,
    ActionReverting,
    Effect,
    Payload,
)
from bargein.protocol.ids import ActionId, CallId, CommandId, ConfirmationId, Seq, SessionId, TurnId

ActionStatus: TypeAlias = Literal[
    "proposed",
    "confirmed",
    "rejected",
    "expired",
    "committing",
    "committed",
    "failed",
    "in_doubt",
    "reverting",
    "reverted",
    "revert_failed",
    "revert_in_doubt",
]

EDGES: Final[dict[tuple[ActionStatus, str], ActionStatus]] = {
    ("proposed", ActionConfirmed.type): "confirmed",
    ("proposed", ActionRejected.type): "rejected",
    ("proposed", ActionExpired.type): "expired",
    ("confirmed", ActionCommitting.type): "committing",
    ("confirmed", ActionRejected.type): "rejected",
    ("confirmed", ActionExpired.type): "expired",
    ("committing", ActionCommitted.type): "committed",
    ("committing", ActionFailed.type): "failed",
    ("committing", ActionInDoubt.type): "in_doubt",
    ("in_doubt", ActionCommitted.type): "committed",
    ("in_doubt", ActionFailed.type): "failed",
    ("committed", ActionReverting.type): "reverting",
    ("reverting", ActionReverted.type): "reverted",
    ("reverting", ActionRevertFailed.type): "revert_failed",
    ("reverting", ActionInDoubt.type): "revert_in_doubt",
    ("revert_in_doubt", ActionReverted.type): "reverted",
    ("revert_in_doubt", ActionRevertFailed.type): "revert_failed",
}
"""Where an event takes an action; what is not here does not happen."""

PROPOSED: Final = frozenset[ActionStatus]({"proposed"})
CONFIRMED: Final = frozenset[ActionStatus]({"confirmed"})

UNDECIDED: Final = frozenset[ActionStatus]({"proposed", "confirmed"})
"""It has not begun: an interrupt of its turn rejects it."""

UNDERWAY: Final = frozenset[ActionStatus]({"committing", "reverting"})
"""Somebody works at it; a restart puts it in doubt."""

COMMITTING: Final = frozenset[ActionStatus]({"committing"})
"""What an interrupt leaves to finish."""

UNSETTLED: Final = frozenset[ActionStatus]({"committing", "in_doubt"})
"""What is past its intent and not at its end: a ladder's ack lists it."""

DOUBTS: Final = frozenset[ActionStatus]({"in_doubt", "revert_in_doubt"})

TO_DECIDE: Final = frozenset[ActionStatus]({"proposed", *DOUBTS})
"""It waits for somebody's `confirm` or `reject`."""

REVERTS: Final = frozenset[ActionStatus](
    {"reverting", "reverted", "revert_failed", "revert_in_doubt"}
)

BY_POLICY: Final = "policy"
"""Who confirmed, where no person did."""

INTERRUPTED: Final = "interrupted"
"""Why an action was rejected whose turn was cancelled before it began."""

REVERT_SUFFIX: Final = ":revert"


@define(slots=True)
class ActionState:
    """What a session knows of one action.

    Attributes:
        args: What it is done with: as proposed, or as the confirmation put in their place.
        digest: Of `args`.
        proposed_at: The `ts` of the proposal.
        by: Who confirmed it, or rejected it.
        reason: Why it was rejected.
        edited: The confirmation replaced the arguments.
        key: Its idempotency key, from `action.committing` on.
        doubt_by: Who settled the doubt about it, where a person did.
        latest_seq: Where its latest event stands, which causes the next.
    """

    action_id: ActionId
    turn_id: TurnId
    action: str
    args: dict[str, Any]
    digest: str
    summary: str
    effect: Effect
    confirmation_id: ConfirmationId
    expires_at: str
    proposed_at: str
    call_id: CallId | None
    proposed_seq: Seq
    latest_seq: Seq
    status: ActionStatus = "proposed"
    by: str | None = None
    reason: str | None = None
    edited: bool = False
    key: str | None = None
    result: Any = None
    error: str | None = None
    revert_result: Any = None
    revert_error: str | None = None
    doubt_by: str | None = None

    @property
    def shown_status(self) -> str:
        """The status under its name on the wire."""
        return "in_doubt" if self.status == "revert_in_doubt" else self.status


@define(slots=True)
class Actions:
    """The actions of a session, oldest first, and which of them are not at an end."""

    by_id: dict[ActionId, ActionState] = Factory(dict[ActionId, ActionState])
    open: dict[ActionId, None] = Factory(dict[ActionId, None])
    by_confirmation: dict[ConfirmationId, ActionId] = Factory(dict[ConfirmationId, ActionId])
    by_turn: dict[TurnId, list[ActionId]] = Factory(dict[TurnId, list[ActionId]])
    news: list[tuple[Seq, ActionId, str]] = Factory(list[tuple[Seq, ActionId, str]])
    """What became of actions, for the model: seq, action, and the event's type."""
    allowances: dict[str, list[ActionId]] = Factory(dict[str, list[ActionId]])
    """What a policy confirmed, by the action's name."""
    decided: dict[CommandId, tuple[ActionId, ActionStatus]] = Factory(
        dict[CommandId, tuple[ActionId, ActionStatus]]
    )
    """What a command with an id came to: the action, and the state that it brought it into."""
    last: int = 0

    def propose(self, seq: Seq, ts: str, turn_id: TurnId, payload: ActionProposed) -> None:
        """Take a new action in."""
        action = ActionState(
            payload.action_id,
            turn_id,
            payload.action,
            payload.args,
            payload.digest or digest_of(payload.args),
            payload.summary,
            payload.effect,
            payload.confirmation_id,
            payload.expires_at,
            ts,
            payload.call_id or None,
            seq,
            seq,
        )
        if action.action_id in self.by_id:
            return
        self.by_id[action.action_id] = action
        self.open[action.action_id] = None
        self.by_confirmation[action.confirmation_id] = action.action_id
        self.by_turn.setdefault(turn_id, []).append(action.action_id)
        self.last += 1

    def follow(self, seq: Seq, payload: Payload) -> None:
        """Take an action along an edge; what is no edge of it is passed over."""
        action = self.by_id.get(getattr(payload, "action_id", ActionId("")))
        if action is None:
            return
        status = EDGES.get((action.status, payload.type))
        if status is None:
            return
        action.status, action.latest_seq = status, seq
        _note(action, payload)
        if status in _OPEN:
            self.open[action.action_id] = None
        else:
            self.open.pop(action.action_id, None)
        if action.by == BY_POLICY and isinstance(payload, ActionConfirmed):
            self.allowances.setdefault(action.action, []).append(action.action_id)
        if command_id := getattr(payload, "command_id", None):
            self.decided[command_id] = (action.action_id, status)
        if payload.type in _NEWS:
            self.news.append((seq, action.action_id, payload.type))

    def of_turn(self, turn_id: TurnId, among: frozenset[ActionStatus]) -> tuple[ActionState, ...]:
        """Return the actions that a turn proposed and that are in one of the states *among*."""
        ids = self.by_turn.get(turn_id, ())
        return tuple(action for i in ids if (action := self.by_id[i]).status in among)

    def of_call(self, turn_id: TurnId, call_id: CallId) -> ActionState | None:
        """Return the action that a call of a tool proposed, if it did."""
        actions = (self.by_id[i] for i in self.by_turn.get(turn_id, ()))
        return next((action for action in actions if action.call_id == call_id), None)

    def awaiting(self, among: frozenset[ActionStatus]) -> tuple[ActionState, ...]:
        """Return the open actions that are in one of the states *among*, oldest first."""
        return tuple(action for i in self.open if (action := self.by_id[i]).status in among)

    def named(self, confirmation_id: ConfirmationId) -> ActionState | None:
        """Return the action that a confirmation id belongs to."""
        action_id = self.by_confirmation.get(confirmation_id)
        return None if action_id is None else self.by_id[action_id]


_OPEN: Final = UNDECIDED | UNDERWAY | DOUBTS

_NEWS: Final = frozenset(
    {
        ActionRejected.type,
        ActionExpired.type,
        ActionCommitted.type,
        ActionFailed.type,
        ActionInDoubt.type,
        ActionReverted.type,
        ActionRevertFailed.type,
    }
)


def _note(action: ActionState, payload: Payload) -> None:
    match payload:
        case ActionConfirmed(by=by, args=args):
            action.by = by
            if isinstance(args, dict):
                action.args, action.edited = args, True
                action.digest = payload.digest or digest_of(args)
        case ActionRejected(reason=reason):
            action.reason = reason
            action.by = payload.by or action.by
        case ActionCommitting(idempotency_key=key):
            action.key = key
        case ActionCommitted(result=result):
            action.result = result
            action.doubt_by = payload.by or None
        case ActionFailed(error=error):
            action.error = error
            action.doubt_by = payload.by or None
        case ActionReverted(result=result):
            action.revert_result = result
            action.doubt_by = payload.by or None
        case ActionRevertFailed(error=error):
            action.revert_error = error
            action.doubt_by = payload.by or None
        case _:
            pass


def key_of(
    action: str, session_id: SessionId, turn_id: TurnId, confirmation_id: ConfirmationId
) -> str:
    """Return the idempotency key of an action: a function of its proposal alone."""
    return f"{action}:{session_id}:{turn_id}:{confirmation_id}"


def digest_of(args: dict[str, Any]) -> str:
    """Return what tells these arguments from any others, whatever the order of their keys."""
    return sha256(msgspec.json.encode(args, order="sorted")).hexdigest()
