"""Which event caused which: `parent_event_id`, computed from the fold alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bargein.protocol.events import (
    ActionProposed,
    CancelAck,
    CancelRequested,
    CancelStage,
    InputText,
    ModelEnd,
    ModelStart,
    ModelToken,
    Payload,
    PlaybackStop,
    ResponseEnd,
    ResponseStart,
    ToolProgress,
    ToolResult,
    TurnEnd,
    TurnStart,
    TurnTrace,
)
from bargein.protocol.ids import ActionId, CallId, EventId, Seq, TurnId, event_id
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState
from bargein.protocol.utterances import words_seq

_Cause = Callable[[TurnState, Any], Seq | None]


def _words(turn: TurnState, payload: object) -> Seq | None:
    del payload
    return turn.input_seq


def _start(turn: TurnState, payload: object) -> Seq | None:
    del payload
    return turn.start_seq


def _response(turn: TurnState, payload: object) -> Seq | None:
    del payload
    return turn.response_seq or turn.start_seq


def _model(turn: TurnState, payload: object) -> Seq | None:
    return turn.model_seq or _response(turn, payload)


def _call(turn: TurnState, payload: ActionProposed | ToolResult | ToolProgress) -> Seq | None:
    return turn.running_calls.get(CallId(payload.call_id or "")) or turn.response_seq


def _cancel(turn: TurnState, payload: object) -> Seq | None:
    return turn.cancel_seq or _response(turn, payload)


_CAUSES: Final[dict[type[Any], _Cause]] = {
    ModelToken: _model,
    ModelEnd: _model,
    TurnStart: _words,
    TurnEnd: _start,
    ResponseStart: _start,
    ModelStart: _response,
    ActionProposed: _call,
    ToolResult: _call,
    ToolProgress: _call,
    CancelRequested: _response,
    PlaybackStop: _cancel,
    CancelStage: _cancel,
    ResponseEnd: _response,
    TurnTrace: _start,
    CancelAck: _cancel,
}


def _taken_up(state: SessionState, payload: Payload) -> EventId | None:
    """Return what causes a turn that nobody has said words for: the end of the one before it."""
    if not isinstance(payload, TurnStart) or not payload.continues:
        return None
    before = state.turns.get(payload.continues)
    return None if before is None or before.ack_seq is None else event_id(before.ack_seq)


def parent_of(state: SessionState, turn_id: TurnId | None, payload: Payload) -> EventId | None:
    """Return the event that causes *payload*, which is about to follow *state*."""
    if turn_id is None or isinstance(payload, InputText):
        return None
    if isinstance(payload, TurnStart) and payload.utterances:
        spoken = words_seq(state.utterances, payload)
        return None if spoken is None else event_id(spoken)
    turn = state.turns.get(turn_id)
    if turn is None:
        return _taken_up(state, payload)
    action = state.actions.by_id.get(getattr(payload, "action_id", ActionId("")))
    if action is not None:
        return event_id(action.latest_seq)
    cause = _CAUSES.get(type(payload), _model)(turn, payload)
    return None if cause is None else event_id(cause)
