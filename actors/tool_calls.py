"""The tools that a model called in one answer: run side by side, each with one result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from attrs import define, field

from bargein.actors.cleaning import clean, cleaned
from bargein.actors.mailbox import ActorGone
from bargein.actors.messages import Draft, Noted, Outlet
from bargein.actors.phases import Phases
from bargein.actors.turn import RunningCall, Turn
from bargein.models.client import ToolOutcome, ToolUse
from bargein.protocol.codec import encode_payload
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    Fault,
    MemorySaved,
    Object,
    Payload,
    Recover,
    RetrieveResult,
    RetrieveStart,
    Status,
    ToolCall,
    ToolProgress,
    ToolResult,
)
from bargein.protocol.ids import CallId, Seq, SessionId
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.running import ToolOutput, Workbench
from bargein.tools.tool import Tool, ToolContext

AT_ONCE: Final = 4
"""How many tools of one turn run at the same time."""

MOST_KEPT_NOTES: Final = 64

NOTES: Final = (MemorySaved, Object, RetrieveResult, RetrieveStart, Status)
"""What a tool may write of its own: nothing that the turn's pairs or its ladder are made of."""

RECORD_LIMIT_S: Final = 30.0
LEAVE_LIMIT_S: Final = 1.0

FAULTS: Final[Mapping[str, ErrorCode]] = {
    "error": ErrorCode.TOOL_ERROR,
    "timeout": ErrorCode.TOOL_TIMEOUT,
}

MALFORMED: Final = "The arguments are no JSON object. Call the tool again, with proper arguments."
NOT_YET: Final = "This server can't commit actions, so the tool did not run."


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
    _timeline: Timeline
    _places: trio.CapacityLimiter

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
        return (running and running.result) or ToolResult(call_id, "cancelled")

    def _announced(self, call: ToolUse) -> Draft:
        tool = self._tools.get(call.tool)
        if tool is None:
            return ToolCall(call.call_id, call.tool, dict(call.args), "read")
        return ToolCall(call.call_id, call.tool, tool.shown(call.args), tool.effect)

    async def _run_one(self, call: ToolUse, outcomes: dict[CallId, ToolOutcome]) -> None:
        async with self._places:
            with self._phases.child(f"tool:{call.call_id}"):
                output, code = await self._output_of(call)
        text = clean(output.text)
        result = ToolResult(call.call_id, output.status, cleaned(output.result))
        drafts: tuple[Draft, ...] = (result,)
        if code is not None:
            drafts = (result, Fault(code, text, code.retryable, "pipeline", Recover()))
        if (running := self._turn.calls.get(call.call_id)) is not None:
            running.result = self._turn.shown(result)
        await self._output.tell(Noted(self._turn, drafts))
        outcomes[call.call_id] = ToolOutcome(call.call_id, text, failed=output.status != "ok")

    async def _output_of(self, call: ToolUse) -> tuple[ToolOutput, ErrorCode | None]:
        tool = self._tools.get(call.tool)
        if tool is None:
            known = ", ".join(self._tools) or "none"
            return _told(f"There is no tool {call.tool!r}. There are: {known}."), None
        if call.malformed is not None:
            return _told(MALFORMED), None
        if tool.effect != "read":
            return _told(NOT_YET), None
        self._turn.calls[call.call_id] = RunningCall(tool.in_thread)
        notebook = Notebook(self._turn, call.call_id, self._output, tool.in_thread)
        context = ToolContext(
            self._session_id,
            self._turn.id,
            call.call_id,
            self._principal,
            notebook,
        )
        try:
            output = await self._workbench.run(tool, call.args, context)
        finally:
            notebook.close()
        if notebook.kept:
            await self._output.tell(Noted(self._turn, tuple(notebook.kept)))
        return output, FAULTS.get(output.status)


def _told(message: str) -> ToolOutput:
    return ToolOutput("error", message, message)


@define(eq=False)
class Notebook:
    """What a running tool tells, on its way to the timeline.

    Progress is dropped where there is no room for it; notes wait for the result.
    When the call is over, both are: a thread that was left behind may go on telling.
    """

    _turn: Turn
    _call_id: CallId
    _output: Outlet
    _in_thread: bool
    kept: list[Payload] = field(factory=list[Payload], init=False)
    _closed: bool = field(default=False, init=False)

    def close(self) -> None:
        """Take no more: the result comes next."""
        self._closed = True

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Show the user how far the tool is; a fraction that is none is left out."""
        done = {}
        if fraction is not None and math.isfinite(fraction):
            done = {"fraction": float(fraction)}
        self._in_trio(self._offer, ToolProgress(self._call_id, clean(text), **done))

    def note(self, payload: Payload) -> None:
        """Put an event of the tool's own on the timeline.

        Raises:
            TypeError: If it is no event that a tool may write, or holds what is no JSON.
        """
        if not isinstance(payload, NOTES):
            raise TypeError(f"a tool can't write {payload.type}; an `object` holds anything")
        payload = cleaned(payload)
        encode_payload(payload)
        self._in_trio(self._keep, payload)

    def _in_trio(self, act: Callable[[Payload], object], payload: Payload) -> None:
        if self._in_thread:
            trio.from_thread.run_sync(act, payload)
        else:
            act(payload)

    def _offer(self, payload: Payload) -> bool:
        return self._closed or self._output.offer(Noted(self._turn, (payload,)))

    def _keep(self, payload: Payload) -> None:
        if (self.kept or not self._offer(payload)) and len(self.kept) < MOST_KEPT_NOTES:
            self.kept.append(payload)
