"""Causes: what `parent_event_id` names."""

from __future__ import annotations

from hypothesis import given

from bargein.protocol.causes import parent_of
from bargein.protocol.events import (
    CancelRequested,
    Event,
    GuardrailPassed,
    InFlight,
    InputText,
    ModelToken,
    SessionTitled,
    ToolResult,
    TurnStart,
)
from bargein.protocol.ids import CallId, turn_id
from bargein.protocol.state import SessionState
from tests.protocol.strategies import FEW
from tests.protocol.timelines import Pen, barge_in, sessions

ONE = turn_id(1)


def _types_of_parents(events: list[Event]) -> dict[str, str | None]:
    types = {event.event_id: event.type for event in events}
    return {
        event.type: None if event.parent_event_id is None else types[event.parent_event_id]
        for event in events
        if event.turn_id == ONE
    }


def test_each_event_of_a_turn_names_what_led_to_it() -> None:
    assert _types_of_parents(barge_in()) == {
        "input.text": None,
        "turn.start": "input.text",
        "turn.end": "turn.start",
        "response.start": "turn.start",
        "guardrail.passed": "response.start",
        "model.start": "response.start",
        "tool.call": "model.start",
        "tool.progress": "tool.call",
        "model.token": "model.start",
        "playback.start": "model.start",
        "playback.progress": "model.start",
        "cancel.requested": "response.start",
        "playback.stop": "cancel.requested",
        "cancel.stage": "cancel.requested",
        "model.end": "model.start",
        "tool.result": "tool.call",
        "response.end": "response.start",
        "turn.trace": "turn.start",
        "cancel.ack": "cancel.requested",
    }


@FEW
@given(sessions())
def test_a_parent_is_an_earlier_event_of_the_same_turn(events: list[Event]) -> None:
    seen: dict[str, Event] = {}
    for event in events:
        if event.parent_event_id is not None:
            assert seen[event.parent_event_id].turn_id == event.turn_id
        seen[event.event_id] = event


def test_words_and_what_is_outside_a_turn_are_roots() -> None:
    pen = Pen()
    pen.begin(ONE)
    assert parent_of(pen.state, ONE, InputText("More.")) is None
    assert parent_of(pen.state, None, SessionTitled("x")) is None
    assert parent_of(pen.state, turn_id(9), ModelToken("x")) is None


def test_where_the_usual_cause_is_missing_the_next_one_is_named() -> None:
    pen = Pen()
    state = pen.state
    pen.write(ONE, TurnStart("no words of its own"))
    assert pen.events[0].parent_event_id is None
    for payload in (
        ModelToken("no model"),
        GuardrailPassed("scope"),
        CancelRequested("user", "say", InFlight(model=False)),
    ):
        assert parent_of(state, ONE, payload) == "evt_1"
    assert parent_of(state, ONE, ToolResult(CallId("nobody"), "ok")) is None


def test_a_turn_that_only_waits_causes_nothing() -> None:
    state = SessionState()
    pen = Pen(state=state)
    pen.write(ONE, InputText("Later.", queued=True))
    assert parent_of(state, ONE, ModelToken("early")) is None
