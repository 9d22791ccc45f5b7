"""The fold: what a session knows is what its events say, and nothing else.

`SessionState.apply` takes one event after the other.  It has no clock, no
chance and no input but the events, so that live state, resume, recovery and
every projection are the same computation.  Applying to an event costs the same
in the first turn and in the ten-thousandth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import Factory, define

from bargein.protocol.actions import EDGES, Actions
from bargein.protocol.events import (
    ActionProposed,
    CancelAck,
    CancelRequested,
    CancelStage,
    Event,
    Fault,
    InputDropped,
    InputText,
    ModelEnd,
    ModelStart,
    ModelToken,
    Object,
    Payload,
    PlanReady,
    PlanStep,
    PlaybackProgress,
    PlaybackStart,
    PlaybackStop,
    ResponseEnd,
    ResponseStart,
    SessionAttached,
    SessionClosed,
    SessionConfigured,
    SessionDetached,
    SessionOpened,
    SessionTitled,
    ToolCall,
    ToolResult,
    TtsChunk,
    TurnStart,
    TurnTrace,
)
from bargein.protocol.heard import WITHHELD, withheld_in
from bargein.protocol.ids import NOTHING, CommandId, Seq, TurnId, turn_number
from bargein.protocol.ladder import TRANSCRIPT
from bargein.protocol.turn_state import OfPlayback, TurnState
from bargein.protocol.utterances import OF_SPEECH, Utterances, follow_speech

STAGE_RESULT: Final = "stage.result"
"""The kind of `object` that says what a stage came to that did not speak to the user."""


@define(slots=True)
class SessionState:
    """What a session knows at `seq`."""

    seq: Seq = NOTHING
    ts: str = ""
    opened_at: str = ""
    agent: str = ""
    title: str | None = None
    config: dict[str, Any] = Factory(dict[str, Any])
    closed: bool = False
    connections: int = 0
    drivers: int = 0
    turns: dict[TurnId, TurnState] = Factory(dict[TurnId, TurnState])
    queue: list[TurnId] = Factory(list[TurnId])
    open_turn: TurnId | None = None
    suspended: TurnId | None = None
    """The latest turn, where it was pre-empted and is to go on."""
    latest_started: TurnId | None = None
    planned: TurnId | None = None
    last_turn: int = 0
    resume_tokens: dict[str, TurnId] = Factory(dict[str, TurnId])
    outcomes: dict[CommandId, TurnId] = Factory(dict[CommandId, TurnId])
    """Words that were recorded, by the command that brought them, and the turn they belong to."""
    stops: dict[CommandId, TurnId] = Factory(dict[CommandId, TurnId])
    """Commands that asked for the cancel of a turn, or that it does not go on; and that turn."""
    actions: Actions = Factory(Actions)
    utterances: Utterances = Factory(Utterances)

    def apply(self, seq: Seq, ts: str, turn_id: TurnId | None, payload: Payload) -> None:
        """Take the event at *seq*, which follows the last one applied."""
        self.seq = seq
        self.ts = ts
        kind = type(payload)
        if turn_id is not None and (on_turn := _ON_TURN.get(kind)) is not None:
            turn = self.turns.get(turn_id) or self._new_turn(turn_id)
            on_turn(self, turn, seq, payload)
        elif (on_session := _ON_SESSION.get(kind)) is not None:
            on_session(self, payload)
        elif payload.type in _ON_ACTION:
            self.actions.follow(seq, payload)
        if kind in OF_SPEECH:
            follow_speech(self.utterances, seq, turn_id, payload)

    @property
    def unsettled(self) -> bool:
        """Whether a restart would find something to finish here."""
        goes_on = self.open_turn is not None or self.suspended is not None
        return (goes_on or bool(self.queue) or bool(self.actions.open)) and not self.closed

    def _new_turn(self, turn_id: TurnId) -> TurnState:
        turn = self.turns[turn_id] = TurnState(turn_id, "", "queued")
        self.last_turn = max(self.last_turn, turn_number(turn_id))
        return turn


def fold(events: Iterable[Event]) -> SessionState:
    """Return what a session knows after *events*, from the first on."""
    state = SessionState()
    for event in events:
        state.apply(event.seq, event.ts, event.turn_id, event.payload)
    return state


# --- what each event means ----------------------------------------------------


def _input_text(state: SessionState, turn: TurnState, seq: Seq, payload: InputText) -> None:
    if payload.steered:
        turn.steered.append(payload.text)
        if payload.command_id is not None:
            state.outcomes[payload.command_id] = turn.turn_id
        return
    turn.words = payload.text
    turn.command_id = payload.command_id
    turn.input_seq = seq
    turn.waited = payload.queued is True
    turn.utterances = payload.utterances or ()
    turn.continues = payload.continues or None
    turn.cut_short = payload.interrupted or None
    turn.traceparent = payload.traceparent or None
    if payload.command_id is not None:
        state.outcomes[payload.command_id] = turn.turn_id
    state.queue.append(turn.turn_id)


def _input_dropped(state: SessionState, turn: TurnState, seq: Seq, payload: InputDropped) -> None:
    del seq, payload
    turn.status = "dropped"
    turn.over = True
    if turn.turn_id in state.queue:
        state.queue.remove(turn.turn_id)


def _turn_start(state: SessionState, turn: TurnState, seq: Seq, payload: TurnStart) -> None:
    if turn.turn_id in state.queue:
        state.queue.remove(turn.turn_id)
    if turn.input_seq is None or payload.utterances:
        turn.words = payload.input  # which may have been understood better since
    turn.utterances, turn.corrects = payload.utterances or (), payload.corrects or None
    # The conversation reads in the order in which turns began; queued words came before that.
    state.turns[turn.turn_id] = state.turns.pop(turn.turn_id)
    turn.status = "open"
    turn.voiced = state.config.get("voice") is True
    turn.start_seq = seq
    state.open_turn = state.latest_started = turn.turn_id
    if payload.replaces:
        turn.replaces = payload.replaces
        if replaced := state.turns.get(payload.replaces):
            replaced.rolled_back = True
    if payload.continues:
        turn.continues = payload.continues
        if continued := state.turns.get(payload.continues):
            continued.resumed = True
            turn.preemptions = continued.preemptions
    if state.suspended not in (None, payload.continues):
        _give_up(state, state.suspended)
    state.suspended = None


def _plan_ready(state: SessionState, turn: TurnState, seq: Seq, payload: PlanReady) -> None:
    del seq
    turn.take_plan(payload)
    state.planned = turn.turn_id


def _plan_step(state: SessionState, turn: TurnState, seq: Seq, payload: PlanStep) -> None:
    del state, seq
    turn.tick(payload)


def _object(state: SessionState, turn: TurnState, seq: Seq, payload: Object) -> None:
    del state, seq
    # `data` may be anything: only what a stage says is taken, and the fold never raises.
    match payload.data:
        case {"stage": str(stage), "text": str(text)} if payload.kind == STAGE_RESULT:
            turn.results[stage] = text
        case data if payload.kind == WITHHELD:
            turn.withheld = withheld_in(data)
        case _:
            pass


def _response_start(state: SessionState, turn: TurnState, seq: Seq, payload: ResponseStart) -> None:
    del state, payload
    turn.response_seq = seq


def _model_start(state: SessionState, turn: TurnState, seq: Seq, payload: ModelStart) -> None:
    del state, payload
    turn.models_running += 1
    turn.model_seq = seq


def _model_token(state: SessionState, turn: TurnState, seq: Seq, payload: ModelToken) -> None:
    del state
    turn.add_token(seq, payload)


def _model_end(state: SessionState, turn: TurnState, seq: Seq, payload: ModelEnd) -> None:
    del state, seq, payload
    turn.models_running = max(0, turn.models_running - 1)


def _tool_call(state: SessionState, turn: TurnState, seq: Seq, payload: ToolCall) -> None:
    del state
    turn.begin_call(seq, payload)


def _tool_result(state: SessionState, turn: TurnState, seq: Seq, payload: ToolResult) -> None:
    del state, seq
    turn.end_call(payload)


def _playback(state: SessionState, turn: TurnState, seq: Seq, payload: OfPlayback) -> None:
    del state, seq
    turn.note_playback(payload)


def _cancel_requested(
    state: SessionState, turn: TurnState, seq: Seq, payload: CancelRequested
) -> None:
    if payload.command_id:
        state.stops[payload.command_id] = turn.turn_id
    turn.cancel_seq = seq
    # What is interrupted for a correction is not; it was never asked for.
    turn.stopped = payload.by in ("user", "speech") and payload.cause != "correction"
    if payload.by == "preempted" and not turn.preempted:
        turn.preempted = True
        turn.preemptions += 1
    turn.in_flight = payload.in_flight
    turn.rungs.clear()


def _cancel_stage(state: SessionState, turn: TurnState, seq: Seq, payload: CancelStage) -> None:
    del state, seq
    turn.rungs.add(payload.target)
    if payload.target == TRANSCRIPT:
        turn.heard = payload.heard or ""


def _response_end(state: SessionState, turn: TurnState, seq: Seq, payload: ResponseEnd) -> None:
    del state, seq
    turn.response_ended = True
    turn.status = payload.status


def _turn_trace(state: SessionState, turn: TurnState, seq: Seq, payload: TurnTrace) -> None:
    del seq
    turn.total_ms = payload.total_ms
    turn.spans = payload.spans
    if not turn.cancelled:
        _end_turn(state, turn)


def _cancel_ack(state: SessionState, turn: TurnState, seq: Seq, payload: CancelAck) -> None:
    turn.ack_seq = seq
    turn.still_committing = payload.still_committing
    turn.cancel_took_ms = payload.took_ms
    if turn.preempted and not turn.given_up:
        state.suspended = turn.turn_id
    _end_turn(state, turn)


def _end_turn(state: SessionState, turn: TurnState) -> None:
    turn.over = True
    turn.models_running = 0
    turn.close_steps()
    turn.forget_marks()
    if state.suspended != turn.turn_id:
        _forget_found(state, turn.turn_id)
    if state.open_turn == turn.turn_id:
        state.open_turn = None


def _give_up(state: SessionState, turn_id: TurnId | None) -> None:
    if (turn := state.turns.get(turn_id or TurnId(""))) is not None:
        turn.given_up = True
        _forget_found(state, turn.turn_id)


def _forget_found(state: SessionState, turn_id: TurnId | None) -> None:
    # What pre-empted turns have read is needed until the last that goes on from them is over.
    while turn_id is not None and (turn := state.turns.get(turn_id)) is not None:
        turn.found = []
        before = state.turns.get(turn.continues) if turn.continues else None
        turn_id = before.turn_id if before is not None and before.preempted else None


def _fault(state: SessionState, turn: TurnState, seq: Seq, payload: Fault) -> None:
    del seq
    if token := payload.recover.resume_token:
        turn.resume_token = token
        state.resume_tokens[token] = turn.turn_id


def _opened(state: SessionState, payload: SessionOpened) -> None:
    state.agent = payload.agent
    state.config = dict(payload.config)
    state.opened_at = state.ts


def _connections(state: SessionState, payload: SessionAttached | SessionDetached) -> None:
    drives = payload.role == "drive"
    if isinstance(payload, SessionDetached):
        state.drivers = max(0, state.drivers - drives)
    else:  # nobody says who went with a process: the first in the next one is counted anew
        state.drivers = drives + (state.drivers if payload.connections > 1 else 0)
    state.connections = payload.connections


def _configured(state: SessionState, payload: SessionConfigured) -> None:
    state.config = dict(payload.config)
    state.agent = payload.config.get("agent", state.agent)


def _titled(state: SessionState, payload: SessionTitled) -> None:
    state.title = payload.title


def _closed(state: SessionState, payload: SessionClosed) -> None:
    del payload
    state.closed = True
    state.suspended = None
    state.queue.clear()


def _continuation_dropped(state: SessionState, payload: InputDropped) -> None:
    if payload.continues:
        if payload.command_id and payload.continues in state.turns:
            state.stops[payload.command_id] = payload.continues
        _give_up(state, payload.continues)
        if state.suspended == payload.continues:
            state.suspended = None


def _action_proposed(
    state: SessionState, turn: TurnState, seq: Seq, payload: ActionProposed
) -> None:
    state.actions.propose(seq, state.ts, turn.turn_id, payload)


_ON_ACTION: Final = frozenset(name for _, name in EDGES)

_ON_TURN: Final[dict[type[Any], Callable[[SessionState, TurnState, Seq, Any], None]]] = {
    ModelToken: _model_token,
    ActionProposed: _action_proposed,
    InputText: _input_text,
    PlanReady: _plan_ready,
    PlanStep: _plan_step,
    Object: _object,
    InputDropped: _input_dropped,
    TurnStart: _turn_start,
    ResponseStart: _response_start,
    ModelStart: _model_start,
    ModelEnd: _model_end,
    ToolCall: _tool_call,
    ToolResult: _tool_result,
    TtsChunk: _playback,
    PlaybackStart: _playback,
    PlaybackProgress: _playback,
    PlaybackStop: _playback,
    CancelRequested: _cancel_requested,
    CancelStage: _cancel_stage,
    ResponseEnd: _response_end,
    TurnTrace: _turn_trace,
    CancelAck: _cancel_ack,
    Fault: _fault,
}

_ON_SESSION: Final[dict[type[Any], Callable[[SessionState, Any], None]]] = {
    SessionOpened: _opened,
    SessionAttached: _connections,
    SessionDetached: _connections,
    SessionConfigured: _configured,
    SessionTitled: _titled,
    SessionClosed: _closed,
    InputDropped: _continuation_dropped,
}
