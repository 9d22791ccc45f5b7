"""Planted bugs of actions: what is done twice, unasked, too early, too late, or forgotten."""

# A bug is planted where the product is soft: inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import trio

from bargein.actors import commits, keeper, ledger, proposals, revival
from bargein.actors.answers import Answer
from bargein.actors.clock import Clock
from bargein.actors.commits import Commits
from bargein.actors.ledger import Ledger
from bargein.actors.messages import Told
from bargein.actors.proposals import Deciding, Held
from bargein.actors.turn import ResponseSlot
from bargein.protocol.actions import PROPOSED, REVERTS, ActionState, ActionStatus
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Confirm, Revert
from bargein.protocol.events import ActionConfirmed, ActionInDoubt, Payload
from bargein.protocol.ids import ActionId, SessionId, TurnId
from bargein.protocol.recovery import closing_events
from bargein.protocol.state import SessionState
from tests.simulation.planted import Mutant, Patch


def _hasty_start() -> Sequence[Patch]:
    commit, revert = Commits.commit, Commits.revert

    class Impatient:
        async def until_durable(self, seq: int) -> None:
            del seq
            await trio.lowlevel.checkpoint()

    async def at_once(self: Commits, action_id: ActionId, held: Held) -> Told | None:
        self._timeline = Impatient()  # pyright: ignore[reportAttributeAccessIssue]
        return await commit(self, action_id, held)

    async def undo_at_once(self: Commits, *asked: Any) -> None:
        self._timeline = Impatient()  # pyright: ignore[reportAttributeAccessIssue]
        await revert(self, *asked)

    return [(Commits, "commit", at_once), (Commits, "revert", undo_at_once)]


def _second_yes() -> Sequence[Patch]:
    commit, decided_before = Commits.commit, Deciding._decided_before

    async def again(self: Commits, action_id: ActionId, held: Held) -> Told | None:
        action = self._state.actions.by_id[action_id]
        if action.status == "committing" and action.key is not None:
            return await self._run(action, held, action.key, "committing")
        return await commit(self, action_id, held)

    def confirmed_again(self: Deciding, action: ActionState) -> None:
        decided_before(self, action)
        if isinstance(self._command, Confirm) and action.status == "committing":
            self.confirmed = True

    return [(Commits, "commit", again), (Deciding, "_decided_before", confirmed_again)]


def _repeats() -> Sequence[Patch]:
    settle = Commits.settle

    async def repeat(self: Commits, action_id: ActionId, held: Held, *, may_repeat: bool) -> Told:
        action = self._state.actions.by_id[action_id]
        if may_repeat and action.status == "in_doubt" and action.key is not None:
            return await self._run(action, held, action.key, "in_doubt")
        return await settle(self, action_id, held, may_repeat=may_repeat)

    return [(Commits, "settle", repeat)]


def _left_to_confirm() -> Sequence[Patch]:
    def nothing(_: ActionState, __: SessionState) -> None:
        return None

    return [(keeper, "_rejected", nothing)]


def _taken_for_a_yes() -> Sequence[Patch]:
    take_up = Ledger._take_up

    async def replay(self: Ledger, action: ActionState, held: Held) -> None:
        def confirmed(_: SessionState) -> Payload | None:
            waits = action.status == "proposed"
            return ActionConfirmed(action.action_id, "anonymous") if waits else None

        await self._write(action.turn_id, confirmed)
        await self._commit(action.action_id, held)

    def eager(self: Ledger, work: trio.Nursery, waits: trio.Nursery) -> None:
        take_up(self, work, waits)
        for action in self._state.actions.awaiting(PROPOSED):
            if (held := self._held.get(action.action_id)) is not None:
                work.start_soon(replay, self, action, held)

    return [(Ledger, "_take_up", eager)]


def _time_again() -> Sequence[Patch]:
    rest_s = proposals.rest_s

    def once_more(action: ActionState, clock: Clock) -> float:
        return rest_s(action, clock) + 3.0

    return [(ledger, "rest_s", once_more)]


