"""What a restart has to say about turns that were cut short, computed from the fold alone.

A turn without `cancel.requested` failed with the server and can be resumed.
One with it was already over for the user: its ladder is finished from the rung
where it broke off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from bargein.protocol.actions import (
    INTERRUPTED,
    REVERT_SUFFIX,
    UNDECIDED,
    UNDERWAY,
    UNSETTLED,
    ActionState,
)
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    ActionInDoubt,
    ActionRejected,
    CancelAck,
    CancelStage,
    Fault,
    ModelEnd,
    Object,
    Payload,
    PlaybackStop,
    Recover,
    ResponseEnd,
    ResponseStart,
    StageOutcome,
    TokenCount,
    ToolResult,
    TurnTrace,
    Usage,
)
from bargein.protocol.heard import WITHHELD
from bargein.protocol.ids import CallId, TurnId
from bargein.protocol.ladder import MODEL, TRANSCRIPT, tool_target
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState

NOT_REACHED: Final = "The answer broke off before it was spoken."


def resume_token(turn_id: TurnId) -> str:
    """Return the token with which a failed turn of the session is taken up again.

    It opens nothing by itself: it is looked up in the session's own timeline,
    which only its principal can reach.
    """
    return f"resume.{turn_id}"


def closing_events(
    state: SessionState, why: ErrorCode = ErrorCode.SERVER_RESTARTED
) -> list[tuple[TurnId, Payload]]:
    """Return what is missing on the timeline of a session whose server, or store, has failed.

    Args:
        state: The fold of what is stored.
        why: What a turn that was cut short is said to have failed of.
    """
    closing: list[tuple[TurnId, Payload]] = []
    if state.open_turn is not None:
        turn = state.turns[state.open_turn]
        rest = _rest_of_the_ladder(state, turn) if turn.cancelled else _failure(state, turn, why)
        closing = [(turn.turn_id, payload) for payload in rest]
    return closing + [
        (action.turn_id, ActionInDoubt(action.action_id, _key_at_work(action)))
        for action in state.actions.awaiting(UNDERWAY)
    ]


def _key_at_work(action: ActionState) -> str:
    key = action.key or ""
    return key + REVERT_SUFFIX if action.status == "reverting" else key


_CUT_SHORT: Final = {
    ErrorCode.SERVER_RESTARTED: "The server restarted while the tool ran.",
    ErrorCode.STORE_UNAVAILABLE: "What the tool did could not be stored.",
}


def _failure(state: SessionState, turn: TurnState, why: ErrorCode) -> Iterator[Payload]:
    for call_id in turn.running_calls:
        yield _result_of(state, turn, call_id) or ToolResult(call_id, "error", _CUT_SHORT[why])
    yield from _usage_so_far(turn, "error")
    yield from _left_unsaid(turn)
    if turn.response_seq is None:
        yield ResponseStart()
    if not turn.response_ended:
        yield Fault(
            why,
            why.sentence,
            why.retryable,
            "executor",
            Recover(resume_token=resume_token(turn.turn_id)),
        )
        yield ResponseEnd("failed", turn.text)
    yield TurnTrace((), 0.0)


def _left_unsaid(turn: TurnState) -> Iterator[Object]:
    """Say what of a spoken answer had not become speech: it waited for more, or for support."""
    spoken = turn.chunks.end if turn.chunks is not None else 0
    is_voiced = turn.voiced or turn.chunks is not None
    left = turn.text[spoken:].strip()
    if is_voiced and left and not turn.withheld and not turn.response_ended:
        places = [[spoken, len(turn.text)]]
        yield Object(WITHHELD, {"text": left, "reason": NOT_REACHED, "places": places})


def _result_of(state: SessionState, turn: TurnState, call_id: CallId) -> ToolResult | None:
    """Return what is to be said of a call that proposed an action; None if it did not."""
    action = state.actions.of_call(turn.turn_id, call_id)
    return None if action is None else call_result(call_id, action)


def call_result(call_id: CallId, action: ActionState) -> ToolResult | None:
    """Return what an action says of the call that proposed it; None if the call came to nothing."""
    match action.status:
        case "committing" | "in_doubt":
            return ToolResult(call_id, "committing")
        case "committed" if action.effect == "idempotent":
            return ToolResult(call_id, "ok", action.result)
        case "failed" if action.effect == "idempotent":
            return ToolResult(call_id, "error", action.error)
        case _ if action.effect == "side_effect":
            return ToolResult(call_id, "proposed")
        case _:
            return None


def _rest_of_the_ladder(state: SessionState, turn: TurnState) -> Iterator[Payload]:
    # How much was delivered died with the server: where the client reported
    # nothing, it may have seen all that is stored, and never more than that.
    shown = turn.chars if turn.shown_chars is None else turn.shown_chars
    heard = turn.text[:shown]
    if TRANSCRIPT not in turn.rungs:
        if PlaybackStop.type not in turn.rungs and (heard or turn.playing):
            yield PlaybackStop("cancel", chars=len(heard))
        yield CancelStage(TRANSCRIPT, "frozen", text=turn.text, heard=heard)
    if MODEL not in turn.rungs:
        yield from _usage_so_far(turn, "cancelled")
        yield CancelStage(MODEL, "stopped" if turn.in_flight.model else "already_done")
    for call_id in turn.in_flight.tools:
        result = _result_of(state, turn, call_id) or ToolResult(call_id, "cancelled")
        if call_id in turn.running_calls:
            yield result
        if tool_target(call_id) not in turn.rungs:
            yield CancelStage(tool_target(call_id), call_outcome(result))
    for action in state.actions.of_turn(turn.turn_id, UNDECIDED):
        yield ActionRejected(action.action_id, INTERRUPTED)
    committing = state.actions.of_turn(turn.turn_id, UNSETTLED)
    if not turn.response_ended:
        yield ResponseEnd("cancelled", turn.text)
    if turn.total_ms is None:
        yield TurnTrace((), 0.0)
    model = (MODEL,) if turn.in_flight.model else ()
    left = {action.call_id for action in committing}
    stopped = (*model, *(tool_target(i) for i in turn.in_flight.tools if i not in left))
    still = tuple(action.action_id for action in committing)
    yield CancelAck(turn.turn_id, 0.0, stopped, still, TokenCount(turn.deltas, turn.deltas))


_OUTCOMES: Final[dict[str, StageOutcome]] = {"committing": "committing", "cancelled": "stopped"}


def call_outcome(result: ToolResult) -> StageOutcome:
    """Return the outcome of the rung of a call that ended so when its turn was cancelled."""
    return _OUTCOMES.get(result.status, "finished")


def _usage_so_far(turn: TurnState, stop_reason: str) -> Iterator[ModelEnd]:
    # Which of several calls said what is not known any more: the first has it all.
    for index in range(turn.models_running):
        deltas = turn.deltas if index == 0 else 0
        yield ModelEnd(stop_reason, Usage(0, deltas, estimated=True))
