"""The cancellation ladder as a table: what a cancelled turn may still say, and in which order.

    cancel.requested        the gate shuts: no token from here on
    playback.stop           if anything was played or shown
    cancel.stage transcript the words are cut to what was heard
    cancel.stage model      the stream to the model is closed
    tool.result, cancel.stage tool:…   for each tool, as the calls were made
    response.end            cancelled
    turn.trace
    cancel.ack              the last event of the turn, but for its commits

`action.*` may come anywhere between, because commits run outside the turn.
"""

from __future__ import annotations

from typing import Final

from bargein.protocol.events import (
    CancelAck,
    CancelRequested,
    CancelStage,
    ModelEnd,
    Payload,
    PlaybackStop,
    ResponseEnd,
    ToolResult,
    TurnTrace,
)

TRANSCRIPT: Final = "transcript"
MODEL: Final = "model"

AFTER_CANCEL: Final = frozenset(
    {
        PlaybackStop.type,
        CancelStage.type,
        ToolResult.type,
        ModelEnd.type,
        ResponseEnd.type,
        TurnTrace.type,
        CancelAck.type,
    }
)
"""What a turn may say after its `cancel.requested`, beside `action.*`."""


def may_follow_cancel(name: str) -> bool:
    """Whether an event of this type may still come from a cancelled turn."""
    return name in AFTER_CANCEL or name.startswith("action.")


def may_follow_ack(name: str) -> bool:
    """Whether an event of this type may come from a turn after its `cancel.ack`."""
    return name.startswith("action.")


def tool_target(call_id: str) -> str:
    """Return the target of a tool's rung."""
    return f"tool:{call_id}"


def rung(payload: Payload) -> int | None:
    """Return which rung of the ladder *payload* is, from 0; None for what may come anywhere."""
    match payload:
        case CancelRequested():
            return 0
        case PlaybackStop():
            return 1
        case CancelStage(target="transcript"):
            return 2
        case ModelEnd():
            return 3
        case CancelStage(target="model"):
            return 4
        case ToolResult() | CancelStage():
            return 5
        case ResponseEnd():
            return 6
        case TurnTrace():
            return 7
        case CancelAck():
            return 8
        case _:
            return None
