"""The checker: it finds each rule broken, and nothing in timelines that break none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given

from bargein.protocol.events import (
    ActionCommitted,
    ActionProposed,
    CancelAck,
    CancelRequested,
    CancelStage,
    Event,
    InFlight,
    InputDropped,
    InputText,
    ModelEnd,
    ModelToken,
    Payload,
    PlaybackProgress,
    PlaybackStop,
    ResponseEnd,
    ResponseStart,
    SessionOpened,
    SessionTitled,
    Span,
    TokenCount,
    ToolCall,
    ToolResult,
    TurnStart,
    TurnTrace,
    Usage,
)
from bargein.protocol.ids import (
    ActionId,
    CallId,
    ConfirmationId,
    EventId,
    Seq,
    SessionId,
    TurnId,
    turn_id,
)
from tests.checker import broken_rules
from tests.protocol.acts import Act
from tests.protocol.strategies import FEW
from tests.protocol.timelines import Pen, altered, barge_in, long_session, renumbered, sessions

ONE, TWO, THREE = turn_id(1), turn_id(2), turn_id(3)
CALL = CallId("call_1")


# --- timelines that break nothing ----------------------------------------------------


@FEW
@given(sessions())
def test_generated_sessions_break_no_rule(events: list[Event]) -> None:
    assert broken_rules(events) == []


@pytest.mark.parametrize("events", [[], barge_in(), long_session()], ids=len)
def test_good_timelines_break_no_rule(events: list[Event]) -> None:
    assert broken_rules(events) == []


def test_a_session_that_goes_on_may_be_open_anywhere() -> None:
    for events in (barge_in(), long_session()):
        for cut in range(len(events) + 1):
            assert broken_rules(events[:cut], finished=False) == []


# --- timelines that break one ----------------------------------------------------------


def _rules(events: list[Event], *, finished: bool = True) -> set[str]:
    return {sentence.partition(":")[0] for sentence in broken_rules(events, finished=finished)}


def _place(events: list[Event], kind: type[Any], nth: int = 0) -> int:
    return [place for place, event in enumerate(events) if isinstance(event.payload, kind)][nth]


def _without(events: list[Event], kind: type[Any], nth: int = 0) -> list[Event]:
    place = _place(events, kind, nth)
    return renumbered([*events[:place], *events[place + 1 :]])


def _inserted(events: list[Event], place: int, *payloads: Payload, turn: TurnId) -> list[Event]:
    new = [evolve(events[0], turn_id=turn, payload=payload) for payload in payloads]
    return renumbered([*events[:place], *new, *events[place:]])


def _after(events: list[Event], kind: type[Any], *payloads: Payload, turn: TurnId) -> list[Event]:
    return _inserted(events, _place(events, kind) + 1, *payloads, turn=turn)


def _swapped(events: list[Event], place: int) -> list[Event]:
    return renumbered([*events[:place], events[place + 1], events[place], *events[place + 2 :]])


def _changed(events: list[Event], place: int, **changes: Any) -> list[Event]:
    return [*events[:place], evolve(events[place], **changes), *events[place + 1 :]]


Breaking = Callable[[list[Event]], list[Event]]


def _altered(kind: type[Any], nth: int = 0, **changes: Any) -> Breaking:
    def breaking(events: list[Event]) -> list[Event]:
        place = _place(events, kind, nth)
        payload: Any = events[place].payload
        return altered(events, place, evolve(payload, **changes))

    return breaking


def _two_open(events: list[Event]) -> list[Event]:
    # The second turn starts just before the ack of the first.
    start = _place(events, TurnStart, 1)
    moved = [*events[:start], *events[start + 1 :]]
    place = _place(moved, CancelAck)
    return renumbered([*moved[:place], events[start], *moved[place:]])


ETFS = "List the top-performing ETFs in my portfolio."

BROKEN: dict[str, tuple[str, Breaking]] = {
    "a gap": ("I1", lambda events: events[1:]),
    "a double": ("I1", lambda events: [*events[:5], events[4], *events[5:]]),
    "an event_id taken twice": ("I4", lambda e: _changed(e, 5, event_id=e[4].event_id)),
    "a parent of the future": ("I4", lambda e: _changed(e, 8, parent_event_id=EventId("evt_20"))),
    "a parent of itself": ("I4", lambda e: _changed(e, 8, parent_event_id=EventId("evt_9"))),
    "another session": ("I4", lambda e: _changed(e, 8, session_id=SessionId("sess_1"))),
    "time runs back": ("I8", lambda e: _changed(e, 8, ts=e[3].ts)),
    "a time of another form": ("I8", lambda e: _changed(e, 0, ts="2026-11-21T10:12:33Z")),
    "two open turns": ("I11", _two_open),
    "a turn that starts twice": (
        "I11",
        lambda e: _after(e, ResponseStart, TurnStart(ETFS), turn=ONE),
    ),
    "a turn that starts again": (
        "I11",
        lambda e: _after(e, CancelAck, TurnStart(ETFS), turn=ONE),
    ),
    "work before the turn": ("I11", lambda e: _after(e, InputText, ModelToken("x"), turn=ONE)),
    "work of another turn": (
        "I11",
        lambda e: _inserted(e, _place(e, TurnTrace, 1), PlaybackProgress(chars=1), turn=ONE),
    ),
    "a turn without its start": ("I11", lambda e: _without(e, TurnStart, 1)),
    "work after the end": (
        "I12",
        lambda e: _inserted(e, len(e), ToolCall(CALL, "x", {}, "read"), turn=TWO),
    ),
    "no trace": ("I12", lambda e: _without(e, TurnTrace, 1)),
    "two traces": ("I12", lambda e: _after(e, ResponseEnd, TurnTrace((), 0.0), turn=ONE)),
    "no end of the response": ("I12", lambda e: _without(e, ResponseEnd)),
    "two ends of the response": (
        "I12",
        lambda e: _after(e, ResponseEnd, e[_place(e, ResponseEnd)].payload, turn=ONE),
    ),
    "an end of no response": ("I12", lambda e: _without(e, ResponseStart)),
    "a call without a result": ("I12", lambda e: _without(e, ToolResult)),
    "two results of a call": (
        "I12",
        lambda e: _after(e, ToolResult, ToolResult(CALL, "ok"), turn=ONE),
    ),
    "a result of no call": ("I12", lambda e: _without(e, ToolCall)),
    "a result of another call": ("I12", _altered(ToolResult, call_id=CallId("call_2"))),
    "a token after the cancel": (
        "I13",
        lambda e: _after(e, CancelRequested, ModelToken("ghost"), turn=ONE),
    ),
    "a call after the cancel": (
        "I13",
        lambda e: _after(e, PlaybackStop, ToolCall(CALL, "x", {}, "read"), turn=ONE),
    ),
    "a report after the ack": (
        "I13",
        lambda e: _after(e, CancelAck, PlaybackProgress(chars=1), turn=ONE),
    ),
    "a proposal after the ack": (
        "I13",
        lambda e: _after(
            e,
            CancelAck,
            ActionProposed(
                ActionId("a"), "pay", {}, "Pay.", "side_effect", ConfirmationId("c"), ""
            ),
            turn=ONE,
        ),
    ),
    "an outcome that the ack does not list": (
        "I13",
        lambda e: _after(e, CancelAck, ActionCommitted(ActionId("a"), "key"), turn=ONE),
    ),
    "two cancels": (
        "I14",
        lambda e: _after(e, CancelRequested, e[_place(e, CancelRequested)].payload, turn=ONE),
    ),
    "two acks": (
        "I14",
        lambda e: _after(e, CancelAck, e[_place(e, CancelAck)].payload, turn=ONE),
    ),
    "no ack": ("I14", lambda e: _without(e, CancelAck)),
    "an ack of no cancel": ("I14", lambda e: _without(e, CancelRequested)),
    "the model before the transcript": (
        "I15",
        lambda e: _swapped(e, _place(e, CancelStage)),
    ),
    "the trace before the end": ("I15", lambda e: _swapped(e, _place(e, ResponseEnd))),
    "no rung of the model": ("I15", lambda e: _without(e, CancelStage, 1)),
    "no rung of a tool": ("I15", lambda e: _without(e, CancelStage, 2)),
    "two rungs of the transcript": (
        "I15",
        lambda e: _after(e, CancelStage, e[_place(e, CancelStage)].payload, turn=ONE),
    ),
    "heard is no beginning": ("I17", _altered(CancelStage, heard="Sure; let me ")),
    "heard is more than generated": (
        "I17",
        _altered(CancelStage, heard="Sure, let me fetch them"),
    ),
    "heard is not said": (
        "I17",
        lambda e: altered(
            e,
            _place(e, CancelStage),
            CancelStage("transcript", "frozen", text="Sure, let me fetch "),
        ),
    ),
    "heard is not what was played": ("I17", _altered(CancelStage, heard="Sure")),
    "heard without a stop": ("I17", lambda e: _without(e, PlaybackStop)),
    "a stop that does not say how much": (
        "I17",
        lambda e: altered(e, _place(e, PlaybackStop), PlaybackStop("cancel")),
    ),
    "a frozen text of another": ("I17", _altered(CancelStage, text="Sure")),
    "more delivered than generated": ("I17", _altered(CancelAck, tokens=TokenCount(1, 2))),
    "a response that is not its tokens": ("response", _altered(ResponseEnd, 1, text="Here.")),
    "a response that lacks a token": ("response", lambda e: _without(e, ModelToken, 2)),
    "an end of no model call": (
        "model",
        lambda e: _after(e, ModelEnd, ModelEnd("x", Usage(0, 0)), turn=ONE),
    ),
    "a trace that does not add up": ("trace", _altered(TurnTrace, total_ms=6.5)),
    "a trace with a gap": (
        "trace",
        _altered(TurnTrace, spans=(Span("a", 0.0, 2.0), Span("b", 4.0, 3.0))),
    ),
    "a trace that begins late": ("trace", _altered(TurnTrace, spans=(Span("a", 2.0, 5.0),))),
    "a span of negative length": (
        "trace",
        _altered(TurnTrace, spans=(Span("a", 0.0, 8.0), Span("b", 8.0, -3.0))),
    ),
    "a span of no parent": (
        "trace",
        _altered(TurnTrace, spans=(Span("a", 0.0, 5.0), Span("b", 0.0, 1.0, "c"))),
    ),
    "a session opened twice": (
        "session",
        lambda e: [*e[:1], evolve(e[1], payload=SessionOpened("x", {})), *e[2:]],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_rule_is_found(what: str) -> None:
    rule, breaking = BROKEN[what]
    assert rule in _rules(breaking(barge_in()))


IN_LONG: dict[str, tuple[str, Breaking]] = {
    "words after they were dropped": (
        "queue",
        lambda e: _inserted(e, len(e) - 1, TurnStart("Never mind."), turn=turn_id(7)),
    ),
    "an event after the close": (
        "session",
        lambda e: [*e, evolve(e[-1], seq=Seq(len(e) + 1), payload=SessionTitled("late"))],
    ),
}


@pytest.mark.parametrize("what", IN_LONG)
def test_a_rule_broken_in_a_long_session_is_found(what: str) -> None:
    rule, breaking = IN_LONG[what]
    assert rule in _rules(breaking(long_session()))


def _queued(first: TurnId, *, drop: bool) -> list[Event]:
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    pen.write(TWO, InputText("two", queued=True))
    pen.write(THREE, InputText("three", queued=True))
    if drop:
        pen.write(TWO, InputDropped(None, "interrupted"))
    pen.end(ONE)
    pen.begin(first, "two")
    pen.end(first)
    return pen.events


def test_words_that_waited_less_do_not_go_first() -> None:
    assert _rules(_queued(THREE, drop=False)) == {"queue"}
    assert _rules(_queued(TWO, drop=False)) == set()
    assert _rules(_queued(THREE, drop=True)) == set()
    assert _rules(_queued(TWO, drop=True)) == {"queue"}


def test_words_that_interrupt_go_before_words_that_wait() -> None:
    pen = Pen()
    pen.begin(ONE)
    pen.write(TWO, InputText("two", queued=True))
    pen.cancel(ONE)
    pen.begin(THREE)
    pen.end(THREE)
    assert broken_rules(pen.events) == []


def _with_an_action(*after: Payload, listed: bool, done: bool = False) -> list[Event]:
    act = Act(ONE)
    pen = Pen()
    pen.begin(ONE)
    pen.write(ONE, act.proposed(), act.confirmed(), act.committing())
    if done:
        pen.write(ONE, act.committed())
    flying = () if done else (act.id,)
    pen.write(ONE, CancelRequested("user", "say", InFlight(model=False, actions=flying)))
    pen.write(ONE, CancelStage("transcript", "frozen", text="", heard=""))
    pen.write(ONE, CancelStage("model", "already_done"))
    pen.write(ONE, ResponseEnd("cancelled", ""), TurnTrace((), 0.0))
    pen.write(ONE, CancelAck(ONE, 1.0, (), (act.id,) if listed else (), TokenCount(0, 0)))
    pen.begin(TWO)
    pen.write(ONE, *after)
    pen.end(TWO)
    return pen.events


def test_an_action_that_the_ack_lists_may_come_to_its_end_later() -> None:
    act = Act(ONE)
    for outcomes in (
        (act.committed(),),
        (act.in_doubt(), act.failed()),
        (act.committed(), act.reverting(), act.reverted()),
    ):
        assert broken_rules(_with_an_action(*outcomes, listed=True)) == []
        assert _rules(_with_an_action(*outcomes, listed=False)) == {"I13", "I25"}


def test_an_action_committed_before_the_interrupt_may_be_reverted_after_it() -> None:
    act = Act(ONE)
    undone = (act.reverting(), act.reverted())
    assert broken_rules(_with_an_action(*undone, listed=False, done=True)) == []
    doubtful = (act.reverting(), act.revert_in_doubt(), act.reverted())
    assert broken_rules(_with_an_action(*doubtful, listed=False, done=True)) == []


def test_what_is_open_at_the_end_is_found_where_nothing_goes_on() -> None:
    events = barge_in()
    cut = _place(events, CancelRequested) + 1
    assert broken_rules(events[:cut], finished=False) == []
    sentences = broken_rules(events[:cut])
    assert [sentence.partition(":")[0] for sentence in sentences] == ["I12", "I12", "I12", "I14"]
    assert sentences[-1] == "I14: turn_1 has a cancel.requested without cancel.ack"


def test_a_sentence_names_the_event() -> None:
    events = _after(barge_in(), CancelRequested, ModelToken("ghost"), turn=ONE)
    assert "I13: model.token of turn_1 at seq 18 comes after cancel.requested" in broken_rules(
        events
    )
