"""Actions for timelines of tests: each event as a server writes it, with its keys and digests."""

from __future__ import annotations

from typing import Any

from attrs import evolve, field, frozen

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
)
from bargein.protocol.ids import ActionId, CallId, ConfirmationId, TurnId
from tests.action_rules import digest_of
from tests.protocol.timelines import SESSION


@frozen
class Act:
    """One action of a turn, and the events that it can leave."""

    turn: TurnId
    number: int = 1
    effect: Effect = "side_effect"
    args: dict[str, Any] = field(factory=lambda: {"guests": 2})

    @property
    def id(self) -> ActionId:
        return ActionId(f"act_{self.number}")

    @property
    def key(self) -> str:
        return f"book:{SESSION}:{self.turn}:conf_{self.number}"

    @property
    def call_id(self) -> CallId:
        return CallId(f"call_{self.number}")

    def proposed(self) -> ActionProposed:
        return ActionProposed(
            self.id,
            "book",
            self.args,
            "Book a table.",
            self.effect,
            ConfirmationId(f"conf_{self.number}"),
            "2026-11-21T10:14:33.000Z",
            self.call_id,
            digest_of(self.args),
        )

    def confirmed(self, by: str = "") -> ActionConfirmed:
        whom = by or ("policy" if self.effect == "idempotent" else "alice")
        return ActionConfirmed(self.id, whom, digest=digest_of(self.args))

    def edited(self, **args: Any) -> ActionConfirmed:
        return evolve(self.confirmed(), args=args, digest=digest_of(args))

    def rejected(self, reason: str = "refused") -> ActionRejected:
        return ActionRejected(self.id, reason)

    def expired(self) -> ActionExpired:
        return ActionExpired(self.id)

    def committing(self) -> ActionCommitting:
        return ActionCommitting(self.id, self.key)

    def committed(self) -> ActionCommitted:
        return ActionCommitted(self.id, self.key, "booked")

    def failed(self) -> ActionFailed:
        return ActionFailed(self.id, "no table")

    def in_doubt(self) -> ActionInDoubt:
        return ActionInDoubt(self.id, self.key)

    def reverting(self) -> ActionReverting:
        return ActionReverting(self.id, f"{self.key}:revert")

    def reverted(self) -> ActionReverted:
        return ActionReverted(self.id, "cancelled")

    def revert_failed(self) -> ActionRevertFailed:
        return ActionRevertFailed(self.id, "too late")

    def revert_in_doubt(self) -> ActionInDoubt:
        return ActionInDoubt(self.id, f"{self.key}:revert")
