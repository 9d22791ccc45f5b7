"""The tools that a model called in one answer: run side by side, each with one result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from attrs import define

from bargein.actors.cleaning import clean, cleaned
from bargein.actors.mailbox import ActorGone, Address
from bargein.actors.messages import Draft, LedgerMessage, Noted, Outlet, Propose, Told
from bargein.actors.notes import Notebook
from bargein.actors.phases import TOOL_SPAN, Phases
from bargein.actors.turn import RunningCall, Turn
from bargein.memory.facts import FactBook
from bargein.models.client import ToolOutcome, ToolUse
from bargein.protocol.actions import UNDECIDED
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    Fault,
    Payload,
    Recover,
    ToolCall,
    ToolResult,
)
from bargein.protocol.ids import CallId, Seq, SessionId
from bargein.protocol.recovery import call_result
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.running import Workbench
from bargein.tools.tool import HIDDEN, Tool, ToolContext

AT_ONCE: Final = 4
"""How many tools of one turn run at the same time."""

RECORD_LIMIT_S: Final = 30.0
LEAVE_LIMIT_S: Final = 1.0

FAULTS: Final[Mapping[str, ErrorCode]] = {
    "error": ErrorCode.TOOL_ERROR,
    "timeout": ErrorCode.TOOL_TIMEOUT,
}

MALFORMED: Final = "The arguments are no JSON object. Call the tool again, with proper arguments."

STILL_DONE: Final = "This is still being done; you will be told what became of it."

UNWIND_S: Final = 15.0
"""Beyond the tool's own time: a wait for its place, and for two commits of the store."""


@define(eq=False)
class ToolCalls:
    """Runs the calls of one agent in a turn.  Lives as long as its work.

    Attributes:
        _phases: Where the time of the calls is noted.
        _places: For the tools of all agents of the turn, `AT_ONCE` of them.
    """

    _turn: Turn
    _phases: Phases
    _session_id: SessionId
    _principal: str
    _tools: Mapping[str, Tool]
    _workbench: Workbench
    _output: Outlet
    _ledger: Address[LedgerMessage]
    _timeline: Timeline
    _places: trio.CapacityLimiter
    _facts: FactBook | None = None

    async def run(self, calls: Sequence[ToolUse]) -> tuple[ToolOutcome, ...]:
        """Run *calls* and return what the model is told of each, in their order.

        No tool starts before its `tool.call` is durable.
        """
        self._phases.enter("tools")
        drafts = tuple(self._announced(call) for call in calls)
        outcomes: dict[CallId, ToolOutcome] = {}
        try:
            seq: Seq = await self._output.ask(
                lambda receipt: Noted(self._turn, drafts, receipt.send), within_s=RECORD_LIMIT_S
            )
            await self._timeline.until_durable(seq)
            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(self._run_one, call, outcomes)
        finally:
            left = [call.call_id for call in calls if call.call_id not in outcomes]
            if left and not self._turn.interrupted:
                await self._leave(left)
        return tuple(outcomes[call.call_id] for call in calls)

    async def _leave(self, left: Sequence[CallId]) -> None:
        # Shielded, because the stage's time is up and the turn goes on: no
        # ladder will come and end these calls.
        results = tuple(partial(self._left_result, call_id) for call_id in left)
        with trio.move_on_after(LEAVE_LIMIT_S, shield=True), suppress(ActorGone):
            await self._output.tell(Noted(self._turn, results))

    def _left_result(self, call_id: CallId, state: SessionState) -> Payload | None:
        # Its `tool.call` may never have been written, and its result may have been.
        if call_id not in state.turns[self._turn.id].running_calls:
            return None
        running = self._turn.calls.get(call_id)
        if running is not None and running.result is not None:
            return running.result
        action = state.actions.of_call(self._turn.id, call_id)
        if action is None:
            return ToolResult(call_id, "cancelled")
        if action.effect == "idempotent" and action.status in UNDECIDED:
            # It waits for a place; the session does it, whatever becomes of the step.
            return ToolResult(call_id, "timeout", STILL_DONE)
        return call_result(call_id, action) or ToolResult(call_id, "cancelled")

    def _announced(self, call: ToolUse) -> Draft:
        tool = self._tools.get(call.tool)
        if tool is None:
            # Another agent's tool may have the name, and keep some of these secret.
            hidden = dict.fromkeys(call.args, HIDDEN)
            return ToolCall(call.call_id, call.tool, hidden, "read")
        return ToolCall(call.call_id, call.tool, tool.shown(call.args), tool.effect)

    async def _run_one(self, call: ToolUse, outcomes: dict[CallId, ToolOutcome]) -> None:
        async with self._places:
            with self._phases.child(TOOL_SPAN + call.call_id):
                told, code = await self._told_of(call)
        text = clean(told.text)
        result = ToolResult(call.call_id, told.status, cleaned(told.result))
        drafts: tuple[Draft, ...] = (result,)
        if code is not None:
            drafts = (result, Fault(code, text, code.retryable, "pipeline", Recover()))
        if (running := self._turn.calls.get(call.call_id)) is not None:
            running.result = self._turn.shown(result)
        await self._output.tell(Noted(self._turn, drafts))
        failed = told.status not in ("ok", "proposed")
        outcomes[call.call_id] = ToolOutcome(call.call_id, text, failed=failed)

    async def _told_of(self, call: ToolUse) -> tuple[Told, ErrorCode | None]:
        tool = self._tools.get(call.tool)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return _error(f"There is no tool {call.tool!r}. There are: {known}."), None
        if call.malformed is not None:
            return _error(MALFORMED), None
        if tool.effect != "read":
            told = await self._proposed(tool, call)
        else:
            told = await self._read(tool, call)
        return told, FAULTS.get(told.status)

    async def _proposed(self, tool: Tool, call: ToolUse) -> Told:
        # What runs then runs in the session: an interrupt ends the wait here, and not that.
        self._turn.calls[call.call_id] = RunningCall(in_thread=False)
        try:
            return await self._ledger.ask(
                lambda receipt: Propose(self._turn, call.call_id, tool, dict(call.args), receipt),
                within_s=2 * tool.timeout_s + UNWIND_S,
            )
        except trio.TooSlowError:
            return Told("timeout", STILL_DONE, STILL_DONE)

    async def _read(self, tool: Tool, call: ToolUse) -> Told:
        self._turn.calls[call.call_id] = RunningCall(tool.in_thread)
        notebook = Notebook(self._turn, call.call_id, self._output, tool.in_thread)
        context = ToolContext(
            self._session_id,
            self._turn.id,
            call.call_id,
            self._principal,
            notebook,
            facts=self._facts,
        )
        try:
            output = await self._workbench.run(tool, call.args, context)
        finally:
            notebook.close()
        if notebook.kept:
            await self._output.tell(Noted(self._turn, tuple(notebook.kept)))
        return Told(output.status, output.result, output.text)


def _error(message: str) -> Told:
    return Told("error", message, message)
