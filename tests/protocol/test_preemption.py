"""What the fold knows of turns that were pre-empted, and of those that go on from them."""

from __future__ import annotations

import pytest

from bargein.protocol.events import (
    CancelRequested,
    Event,
    InFlight,
    InputDropped,
    SessionClosed,
    ToolCall,
    ToolResult,
)
from bargein.protocol.ids import CallId, CommandId, TurnId, event_id, turn_id
from bargein.protocol.projections import session
from bargein.protocol.recovery import closing_events
from bargein.testing.preemption_rules import pre_empted_goes_on_next
from tests.checker import broken_rules
from tests.protocol.timelines import Pen

ONE, TWO, THREE, FOUR = map(turn_id, range(1, 5))


def put_off(turn: TurnId = ONE) -> Pen:
    """A session whose first turn has read something, and was pre-empted."""
    pen = Pen()
    pen.open_session()
    pen.begin(turn)
    pen.write(turn, ToolCall(CallId("c1"), "look", {"at": 1}, "read"))
    pen.write(turn, ToolResult(CallId("c1"), "ok", "seen"))
    pen.write(turn, ToolCall(CallId("c2"), "look", {"at": 2}, "read"))
    pen.cancel(turn, 0, by="preempted")
    return pen


def test_a_turn_that_was_pre_empted_is_to_go_on_and_until_then_nothing_is_settled():
    pen = put_off()
    assert pen.state.suspended == ONE
    assert pen.state.unsettled
    assert pen.state.open_turn is None
    assert session(pen.state).suspended == ONE
    assert closing_events(pen.state) == []
    pen.go_on(TWO, ONE)
    assert pen.state.suspended is None
    assert pen.state.turns[ONE].resumed
    assert pen.events[-3].parent_event_id == event_id(pen.state.turns[ONE].ack_seq or 0)  # pyright: ignore[reportArgumentType]
    pen.end(TWO)
    assert not pen.state.unsettled
    assert broken_rules(pen.events) == []


@pytest.mark.parametrize("by", ["user", "disconnected", "operator"])
def test_a_turn_that_was_stopped_otherwise_does_not_go_on(by: str):
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    pen.cancel(ONE, 0, by=by)  # pyright: ignore[reportArgumentType]
    assert pen.state.suspended is None
    assert not pen.state.unsettled


def test_pre_emptions_are_counted_over_all_that_go_on_from_each_other():
    pen = put_off()
    pen.go_on(TWO, ONE)
    pen.cancel(TWO, 0, by="preempted")
    pen.go_on(THREE, TWO)
    turns = pen.state.turns
    assert [turns[turn].preemptions for turn in (ONE, TWO, THREE)] == [1, 2, 2]


def test_what_was_read_is_kept_until_the_last_that_goes_on_is_over():
    pen = put_off()
    (found,) = pen.state.turns[ONE].found
    assert (found.tool, found.args, found.result) == ("look", {"at": 1}, "seen")
    pen.go_on(TWO, ONE)
    pen.write(TWO, ToolCall(CallId("c1"), "book", {}, "side_effect"))
    pen.write(TWO, ToolResult(CallId("c1"), "ok", "done"))
    assert pen.state.turns[TWO].found == []
    assert len(pen.state.turns[ONE].found) == 1
    pen.end(TWO)
    assert pen.state.turns[ONE].found == []


def test_what_was_read_is_forgotten_also_behind_a_turn_that_read_nothing():
    pen = put_off()
    pen.go_on(TWO, ONE)
    pen.cancel(TWO, 0, by="preempted")
    assert pen.state.turns[TWO].found == []
    assert len(pen.state.turns[ONE].found) == 1
    pen.go_on(THREE, TWO)
    pen.end(THREE)
    assert pen.state.turns[ONE].found == []


def test_the_command_that_gave_a_turn_up_is_known_by_that():
    pen = put_off()
    stop, other = CommandId("stop"), CommandId("other")
    pen.write(None, InputDropped(other, "interrupted", FOUR))  # of a turn that nobody knows
    pen.write(None, InputDropped(stop, "interrupted", ONE))
    assert pen.state.stops == {stop: ONE}


@pytest.mark.parametrize("early", [True, False])
def test_a_turn_that_is_given_up_does_not_go_on_whether_its_ladder_is_over_or_not(early: bool):
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    dropped = InputDropped(None, "interrupted", ONE)
    if early:
        pen.write(None, dropped)
    pen.cancel(ONE, 0, by="preempted")
    if not early:
        assert pen.state.suspended == ONE
        pen.write(None, dropped)
    assert pen.state.suspended is None
    assert pen.state.turns[ONE].status == "cancelled"
    assert not pen.state.unsettled
    assert broken_rules(pen.events) == []


def test_another_turn_takes_the_place_of_one_that_is_to_go_on():
    pen = put_off()
    pen.begin(TWO, "Something else")
    assert pen.state.suspended is None
    assert pen.state.turns[ONE].given_up
    assert pen.state.turns[ONE].found == []


def test_a_session_that_is_closed_has_nothing_that_goes_on():
    pen = put_off()
    pen.write(None, SessionClosed("closed by the user"))
    assert pen.state.suspended is None
    assert not pen.state.unsettled


def test_a_ladder_that_a_crash_has_cut_short_is_finished_and_the_turn_is_to_go_on():
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    pen.write(ONE, CancelRequested("preempted", "a higher tier", InFlight(model=False)))
    for turn, payload in closing_events(pen.state):
        pen.write(turn, payload)
    assert pen.state.suspended == ONE
    assert broken_rules(pen.events) == []


def broken(events: list[Event]) -> list[str]:
    return list(pre_empted_goes_on_next(events))


def test_the_checker_finds_a_turn_that_begins_before_one_that_was_put_off():
    pen = put_off()
    pen.begin(TWO)
    (trouble,) = broken(pen.events)
    assert "turn_1 does not go on" in trouble


def test_the_checker_finds_a_turn_that_goes_on_though_it_was_given_up():
    pen = put_off()
    pen.write(None, InputDropped(None, "interrupted", ONE))
    pen.go_on(TWO, ONE)
    (trouble,) = broken(pen.events)
    assert "turn_1 was given up" in trouble
