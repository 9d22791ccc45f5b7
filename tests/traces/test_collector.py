"""Spans that reach a collector: a real server, real OTLP over HTTP, and a collector in trouble."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from attrs import evolve
from prometheus_client import REGISTRY

from bargein.agents.app import App
from bargein.agents.assistant import ASSISTANT
from bargein.gateway import otlp, tracing
from bargein.gateway.otlp import Collector, TracesUnusable
from bargein.gateway.settings_groups import Traces
from bargein.gateway.spans import SpanFact
from bargein.protocol.ids import Seq
from bargein.timeline.log import Timeline
from bargein.timeline.store import Stored
from bargein.tools.tool import tool
from tests.e2e.harness import FREE_LIMITS, eventually, world
from tests.e2e.process import server_process
from tests.e2e.scripts import FOR_EVER, by_words
from tests.fakes.anthropic_answers import Call, Stop, doing, saying
from tests.traces.receiver import Received, receiving

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-00"
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "EXPORT_EVERY_S", 0.05)


def traces_to(url: str) -> Traces:
    return Traces(url, "shop", 1000)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_turn_its_model_and_its_tools_reach_the_collector() -> None:
    @tool(effect="read")
    async def look(where: str) -> str:
        """Look."""
        return f"nothing at {where}"

    app: App = evolve(ASSISTANT, agents=(evolve(ASSISTANT.agents[0], tools=(look,)),))
    answers = [
        doing(Call("call_1", "look", ('{"where":"home"}',)), Stop("tool_use")),
        saying("Nothing ", "there."),
    ]
    with receiving() as collector:
        async with world(answers, app=app, traces=traces_to(collector.url)) as w:
            alice = await w.attach()
            turn_id = await alice.converse("Look, please")
            (turn,) = await collector.until("invoke_agent")
            session_id = alice.session_id
    assert collector.paths[0] == "/v1/traces"
    assert turn.service == "shop"
    assert turn.attributes["gen_ai.conversation.id"] == session_id
    assert turn.attributes["bargein.turn.id"] == turn_id
    assert turn.attributes["bargein.turn.status"] == "completed"
    assert turn.parent_id == ""
    first, second = collector.named("chat")
    (looked,) = collector.named("execute_tool")
    assert looked.name == "execute_tool look"
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_use"]
    assert second.attributes["gen_ai.usage.output_tokens"] > 0
    inner = (first, second, looked)
    assert {span.parent_id for span in inner} == {turn.span_id}
    assert {span.trace_id for span in inner} == {turn.trace_id}
    assert {span.kind for span in (first, second)} == {3}  # a client's
    for span in inner:
        assert turn.start_ns <= span.start_ns <= span.end_ns <= turn.end_ns
    told = " ".join(str(span.attributes) for span in collector.spans)
    assert "home" not in told
    assert "Look, please" not in told


async def test_a_turn_is_part_of_the_clients_trace() -> None:
    other = f"00-{'9' * 32}-{'8' * 16}-01"
    with receiving() as collector:
        async with world(by_words({}), traces=traces_to(collector.url)) as w:
            alice = await w.attach(traceparent=PARENT)
            await alice.converse("One")
            await alice.converse("Two", traceparent=other)
            said = alice.find("input.text", text="One")
            assert said is not None
            assert said.payload["traceparent"] == PARENT
            one, two = sorted(
                await collector.until("invoke_agent", 2), key=lambda span: span.start_ns
            )
    assert (one.trace_id, one.parent_id) == (TRACE_ID, SPAN_ID)
    assert (two.trace_id, two.parent_id) == ("9" * 32, "8" * 16)


async def test_a_turn_of_a_trace_that_is_not_kept_is_not_sent() -> None:
    with receiving() as collector:
        async with world(by_words({}), traces=traces_to(collector.url)) as w:
            alice = await w.attach(traceparent=UNSAMPLED)
            await alice.converse("One")
            await alice.converse("Two", traceparent="nonsense")  # is a trace of its own
            bob = await w.attach()
            await bob.converse("Three")
            turns = await collector.until("invoke_agent", 2)
    assert TRACE_ID not in {turn.trace_id for turn in turns}
    assert len(collector.named("invoke_agent")) == 2


async def test_an_interrupt_reaches_the_collector_apart() -> None:
    with receiving() as collector:
        async with world(by_words({"Long": FOR_EVER}), traces=traces_to(collector.url)) as w:
            alice = await w.attach()
            await alice.say("Long, please")
            await alice.until("model.token")
            await alice.ask("interrupt")
            (interrupt,) = await collector.until("interrupt")
            (turn,) = await collector.until("invoke_agent")
    assert turn.attributes["bargein.turn.status"] == "cancelled"
    assert interrupt.attributes["bargein.interrupt.by"] == "user"
    assert interrupt.parent_id == turn.span_id


async def test_a_turn_longer_than_what_is_in_memory_is_read_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[int] = []
    read_back = Timeline.read_back

    async def counted(self: Timeline, after: Seq, *, limit: int, most_bytes: int) -> list[Stored]:
        page = await read_back(self, after, limit=limit, most_bytes=most_bytes)
        pages.append(len(page))
        return page

    monkeypatch.setattr(Timeline, "read_back", counted)
    monkeypatch.setattr(tracing, "PAGE_EVENTS", 3)
    limits = evolve(FREE_LIMITS, tail_events=2, lagging_events=1)
    with receiving() as collector:
        async with world(
            by_words({}, saying(*(f"w{n} " for n in range(50)), "end.")),
            store=tmp_path / "a.sqlite3",
            limits=limits,
            traces=traces_to(collector.url),
        ) as w:
            alice = await w.attach()
            for number in range(8):
                await alice.converse(f"Number {number}")
            turns = await collector.until("invoke_agent", 8)
            await collector.until("chat", 8)
    assert all("bargein.turn.first_token_ms" in turn.attributes for turn in turns)
    assert len(pages) > len(turns)


# --- a collector in trouble --------------------------------------------------------------


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_collector_that_is_down_is_noticed_by_nobody() -> None:
    started = trio.current_time()
    async with world(by_words({}), traces=traces_to(f"http://127.0.0.1:{unused_port()}")) as w:
        alice = await w.attach()
        for words in ("One", "Two", "Three"):
            await alice.converse(words)
    assert trio.current_time() - started < PATIENCE_S


async def test_a_collector_that_answers_nobody_holds_up_nobody() -> None:
    with receiving(ready=False) as collector:
        async with world(by_words({}), traces=traces_to(collector.url)) as w:
            alice = await w.attach()
            await alice.converse("One")
            await eventually(lambda: collector.requests, PATIENCE_S)
            for words in ("Two", "Three"):
                await alice.converse(words)
            stopped_at = trio.current_time()
        assert trio.current_time() - stopped_at < PATIENCE_S
        assert collector.spans == []


def a_turn(number: int) -> tuple[SpanFact, ...]:
    return (SpanFact("invoke_agent a", "internal", 7, number + 1, None, 1, 2, {}),)


def test_what_the_collector_has_no_room_for_is_dropped() -> None:
    collector = Collector.at("http://127.0.0.1:9", "shop", 2)
    assert [collector.offer(a_turn(number)) for number in range(4)] == [True, True, False, False]


def test_a_collector_that_refuses_loses_the_spans_and_they_are_counted() -> None:
    lost = count("bargein_spans_total", outcome="lost")
    with receiving() as receiver:
        receiver.status = 400
        collector = Collector.at(receiver.url, "shop", 10)
        collector.start()
        assert collector.offer(a_turn(1))
        collector.close(PATIENCE_S)
        assert receiver.requests == 1
        assert receiver.spans == []
    assert count("bargein_spans_total", outcome="lost") == lost + 1


def test_what_waits_is_sent_at_the_end_in_few_requests() -> None:
    with receiving() as receiver:
        collector = Collector.at(receiver.url + "/", "shop", 1000)
        for number in range(600):
            assert collector.offer(a_turn(number))
        collector.start()
        collector.close(PATIENCE_S)
        assert len(receiver.spans) == 600
        assert receiver.requests == 2
    ids = {span.span_id for span in receiver.spans}
    assert len(ids) == 600
    assert {span.trace_id for span in receiver.spans} == {f"{7:032x}"}


def test_the_end_does_not_wait_for_a_collector_that_hangs() -> None:
    with receiving(ready=False) as receiver:
        collector = Collector.at(receiver.url, "shop", 10)
        collector.start()
        assert collector.offer(a_turn(1))
        collector.close(0.1)  # returns, whatever the thread does
        assert receiver.spans == []


async def test_a_server_process_stops_in_time_though_its_collector_hangs(tmp_path: Path) -> None:
    with receiving(ready=False) as collector:
        async with server_process(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as server:
            alice = await server.attach()
            await alice.converse("Brief, please")
            await eventually(lambda: collector.requests, PATIENCE_S)
            server.terminate()
            assert await server.exit_code() == 0


# --- without it ---------------------------------------------------------------------------


def test_nothing_of_it_is_imported_where_no_collector_is_named() -> None:
    code = (
        "import sys, bargein.server\n"
        "from bargein.gateway.tracing import tracing_of\n"
        "assert tracing_of(None, 'shop', 10) is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True
    )
    assert done.stdout.strip() == "[]"


def test_a_collector_without_the_extra_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp, "_NEEDED", ("opentelemetry.sdk", "no_such_package.at_all"))
    with pytest.raises(TracesUnusable, match=r"no_such_package.*bargein\[otel\]"):
        Collector.at("http://127.0.0.1:4318", "shop", 10)


def test_a_span_says_that_it_failed() -> None:
    fact = SpanFact("chat x", "client", 7, 8, 9, 1, 2, {"a": ("b", "c")}, "timeout")
    with receiving() as receiver:
        collector = Collector.at(receiver.url, "shop", 10)
        collector.start()
        assert collector.offer((fact,))
        collector.close(PATIENCE_S)
        (span,) = receiver.spans
    assert isinstance(span, Received)
    assert span.failed
    assert span.attributes == {"a": ["b", "c"], "error.type": "timeout"}
    assert (span.parent_id, span.kind) == (f"{9:016x}", 3)
