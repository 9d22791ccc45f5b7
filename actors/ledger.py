"""The ledger: what the agent wants done, who decided it, and what became of it.

A proposal outlives its turn, and what was decided is done in the session, outside
every turn's scope: an interrupt can forbid what has not begun, and never tears what has.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, assert_never

import structlog
import trio
from attrs import define, evolve, field

from bargein.actors.answers import Answer
from bargein.actors.asking_again import AskingAgain
from bargein.actors.cleaning import json_object
from bargein.actors.clock import Clock
from bargein.actors.commits import NOT_DONE, Commits
from bargein.actors.limits import Limits
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import (
    DecisionAsked,
    Draft,
    LedgerMessage,
    OutputMessage,
    Propose,
    Record,
    RevertAsked,
    Told,
)
from bargein.actors.proposals import (
    Deciding,
    Held,
    Proposing,
    expired,
    given_up,
    rest_s,
    too_late,
)
from bargein.actors.turn import ResponseSlot
from bargein.agents.app import Apps
from bargein.protocol.actions import (
    CONFIRMED,
    DOUBTS,
    UNDECIDED,
    UNDERWAY,
    ActionState,
)
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Confirm, Revert
from bargein.protocol.events import Payload
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import ActionId, Seq, TurnId
from bargein.protocol.state import SessionState
from bargein.tools.errors import ArgumentsRefused
from bargein.tools.tool import HIDDEN

MAILBOX: Final = 32
RECORD_LIMIT_S: Final = 60.0
MOST_DECISIONS: Final = 64
"""Decisions on their way to the timeline; a flood of them gets `overloaded`."""

PROPOSED: Final = (
    "Proposed to the user as {confirmation_id}, and NOT done: it waits for a yes. Say what you "
    "propose, never that it is done. You will be told what became of it."
)
BY_POLICY: Final = (
    "Confirmed by a policy of the app, and being done. You will be told what became of it."
)
TOO_MANY: Final = "Too many proposals wait for the user; nothing was proposed."

_PATH: Final = re.compile(r"`\$([^`]*)`")

_log = structlog.get_logger()


@define(eq=False)
class Ledger:
    """Keeps the actions of one session.  The last to write: it ends the output loop.

    Attributes:
        _held: What open actions are done with, and what may undo the others.
        _deadlines: When proposals expire.
    """

    _mailbox: Mailbox[LedgerMessage]
    _output: Address[OutputMessage]
    _commits: Commits
    _slot: ResponseSlot
    _state: SessionState
    _apps: Apps
    _clock: Clock
    _limits: Callable[[], Limits]
    _held: dict[ActionId, Held] = field(factory=dict[ActionId, Held], init=False)
    _deadlines: dict[ActionId, float] = field(factory=dict[ActionId, float], init=False)
    _waits: dict[ActionId, trio.CancelScope] = field(
        factory=dict[ActionId, trio.CancelScope], init=False
    )
    _deciding: int = field(default=0, init=False)
    _working: int = field(default=0, init=False)
    _closing: bool = field(default=False, init=False)
    _later: trio.Nursery | None = field(default=None, init=False)
    _asking: AskingAgain = field(init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._asking = AskingAgain(self._state)

    async def run(self) -> None:
        """Run until the address is closed and all that was begun is done."""
        with self._mailbox:
            async with trio.open_nursery() as work, trio.open_nursery() as waits:
                self._later = waits
                self._take_up(work, waits)
                while batch := await self._mailbox.take():
                    for message in batch:
                        self._obey(message, work, waits)
                self._later = None
                waits.cancel_scope.cancel(reason="the session leaves memory")
        self._output.close()

    def _obey(self, message: LedgerMessage, work: trio.Nursery, waits: trio.Nursery) -> None:
        match message:
            case Propose():
                work.start_soon(self._propose, message, waits)
            case DecisionAsked(command, answer, principal):
                self._decide(command, answer, principal, work)
            case RevertAsked(command, answer, principal):
                self._revert(command, answer, principal, work)
            case _:
                assert_never(message)

    # --- after a restart --------------------------------------------------------------

    def _take_up(self, work: trio.Nursery, waits: trio.Nursery) -> None:
        if self._state.closed:
            return  # it is here to be read, and nothing is written any more
        for action in self._state.actions.awaiting(UNDECIDED):
            held, left_s = self._find(action), rest_s(action, self._clock)
            late = action.status == "confirmed" and not left_s
            if held is None or not held.whole or late:
                # What it would be done with is gone with the last process, or it is too late.
                work.start_soon(self._give_up, action)
                continue
            self._held[action.action_id] = held
            if action.status == "proposed":
                self._await_decision(action.action_id, self._clock.now_s() + left_s, waits)
            else:
                work.start_soon(self._commit, action.action_id, held)
        for action in self._state.actions.awaiting(DOUBTS):
            if (held := self._find(action)) is not None:
                work.start_soon(self._settle, action.action_id, held, True)  # noqa: FBT003

    async def _give_up(self, action: ActionState) -> None:
        await self._write(action.turn_id, partial(too_late, action.action_id))
        self._forget(action.action_id)

    def _find(self, action: ActionState) -> Held | None:
        """Return what an action is done with; None if its tool is not there any more."""
        if (held := self._held.get(action.action_id)) is not None:
            return held
        tool = self._apps.current.action_tool(action.action)
        if tool is None:
            _log.warning("action.tool_unknown", action=action.action, action_id=action.action_id)
            return None
        # Whatever is secret now: it was when this was proposed.
        return Held(tool, action.args, HIDDEN not in action.args.values())

    # --- proposals ----------------------------------------------------------------------

    async def _propose(self, asked: Propose, waits: trio.Nursery) -> None:
        turn, tool = asked.turn, asked.tool
        try:
            held = Held(tool, json_object(asked.args))
            tool.bind(held.args, self._commits.context(turn.id, asked.call_id))
        except (ArgumentsRefused, TypeError, ValueError) as refused:
            asked.receipt.send(Told("error", str(refused), str(refused)))
            return
        expires_s = tool.expires_s or self._limits().confirm_s
        proposing = Proposing(
            turn.id,
            asked.call_id,
            held,
            self._clock,
            self._slot,
            expires_s,
            self._limits().proposals_most,
        )

        def proposed(state: SessionState) -> Payload | None:
            payload = proposing.proposed(state)
            if proposing.action_id is not None:
                self._held[proposing.action_id] = held
                self._deadlines[proposing.action_id] = proposing.deadline_s
            return payload

        await self._write(turn.id, proposed, proposing.by_policy)
        action_id = proposing.action_id
        if action_id is None:
            asked.receipt.send(Told("error", TOO_MANY, TOO_MANY))
        elif not proposing.confirmed:
            self._await_decision(action_id, proposing.deadline_s, waits)
            asked.receipt.send(_proposed(action_id, proposing.confirmation_id, PROPOSED))
        elif tool.effect == "side_effect":
            asked.receipt.send(_proposed(action_id, proposing.confirmation_id, BY_POLICY))
            await self._commit(action_id, held)
        else:
            asked.receipt.send(await self._commit(action_id, held) or NOT_DONE)

    def _await_decision(self, action_id: ActionId, deadline_s: float, waits: trio.Nursery) -> None:
        self._deadlines[action_id] = deadline_s
        if self._state.actions.by_id[action_id].status == "proposed":
            scope = self._waits[action_id] = trio.CancelScope()
            waits.start_soon(self._expire, action_id, deadline_s, scope)

    async def _expire(
        self, action_id: ActionId, deadline_s: float, scope: trio.CancelScope
    ) -> None:
        with scope:
            await trio.sleep_until(deadline_s)
            turn_id = self._state.actions.by_id[action_id].turn_id
            await self._write(turn_id, partial(expired, action_id))
        self._forget(action_id)

    def _forget(self, action_id: ActionId) -> None:
        """Let go of what only an undecided action needs."""
        status = self._state.actions.by_id[action_id].status
        if status != "proposed":  # a refused command decides nothing
            self._deadlines.pop(action_id, None)
            if (scope := self._waits.pop(action_id, None)) is not None:
                scope.cancel(reason="it was decided")
        if status in DOUBTS:
            self._ask_later(action_id)
        elif status not in UNDECIDED | UNDERWAY:
            held = self._held.pop(action_id, None)
            if held is not None and held.tool.revert is not None and status == "committed":
                self._held[action_id] = Held(held.tool, {}, whole=False)  # without its secrets
        self._changed.set()
        self._changed = trio.Event()

    # --- decisions ----------------------------------------------------------------------

    def _decide(
        self, command: Confirm | Any, answer: Answer, principal: str, work: trio.Nursery
    ) -> None:
        action = self._state.actions.named(command.confirmation_id)
        if action is None:
            answer.refuse(problem(ErrorCode.NOT_FOUND, param="confirmation_id"))
        elif self._closing or self._state.closed:
            answer.refuse(problem(ErrorCode.STALE, "The session is being closed."))
        elif self._deciding >= MOST_DECISIONS:
            answer.refuse(problem(ErrorCode.OVERLOADED))
        else:
            edited = command.args if isinstance(command, Confirm) else None
            if edited is not None and action.status == "proposed":
                edited = self._edited(action, edited)
            if isinstance(edited, Problem):
                answer.refuse(edited)
                return
            self._deciding += 1
            work.start_soon(self._decide_in_turn, action, command, answer, principal, edited)

    def _edited(self, action: ActionState, edited: dict[str, Any]) -> dict[str, Any] | Problem:
        """Return the arguments that replace the proposed ones, or what is wrong with them."""
        held = self._find(action)
        if held is None:
            return problem(ErrorCode.STALE, "The tool of this action is not there any more.")
        filled = held.with_secrets(edited)
        if isinstance(filled, Problem):
            return filled
        try:
            held.tool.bind(filled, self._commits.context(action.turn_id, action.call_id))
        except ArgumentsRefused as refused:
            found = _PATH.search(refused.reason)
            place = "args" + (found[1] if found else "")
            return problem(ErrorCode.INVALID_COMMAND, str(refused), param=place)
        return filled

    async def _decide_in_turn(
        self,
        action: ActionState,
        command: Any,
        answer: Answer,
        principal: str,
        edited: dict[str, Any] | None,
    ) -> None:
        held = self._find(action)
        if held is not None and edited is not None:
            held = evolve(held, args=edited, whole=True)
        shown = edited if edited is None or held is None else held.tool.shown(edited)
        deciding = Deciding(
            action.action_id,
            command,
            principal,
            shown,
            self._slot,
            self._clock,
            self._deadlines.get(action.action_id, 0.0),
        )

        def decided(state: SessionState) -> Payload | None:
            payload = deciding.decided(state)
            if deciding.confirmed and held is not None:
                self._held[action.action_id] = held
            return payload

        try:
            seq = await self._write(action.turn_id, decided)
        finally:
            self._deciding -= 1
        if deciding.refusal is not None:
            answer.refuse(deciding.refusal)
        else:
            answer.reply({"action_id": action.action_id, "state": deciding.status}, seq)
        self._forget(action.action_id)
        if deciding.confirmed and held is not None:
            await self._commit(action.action_id, held)

    def _revert(self, command: Revert, answer: Answer, principal: str, work: trio.Nursery) -> None:
        action = self._state.actions.by_id.get(command.action_id)
        if action is None:
            answer.refuse(problem(ErrorCode.NOT_FOUND, param="action_id"))
        elif self._closing or self._state.closed:
            answer.refuse(problem(ErrorCode.STALE, "The session is being closed."))
        elif self._deciding >= MOST_DECISIONS:
            answer.refuse(problem(ErrorCode.OVERLOADED))
        else:
            self._deciding += 1
            work.start_soon(self._revert_in_turn, action, command, answer, principal)

    async def _revert_in_turn(
        self, action: ActionState, command: Revert, answer: Answer, principal: str
    ) -> None:
        try:
            await self._commits.revert(action, self._find(action), command, answer, principal)
        finally:
            self._deciding -= 1
        self._forget(action.action_id)

    # --- what is done ---------------------------------------------------------------------

    async def _commit(self, action_id: ActionId, held: Held) -> Told | None:
        self._working += 1
        try:
            told = await self._commits.commit(action_id, held)
        finally:
            self._working -= 1
        self._forget(action_id)
        return told

    async def _settle(self, action_id: ActionId, held: Held, may_repeat: bool) -> None:  # noqa: FBT001
        self._working += 1
        try:
            await self._commits.settle(action_id, held, may_repeat=may_repeat)
        finally:
            self._working -= 1
        self._forget(action_id)

    def _ask_later(self, action_id: ActionId) -> None:
        held = self._find(self._state.actions.by_id[action_id])
        if held is not None and self._later is not None:
            self._asking.begin(action_id, held, self._later, self._settle)

    # --- ends -----------------------------------------------------------------------------

    def is_quiet(self, *, also_undecided: bool) -> bool:
        """Say whether nothing is being done, and, if asked, nothing waits for a decision."""
        waited_for = UNDERWAY | (UNDECIDED if also_undecided else CONFIRMED)
        return not (self._deciding or self._working or self._state.actions.awaiting(waited_for))

    async def until_quiet(self, *, also_undecided: bool) -> None:
        """Wait until it is."""
        while not self.is_quiet(also_undecided=also_undecided):
            await self._changed.wait()

    async def wind_up(self) -> None:
        """Refuse what waits and let finish what was begun, because the session ends for good."""
        self._closing = True
        for action in self._state.actions.awaiting(UNDECIDED):
            await self._write(action.turn_id, partial(given_up, action.action_id))
            self._forget(action.action_id)
        await self.until_quiet(also_undecided=False)

    async def _write(self, turn_id: TurnId, *drafts: Draft) -> Seq:
        return await self._output.ask(
            lambda receipt: Record(turn_id, drafts, receipt.send), within_s=RECORD_LIMIT_S
        )


def _proposed(action_id: ActionId, confirmation_id: str | None, text: str) -> Told:
    named = {"action_id": action_id, "confirmation_id": confirmation_id}
    return Told("proposed", named, text.format_map(named))
