"""The review of a time: what counts, what it comes to, and how it is told."""

from __future__ import annotations

import json
from array import array
from typing import Any

import pytest

from bargein.gateway.review import MOST_SLOW, Review, percentile
from bargein.gateway.review_text import lines_of, tree_of
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    ActionCommitted,
    ActionProposed,
    CancelAck,
    CancelRequested,
    Event,
    Fault,
    GuardrailTripped,
    InFlight,
    InputText,
    ModelEnd,
    ModelFallback,
    ModelRetry,
    ModelStart,
    ModelToken,
    Payload,
    Recover,
    RecoveryEnd,
    ResponseEnd,
    SessionAttached,
    SessionClosed,
    SessionConfigured,
    SessionDetached,
    SessionOpened,
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

DAY = "2026-01-10T00:00:00.000Z"
NOW = "2026-01-11T00:00:00.000Z"
NOON = "2026-01-10T12:00:00.000Z"
ONE, TWO = turn_id(1), turn_id(2)

Told = tuple[TurnId | None, Payload]


def _review(*told: Told, ts: str = NOON, review: Review | None = None, name: str = "a") -> Review:
    into = review or Review(DAY, NOW)
    session_id = SessionId(f"sess_{name}")
    reading = into.session(session_id)
    for seq, (turn, payload) in enumerate(told, start=1):
        reading.take(Event(session_id, Seq(seq), EventId(f"evt_{seq}"), ts, turn, None, payload))
    reading.end()
    return into


def _opening(turn: TurnId) -> list[Told]:
    return [(turn, InputText("Hi")), (turn, TurnStart("Hi")), (turn, ModelStart("m", "host"))]


def _answered(turn: TurnId, tokens: int = 10, ms: float = 100.0, status: Any = "completed") -> Any:
    return [
        *_opening(turn),
        (turn, ModelToken("x", tokens)),
        (turn, ModelEnd("end_turn", Usage(3, 4), "host")),
        (turn, ResponseEnd(status, "x")),
        (turn, TurnTrace((Span("model", 0.0, ms), Span("first_byte", ms / 2, 1.0, "model")), ms)),
    ]


def _interrupted(
    turn: TurnId, by: Any = "user", took_ms: float = 2.0, abandoned: tuple[str, ...] = ()
) -> list[Told]:
    return [
        *_opening(turn),
        (turn, ModelToken("x", 4)),
        (turn, CancelRequested(by, "say", InFlight(model=True))),
        (turn, ResponseEnd("cancelled", "x")),
        (turn, TurnTrace((), 5.0)),
        (turn, CancelAck(turn, took_ms, (), (), TokenCount(4, 3), abandoned)),
    ]


def test_turns_and_their_times_are_added_up():
    tree = tree_of(_review(*_answered(ONE, ms=100.0), *_answered(TWO, ms=300.0)))
    assert tree["turns"] == {"count": 2, "by_outcome": {"completed": 2}}
    assert tree["latency_ms"]["first_words"] == {
        "count": 2,
        "p50": 50.0,
        "p95": 150.0,
        "p99": 150.0,
        "max": 150.0,
    }
    assert tree["tokens"] == {"generated": 20, "delivered": 20, "saved_by_interrupts": 0}
    assert tree["models"]["calls"] == {"m": {"end_turn": 2}}
    assert tree["models"]["vendor_tokens"] == {"m": {"output": 8, "input": 6}}


def test_an_interrupt_saves_what_the_agent_would_have_gone_on_to_say():
    tree = tree_of(_review(*_answered(ONE, 10), *_interrupted(TWO), *_answered(turn_id(3), 30)))
    assert tree["tokens"] == {"generated": 44, "delivered": 43, "saved_by_interrupts": 16}


@pytest.mark.parametrize(
    ("told", "share"),
    [
        (_interrupted(ONE), 1.0),
        (_interrupted(ONE, took_ms=1001.0), 0.0),
        (_interrupted(ONE, abandoned=("tool:call_1",)), 0.0),
        ([*_interrupted(ONE)[:-1], (ONE, ModelToken("late")), _interrupted(ONE)[-1]], 0.0),
    ],
    ids=["clean", "late", "abandoned", "ghost"],
)
def test_an_interrupt_succeeds_where_all_stopped_in_time_and_nothing_followed(
    told: list[Told], share: float
):
    tree = tree_of(_review(*told))
    assert tree["interrupts"]["count"] == 1
    assert tree["interrupts"]["by_cause"] == {"user": {"say": 1}}
    assert tree["interrupts"]["succeeded_share"] == share


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (_answered(ONE), None),
        (_interrupted(ONE), "after an interrupt"),
        (_answered(ONE, status="failed"), "after a failed turn"),
        ([*_interrupted(ONE), *_answered(TWO)], None),
        ([*_interrupted(ONE), (TWO, InputText("Still there?"))], None),
        ([*_opening(ONE), (None, SessionDetached("drive", 0))], "left before the first words"),
        (
            [*_opening(ONE), (None, SessionDetached("drive", 0)), *_answered(ONE)[3:]],
            "left before the first words",
        ),
        ([*_opening(ONE), (None, SessionDetached("drive", 1))], None),
        (
            [
                *_opening(ONE),
                (None, SessionDetached("drive", 0)),
                (None, SessionAttached("drive", 1)),
                *_answered(ONE)[3:],
            ],
            None,
        ),
        ([*_answered(ONE), (None, SessionDetached("drive", 0))], None),
    ],
)
def test_a_session_is_left_where_nobody_came_back_after_it_went_wrong(
    told: list[Told], why: str | None
):
    tree = tree_of(_review((None, SessionOpened("host", {})), *told))
    assert tree["sessions"]["left"] == ({why: 1} if why else {})
    assert tree["sessions"]["left_share"] == (1.0 if why else 0.0)


