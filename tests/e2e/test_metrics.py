"""What a real server tells at `/metrics` of what its clients did."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from bargein.agents.app import Agent, App
from bargein.gateway.settings import Limits
from bargein.tools.tool import ToolFailed, tool
from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.harness import eventually, world
from tests.e2e.scripts import PACE_S, by_words, words
from tests.e2e.test_stalled_reader import ANSWER, WINDOW_BYTES, read_until_ack, stalled
from tests.fakes.anthropic_answers import saying
from tests.faults.frames import command
from tests.gateway.fetching import get
from tests.gateway.raw_client import CLOSE, close_payload, frame, opened

Figures = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _here() -> Figures:
    """Return what this process has counted so far, also for other tests."""
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples}


async def _told(port: int) -> Figures:
    answer = await get(port, "/metrics")
    families = text_string_to_metric_families(answer.body.decode())
    samples = (sample for family in families for sample in family.samples)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for s in samples}


def _key(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"bargein_{name}", tuple(sorted(labels.items()))


async def test_a_scraper_sees_how_long_tools_take_by_tool_and_status() -> None:
    @tool(effect="read")
    async def dawdle() -> str:
        """Take some time."""
        await trio.sleep(0.05)
        return "done"

    @tool(effect="read")
    def refuse() -> str:
        """Fail."""
        raise ToolFailed("no")

    app = App("measured", (Agent("worker", tools=(dawdle, refuse)),))
    async with world(vendor_obeys, app=app) as w:
        client = await w.attach()
        await client.converse(order("dawdle") + "\n" + order("refuse"))
        count = _key("tool_seconds_count", tool="dawdle", status="ok")
        await eventually(lambda: _here().get(count))
        told = await _told(w.port)
    assert told[count] == 1
    assert 0.05 <= told[_key("tool_seconds_sum", tool="dawdle", status="ok")] < 5
    assert told[_key("tool_seconds_bucket", tool="dawdle", status="ok", le="0.025")] == 0
    assert told[_key("tool_seconds_count", tool="refuse", status="error")] == 1


@pytest.mark.parametrize("ends", ["catches up", "is cut", "leaves"])
async def test_a_scraper_sees_who_lags_for_as_long_as_that_is_so(ends: str) -> None:
    lagging = _key("clients_lagging")
    before = _here()[lagging]
    limits = Limits(lagging_events=8, lagging_s=0.5 if ends == "is cut" else 600)
    async with (
        world(by_words({"Flood": ANSWER}), limits=limits) as w,
        opened(w.port, window_bytes=WINDOW_BYTES, Sec_WebSocket_Protocol="bargein.v1") as raw,
    ):
        await stalled(w, raw)
        await eventually(lambda: _here()[lagging] == before + 1)
        assert (await _told(w.port))[lagging] == before + 1
        if ends == "catches up":
            await raw.send(command(type="interrupt", id="stop"))
            await read_until_ack(raw)
        elif ends == "is cut":
            await eventually(lambda: not any(wire.is_open for wire in w.edge.connections))
            assert await raw.read_close() == 4001
            await raw.send(frame(CLOSE, close_payload(4001)))
        else:
            await trio.aclose_forcefully(raw.stream)
        await eventually(lambda: _here()[lagging] == before)


async def test_a_scraper_sees_a_conversation_and_an_interrupt(tmp_path: Path) -> None:
    before = _here()
    cancelled = _key("turns_total", outcome="cancelled")
    long = saying(*words(400), interval_s=PACE_S)
    async with world([saying("Hello ", "you"), long], store=tmp_path / "t.sqlite3") as w:
        client = await w.attach()
        await client.converse("Hi")
        await client.say("Tell me a story")
        await client.until("model.token", since=len(client.frames))
        stopped = await client.ask("interrupt")
        assert stopped["result"]["interrupted"] is True
        await eventually(lambda: _here().get(cancelled, 0.0) > before.get(cancelled, 0.0))
        after = await _told(w.port)

    def grown(name: str, **labels: str) -> float:
        key = _key(name, **labels)
        return after[key] - before.get(key, 0.0)

    assert grown("sessions_opened_total") == 1
    assert grown("turns_total", outcome="completed") == 1
    assert grown("turns_total", outcome="cancelled") == 1
    how = {"by": "user", "cause": "interrupt", "outcome": "clean"}
    assert grown("interrupts_total", **how) == 1
    assert grown("interrupt_ack_seconds_count") == 1
    assert grown("interrupt_flush_seconds_count") == 1
    assert grown("first_token_seconds_count") == 2
    assert grown("turn_seconds_count", outcome="completed") == 1
    assert grown("tokens_generated_total") >= 3
    assert grown("tokens_delivered_total") <= grown("tokens_generated_total")
    assert grown("ghost_tokens_total") == 0
    model = {"model": "claude-sonnet-5-5"}
    assert grown("model_calls_total", outcome="end_turn", **model) == 1
    assert grown("model_calls_total", outcome="cancelled", **model) == 1
    assert grown("model_tokens_total", direction="output", **model) > 0
    assert grown("store_commit_seconds_count") > 0
    assert grown("store_commit_events_sum") >= len([f for f in client.frames if f.is_event])
    assert after[_key("connections")] >= 1
