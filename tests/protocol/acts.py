"""Actions for timelines of tests: each event as a server writes it, with its keys and digests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

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
    Event,
    Payload,
)
from bargein.protocol.ids import ActionId, CallId, ConfirmationId, TurnId, turn_id
from tests.action_rules import digest_of
from tests.protocol.timelines import SESSION, Pen


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


ONE: Final = turn_id(1)
ACT: Final = Act(ONE)
OTHER: Final = Act(ONE, 2)
SAFE: Final = Act(ONE, effect="idempotent")

Steps: TypeAlias = Sequence[Payload]


def story(*steps: Payload) -> list[Event]:
    """Let a turn propose, and the rest come when it is over, as it does."""
    pen = Pen()
    pen.begin(ONE)
    for step in steps[:1]:
        pen.write(ONE, step)
    pen.end(ONE)
    pen.write(ONE, *steps[1:])
    return pen.events


STORIES: Final[dict[str, Steps]] = {
    "waits": (ACT.proposed(),),
    "rejected": (ACT.proposed(), ACT.rejected()),
    "expired": (ACT.proposed(), ACT.expired()),
    "done": (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.committed()),
    "done as edited": (
        ACT.proposed(),
        ACT.edited(guests=3),
        ACT.committing(),
        ACT.committed(),
    ),
    "by policy": (SAFE.proposed(), SAFE.confirmed(), SAFE.committing(), SAFE.committed()),
    "failed": (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.failed()),
    "nobody may": (ACT.proposed(), ACT.confirmed(), ACT.rejected("unauthorized")),
    "too late after a restart": (ACT.proposed(), ACT.confirmed(), ACT.expired()),
    "in doubt": (ACT.proposed(), ACT.confirmed(), ACT.committing(), ACT.in_doubt()),
    "in doubt, then done": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.in_doubt(),
        ACT.committed(),
    ),
    "in doubt, then not done": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.in_doubt(),
        ACT.failed(),
    ),
    "reverted": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.committed(),
        ACT.reverting(),
        ACT.reverted(),
    ),
    "not reverted": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.committed(),
        ACT.reverting(),
        ACT.revert_failed(),
    ),
    "both in doubt": (
        ACT.proposed(),
        ACT.confirmed(),
        ACT.committing(),
        ACT.in_doubt(),
        ACT.committed(),
        ACT.reverting(),
        ACT.revert_in_doubt(),
        ACT.reverted(),
    ),
}
