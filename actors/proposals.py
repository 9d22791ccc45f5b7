"""What becomes of a proposal before anything starts, as drafts: asked where they are written.

The timeline has one writer, so a draft sees what was decided before it and nothing
that comes after: two who decide at the same moment are one after the other here.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, cast

import structlog
from attrs import define, field, frozen
from msgspec import UNSET

from bargein.actors.clock import Clock, utc_ms_of, utc_text
from bargein.actors.turn import ResponseSlot
from bargein.protocol.actions import (
    BY_POLICY,
    DOUBTS,
    INTERRUPTED,
    PROPOSED,
    UNDECIDED,
    ActionState,
    digest_of,
)
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Confirm, Reject
from bargein.protocol.events import (
    ActionCommitted,
    ActionConfirmed,
    ActionExpired,
    ActionFailed,
    ActionProposed,
    ActionRejected,
    ActionReverted,
    ActionRevertFailed,
    Payload,
)
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import ActionId, CallId, ConfirmationId, TurnId
from bargein.protocol.state import SessionState
from bargein.tools.tool import HIDDEN, Tool

_log = structlog.get_logger()


@frozen(eq=False)
class Held:
    """What an action is done with: kept in memory, since secrets are on no timeline.

    Attributes:
        whole: No secret is missing from the arguments; if one is, it can't be done any more.
    """

    tool: Tool
    args: dict[str, Any]
    whole: bool = True

    def with_secrets(self, edited: dict[str, Any]) -> dict[str, Any] | Problem:
        """Return *edited* arguments with what was proposed in the place of each secret's mask.

        Whoever edits has seen the mask alone, and sends it back where nothing is to change.
        Returns what is wrong where nobody knows any more what it stands for.
        """
        filled = dict(edited)
        masks = self.tool.shown(dict.fromkeys(edited))
        for name, value in edited.items():
            known = name in self.args and (self.whole or self.args[name] != HIDDEN)
            if masks[name] != HIDDEN and known == (name in self.args):
                continue  # no secret, neither now nor when it was proposed
            if value == HIDDEN and known:
                filled[name] = self.args[name]
            elif (place := _mask_in(value, f"args.{name}")) is not None:
                message = "This secret is not known here any more: type it anew."
                return problem(ErrorCode.INVALID_COMMAND, message, param=place)
        return filled


def _mask_in(value: Any, place: str) -> str | None:
    """Return where in *value* there is a mask; secrets are shown as one mask, never in parts."""
    match value:
        case dict():
            parts = [(f"{place}.{name}", part) for name, part in cast("Any", value).items()]
        case list():
            parts = [(f"{place}[{at}]", part) for at, part in enumerate(cast("Any", value))]
        case _:
            return place if value == HIDDEN else None
    found = (_mask_in(part, within) for within, part in parts)
    return next((where for where in found if where is not None), None)


@define(eq=False)
class Proposing:
    """A proposal on its way to the timeline.

    Attributes:
        action_id: Of the action; None while, and where, it is not on the timeline.
        confirmed: A policy confirmed it in the same moment.
        deadline_s: When it expires.
    """

    _turn_id: TurnId
    _call_id: CallId
    _held: Held
    _clock: Clock
    _slot: ResponseSlot
    _expires_s: float
    _most: int
    action_id: ActionId | None = field(default=None, init=False)
    confirmation_id: ConfirmationId | None = field(default=None, init=False)
    confirmed: bool = field(default=False, init=False)
    deadline_s: float = field(default=0.0, init=False)

    def proposed(self, state: SessionState) -> Payload | None:
        """Return the proposal; nothing where its turn is being cancelled, or too many wait."""
        tool, args = self._held.tool, self._held.args
        if self._slot.is_shut(self._turn_id):
            return None
        if tool.effect != "idempotent" and len(state.actions.awaiting(PROPOSED)) >= self._most:
            return None
        number = state.actions.last + 1
        self.action_id = ActionId(f"act_{number}")
        self.confirmation_id = ConfirmationId(f"conf_{number}")
        self.deadline_s = self._clock.now_s() + self._expires_s
        shown = tool.shown(args)
        return ActionProposed(
            self.action_id,
            tool.name,
            shown,
            tool.summarised(args),
            tool.effect,
            self.confirmation_id,
            utc_text(self._clock.utc_ms() + round(self._expires_s * 1000)),
            self._call_id,
            digest_of(shown),
        )

    def by_policy(self, state: SessionState) -> Payload | None:
        """Return the confirmation where no person has to give it."""
        if self.action_id is None or not may_confirm_itself(state, self._held):
            return None
        self.confirmed = True
        digest = state.actions.by_id[self.action_id].digest
        return ActionConfirmed(self.action_id, BY_POLICY, digest=digest)


def may_confirm_itself(state: SessionState, held: Held) -> bool:
    """Whether a policy confirms this action, within what is left of its budget."""
    tool, args = held.tool, held.args
    if tool.effect == "idempotent":
        return True
    policy = tool.auto_confirm
    if policy is None:
        return False
    known = state.actions
    before = (known.by_id[i].args for i in known.allowances.get(tool.name, ()))
    try:
        cost = float(policy.cost(args))
        spent = sum(float(policy.cost(earlier)) for earlier in before)
        return bool(policy.when(args)) and cost > 0 and spent + cost <= policy.budget
    except Exception as error:  # noqa: BLE001 - an app's function; what it can't judge, a person does
        _log.warning("policy.raised", tool=tool.name, error=type(error).__name__)
        return False


def rest_s(action: ActionState, clock: Clock) -> float:
    """Return how long a proposal may still wait after a restart: never longer than it could."""
    expires_ms = utc_ms_of(action.expires_at)
    whole_ms = expires_ms - utc_ms_of(action.proposed_at)
    rest_ms = max(0, min(whole_ms, expires_ms - clock.utc_ms()))
    return rest_ms / 1000 if isfinite(rest_ms) else 0.0


def expired(action_id: ActionId, state: SessionState) -> Payload | None:
    """Return that nobody decided in time, where that is so."""
    waits = state.actions.by_id[action_id].status == "proposed"
    return ActionExpired(action_id) if waits else None


def too_late(action_id: ActionId, state: SessionState) -> Payload | None:
    """Return that after a restart an action can't be done any more, where nobody refused it."""
    undecided = state.actions.by_id[action_id].status in UNDECIDED
    return ActionExpired(action_id) if undecided else None


