"""Recovery: wherever the server died, the timeline is made whole, once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given

from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    CancelAck,
    CancelRequested,
    CancelStage,
    Event,
    Fault,
    InFlight,
    ModelEnd,
    PlaybackStart,
    PlaybackStop,
    Recover,
    ResponseEnd,
    TokenCount,
    ToolCall,
    ToolResult,
    TurnStart,
    TurnTrace,
    Usage,
)
from bargein.protocol.ids import CallId, turn_id
from bargein.protocol.recovery import closing_events, resume_token
from bargein.protocol.state import fold
from tests.checker import broken_rules
from tests.protocol.strategies import FEW
from tests.protocol.timelines import Pen, barge_in, long_session, sessions

ONE = turn_id(1)


def _recovered(events: list[Event]) -> list[Event]:
    pen = Pen.after(events)
    for turn, payload in closing_events(pen.state):
        pen.write(turn, payload)
    return pen.events


def _is_whole(events: list[Event]) -> None:
    """Say what the brief of recovery is, without the checker's help."""
    state = fold(events)
    assert state.open_turn is None
    assert closing_events(state) == []
    counts = Counter((event.turn_id, event.type) for event in events)
    for turn, state_of in state.turns.items():
        assert counts[turn, "turn.start"] == counts[turn, "turn.trace"]
        assert counts[turn, "response.start"] == counts[turn, "response.end"]
        assert counts[turn, "tool.call"] == counts[turn, "tool.result"]
        assert counts[turn, "cancel.requested"] == counts[turn, "cancel.ack"] <= 1
        assert state_of.over or not counts[turn, "turn.start"]
        assert state_of.status != "open"


@FEW
@given(sessions())
def test_a_timeline_cut_anywhere_is_made_whole(events: list[Event]) -> None:
    for cut in range(len(events) + 1):
        whole = _recovered(events[:cut])
        assert whole[:cut] == events[:cut]
        _is_whole(whole)
        assert broken_rules(whole) == []


@pytest.mark.parametrize("events", [barge_in(), long_session()], ids=["barge_in", "long_session"])
def test_the_good_timelines_cut_anywhere_are_made_whole(events: list[Event]) -> None:
    for cut in range(len(events) + 1):
        whole = _recovered(events[:cut])
        _is_whole(whole)
        assert broken_rules(whole) == []


def test_a_session_with_nothing_open_needs_nothing() -> None:
    assert closing_events(fold(long_session())) == []
    assert closing_events(fold([])) == []


def _in_the_middle() -> Pen:
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    pen.call_model(ONE)
    pen.write(ONE, ToolCall(CallId("call_1"), "clock", {}, "read"))
    pen.say(ONE, "Hello ", "there.")
    return pen


def test_a_turn_that_nobody_cancelled_failed_with_the_server_and_can_be_resumed() -> None:
    pen = _in_the_middle()
    payloads = [payload for _, payload in closing_events(pen.state)]
    assert payloads[0] == ToolResult(
        CallId("call_1"), "error", "The server restarted while the tool ran."
    )
    assert payloads[1] == ModelEnd("error", Usage(0, 2, estimated=True))
    fault = payloads[2]
    assert isinstance(fault, Fault)
    assert (fault.code, fault.retryable) == (ErrorCode.SERVER_RESTARTED, True)
    assert fault.recover == Recover(resume_token=resume_token(ONE))
    assert payloads[3:] == [ResponseEnd("failed", "Hello there."), TurnTrace((), 0.0)]
    state = fold(_recovered(pen.events))
    assert state.turns[ONE].status == "failed"
    assert state.resume_tokens == {resume_token(ONE): ONE}


def test_every_call_of_a_model_is_ended() -> None:
    pen = _in_the_middle()
    pen.call_model(ONE)
    ends = [p for _, p in closing_events(pen.state) if isinstance(p, ModelEnd)]
    assert [end.usage.output_tokens for end in ends] == [2, 0]


def test_a_turn_cut_before_its_response_gets_one() -> None:
    pen = Pen()
    pen.write(ONE, TurnStart("Hello?"))
    types = [payload.type for _, payload in closing_events(pen.state)]
    assert types == ["response.start", "error", "response.end", "turn.trace"]


def test_a_turn_whose_answer_had_ended_only_lacks_its_trace() -> None:
    pen = _in_the_middle()
    pen.write(ONE, ToolResult(CallId("call_1"), "ok"))
    pen.end_model(ONE)
    pen.write(ONE, ResponseEnd("completed", "Hello there."))
    assert closing_events(pen.state) == [(ONE, TurnTrace((), 0.0))]
    assert fold(_recovered(pen.events)).turns[ONE].status == "completed"


def test_a_ladder_that_broke_off_at_once_is_finished_rung_by_rung() -> None:
    pen = _in_the_middle()
    in_flight = InFlight(model=True, tools=(CallId("call_1"),))
    pen.write(ONE, CancelRequested("user", "say", in_flight))
    text = "Hello there."
    assert [payload for _, payload in closing_events(pen.state)] == [
        PlaybackStop("cancel", chars=12),
        CancelStage("transcript", "frozen", text=text, heard=text),
        ModelEnd("cancelled", Usage(0, 2, estimated=True)),
        CancelStage("model", "stopped"),
        ToolResult(CallId("call_1"), "cancelled"),
        CancelStage("tool:call_1", "stopped"),
        ResponseEnd("cancelled", text),
        TurnTrace((), 0.0),
        CancelAck(ONE, 0.0, ("model", "tool:call_1"), (), TokenCount(2, 2)),
    ]


def test_a_ladder_goes_on_from_the_rung_where_it_broke_off() -> None:
    pen = _in_the_middle()
    pen.cancel(ONE)
    ladder = next(place for place, e in enumerate(pen.events) if e.type == "cancel.requested")
    for cut in range(ladder + 1, len(pen.events)):
        whole = _recovered(pen.events[:cut])
        assert [event.type for event in whole] == [event.type for event in pen.events]
        ack = whole[-1].payload
        assert isinstance(ack, CancelAck)
        assert ack.stopped == ("model", "tool:call_1")


def test_what_the_client_reported_last_is_what_was_heard() -> None:
    pen = _in_the_middle()
    pen.write(ONE, PlaybackStop("client", chars=3))
    pen.write(ONE, CancelRequested("user", "say", InFlight(model=True)))
    whole = _recovered(pen.events)
    assert fold(whole).turns[ONE].heard == "Hel"
    # That stop was the client's; the ladder says its own.
    assert PlaybackStop("cancel", chars=3) in [event.payload for event in whole]


def test_a_sound_of_which_nothing_was_heard_is_stopped_too() -> None:
    pen = Pen()
    pen.begin(ONE)
    pen.write(ONE, PlaybackStart(), CancelRequested("user", "say", InFlight(model=False)))
    payloads = [payload for _, payload in closing_events(pen.state)]
    assert payloads[:3] == [
        PlaybackStop("cancel", chars=0),
        CancelStage("transcript", "frozen", text="", heard=""),
        CancelStage("model", "already_done"),
    ]
