"""What events come to: turns, interrupts, calls of models and tools, and tokens."""

from __future__ import annotations

import pytest

from bargein.actors.reckoning import (
    UNKNOWN,
    Fact,
    Ghosts,
    Interrupted,
    Means,
    ModelAnswered,
    Reckoning,
    ToolAnswered,
    ToolTook,
    TurnOver,
    cause_of,
)
from bargein.protocol.events import (
    CancelAck,
    CancelRequested,
    InFlight,
    ModelEnd,
    ModelStart,
    ModelToken,
    Payload,
    ResponseEnd,
    Span,
    TokenCount,
    ToolCall,
    ToolResult,
    TurnStart,
    TurnTrace,
    Usage,
)
from bargein.protocol.ids import ActionId, CallId, turn_id
from bargein.protocol.turn_state import TurnState

ONE = turn_id(1)


def _facts(*payloads: Payload, reckoning: Reckoning | None = None) -> list[Fact]:
    taking = reckoning or Reckoning()
    return [fact for payload in payloads for fact in taking.take(ONE, payload)]


def _ack(*, generated: int = 3, delivered: int = 2, **left: tuple[str, ...]) -> CancelAck:
    committing = tuple(map(ActionId, left.get("committing", ())))
    tokens = TokenCount(generated, delivered)
    return CancelAck(ONE, 1.5, ("model",), committing, tokens, left.get("abandoned", ()))


CANCEL = CancelRequested("user", "say", InFlight(model=True))


def test_a_completed_turn_counts_once_with_its_tokens_and_times() -> None:
    spans = (
        Span("queue", 0.0, 100.0),
        Span("model", 100.0, 50.0),
        Span("first_byte", 130.0, 1.0, "model"),
        Span("playback", 150.0, 30.0),
    )
    facts = _facts(
        TurnStart("Hi"),
        ModelStart("m", "host"),
        ModelToken("a", 2),
        ModelToken("b", 3),
        ResponseEnd("completed", "ab"),
        TurnTrace(spans, 180.0),
    )
    assert facts == [TurnOver(ONE, "host", "completed", 180.0, 50.0, 30.0, 5, None)]


def test_an_interrupted_turn_counts_at_its_ack_and_not_at_its_trace() -> None:
    trace = TurnTrace((Span("cancel", 0.0, 1.5), Span("cancel.silent", 0.0, 0.25, "cancel")), 1.5)
    facts = _facts(
        TurnStart("Hi"),
        ModelStart("m", "host"),
        ModelToken("abc", 3),
        CANCEL,
        ResponseEnd("cancelled", "abc"),
        trace,
        _ack(generated=4, delivered=2),
    )
    how = Interrupted("user", "say", "clean", 1.5, 0.25, 2)
    assert facts == [TurnOver(ONE, "host", "cancelled", 1.5, 1.5, None, 4, how)]
    assert isinstance(facts[0], TurnOver)
    assert facts[0].delivered == 2


@pytest.mark.parametrize(
    ("ack", "ending"),
    [
        (_ack(), "clean"),
        (_ack(committing=("act_1",)), "committing"),
        (_ack(abandoned=("tool:call_1",)), "abandoned"),
        (_ack(abandoned=("tool:call_1",), committing=("act_1",)), "abandoned"),
    ],
)
def test_an_interrupt_says_whether_all_of_it_stopped(ack: CancelAck, ending: str) -> None:
    [over] = _facts(TurnStart("Hi"), CANCEL, TurnTrace((), 1.0), ack)
    assert isinstance(over, TurnOver)
    assert over.interrupted is not None
    assert over.interrupted.ending == ending


def test_tokens_behind_a_cancel_are_ghosts_and_no_part_of_the_answer() -> None:
    facts = _facts(TurnStart("Hi"), ModelToken("a"), CANCEL, ModelToken("b", 7))
    assert facts == [Ghosts(7)]


