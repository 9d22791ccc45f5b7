"""Views: what they say of a session, and how much they may say."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from msgspec import UNSET

from bargein.protocol.codec import encode_frame
from bargein.protocol.commands import ProjectionName
from bargein.protocol.events import ModelToken, ResponseEnd, Span, TurnTrace
from bargein.protocol.frames import Reply
from bargein.protocol.ids import turn_id
from bargein.protocol.projections import (
    MOST_LATENCIES,
    PROJECTIONS,
    Actions,
    Exchange,
    Latency,
    PlanView,
    SessionView,
    Transcript,
    TurnLatency,
    project,
)
from bargein.protocol.state import SessionState, fold
from tests.protocol.timelines import Pen, barge_in, long_session

ONE, TWO = turn_id(1), turn_id(2)
MOST_REPLY_BYTES = 256 * 1024


def _reply_bytes(state: SessionState, name: ProjectionName) -> int:
    return len(encode_frame(Reply(None, project(state, name), state.seq)))


def test_every_projection_has_a_view() -> None:
    assert set(PROJECTIONS) == set(get_args(ProjectionName))


@pytest.mark.parametrize("name", get_args(ProjectionName))
def test_a_view_says_the_seq_that_it_is_true_at(name: ProjectionName) -> None:
    for events in (barge_in(), long_session(), barge_in()[:16]):
        state = fold(events)
        view = project(state, name)
        assert isinstance(view, PROJECTIONS[name])
        assert view.seq == state.seq


def test_the_transcript_says_what_was_heard_and_keeps_what_was_generated() -> None:
    transcript = project(fold(barge_in()), "transcript")
    assert transcript.title == "ETFs"
    assert transcript.earlier == 0
    assert transcript.turns == (
        Exchange(
            ONE,
            "List the top-performing ETFs in my portfolio.",
            "Sure, let me ",
            "cancelled",
            interrupted=True,
            generated="Sure, let me fetch ",
        ),
        Exchange(TWO, "Only those below 0.2%.", "Here they are.", "completed", interrupted=False),
    )


def test_a_turn_that_was_rolled_back_is_marked() -> None:
    transcript = project(fold(long_session()), "transcript")
    assert [turn.turn_id for turn in transcript.turns if turn.rolled_back] == ["turn_4"]


def test_the_session_at_a_glance() -> None:
    events = barge_in()
    assert project(fold(events), "session") == SessionView(
        fold(events).seq,
        "assistant",
        "ETFs",
        "idle",
        None,
        (),
        0,
        {"agent": "assistant", "voice": False},
        2,
        "2026-11-21T10:12:33.007Z",
    )
    answering = project(fold(events[:16]), "session")
    assert (answering.state, answering.turn_id) == ("answering", ONE)
    assert project(fold(long_session()), "session").state == "closed"


def test_words_that_wait_are_listed() -> None:
    queued = project(fold(long_session()[:8]), "session").queued
    assert queued == ("turn_6", "turn_7")


def test_latency_has_the_spans_of_each_turn_that_is_over() -> None:
    latency = project(fold(barge_in()), "latency")
    assert latency.turns[0] == TurnLatency(
        ONE, "cancelled", 5.0, (Span("all", 0.0, 5.0),), cancel_ms=1.9
    )
    assert (latency.turns[1].status, latency.turns[1].cancel_ms) == ("completed", None)
    assert project(fold(barge_in()[:16]), "latency").turns == ()


def test_plan_and_actions_are_empty_where_there_is_none() -> None:
    state = fold(barge_in()[:16])
    assert project(state, "plan") == PlanView(state.seq, None, ())
    assert project(state, "actions") == Actions(state.seq, ())


def _with_turns(count: int, text: str, spans: int = 1) -> SessionState:
    pen = Pen()
    for number in range(1, count + 1):
        turn = turn_id(number)
        pen.begin(turn, text)
        pen.write(turn, ModelToken(text), ResponseEnd("completed", text))
        pen.write(turn, TurnTrace(tuple(Span(f"s{n}", 0.0, 0.0) for n in range(spans)), 0.0))
    return pen.state


@pytest.mark.parametrize("character", ["a", "ä", "😀", "\x00", '"'], ids=ascii)
def test_a_transcript_fits_a_reply_whatever_its_characters(character: str) -> None:
    state = _with_turns(40, character * 4_000)
    transcript = project(state, "transcript")
    assert _reply_bytes(state, "transcript") < MOST_REPLY_BYTES
    assert transcript.earlier == 40 - len(transcript.turns) > 0
    assert transcript.turns[-1].turn_id == "turn_40"
    assert transcript.turns[-1].assistant == character * 4_000


def test_a_short_conversation_is_whole() -> None:
    transcript = project(_with_turns(40, "Hello."), "transcript")
    assert (len(transcript.turns), transcript.earlier) == (40, 0)


@pytest.mark.parametrize("character", ["a", "\x00"], ids=ascii)
def test_an_exchange_too_long_for_a_reply_is_cut_and_says_so(character: str) -> None:
    pen = Pen()
    pen.begin(ONE, character * 32_000)
    pen.call_model(ONE)
    pen.say(ONE, character * 200_000)
    pen.cancel(ONE, heard=150_000)
    (exchange,) = project(pen.state, "transcript").turns
    assert exchange.cut is True
    assert len(exchange.assistant) > 8_000
    assert set(exchange.user + exchange.assistant) == {character}
    assert (
        "generated" not in json.loads(encode_frame(Reply(None, exchange, pen.state.seq)))["result"]
    )
    assert _reply_bytes(pen.state, "transcript") < MOST_REPLY_BYTES


def test_two_long_exchanges_do_not_share_a_reply() -> None:
    transcript = project(_with_turns(2, "a" * 90_000), "transcript")
    assert [turn.turn_id for turn in transcript.turns] == ["turn_2"]
    assert transcript.earlier == 1
    assert transcript.turns[0].cut is UNSET


def test_latency_has_the_latest_turns_only() -> None:
    latency = project(_with_turns(MOST_LATENCIES + 5, "x"), "latency")
    assert isinstance(latency, Latency)
    assert len(latency.turns) == MOST_LATENCIES
    assert latency.turns[-1].turn_id == f"turn_{MOST_LATENCIES + 5}"


def test_latency_fits_a_reply() -> None:
    state = _with_turns(60, "x", spans=200)
    assert len(project(state, "latency").turns) < 60
    assert _reply_bytes(state, "latency") < MOST_REPLY_BYTES


def test_an_empty_session_has_empty_views() -> None:
    assert project(SessionState(), "transcript") == Transcript(SessionState().seq, ())
    assert project(SessionState(), "latency").turns == ()
