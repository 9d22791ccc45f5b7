"""From the events of a turn to its spans: a pure function, and so tried without a server."""

from __future__ import annotations

from bargein.gateway.spans import SpanFact, TurnFacts, spans_of
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    Event,
    Fault,
    ModelEnd,
    ModelStart,
    Recover,
    ResponseEnd,
    Span,
    ToolCall,
    ToolResult,
    TurnTrace,
    Usage,
)
from bargein.protocol.ids import CallId, TurnId
from bargein.protocol.traceparent import Traceparent
from tests.protocol.timelines import SESSION, Pen, barge_in

ONE = TurnId("turn_1")
MS = 1_000_000
PARENT = Traceparent("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", sampled=True)


def of(turn: TurnId, events: list[Event]) -> list[Event]:
    return [event for event in events if event.turn_id == turn]


def read(events: list[Event], parent: Traceparent | None = None) -> tuple[SpanFact, ...]:
    return spans_of(TurnFacts(SESSION, ONE, "assistant", parent), of(ONE, events))


def written(*payloads: object) -> list[Event]:
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    pen.write(ONE, *payloads)  # pyright: ignore[reportArgumentType]
    return pen.events


def done(status: str = "completed") -> tuple[object, ...]:
    spans = Span("input", 0.0, 5.0), Span("tools", 5.0, 10.0), Span("tools", 15.0, 6.0)
    close, inner = Span("close", 21.0, 100.0), Span("tool:a", 5.0, 3.0, "tools")
    return ResponseEnd(status, ""), TurnTrace((*spans, close, inner), 121.0)  # pyright: ignore[reportArgumentType]


def test_a_turn_is_an_agent_invoked_with_where_its_time_went() -> None:
    (turn,) = read(written(*done()))
    assert (turn.name, turn.kind, turn.error) == ("invoke_agent assistant", "internal", None)
    assert turn.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert turn.attributes["gen_ai.agent.name"] == "assistant"
    assert turn.attributes["gen_ai.conversation.id"] == SESSION
    assert turn.attributes["bargein.turn.status"] == "completed"
    assert turn.attributes["bargein.turn.phase.tools_ms"] == 16.0
    assert turn.attributes["bargein.turn.phase.input_ms"] == 5.0
    assert not any("tool:a" in name for name in turn.attributes)
    assert turn.end_ns - turn.start_ns == 121 * MS


def test_calls_of_models_that_overlap_are_told_apart_by_who_asked() -> None:
    planner, guard = Usage(100, 10), Usage(7, 1, estimated=True)
    spans = read(
        written(
            ModelStart("claude-x", "planner"),
            ModelStart("small", "guardrail:polite"),
            ModelEnd("end_turn", planner, "planner"),
            ModelEnd("error", guard, "guardrail:polite"),
            *done(),
        )
    )
    turn, first, second = spans
    assert (first.name, first.kind, first.error) == ("chat claude-x", "client", None)
    assert first.attributes["gen_ai.provider.name"] == "anthropic"
    assert first.attributes["gen_ai.request.model"] == "claude-x"
    assert first.attributes["gen_ai.usage.input_tokens"] == 100
    assert first.attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert second.attributes["gen_ai.usage.input_tokens"] == 7
    assert second.attributes["bargein.usage.estimated"] is True
    assert second.error == "_OTHER"
    assert {first.parent_id, second.parent_id} == {turn.span_id}
    assert first.end_ns - first.start_ns == 14 * MS
    assert turn.attributes["gen_ai.usage.input_tokens"] == 107
    assert turn.attributes["gen_ai.usage.output_tokens"] == 11


def test_an_end_that_does_not_say_who_asked_ends_the_first_that_began() -> None:
    usages = Usage(1, 1), Usage(2, 2)
    starts = ModelStart("a", "x"), ModelStart("b", "y")
    ends = ModelEnd("end_turn", usages[0]), ModelEnd("end_turn", usages[1])
    spans = read(written(*starts, *ends, *done()))
    told = {span.name: span.attributes.get("gen_ai.usage.input_tokens") for span in spans[1:]}
    assert told == {"chat a": 1, "chat b": 2}


def test_a_tool_is_executed_and_fails_by_its_status() -> None:
    calls = [
        ToolCall(CallId(name), name, {"secret": name}, "read") for name in ("ok", "bad", "lost")
    ]
    results = ToolResult(CallId("bad"), "timeout", "hidden"), ToolResult(CallId("ok"), "ok", 7)
    spans = {span.name: span for span in read(written(*calls, *results, *done()))}
    assert spans["execute_tool ok"].error is None
    assert spans["execute_tool ok"].attributes["gen_ai.tool.call.id"] == "ok"
    assert spans["execute_tool bad"].error == "timeout"
    assert spans["execute_tool lost"].error == "unfinished"
    assert spans["execute_tool lost"].end_ns == spans["invoke_agent assistant"].end_ns


def test_a_turn_that_failed_says_with_which_code() -> None:
    fault = Fault(ErrorCode.MODEL_TIMEOUT, "It did.", True, "pipeline", Recover())
    (failed,) = read(written(fault, *done("failed")))
    assert failed.error == "model_timeout"
    (fine,) = read(written(fault, *done("completed")))  # it was healed
    assert fine.error is None


def test_an_interrupt_is_a_span_of_its_own() -> None:
    spans = {span.name: span for span in read(barge_in())}
    turn, interrupt = spans["invoke_agent assistant"], spans["interrupt"]
    assert turn.attributes["bargein.turn.status"] == "cancelled"
    assert turn.error is None
    assert interrupt.attributes["bargein.interrupt.by"] == "user"
    assert interrupt.parent_id == turn.span_id
    assert interrupt.end_ns == turn.end_ns


def test_the_clients_span_is_the_parent_of_the_turn() -> None:
    spans = read(barge_in(), PARENT)
    assert {span.trace_id for span in spans} == {int(PARENT.trace_id, 16)}
    assert spans[0].parent_id == int(PARENT.span_id, 16)
    assert [span.remote for span in spans] == [True, *[False] * (len(spans) - 1)]
    alone = read(barge_in())
    assert alone[0].parent_id is None
    assert len({span.trace_id for span in alone}) == 1


def test_the_same_events_give_the_same_ids_and_others_others() -> None:
    ids = [span.span_id for span in read(barge_in())]
    assert ids == [span.span_id for span in read(barge_in())]
    assert len(set(ids)) == len(ids)
    later = TurnFacts(SESSION, TurnId("turn_2"), "assistant")
    others = spans_of(later, of(TurnId("turn_2"), barge_in()))
    assert others[0].trace_id != read(barge_in())[0].trace_id


def test_without_its_trace_a_turn_has_no_spans() -> None:
    assert read(written(ModelStart("a", "x"))) == ()
    assert spans_of(TurnFacts(SESSION, ONE, "a"), []) == ()


def test_no_span_holds_what_anybody_said() -> None:
    said = "List the top-performing", "Sure, let me", "halfway"
    frames = " ".join(str(event) for event in barge_in())
    told = " ".join(str(span) for span in read(barge_in()))
    for words in said:
        assert words in frames
        assert words not in told