def test_of_a_session_that_may_go_on_nobody_says_that_it_was_left():
    recent = "2026-01-10T23:55:00.000Z"
    assert tree_of(_review(*_interrupted(ONE), ts=recent))["sessions"]["left"] == {}


def test_what_was_before_the_time_does_not_count():
    review = _review(*_answered(ONE), *_interrupted(TWO), ts="2026-01-09T23:59:59.999Z")
    tree = tree_of(review)
    assert tree["turns"]["count"] == tree["interrupts"]["count"] == 0
    assert tree["sessions"]["left"] == {}
    assert "active" not in review.sessions


def test_everything_else_is_counted_by_its_name():
    call, act = CallId("call_1"), ActionId("act_1")
    confirmation = ConfirmationId("conf_1")
    proposed = ActionProposed(act, "book", {}, "Book", "side_effect", confirmation, NOON)
    fault = Fault(ErrorCode.MODEL_ERROR, "No.", retryable=True, layer="executor", recover=Recover())
    told: list[Told] = [
        (None, SessionOpened("host", {"agent": "host"})),
        (None, SessionConfigured({"agent": "expert"})),
        *_opening(ONE),
        (ONE, ModelRetry(1, 0.0, "overloaded")),
        (ONE, ModelFallback("m", "small")),
        (ONE, RecoveryEnd("plan", 1, "healed")),
        (ONE, ToolCall(call, "weather", {}, "read")),
        (ONE, ToolResult(call, "timeout")),
        (ONE, proposed),
        (ONE, GuardrailTripped("advice", "no")),
        (ONE, fault),
        (ONE, ResponseEnd("refused", "")),
        (ONE, TurnTrace((), 5.0)),
        (None, ActionCommitted(act, "key")),
        (None, SessionClosed("done")),
    ]
    tree = tree_of(_review(*told))
    assert tree["sessions"]["opened"] == tree["sessions"]["closed"] == 1
    assert tree["models"]["retries"] == 1
    assert tree["models"]["fallbacks_to"] == {"small": 1}
    assert tree["recoveries"] == {"plan": {"healed": 1}}
    assert tree["tools"] == {"weather": {"timeout": 1}}
    assert tree["actions"] == {"book": {"proposed": 1, "committed": 1}}
    assert tree["errors"] == {"model_error": 1}
    assert tree["escalations"] == {
        "guardrails": {"advice": 1},
        "refused_turns": 1,
        "hand_overs": 1,
    }


def test_the_slowest_turns_are_named_the_slowest_first():
    review = Review(DAY, NOW)
    for number in range(MOST_SLOW + 5):
        _review(*_answered(ONE, ms=float(number)), review=review, name=f"{number:02}")
    named = [(turn["session_id"], turn["ms"]) for turn in tree_of(review)["slowest_turns"]]
    assert named == [(f"sess_{number:02}", float(number)) for number in range(14, 4, -1)]


def test_a_percentile_is_a_value_that_was_there():
    values = array("d", [4.0, 1.0, 3.0, 2.0])
    assert [percentile(values, share) for share in (0.25, 0.5, 0.75, 0.99)] == [1.0, 2.0, 3.0, 4.0]
    assert percentile(array("d"), 0.5) is None


def test_lines_hold_every_number_and_no_control_characters():
    evil = ActionProposed(
        ActionId("act_1"), "bo\x1b[2Jok", {}, "", "side_effect", ConfirmationId("c"), NOON
    )
    review = _review(*_answered(ONE), (ONE, evil), *_interrupted(TWO))
    review.damaged.append("sess_broken")
    tree = tree_of(review)
    text = "\n".join(lines_of(tree))
    assert text.isascii()
    assert "\x1b" not in text
    assert "bo\\x1b[2Jok  proposed" in text
    assert "succeeded_share" in text
    assert "  sess_broken" in text
    assert json.loads(json.dumps(tree)) == tree


def test_a_time_without_anything_is_told_in_full():
    lines = list(lines_of(tree_of(Review(DAY, NOW))))
    assert "LATENCY MS" in lines
    assert "  none" in lines
