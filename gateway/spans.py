"""From the events of a finished turn to the spans that OpenTelemetry has of it.

The names follow its conventions for generative AI: a turn is `invoke_agent`, a call of a model
`chat`, one of a tool `execute_tool`.  No words of people, models or tools are in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

from attrs import define, field, frozen

from bargein.protocol.events import (
    CancelAck,
    CancelRequested,
    Event,
    Fault,
    ModelEnd,
    ModelStart,
    ModelToken,
    ResponseEnd,
    ToolCall,
    ToolResult,
    TurnTrace,
)
from bargein.protocol.ids import CallId, SessionId, TurnId
from bargein.protocol.traceparent import Traceparent

Value: TypeAlias = str | int | float | bool | tuple[str, ...]

_NS_PER_MS: Final = 1_000_000
_FINE: Final = frozenset({"ok", "proposed", "committing", "cancelled", "skipped"})
"""How a call of a tool may end without having failed."""


@frozen
class TurnFacts:
    """What is known of a turn besides its events.

    Attributes:
        agent: Who answered.
        parent: The client's span that the turn is part of.
    """

    session_id: SessionId
    turn_id: TurnId
    agent: str
    parent: Traceparent | None = None


@frozen
class SpanFact:
    """One span, whoever it will be sent to.

    Attributes:
        trace_id: 128 bits.
        span_id: 64 bits, as is `parent_id`.
        remote: The parent is the client's.
        error: What went wrong, as a short name; None where nothing did.
    """

    name: str
    kind: Literal["internal", "client"]
    trace_id: int
    span_id: int
    parent_id: int | None
    start_ns: int
    end_ns: int
    attributes: dict[str, Value]
    error: str | None = None
    remote: bool = False


def spans_of(turn: TurnFacts, events: Sequence[Event]) -> tuple[SpanFact, ...]:
    """Return the spans of a turn, its own first; none where *events* do not hold its trace.

    The same events give the same ids.

    Args:
        turn: What is known of it besides.
        events: Its events in order; of its tokens, the first is enough.
    """
    traces = [event for event in events if isinstance(event.payload, TurnTrace)]
    return tuple(_Reading(turn, events, traces[-1]).spans()) if traces else ()


@define(eq=False)
class _Reading:
    """Reads the events of one turn."""

    _turn: TurnFacts
    _events: Sequence[Event]
    _traced: Event
    _start_ns: int = field(init=False)
    _end_ns: int = field(init=False)
    _trace_id: int = field(init=False)
    _span_id: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        trace = self._traced.payload
        total_ms = trace.total_ms if isinstance(trace, TurnTrace) else 0.0
        self._start_ns = _ns(self._traced) - round(total_ms * _NS_PER_MS)
        self._end_ns = max(map(_ns, self._events))
        parent = self._turn.parent
        name = f"{self._turn.session_id} {self._turn.turn_id}"
        self._trace_id = int(parent.trace_id, 16) if parent else _id_of(name, 16)
        self._span_id = _id_of(name, 8)

    def spans(self) -> Iterator[SpanFact]:
        parent = self._turn.parent
        yield SpanFact(
            f"invoke_agent {self._turn.agent}",
            "internal",
            self._trace_id,
            self._span_id,
            int(parent.span_id, 16) if parent else None,
            self._start_ns,
            self._end_ns,
            self._of_turn(),
            self._failure(),
            remote=parent is not None,
        )
        yield from self._models()
        yield from self._tools()
        yield from self._interrupt()

    # --- the turn -----------------------------------------------------------------------

    def _of_turn(self) -> dict[str, Value]:
        told: dict[str, Value] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": self._turn.agent,
            "gen_ai.conversation.id": self._turn.session_id,
            "bargein.turn.id": self._turn.turn_id,
        }
        input_tokens = output_tokens = 0
        for event in self._events:
            match event.payload:
                case ResponseEnd(status=status):
                    told["bargein.turn.status"] = status
                case ModelToken() if "bargein.turn.first_token_ms" not in told:
                    passed_ms = (_ns(event) - self._start_ns) / _NS_PER_MS
                    told["bargein.turn.first_token_ms"] = round(max(0.0, passed_ms), 3)
                case ModelEnd(usage=usage):
                    input_tokens += usage.input_tokens
                    output_tokens += usage.output_tokens
                case TurnTrace(spans=spans):
                    for span in spans:
                        if not span.parent:
                            name = f"bargein.turn.phase.{span.name}_ms"
                            before = told.get(name, 0.0)
                            told[name] = round(float(before) + span.ms, 3)  # pyright: ignore[reportArgumentType]
                case _:
                    pass
        told["gen_ai.usage.input_tokens"] = input_tokens
        told["gen_ai.usage.output_tokens"] = output_tokens
        return told

    def _failure(self) -> str | None:
        status, code = "", "_OTHER"
        for event in self._events:
            match event.payload:
                case ResponseEnd(status=found):
                    status = found
                case Fault(code=found):
                    code = found.value
                case _:
                    pass
        return code if status in ("failed", "refused") else None

    # --- what is within it ----------------------------------------------------------------

    def _models(self) -> Iterator[SpanFact]:
        running: list[tuple[Event, ModelStart]] = []
        for event in self._events:
            match event.payload:
                case ModelStart() as start:
                    running.append((event, start))
                case ModelEnd(agent=agent) as end:
                    # The first that began of those who asked; older timelines don't say who did.
                    fits = (pair for pair in running if not agent or pair[1].agent == agent)
                    if (pair := next(fits, None)) is not None:
                        running.remove(pair)
                        yield self._model(*pair, event, end)
                case _:
                    pass
        for begun, start in running:
            yield self._model(begun, start, None, None)

    def _model(
        self, begun: Event, start: ModelStart, ended: Event | None, end: ModelEnd | None
    ) -> SpanFact:
        told: dict[str, Value] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "anthropic" if start.model.startswith("claude") else "_OTHER",
            "gen_ai.request.model": start.model,
            "gen_ai.agent.name": start.agent,
            "gen_ai.conversation.id": self._turn.session_id,
        }
        error = "unfinished"
        if end is not None:
            told["gen_ai.response.finish_reasons"] = (end.stop_reason,)
            told["gen_ai.usage.input_tokens"] = end.usage.input_tokens
            told["gen_ai.usage.output_tokens"] = end.usage.output_tokens
            if end.usage.estimated:
                told["bargein.usage.estimated"] = True
            error = "_OTHER" if end.stop_reason == "error" else ""
        return self._within(f"chat {start.model}", begun, ended, told, error or None, "client")

    def _tools(self) -> Iterator[SpanFact]:
        running: dict[CallId, tuple[Event, ToolCall]] = {}
        for event in self._events:
            match event.payload:
                case ToolCall(call_id=call_id) as call:
                    running[call_id] = event, call
                case ToolResult(call_id=call_id, status=status) if call_id in running:
                    yield self._tool(*running.pop(call_id), event, status)
                case _:
                    pass
        for begun, call in running.values():
            yield self._tool(begun, call, None, "unfinished")

    def _tool(self, begun: Event, call: ToolCall, ended: Event | None, status: str) -> SpanFact:
        told: dict[str, Value] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call.tool,
            "gen_ai.tool.call.id": call.call_id,
            "gen_ai.tool.type": "function",
            "bargein.tool.effect": call.effect,
            "bargein.tool.status": status,
        }
        error = None if status in _FINE else status
        return self._within(f"execute_tool {call.tool}", begun, ended, told, error)

    def _interrupt(self) -> Iterator[SpanFact]:
        asked: tuple[Event, CancelRequested] | None = None
        for event in self._events:
            match event.payload:
                case CancelRequested() as request:
                    asked = event, request
                case CancelAck() as ack if asked is not None:
                    begun, request = asked
                    told: dict[str, Value] = {
                        "bargein.interrupt.by": request.by,
                        "bargein.interrupt.took_ms": ack.took_ms,
                        "bargein.interrupt.abandoned": tuple(ack.abandoned),
                        "bargein.tokens.generated": ack.tokens.generated,
                        "bargein.tokens.delivered": ack.tokens.delivered,
                    }
                    yield self._within("interrupt", begun, event, told, None)
                case _:
                    pass

    def _within(
        self,
        name: str,
        begun: Event,
        ended: Event | None,
        told: dict[str, Value],
        error: str | None,
        kind: Literal["internal", "client"] = "internal",
    ) -> SpanFact:
        start_ns = max(_ns(begun), self._start_ns)
        end_ns = max(self._end_ns if ended is None else _ns(ended), start_ns)
        span_id = _id_of(f"{self._turn.session_id} {begun.seq}", 8)
        ids = self._trace_id, span_id, self._span_id
        return SpanFact(name, kind, *ids, start_ns, end_ns, told, error)


def _ns(event: Event) -> int:
    return round(datetime.fromisoformat(event.ts).timestamp() * 1000) * _NS_PER_MS


def _id_of(name: str, size_bytes: int) -> int:
    # Never 0, which is no id.
    return int.from_bytes(blake2b(name.encode(), digest_size=size_bytes).digest(), "big") or 1
