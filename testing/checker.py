"""The offline checker: which rules of the protocol a stored timeline, or a client's log, breaks.

It reads events and frames alone, nothing inside the server, so that simulation, kill
tests and network tests share it.  What the rungs are it asks the product's ladder; every
other rule is stated here once more, from the protocol's text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, takewhile
from typing import Any, Final, TypeAlias

from attrs import define, field

from bargein.protocol.events import (
    ActionReverting,
    CancelAck,
    CancelRequested,
    CancelStage,
    Event,
    InputDropped,
    InputText,
    ModelEnd,
    ModelStart,
    ModelToken,
    PlaybackStop,
    ResponseEnd,
    ResponseStart,
    SessionClosed,
    SessionOpened,
    Span,
    ToolCall,
    ToolResult,
    TurnStart,
    TurnTrace,
)
from bargein.protocol.ids import TurnId
from bargein.protocol.ladder import rung
from bargein.testing.action_rules import Deed, broken_action_rules
from bargein.testing.preemption_rules import pre_empted_goes_on_next
from bargein.testing.received import check_client_log, overlap_differs

__all__ = ["Deed", "broken_rules", "check_client_log", "overlap_differs"]

TOLERANCE_MS: Final = 1.0
_TS: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_MAY_FOLLOW_CANCEL: Final = {
    "playback.stop",
    "cancel.stage",
    "tool.result",
    "model.end",
    "response.end",
    "turn.trace",
    "cancel.ack",
    "cancel.requested",  # a second one breaks I14
}
_WORK: Final = ("turn.", "response.", "model.", "tool.", "cancel.", "plan.", "stage.")
_LATER_REVERTS: Final = {"action.reverting", "action.reverted", "action.revert_failed"}
_OUTCOMES: Final = {"action.committed", "action.failed", "action.in_doubt"}

Timeline: TypeAlias = Sequence[Event]


def broken_rules(
    events: Timeline, *, finished: bool = True, deeds: Sequence[Deed] | None = None
) -> list[str]:
    """Return a sentence for each rule that the timeline of one session breaks.

    *finished* says that nothing is going on any more: what is open at the end was
    forgotten.  While a session runs, or right after a crash, say False.  *deeds* is the
    ledger of the world outside, where there is one: what was done under which key.
    """
    broken = [trouble for rule in _TIMELINE_RULES for trouble in rule(events)]
    for turn in _turns_of(events):
        broken += [trouble for turn_rule in _TURN_RULES for trouble in turn_rule(turn)]
        if finished:
            broken += _left_open(turn)
    return broken + broken_action_rules(events, deeds, finished=finished)


# --- rules of the whole timeline ---------------------------------------------------


def _seq_without_gaps(events: Timeline) -> Iterator[str]:
    for place, event in enumerate(events, 1):
        if event.seq != place:
            yield f"I1: seq {event.seq} stands in place {place}"


def _causes_are_earlier(events: Timeline) -> Iterator[str]:
    seen: set[str] = set()
    for event in events:
        if event.parent_event_id is not None and event.parent_event_id not in seen:
            yield f"I4: {_name(event)} has the parent {event.parent_event_id}, which is not earlier"
        if event.event_id in seen:
            yield f"I4: {_name(event)} has the event_id {event.event_id}, which is taken"
        seen.add(event.event_id)


def _one_session(events: Timeline) -> Iterator[str]:
    for event in events:
        if event.session_id != events[0].session_id:
            yield f"I4: {_name(event)} is of the session {event.session_id}"


def _time_runs_forward(events: Timeline) -> Iterator[str]:
    for event in events:
        if not _TS.fullmatch(event.ts):
            yield f"I8: {_name(event)} has the ts {event.ts!r}"
    for earlier, later in pairwise(events):
        if later.ts < earlier.ts:
            yield f"I8: {_name(later)} has the ts {later.ts} after {earlier.ts}"


def _one_open_turn(events: Timeline) -> Iterator[str]:
    open_turn: TurnId | None = None
    begun: set[TurnId] = set()
    cancelled: set[TurnId] = set()
    for event in events:
        turn, payload = event.turn_id, event.payload
        if turn is None:
            continue
        if isinstance(payload, TurnStart) and open_turn is None and turn not in begun:
            open_turn = turn
            begun.add(turn)
        elif isinstance(payload, TurnStart):
            yield f"I11: {_name(event)} comes while {open_turn or turn} has begun"
        elif turn != open_turn and isinstance(payload, InputText | InputDropped):
            pass
        elif turn not in begun:
            yield f"I11: {_name(event)} comes before its turn has begun"
        elif turn != open_turn and open_turn is not None and not _is_action(event):
            yield f"I11: {_name(event)} comes while {open_turn} is open"
        elif turn != open_turn and event.type.startswith(_WORK):
            yield f"I12: {_name(event)} comes after the turn was over"
        elif isinstance(payload, CancelRequested):
            cancelled.add(turn)
        if turn == open_turn and (
            isinstance(payload, CancelAck)
            or (isinstance(payload, TurnTrace) and turn not in cancelled)
        ):
            open_turn = None


def _queue_in_order(events: Timeline) -> Iterator[str]:
    waiting: list[TurnId] = []
    dropped: set[TurnId] = set()
    for event in events:
        match event:
            case Event(turn_id=str() as turn, payload=InputText(queued=True)):
                waiting.append(turn)
            case Event(turn_id=str() as turn, payload=InputDropped()):
                dropped.add(turn)
                waiting = [other for other in waiting if other != turn]
            case Event(turn_id=str() as turn, payload=TurnStart()) if turn in dropped:
                yield f"queue: {_name(event)} starts words that were dropped"
            case Event(turn_id=str() as turn, payload=TurnStart()) if turn in waiting:
                if waiting[0] != turn:
                    yield f"queue: {_name(event)} starts before {waiting[0]}, which waited longer"
                waiting.remove(turn)
            case _:
                pass


def _opened_once_closed_last(events: Timeline) -> Iterator[str]:
    for place, event in enumerate(events, 1):
        if isinstance(event.payload, SessionOpened) and place > 1:
            yield f"session: {_name(event)} is not the first event"
        if isinstance(event.payload, SessionClosed) and place < len(events):
            yield f"session: {_name(events[place])} comes after session.closed"


def _is_action(event: Event) -> bool:
    return event.type.startswith("action.")


def _name(event: Event) -> str:
    where = "" if event.turn_id is None else f" of {event.turn_id}"
    return f"{event.type}{where} at seq {event.seq}"


_TIMELINE_RULES: Final[tuple[Callable[[Timeline], Iterator[str]], ...]] = (
    _seq_without_gaps,
    _causes_are_earlier,
    _one_session,
    _time_runs_forward,
    _one_open_turn,
    _queue_in_order,
    pre_empted_goes_on_next,
    _opened_once_closed_last,
)

# --- rules of one turn -----------------------------------------------------------------


@define
class Turn:
    """The events of one turn, in order."""

    turn_id: TurnId
    events: list[Event] = field(factory=list[Event])

    def count(self, kind: type[Any]) -> int:
        return sum(isinstance(event.payload, kind) for event in self.events)

    def ladder(self) -> list[Event]:
        """Return what the turn says from its first `cancel.requested` on."""
        for index, event in enumerate(self.events):
            if isinstance(event.payload, CancelRequested):
                return self.events[index:]
        return []


def _turns_of(events: Timeline) -> list[Turn]:
    turns: dict[TurnId, Turn] = {}
    for event in events:
        if event.turn_id is not None:
            turns.setdefault(event.turn_id, Turn(event.turn_id)).events.append(event)
    return list(turns.values())


def _paired(turn: Turn) -> Iterator[str]:
    for starts, ends in ((TurnStart, TurnTrace), (ResponseStart, ResponseEnd)):
        begun = ended = 0
        for event in turn.events:
            begun += isinstance(event.payload, starts)
            ended += isinstance(event.payload, ends)
            if isinstance(event.payload, ends) and ended > begun:
                yield f"I12: {_name(event)} has no {starts.type}"


def _calls_answered_once(turn: Turn) -> Iterator[str]:
    running: set[str] = set()
    for event in turn.events:
        match event.payload:
            case ToolCall(call_id=call_id):
                running.add(call_id)
            case ToolResult(call_id=call_id):
                if call_id not in running:
                    yield f"I12: {_name(event)} answers {call_id}, which is not running"
                running.discard(call_id)
            case _:
                pass


def _models_end_once(turn: Turn) -> Iterator[str]:
    running = 0
    for event in turn.events:
        if isinstance(event.payload, ModelStart):
            running += 1
        elif isinstance(event.payload, ModelEnd):
            if running == 0:
                yield f"model: {_name(event)} ends a call that was not made"
            running = max(0, running - 1)


def _nothing_more_after_a_cancel(turn: Turn) -> Iterator[str]:
    still: set[str] | None = None  # the actions of the ack, once it is out
    undoing = {  # it ends when it ends
        event.payload.action_id
        for event in takewhile(lambda e: not isinstance(e.payload, CancelAck), turn.events)
        if isinstance(event.payload, ActionReverting)
    }
    for event in turn.ladder()[1:]:
        if still is not None:
            yield from _wrong_after_ack(event, still)
        elif event.type not in _MAY_FOLLOW_CANCEL and not _is_action(event):
            yield f"I13: {_name(event)} comes after cancel.requested"
        if isinstance(event.payload, CancelAck) and still is None:
            still = {*event.payload.still_committing, *undoing}


def _wrong_after_ack(event: Event, still: set[str]) -> Iterator[str]:
    action = getattr(event.payload, "action_id", None)
    if event.type == "action.reverting" and isinstance(action, str):
        still.add(action)  # a crash may leave it in doubt
    if event.type not in _OUTCOMES | _LATER_REVERTS:
        yield f"I13: {_name(event)} comes after cancel.ack"
    elif event.type in _OUTCOMES and action not in still:
        yield f"I13: {_name(event)} is no outcome that cancel.ack announced"


def _one_ladder(turn: Turn) -> Iterator[str]:
    for kind in (CancelRequested, CancelAck):
        if (times := turn.count(kind)) > 1:
            yield f"I14: {turn.turn_id} has {times} {kind.type}"
    if turn.count(CancelAck) and not turn.count(CancelRequested):
        yield f"I14: {turn.turn_id} has a cancel.ack without cancel.requested"


def _rungs_in_order(turn: Turn) -> Iterator[str]:
    reached = 0
    targets: Counter[str] = Counter()
    in_flight: tuple[str, ...] = ()
    for event in turn.ladder():
        step = rung(event.payload)
        if step is not None and step < reached:
            yield f"I15: {_name(event)} comes after a later rung"
        reached = max(reached, step or 0)
        match event.payload:
            case CancelRequested(in_flight=running):
                in_flight = tuple(f"tool:{call_id}" for call_id in running.tools)
            case CancelStage(target=target):
                targets[target] += 1
            case CancelAck():
                for target in ("transcript", "model", *in_flight):
                    if targets[target] != 1:
                        yield f"I15: {_name(event)} after {targets[target]} rungs of {target}"
            case _:
                pass


def _heard_is_the_beginning(turn: Turn) -> Iterator[str]:
    generated = ""
    played: int | None = None
    for event in turn.events:
        match event.payload:
            case ModelToken(text=text):
                generated += text
            case PlaybackStop(by="cancel", chars=chars):
                played = chars if isinstance(chars, int) else 0
            case CancelStage(target="transcript", text=text, heard=heard):
                if text != generated:
                    yield f"I17: {_name(event)} has a text that was not generated"
                if not isinstance(heard, str) or not generated.startswith(heard):
                    yield f"I17: {_name(event)} heard what was not generated"
                elif len(heard) != (played or 0):
                    yield f"I17: {_name(event)} heard {len(heard)}, played {played or 0}"
            case CancelAck(tokens=tokens) if tokens.delivered > tokens.generated:
                yield f"I17: {_name(event)} delivered more than was generated"
            case ResponseEnd(text=text) if text != generated:
                yield f"response: {_name(event)} has a text that is not its tokens'"
            case _:
                pass


def _traces_add_up(turn: Turn) -> Iterator[str]:
    for event in turn.events:
        if isinstance(event.payload, TurnTrace):
            yield from _wrong_spans(event, event.payload.spans, event.payload.total_ms)


def _wrong_spans(event: Event, spans: Sequence[Span], total_ms: float) -> Iterator[str]:
    names = {span.name for span in spans}
    end_ms = sum_ms = 0.0
    for span in spans:
        if isinstance(span.parent, str):
            if span.parent not in names:
                yield f"trace: {_name(event)} has no span {span.parent}"
            continue
        if span.ms < 0 or abs(span.start_ms - end_ms) > TOLERANCE_MS:
            yield f"trace: {_name(event)} has a gap before {span.name}"
        end_ms = span.start_ms + span.ms
        sum_ms += span.ms
    if abs(sum_ms - total_ms) > TOLERANCE_MS:
        yield f"trace: {_name(event)} adds up to {sum_ms} ms of {total_ms} ms"


def _left_open(turn: Turn) -> Iterator[str]:
    for starts, ends in (
        (TurnStart, TurnTrace),
        (ResponseStart, ResponseEnd),
        (ToolCall, ToolResult),
        (CancelRequested, CancelAck),
    ):
        if turn.count(starts) > turn.count(ends):
            rule = "I14" if starts is CancelRequested else "I12"
            yield f"{rule}: {turn.turn_id} has a {starts.type} without {ends.type}"


_TURN_RULES: Final[tuple[Callable[[Turn], Iterator[str]], ...]] = (
    _paired,
    _calls_answered_once,
    _models_end_once,
    _nothing_more_after_a_cancel,
    _one_ladder,
    _rungs_in_order,
    _heard_is_the_beginning,
    _traces_add_up,
)