def _unedited() -> Sequence[Patch]:
    commit, await_decision = Ledger._commit, Ledger._await_decision
    proposed: dict[tuple[int, ActionId], Held] = {}

    def remember(self: Ledger, action_id: ActionId, *rest: Any) -> None:
        proposed[id(self), action_id] = self._held[action_id]
        await_decision(self, action_id, *rest)

    async def as_proposed(self: Ledger, action_id: ActionId, held: Held) -> Told | None:
        return await commit(self, action_id, proposed.get((id(self), action_id), held))

    def whatever(*_: Any) -> bool:
        return True

    return [
        (Ledger, "_await_decision", remember),
        (Ledger, "_commit", as_proposed),
        (Commits, "_is_allowed", whatever),
    ]


def _dropped_outcome() -> Sequence[Patch]:
    end = Commits._end

    async def unless_cancelled(
        self: Commits, action: ActionState, outcome: Payload, status: ActionStatus, *rest: Any
    ) -> None:
        if not self._state.turns[action.turn_id].cancelled:
            await end(self, action, outcome, status, *rest)

    return [(Commits, "_end", unless_cancelled)]


def _undone_twice() -> Sequence[Patch]:
    revert = Commits.revert

    async def again(
        self: Commits,
        action: ActionState,
        held: Held | None,
        command: Revert,
        answer: Answer,
        principal: str,
    ) -> None:
        before = action.status in REVERTS
        await revert(self, action, held, command, answer, principal)
        if before and held is not None:
            await self._undo(action, held, "reverting")

    return [(Commits, "revert", again)]


def _undoubting() -> Sequence[Patch]:
    def without_doubts(state: SessionState, why: ErrorCode) -> list[tuple[TurnId, Payload]]:
        closing = closing_events(state, why)
        return [pair for pair in closing if not isinstance(pair[1], ActionInDoubt)]

    return [(revival, "closing_events", without_doubts)]


def _timeless() -> Sequence[Patch]:
    forget = Ledger._forget

    def with_its_deadline(self: Ledger, action_id: ActionId) -> None:
        if (scope := self._waits.pop(action_id, None)) is not None:
            scope.cancel(reason="a bug")
        forget(self, action_id)

    return [(Ledger, "_forget", with_its_deadline)]


def _one_key() -> Sequence[Patch]:
    def of_the_turn(action: str, session_id: SessionId, turn_id: TurnId, _: str) -> str:
        return f"{action}:{session_id}:{turn_id}"

    return [(commits, "key_of", of_the_turn)]


def _unlisted() -> Sequence[Patch]:
    return [(keeper, "UNSETTLED", frozenset[ActionStatus]())]


def _obedient() -> Sequence[Patch]:
    def always(*_: Any) -> bool:
        return True

    return [(proposals, "may_confirm_itself", always)]


def _gap() -> Sequence[Patch]:
    def never(self: ResponseSlot, turn_id: TurnId) -> bool:
        del self, turn_id
        return False

    return [(ResponseSlot, "is_shut", never)]


ACTING_MUTANTS: Final = (
    Mutant("hasty_start", "I22: it starts before its intent is durable", _hasty_start),
    Mutant("second_yes", "I21: a second confirm starts it again", _second_yes),
    Mutant("repeats", "I21: recovery repeats a side effect", _repeats, needs_cut=True),
    Mutant("left_to_confirm", "I26: an interrupt leaves a proposal", _left_to_confirm),
    Mutant("taken_for_a_yes", "I24: a restart confirms", _taken_for_a_yes, needs_cut=True),
    Mutant("time_again", "I20: a restart gives more time", _time_again, needs_cut=True),
    Mutant("unedited", "I24: edited arguments are not used", _unedited),
    Mutant("dropped_outcome", "I25: no outcome after the ack", _dropped_outcome),
    Mutant("undone_twice", "I21: a second revert undoes it again", _undone_twice),
    Mutant("undoubting", "I23: a restart forgets what was begun", _undoubting, needs_cut=True),
    Mutant("timeless", "I20: a refused command ends the wait, and with it the expiry", _timeless),
    Mutant("one_key", "I28: two proposals share a key", _one_key),
    Mutant("unlisted", "I25: the ack does not list what goes on", _unlisted),
    Mutant("obedient", "I24: a policy confirms what a person has to", _obedient),
    Mutant("gap", "I26: it begins between the interrupt and its announcement", _gap),
)
