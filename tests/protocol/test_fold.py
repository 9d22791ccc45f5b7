"""The fold: pure, the same in one go and step by step, and what each event means to it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given

from bargein.protocol.codec import decode_event, encode_event, session_prefix
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    CancelAck,
    CancelRequested,
    CancelStage,
    Event,
    InFlight,
    InputDropped,
    InputText,
    ModelToken,
    Object,
    PlanReady,
    PlanStep,
    PlaybackProgress,
    PlaybackStart,
    PlaybackStop,
    Recover,
    ResponseEnd,
    SessionTitled,
    Step,
    TokenCount,
    ToolCall,
    TurnStart,
    TurnTrace,
    Unknown,
)
from bargein.protocol.events import Fault as FaultEvent
from bargein.protocol.ids import NOTHING, ActionId, CallId, CommandId, Seq, TurnId, turn_id
from bargein.protocol.ladder import TRANSCRIPT
from bargein.protocol.state import STAGE_RESULT, SessionState, fold
from bargein.protocol.turn_state import TurnState
from tests.checker import broken_rules
from tests.protocol.strategies import FEW
from tests.protocol.timelines import SESSION, Pen, barge_in, long_session, sessions

ONE, TWO, THREE = turn_id(1), turn_id(2), turn_id(3)


def _talking(*texts: str) -> Pen:
    """A session whose first turn has said *texts* and goes on."""
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    pen.call_model(ONE)
    pen.say(ONE, *texts)
    return pen


def _turn(pen: Pen, turn: TurnId = ONE) -> TurnState:
    return pen.state.turns[turn]


# --- purity --------------------------------------------------------------------------


@FEW
@given(sessions())
def test_the_same_events_fold_to_the_same_state(events: list[Event]) -> None:
    assert fold(events) == fold(events)


@FEW
@given(sessions())
def test_a_state_copied_anywhere_and_continued_equals_the_fold_of_all(events: list[Event]) -> None:
    whole = fold(events)
    state = SessionState()
    for place, event in enumerate(events):
        continued = copy.deepcopy(state)
        for later in events[place:]:
            continued.apply(later.seq, later.ts, later.turn_id, later.payload)
        assert continued == whole
        state.apply(event.seq, event.ts, event.turn_id, event.payload)
        assert state == fold(events[: place + 1])
    assert state == whole


@FEW
@given(sessions())
def test_looking_at_a_state_does_not_change_it(events: list[Event]) -> None:
    state = SessionState()
    for event in events:
        state.apply(event.seq, event.ts, event.turn_id, event.payload)
        for turn in state.turns.values():
            assert len(turn.text) == turn.chars
            assert turn.shown_at(state.seq) in ((turn.chars, turn.deltas), (0, 0))
    assert state == fold(events)


def test_stored_bytes_fold_to_the_live_state() -> None:
    prefix = session_prefix(SESSION)
    for events in (barge_in(), long_session()):
        pen = Pen.after(events)
        read = [
            decode_event(
                encode_event(prefix, e.seq, e.ts.encode(), e.turn_id, e.parent_event_id, e.payload)
            )
            for e in events
        ]
        assert fold(read) == pen.state


def test_no_events_are_an_empty_session() -> None:
    state = fold([])
    assert state == SessionState()
    assert state.seq == NOTHING
    assert not state.unsettled


# --- a barge-in, step by step ------------------------------------------------------------


def test_a_barge_in_leaves_what_was_heard_and_a_completed_turn() -> None:
    state = fold(barge_in())
    one, two = state.turns[ONE], state.turns[TWO]
    assert (one.status, one.text, one.heard) == (
        "cancelled",
        "Sure, let me fetch ",
        "Sure, let me ",
    )
    assert one.cancelled
    assert one.over
    assert (one.total_ms, one.cancel_took_ms) == (5.0, 1.9)
    assert one.running_calls == {}
    assert (two.status, two.text, two.heard) == ("completed", "Here they are.", None)
    assert two.total_ms == 9.25
    assert (state.open_turn, state.latest_started, state.last_turn) == (None, TWO, 2)
    assert (state.title, state.connections, state.agent) == ("ETFs", 0, "assistant")
    assert state.opened_at == "2026-11-21T10:12:33.007Z"
    assert state.outcomes == {"c_turn_1": ONE, "c_turn_2": TWO}
    assert not state.unsettled


def test_a_long_session_leaves_each_turn_as_it_ended() -> None:
    state = fold(long_session())
    assert {turn.turn_id: turn.status for turn in state.turns.values()} == {
        "turn_1": "completed",
        "turn_2": "failed",
        "turn_3": "completed",
        "turn_4": "cancelled",
        "turn_5": "completed",
        "turn_6": "refused",
        "turn_7": "dropped",
        "turn_8": "cancelled",
    }
    assert state.turns[TWO].resumed
    assert state.resume_tokens == {state.turns[TWO].resume_token: TWO}
    assert state.turns[THREE].continues == TWO
    assert state.turns[turn_id(4)].rolled_back
    assert state.turns[turn_id(5)].replaces == turn_id(4)
    assert (state.agent, state.config, state.closed) == ("other", {"agent": "other"}, True)
    assert state.last_turn == 8


# --- what is open -------------------------------------------------------------------------


def test_words_wait_until_their_turn_starts() -> None:
    pen = Pen()
    pen.write(ONE, InputText("One."))
    pen.write(TWO, InputText("Two.", queued=True))
    assert pen.state.queue == [ONE, TWO]
    assert pen.state.unsettled
    assert pen.state.outcomes == {}
    pen.write(TWO, InputDropped(None, "interrupted"))
    assert pen.state.queue == [ONE]
    assert _turn(pen, TWO).over
    pen.write(TWO, InputDropped(None, "interrupted"))
    assert pen.state.queue == [ONE]
    pen.write(ONE, TurnStart("One."))
    assert pen.state.queue == []
    assert pen.state.open_turn == ONE
    assert pen.state.unsettled


def test_a_turn_may_start_without_words_of_its_own() -> None:
    pen = Pen()
    pen.write(ONE, TurnStart("from the voice", replaces=THREE, continues=THREE))
    assert _turn(pen).words == "from the voice"
    assert (_turn(pen).replaces, _turn(pen).continues) == (THREE, THREE)
    assert THREE not in pen.state.turns


def test_the_end_of_another_turn_leaves_the_open_one_open() -> None:
    pen = _talking("x")
    pen.write(TWO, TurnStart("y"))
    pen.end(ONE)
    assert pen.state.open_turn == TWO


def test_a_cancelled_turn_stays_open_until_its_ack() -> None:
    pen = _talking("Hello")
    pen.write(ONE, ToolCall(CallId("call_1"), "clock", {}, "read"))
    pen.write(ONE, CancelRequested("user", "say", InFlight(model=True, tools=(CallId("call_1"),))))
    assert pen.state.open_turn == ONE
    assert _turn(pen).in_flight.tools == ("call_1",)
    assert _turn(pen).rungs == set()
    pen.cancel(ONE)
    assert pen.state.open_turn is None


def test_the_conversation_reads_in_the_order_in_which_turns_began() -> None:
    pen = Pen()
    pen.begin(ONE)
    pen.write(TWO, InputText("later", queued=True))
    pen.cancel(ONE)
    pen.begin(THREE)
    pen.end(THREE)
    assert list(pen.state.turns) == [ONE, TWO, THREE]
    pen.begin(TWO)
    assert list(pen.state.turns) == [ONE, THREE, TWO]


def test_a_cancel_knows_the_command_that_asked_for_it() -> None:
    pen = _talking("Hello")
    stop = CommandId("c9")
    pen.write(ONE, CancelRequested("user", "say", InFlight(model=True), stop))
    assert pen.state.stops == {stop: ONE}
    ack = CancelAck(ONE, 1.0, (), (ActionId("act_1"),), TokenCount(1, 1))
    pen.write(ONE, ResponseEnd("cancelled", "Hello"), TurnTrace((), 0.0), ack)
    assert _turn(pen).ack_seq == pen.state.seq
    assert _turn(pen).still_committing == ("act_1",)


def test_words_know_whether_they_waited_and_whom_they_cut_short() -> None:
    pen = Pen()
    pen.write(ONE, InputText("One."))
    pen.write(TWO, InputText("Two.", queued=True))
    pen.write(THREE, InputText("Three.", interrupted=ONE))
    waited = [(turn.waited, turn.cut_short) for turn in pen.state.turns.values()]
    assert waited == [(False, None), (True, None), (False, ONE)]


def test_a_model_runs_until_each_of_its_calls_has_ended() -> None:
    pen = _talking("Hello")
    pen.call_model(ONE)
    pen.end_model(ONE)
    assert _turn(pen).model_running
    pen.end_model(ONE)
    pen.end_model(ONE)
    assert not _turn(pen).model_running
    assert _turn(pen).models_running == 0


# --- what the turn worked on ----------------------------------------------------------------


def _planned() -> Pen:
    pen = _talking("Hello")
    steps = (Step("s1", "Look", "reader"), Step("s2", "Say", "writer"), Step("s3", "End", "writer"))
    pen.write(ONE, PlanReady(steps), PlanStep("s1", "done"), PlanStep("s2", "active"))
    return pen


def _steps(pen: Pen) -> list[str]:
    return [step.state for step in _turn(pen).steps]


def test_a_plan_follows_its_steps() -> None:
    pen = _planned()
    assert _steps(pen) == ["done", "active", "pending"]
    assert pen.state.planned == ONE
    pen.write(ONE, PlanStep("nobody's", "done"))
    assert _steps(pen) == ["done", "active", "pending"]


def test_a_cancel_closes_the_steps_that_it_leaves_open() -> None:
    pen = _planned()
    pen.cancel(ONE)
    assert _steps(pen) == ["done", "cancelled", "skipped"]


def test_a_failure_closes_the_steps_that_it_leaves_open() -> None:
    pen = _planned()
    pen.end_model(ONE)
    pen.end(ONE, "failed")
    assert _steps(pen) == ["done", "failed", "skipped"]


def test_what_a_stage_came_to_is_kept_and_other_objects_are_not() -> None:
    pen = _talking("Hello")
    pen.write(ONE, Object(STAGE_RESULT, {"stage": "look", "text": "found it"}))
    assert _turn(pen).results == {"look": "found it"}
    odd: list[Any] = [None, [], {"stage": "look"}, {"stage": 1, "text": "x"}]
    for data in odd:
        pen.write(ONE, Object(STAGE_RESULT, data), Object("table", data))
    pen.write(ONE, Object("table", {"stage": "look", "text": "a table"}))
    assert _turn(pen).results == {"look": "found it"}


def test_words_that_steer_belong_to_the_turn_that_runs() -> None:
    pen = _talking("Hello")
    pen.write(ONE, InputText("Shorter.", CommandId("c2"), steered=True))
    pen.write(ONE, InputText("Still.", steered=True))
    assert _turn(pen).steered == ["Shorter.", "Still."]
    assert _turn(pen).words == "Hello?"
    assert pen.state.outcomes == {"c_turn_1": ONE, "c2": ONE}
    assert pen.state.queue == []
    pen.end_model(ONE)
    pen.end(ONE)
    assert broken_rules(pen.events) == []


# --- what was heard -------------------------------------------------------------------------


def test_the_last_report_counts_even_if_it_says_less_or_nothing() -> None:
    pen = _talking("Hello", " there")
    assert _turn(pen).shown_chars is None
    pen.write(ONE, PlaybackStart())
    assert _turn(pen).playing
    for chars in (5, 3, 0):
        pen.write(ONE, PlaybackProgress(chars=chars))
        assert _turn(pen).shown_chars == chars
    pen.write(ONE, PlaybackProgress(offset_ms=20.0))
    assert _turn(pen).shown_chars == 0
    pen.write(ONE, PlaybackStop("client", chars=2))
    assert (_turn(pen).shown_chars, _turn(pen).playing) == (2, False)


def test_heard_is_what_was_reported_but_not_more_than_was_delivered() -> None:
    pen = _talking("Hello", " there")
    first = Seq(pen.state.seq - 1)
    turn = _turn(pen)
    assert turn.shown_at(Seq(first - 1)) == (0, 0)
    assert turn.shown_at(first) == (5, 1)
    assert turn.shown_at(pen.state.seq) == (11, 2)
    assert turn.heard_chars(first, None) == 5
    assert turn.heard_chars(first, 11) == 5
    assert turn.heard_chars(pen.state.seq, 7) == 7
    assert turn.heard_chars(pen.state.seq, 0) == 0
    pen.write(ONE, PlaybackProgress(chars=3))
    assert turn.heard_chars(pen.state.seq, None) == 3
    assert turn.heard_chars(pen.state.seq, 4) == 4
    assert turn.heard_chars(NOTHING, None) == 0


def test_code_points_are_counted_and_not_bytes() -> None:
    pen = _talking("é😀", "!")
    assert _turn(pen).chars == 3


@pytest.mark.parametrize("stage", [CancelStage(TRANSCRIPT, "frozen", text="Hello")])
def test_a_frozen_transcript_without_heard_was_not_heard(stage: CancelStage) -> None:
    pen = _talking("Hello")
    pen.write(ONE, CancelRequested("user", "say", InFlight(model=True)), stage)
    assert _turn(pen).heard == ""


def test_a_rung_of_the_model_says_nothing_of_what_was_heard() -> None:
    pen = _talking("Hello")
    pen.write(ONE, CancelRequested("user", "say", InFlight(model=True)))
    pen.write(ONE, CancelStage("model", "stopped"))
    assert _turn(pen).heard is None
    assert _turn(pen).rungs == {"model"}


# --- the rest -------------------------------------------------------------------------------


def test_a_fault_without_a_token_cannot_be_resumed() -> None:
    pen = _talking("Hello")
    pen.write(ONE, FaultEvent(ErrorCode.GUARDRAIL, "No.", False, "pipeline", Recover()))
    assert _turn(pen).resume_token is None
    assert pen.state.resume_tokens == {}


def test_a_title_that_a_turn_found_is_the_sessions() -> None:
    pen = _talking("Hello")
    pen.write(ONE, SessionTitled("Greetings"))
    assert pen.state.title == "Greetings"


def test_what_the_fold_does_not_know_moves_it_on_and_nothing_else() -> None:
    pen = _talking("Hello")
    before = copy.deepcopy(pen.state)
    pen.write(ONE, Unknown("mood.changed", {}))
    pen.write(None, Unknown("mood.changed", {}))
    pen.write(None, ModelToken("lost"))
    before.seq, before.ts = pen.state.seq, pen.state.ts
    assert pen.state == before


def test_commands_are_known_by_the_turn_that_they_led_to() -> None:
    pen = Pen()
    pen.write(ONE, InputText("Hello?", CommandId("c1")))
    assert pen.state.outcomes == {"c1": ONE}
