"""Does what was confirmed: the intent first, then the tool, then the outcome.

    action.committing durable ──→ the tool starts, once ──→ committed, failed, or in doubt

An outcome that nobody knows is asked for, and never made up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Final

import msgspec
import structlog
import trio
from attrs import define
from msgspec import UNSET

from bargein.actors.answers import Answer
from bargein.actors.cleaning import clean, cleaned
from bargein.actors.mailbox import Address
from bargein.actors.messages import Draft, OutputMessage, Record, Told
from bargein.actors.notes import Kept
from bargein.actors.proposals import Held
from bargein.actors.turn import ResponseSlot
from bargein.memory.facts import FactBook
from bargein.protocol.actions import (
    DOUBTS,
    REVERT_SUFFIX,
    REVERTS,
    ActionState,
    ActionStatus,
    digest_of,
    key_of,
)
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Revert
from bargein.protocol.events import (
    ActionCommitted,
    ActionCommitting,
    ActionFailed,
    ActionInDoubt,
    ActionRejected,
    ActionReverted,
    ActionRevertFailed,
    ActionReverting,
    Payload,
)
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import ActionId, CallId, Seq, SessionId, TurnId
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.commitment import Commitment, Happened, NeverHappened, Settlement
from bargein.tools.results import ToolOutput
from bargein.tools.running import Workbench
from bargein.tools.tool import ToolContext

RECORD_LIMIT_S: Final = 60.0

UNAUTHORIZED: Final = "unauthorized"
NOBODY_KNOWS: Final = "Nobody knows whether this happened. Don't try it again; say so to the user."

_REFUSED: Final = "This was not done, and it will not be: it is not allowed any more."
NOT_DONE: Final = Told("error", _REFUSED, _REFUSED)
"""What a turn is told of an action that may not begin."""

_log = structlog.get_logger()


@define(eq=False)
class Commits:
    """Does the actions of one session.  Part of the ledger.

    Attributes:
        _may_commit: Whether this principal may still have things done.
        _at_once: How much is done at the same time; the rest waits.
    """

    _session_id: SessionId
    _principal: str
    _output: Address[OutputMessage]
    _state: SessionState
    _timeline: Timeline
    _workbench: Workbench
    _slot: ResponseSlot
    _at_once: int
    _may_commit: Callable[[str], bool]
    _facts: FactBook | None = None

    @cached_property
    def _places(self) -> trio.CapacityLimiter:
        # Made for the first action: it takes half a KiB of each session.
        return trio.CapacityLimiter(self._at_once)

    def context(
        self,
        turn_id: TurnId,
        call_id: CallId | None,
        key: str | None = None,
        notes: Kept | None = None,
    ) -> ToolContext:
        """Return what a tool may know of an action."""
        call = CallId("") if call_id is None else call_id
        kept = Kept() if notes is None else notes
        return ToolContext(self._session_id, turn_id, call, self._principal, kept, key, self._facts)

    # --- doing ------------------------------------------------------------------------

    async def commit(self, action_id: ActionId, held: Held) -> Told | None:
        """Do what was confirmed, at most once; return how it ended.

        None where it may not begin any more: its turn was interrupted, or who
        asked for it may not have it done.
        """
        action = self._state.actions.by_id[action_id]
        key = key_of(action.action, self._session_id, action.turn_id, action.confirmation_id)
        begun: list[str] = []

        def intended(_: SessionState) -> Payload | None:
            if action.status != "confirmed" or self._slot.is_shut(action.turn_id):
                return None
            if not self._is_allowed(action, held):
                return ActionRejected(action_id, UNAUTHORIZED)
            begun.append(key)
            return ActionCommitting(action_id, key)

        async with self._places:
            seq = await self._write(action.turn_id, intended)
            if not begun:
                return None
            await self._timeline.until_durable(seq)
            return await self._run(action, held, key, "committing")

    def _is_allowed(self, action: ActionState, held: Held) -> bool:
        same = digest_of(held.tool.shown(held.args)) == action.digest
        if not same:
            _log.error("action.arguments_changed", action_id=action.action_id)
        return same and self._may_commit(self._principal)

    async def _run(self, action: ActionState, held: Held, key: str, status: ActionStatus) -> Told:
        notes = Kept()
        context = self.context(action.turn_id, action.call_id, key, notes)
        output = await self._workbench.run(held.tool, held.args, context)
        result = cleaned(output.result)
        match output.happened:
            case True:
                outcome: Payload = ActionCommitted(action.action_id, key, result)
            case False if status == "committing":
                outcome = ActionFailed(action.action_id, clean(output.text))
            case _:  # what a repetition did not do may have been done the first time
                outcome = ActionInDoubt(action.action_id, key)
        await self._end(action, outcome, status, notes)
        if output.happened is None and status == "committing":
            return await self.settle(action.action_id, held, may_repeat=False)
        return Told(output.status, result, clean(output.text))

    # --- doubts -----------------------------------------------------------------------

    async def settle(self, action_id: ActionId, held: Held, *, may_repeat: bool) -> Told:
        """Find out what became of an action in doubt, as far as that can be known.

        Asks its tool; one that may be repeated is repeated with its key, where
        *may_repeat*, which is after a restart alone.
        """
        action = self._state.actions.by_id[action_id]
        doubt = action.status
        of_revert = doubt == "revert_in_doubt"
        key = (action.key or "") + (REVERT_SUFFIX if of_revert else "")
        unknown = Told("error", NOBODY_KNOWS, NOBODY_KNOWS)
        if doubt not in DOUBTS:
            return unknown
        notes = Kept()
        context = self.context(action.turn_id, action.call_id, key, notes)
        found = await self._workbench.settlement(held.tool, key, context)
        if found is not None:
            outcome = _settled(action, key, found, of_revert=of_revert)
            await self._end(action, outcome, doubt, notes)
            return _told_of(found)
        if may_repeat and held.tool.effect == "idempotent" and (of_revert or held.whole):
            async with self._places:
                if action.status != doubt:
                    return unknown  # a person settled it meanwhile
                if of_revert:
                    await self._undo(action, held, doubt)
                    return unknown
                return await self._run(action, held, key, doubt)
        return unknown

    # --- undoing ----------------------------------------------------------------------

    async def revert(
        self,
        action: ActionState,
        held: Held | None,
        command: Revert,
        answer: Answer,
        principal: str,
    ) -> None:
        """Undo what was done, at most once, and answer who asked when that has begun."""
        action_id, key = action.action_id, (action.key or "") + REVERT_SUFFIX
        begun: list[str] = []
        refusal: list[Problem] = []

        def intended(_: SessionState) -> Payload | None:
            if action.status in REVERTS:
                return None  # somebody asked for it before
            if action.status != "committed":
                message = f"This action is {action.shown_status}; only a committed one is reverted."
                refusal.append(problem(ErrorCode.STALE, message, param="action_id"))
            elif held is None or held.tool.revert is None:
                message = "Nothing can undo this action."
                refusal.append(problem(ErrorCode.INVALID_COMMAND, message, param="action_id"))
            elif not self._may_commit(self._principal):
                refusal.append(problem(ErrorCode.FORBIDDEN))
            else:
                begun.append(key)
                return ActionReverting(action_id, key, principal, command.id or UNSET)
            return None

        seq = await self._write(action.turn_id, intended)
        if refusal:
            answer.refuse(refusal[0])
            return
        answer.reply({"action_id": action_id, "state": action.shown_status}, seq)
        if begun and held is not None:
            async with self._places:
                await self._timeline.until_durable(seq)
                await self._undo(action, held, "reverting")

    async def _undo(self, action: ActionState, held: Held, status: ActionStatus) -> None:
        key = action.key or ""
        done = Commitment(key, key + REVERT_SUFFIX, action.args, action.result)
        context = self.context(action.turn_id, action.call_id, done.revert_key)
        output: ToolOutput = await self._workbench.revert(held.tool, done, context)
        match output.happened:
            case True:
                outcome: Payload = ActionReverted(action.action_id, cleaned(output.result))
            case False if status == "reverting":
                outcome = ActionRevertFailed(action.action_id, clean(output.text))
            case _:
                outcome = ActionInDoubt(action.action_id, done.revert_key)
        await self._end(action, outcome, status)
        if output.happened is None and status == "reverting":
            await self.settle(action.action_id, held, may_repeat=False)

    # --- writing ----------------------------------------------------------------------

    async def _end(
        self,
        action: ActionState,
        outcome: Payload,
        status: ActionStatus,
        notes: Kept | None = None,
    ) -> None:
        def ended(_: SessionState) -> Payload | None:
            # A person may have settled a doubt meanwhile; and a doubt once is enough.
            again = isinstance(outcome, ActionInDoubt) and action.status in DOUBTS
            return None if action.status != status or again else outcome

        await self._write(action.turn_id, ended)
        if notes is not None and notes.payloads and isinstance(outcome, ActionCommitted):
            await self._write(None, *notes.payloads)

    async def _write(self, turn_id: TurnId | None, *drafts: Draft) -> Seq:
        return await self._output.ask(
            lambda receipt: Record(turn_id, drafts, receipt.send), within_s=RECORD_LIMIT_S
        )


def _settled(
    action: ActionState, key: str, found: Happened | NeverHappened, *, of_revert: bool
) -> Payload:
    match found, of_revert:
        case Happened(result), False:
            return ActionCommitted(action.action_id, key, cleaned(result))
        case Happened(result), True:
            return ActionReverted(action.action_id, cleaned(result))
        case NeverHappened(reason), False:
            return ActionFailed(action.action_id, clean(reason))
        case NeverHappened(reason), True:
            return ActionRevertFailed(action.action_id, clean(reason))
        case _:
            raise TypeError(f"{found!r} settles nothing")


def _told_of(found: Settlement) -> Told:
    match found:
        case Happened(result):
            return Told("ok", result, msgspec.json.encode(result).decode())
        case NeverHappened(reason):
            return Told("error", reason, reason)
        case None:
            return Told("error", NOBODY_KNOWS, NOBODY_KNOWS)
