"""Events of the commit points: an action from its proposal to its outcome."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import frozen
from msgspec import UNSET, UnsetType

from bargein.protocol.events.thinking import Effect
from bargein.protocol.ids import ActionId, CallId, CommandId, ConfirmationId


@frozen(slots=False)
class ActionProposed:
    """The agent wants to do this; nothing happens before a confirm.

    Attributes:
        args: What it is to be done with; secret ones are hidden.
        summary: Rendered by the server from `args`, never by the model.
        expires_at: UTC, ISO 8601 with milliseconds.
        call_id: The call of the tool that proposed it.
        digest: SHA-256 of `args` as JSON with sorted keys.
    """

    type: ClassVar[str] = "action.proposed"
    action_id: ActionId
    action: str
    args: dict[str, Any]
    summary: str
    effect: Effect
    confirmation_id: ConfirmationId
    expires_at: str
    call_id: CallId | UnsetType = UNSET
    digest: str | UnsetType = UNSET


@frozen(slots=False)
class ActionConfirmed:
    """Somebody who may do so allowed it; `args` where they were edited.

    Attributes:
        by: A principal, or `policy`.
        digest: Of the arguments with which it will be done.
    """

    type: ClassVar[str] = "action.confirmed"
    action_id: ActionId
    by: str
    args: dict[str, Any] | UnsetType = UNSET
    digest: str | UnsetType = UNSET
    command_id: CommandId | UnsetType = UNSET


@frozen(slots=False)
class ActionRejected:
    """It will not be done."""

    type: ClassVar[str] = "action.rejected"
    action_id: ActionId
    reason: str
    by: str | UnsetType = UNSET
    command_id: CommandId | UnsetType = UNSET


@frozen(slots=False)
class ActionExpired:
    """Nobody decided in time: it will not be done."""

    type: ClassVar[str] = "action.expired"
    action_id: ActionId


@frozen(slots=False)
class ActionCommitting:
    """The intent: durable before the tool starts."""

    type: ClassVar[str] = "action.committing"
    action_id: ActionId
    idempotency_key: str


@frozen(slots=False)
class ActionCommitted:
    """It was done; `by` whom that was decided where it had been in doubt."""

    type: ClassVar[str] = "action.committed"
    action_id: ActionId
    idempotency_key: str
    result: Any = None
    by: str | UnsetType = UNSET
    command_id: CommandId | UnsetType = UNSET


@frozen(slots=False)
class ActionFailed:
    """It was tried, and was not done; `by` whom that was decided where it had been in doubt."""

    type: ClassVar[str] = "action.failed"
    action_id: ActionId
    error: str
    by: str | UnsetType = UNSET
    command_id: CommandId | UnsetType = UNSET


@frozen(slots=False)
class ActionInDoubt:
    """It may or may not have been done; nobody starts it again."""

    type: ClassVar[str] = "action.in_doubt"
    action_id: ActionId
    idempotency_key: str


@frozen(slots=False)
class ActionReverting:
    """The compensation is about to start."""

    type: ClassVar[str] = "action.reverting"
    action_id: ActionId
    idempotency_key: str
    by: str | UnsetType = UNSET
    command_id: CommandId | UnsetType = UNSET


@frozen(slots=False)
class ActionReverted:
    """The compensation was done."""

    type: ClassVar[str] = "action.reverted"
    action_id: ActionId
    result: Any = None
    by: str | UnsetType = UNSET
    command_id: CommandId | UnsetType = UNSET


@frozen(slots=False)
class ActionRevertFailed:
    """The compensation was tried, and was not done."""

    type: ClassVar[str] = "action.revert_failed"
    action_id: ActionId
    error: str
    by: str | UnsetType = UNSET
    command_id: CommandId | UnsetType = UNSET
