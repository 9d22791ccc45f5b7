"""Runs tools: within their time, their share of the process and their size of result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
import structlog
import trio
from attrs import define, field, frozen

from bargein.protocol.gate import JsonRefused, parse
from bargein.tools.tool import ArgumentsRefused, Tool, ToolContext, ToolFailed

THREADS: Final = 40
WAIT_LIMIT_S: Final = 5.0
"""How long a call waits for a place; with 40 hung tools more waiting does not help."""

MOST_LOGGED_CHARS: Final = 200

Status = Literal["ok", "error", "timeout"]

_log = structlog.get_logger()


@frozen
class ToolOutput:
    """How a call ended.

    Attributes:
        result: JSON; what the timeline keeps.
        text: The same as the model reads it.
    """

    status: Status
    result: Any
    text: str


@define(eq=False)
class Workbench:
    """Where all tools of the process run.  Lives as long as the process."""

    _threads: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(THREADS))
    _places: dict[Tool, trio.CapacityLimiter] = field(
        factory=dict[Tool, trio.CapacityLimiter], init=False
    )

    async def run(self, tool: Tool, args: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Run one call to its end; never raises but for a cancel.

        A plain function that is cancelled goes on in its thread; its result is
        thrown away, and its place is free again when it has come back.
        """
        try:
            call = tool.bind(args, context)
        except ArgumentsRefused as refused:
            return _told(str(refused))
        place = self._places.setdefault(tool, trio.CapacityLimiter(tool.at_once))
        with trio.move_on_after(WAIT_LIMIT_S) as wait:
            await place.acquire_on_behalf_of(context)
        if wait.cancelled_caught:
            return _told("The tool has more work than it can take; try again later.")
        try:
            return await self._within_time(tool, call, context)
        finally:
            place.release_on_behalf_of(context)

    async def _within_time(self, tool: Tool, call: Any, context: ToolContext) -> ToolOutput:
        with trio.move_on_after(tool.timeout_s):
            return await self._caught(tool, call, context)
        message = f"The tool did not finish within {tool.timeout_s:g} s."
        return ToolOutput("timeout", message, message)

    async def _caught(self, tool: Tool, call: Any, context: ToolContext) -> ToolOutput:
        try:
            if tool.in_thread:
                result = await trio.to_thread.run_sync(
                    call, abandon_on_cancel=True, limiter=self._threads
                )
            else:
                result = await call()
        except ToolFailed as failed:
            return _told(str(failed) or "The tool failed.")
        except Exception as error:  # noqa: BLE001 - a tool is somebody else's code
            _log.warning(
                "tool.raised",
                tool=tool.name,
                session=context.session_id,
                turn=context.turn_id,
                error=type(error).__name__,
                exc_info=error,
            )
            return _told("The tool failed.")
        return output_of(result, tool.most_result_bytes)


def output_of(result: Any, most_bytes: int) -> ToolOutput:
    """Return a tool's result as JSON that everybody reads alike, cut to *most_bytes*."""
    try:
        encoded = msgspec.json.encode(result)
        if len(encoded) > most_bytes:
            return _cut(encoded, most_bytes)
        text = encoded.decode()
        parsed = parse(text)
    except (TypeError, ValueError, RecursionError, JsonRefused) as error:
        reason = str(error)[:MOST_LOGGED_CHARS]
        _log.warning("tool.result_refused", error=type(error).__name__)
        return _told(f"The tool's result is not JSON that can be kept: {reason}")
    return ToolOutput("ok", parsed, parsed if isinstance(parsed, str) else text)


def _cut(encoded: bytes, most_bytes: int) -> ToolOutput:
    kept = encoded[:most_bytes].decode(errors="ignore")
    text = f"{kept}\n[cut: the whole result has {len(encoded)} bytes]"
    return ToolOutput("ok", {"cut": True, "bytes": len(encoded), "text": kept}, text)


def _told(message: str) -> ToolOutput:
    return ToolOutput("error", message, message)