def given_up(action_id: ActionId, state: SessionState) -> Payload | None:
    """Return that an action which has not begun never will, since its session ends for good."""
    match state.actions.by_id[action_id].status:
        case "proposed":
            return ActionRejected(action_id, "closed")
        case "confirmed":
            return ActionRejected(action_id, INTERRUPTED)
        case _:
            return None


@define(eq=False)
class Deciding:
    """A person's yes or no, on its way to the timeline.

    Attributes:
        confirmed: The yes is on the timeline: it has to be done.
        status: The state of the action, as the person is told.
        refusal: Why nothing was decided.
    """

    _action_id: ActionId
    _command: Confirm | Reject
    _principal: str
    _shown_args: dict[str, Any] | None
    _slot: ResponseSlot
    _clock: Clock
    _deadline_s: float
    confirmed: bool = field(default=False, init=False)
    status: str = field(default="", init=False)
    refusal: Problem | None = field(default=None, init=False)

    def decided(self, state: SessionState) -> Payload | None:
        """Return the decision as an event; none where it was decided before, or can't be."""
        action = state.actions.by_id[self._action_id]
        if action.status == "proposed":
            return self._of_proposal(action)
        if action.status in DOUBTS:
            if self._is_same(action):
                return self._of_doubt(action)
            self.refusal = _stale(None, action)  # something else than that was begun
            return None
        self._decided_before(action)
        return None

    def _of_proposal(self, action: ActionState) -> Payload | None:
        if self._clock.now_s() >= self._deadline_s:
            self.refusal = problem(ErrorCode.EXPIRED, param="confirmation_id")
            return ActionExpired(action.action_id)
        command_id = self._command.id or UNSET
        if isinstance(self._command, Reject):
            self.status = "rejected"
            reason = self._command.reason or "refused"
            return ActionRejected(action.action_id, reason, self._principal, command_id)
        if self._slot.is_shut(action.turn_id):
            self.refusal = _stale(INTERRUPTED)
            return None
        self.status, self.confirmed = "confirmed", True
        edited = self._shown_args
        digest = action.digest if edited is None else digest_of(edited)
        args = UNSET if edited is None else edited
        return ActionConfirmed(action.action_id, self._principal, args, digest, command_id)

    def _of_doubt(self, action: ActionState) -> Payload:
        command_id, by, key = self._command.id or UNSET, self._principal, action.key or ""
        action_id, of_revert = action.action_id, action.status == "revert_in_doubt"
        if isinstance(self._command, Confirm):
            self.status = "reverted" if of_revert else "committed"
            if of_revert:
                return ActionReverted(action_id, by=by, command_id=command_id)
            return ActionCommitted(action_id, key, by=by, command_id=command_id)
        self.status = "revert_failed" if of_revert else "failed"
        error = self._command.reason or "it was said not to have happened"
        if of_revert:
            return ActionRevertFailed(action_id, error, by, command_id)
        return ActionFailed(action_id, error, by, command_id)

    def _decided_before(self, action: ActionState) -> None:
        if action.status == "expired":
            self.refusal = problem(ErrorCode.EXPIRED, param="confirmation_id")
        elif isinstance(self._command, Reject) == _was_refused(action) and self._is_same(action):
            self.status = _first_decision(action)
        else:
            self.refusal = _stale(action.reason if action.status == "rejected" else None, action)

    def _is_same(self, action: ActionState) -> bool:
        return self._shown_args is None or digest_of(self._shown_args) == action.digest


def _first_decision(action: ActionState) -> str:
    # Whoever decides again is told the same as who decided first; events tell what came of it.
    if action.status == "rejected" or action.doubt_by is not None:
        return action.shown_status
    return "confirmed"


def _was_refused(action: ActionState) -> bool:
    settled = action.doubt_by is not None and action.status in ("failed", "revert_failed")
    return action.status == "rejected" or settled


def _stale(reason: str | None, action: ActionState | None = None) -> Problem:
    status = "rejected" if action is None else action.shown_status
    why = f" ({reason})" if reason else ""
    message = f"This action is {status} already{why}."
    return problem(ErrorCode.STALE, message, param="confirmation_id")