def test_a_token_behind_the_ack_is_a_ghost_too() -> None:
    facts = _facts(TurnStart("Hi"), CANCEL, TurnTrace((), 1.0), _ack(), ModelToken("late", 2))
    assert facts[1:] == [Ghosts(2)]


def test_calls_of_models_side_by_side_are_told_apart_by_who_asked() -> None:
    first, second = Usage(1, 2), Usage(3, 4)
    facts = _facts(
        TurnStart("Hi"),
        ModelStart("large", "a"),
        ModelStart("small", "b"),
        ModelEnd("end_turn", second, "b"),
        ModelEnd("error", first, "a"),
        ModelEnd("end_turn", first),
    )
    assert facts == [
        ModelAnswered("small", "end_turn", second),
        ModelAnswered("large", "error", first),
        ModelAnswered(UNKNOWN, "end_turn", first),
    ]


def test_a_result_counts_for_the_tool_that_was_called() -> None:
    call = CallId("call_1")
    facts = _facts(
        TurnStart("Hi"), ToolCall(call, "weather", {}, "read"), ToolResult(call, "timeout")
    )
    assert facts == [ToolAnswered("weather", "timeout")]


def test_a_call_has_taken_what_the_trace_of_its_turn_says() -> None:
    one, two, other = CallId("call_1"), CallId("call_2"), CallId("call_3")
    spans = (
        Span("tools", 0.0, 90.0),
        Span("tool:call_2", 5.0, 80.0, "tools"),
        Span("tool:call_1", 5.0, 12.5, "tools"),
        Span("tool:call_4", 5.0, 1.0, "tools"),
    )
    facts = _facts(
        TurnStart("Hi"),
        *(ToolCall(call, "weather", {}, "read") for call in (one, other)),
        ToolCall(two, "search", {}, "read"),
        ToolResult(one, "ok"),
        ToolResult(two, "timeout"),
        TurnTrace(spans, 90.0),
    )
    took = [fact for fact in facts if isinstance(fact, ToolTook)]
    assert took == [ToolTook("search", "timeout", 80.0), ToolTook("weather", "ok", 12.5)]


def test_a_ladder_that_another_process_began_is_taken_up() -> None:
    reckoning = Reckoning()
    before = TurnState(ONE, "Hi", "open", deltas=5, cancel_seq=None)
    before.cancel_seq = 9  # pyright: ignore[reportAttributeAccessIssue]
    reckoning.take_up(before)
    [over] = _facts(
        ResponseEnd("cancelled", "x"), TurnTrace((), 2.0), _ack(generated=5), reckoning=reckoning
    )
    assert isinstance(over, TurnOver)
    assert (over.generated, over.status) == (5, "cancelled")
    assert over.interrupted is not None
    assert over.interrupted.by == UNKNOWN


def test_what_belongs_to_no_turn_or_to_another_counts_for_none() -> None:
    reckoning = Reckoning()
    assert list(reckoning.take(None, ModelToken("a"))) == []
    assert list(reckoning.take(ONE, TurnTrace((), 1.0))) == []
    _facts(TurnStart("Hi"), reckoning=reckoning)
    assert list(reckoning.take(turn_id(2), TurnTrace((), 1.0))) == []


def test_a_cause_is_one_of_a_few_words_whatever_a_client_sends() -> None:
    assert cause_of("say") == "say"
    assert cause_of("on_disconnect: grace") == "disconnect"
    assert cause_of("because I said so") == "other"


def test_an_interrupt_saves_the_mean_of_the_agents_answers_less_what_was_said() -> None:
    means = Means()
    assert means.saved("host", 1) == 0.0
    means.add("host", 100)
    means.add("host", 50)
    means.add("other", 10)
    assert means.saved("host", 15) == 60.0
    assert means.saved("host", 500) == 0.0


def test_agents_beyond_those_that_are_told_apart_share_a_mean() -> None:
    means = Means(1)
    means.add("host", 100)
    means.add("b", 10)
    means.add("c", 30)
    assert means.saved("host", 0) == 100.0
    assert means.saved("c", 0) == 20.0
