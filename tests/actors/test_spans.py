"""What `turn.trace` says of a turn, and what is said of one that took too long."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bargein.actors.limits import Limits
from bargein.actors.phases import Phases
from bargein.models.client import Completion, Listener, ModelRequest
from bargein.protocol.commands import Budgets
from tests.actors.stage import Frame, Puppet, Stage, Viewer, on_stage
from tests.actors.test_turn import HandClock

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def spans_of(trace: Frame) -> dict[str, dict[str, Any]]:
    """Return the spans of a trace by name; its top-level ones add up."""
    spans: list[dict[str, Any]] = trace["payload"]["spans"]
    top = [span for span in spans if "parent" not in span]
    end_ms = 0.0
    for span in top:
        assert abs(span["start_ms"] - end_ms) < 0.01
        end_ms = span["start_ms"] + span["ms"]
    assert abs(end_ms - trace["payload"]["total_ms"]) < 1
    return {span["name"]: span for span in spans}


async def talk(stage: Stage, after_s: float = 1.0, stream_s: float = 2.0) -> tuple[Any, Viewer]:
    """Open a session; let its first turn say its first words and then its last."""
    session = stage.open()
    viewer = await stage.attend(session)
    await stage.send(session, viewer, "say", text="Hi")
    line = await stage.model.line(0)
    await trio.sleep(after_s)
    line.says("Hello ")
    await viewer.event("model.token")
    await trio.sleep(stream_s)
    line.says("you.")
    line.ends()
    return session, viewer


# --- spans ---------------------------------------------------------------------------


async def test_a_trace_says_when_the_first_words_were_out(autojump_clock: MockClock) -> None:
    async with on_stage() as stage:
        _, viewer = await talk(stage)
        spans = spans_of(await viewer.event("turn.trace"))
    first = spans["first_byte"]
    assert first["parent"] == "model.stream"
    assert first["start_ms"] == spans["model.stream"]["start_ms"] >= 1000
    assert first["ms"] < 1000
    assert "render" not in spans


async def test_a_trace_says_when_the_client_showed_the_first_words(
    autojump_clock: MockClock,
) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="Hi")
        line = await stage.model.line(0)
        line.says("Hello ")
        await viewer.event("model.token")
        await trio.sleep(0.25)
        for chars in (0, 2, 4):
            await stage.ask(session, viewer, "playback.progress", turn_id="turn_1", chars=chars)
            await trio.sleep(0.5)
        line.ends()
        spans = spans_of(await viewer.event("turn.trace"))
    assert spans["render"]["parent"] == "model.stream"
    assert 700 < spans["render"]["ms"] < 800  # the second report, which was of something


async def test_an_interrupt_has_spans_of_its_own(autojump_clock: MockClock) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="Hi")
        line = await stage.model.line(0)
        line.says("Hello ")
        await viewer.event("model.token")
        await stage.ask(session, viewer, "interrupt")
        spans = spans_of(await viewer.event("turn.trace"))
    cancel = spans["cancel"]
    assert "parent" not in cancel
    steps = [spans[f"cancel.{name}"] for name in ("silent", "unwind", "ack")]
    assert [step["parent"] for step in steps] == ["cancel"] * 3
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        end_ms = step["start_ms"] + step["ms"]
        limit_ms = cancel["start_ms"] + cancel["ms"] if following is None else following["start_ms"]
        assert end_ms <= limit_ms + 0.01


def test_what_outlasts_its_phase_is_a_child_of_the_one_that_it_began_in() -> None:
    clock = HandClock()
    phases = Phases(clock, 0.0, "a")
    phases.begin("long")
    phases.begin("certain")
    phases.begin("doubtful", certain=False)
    clock.s = 1.0
    phases.begin("long")  # a second time does not count
    phases.enter("b")
    clock.s = 3.0
    phases.finish("long")
    phases.finish("never begun")
    clock.s = 4.0
    phases.finish("long")
    spans, total_ms = phases.end()
    told = {span.name: (span.parent, span.start_ms, span.ms) for span in spans if span.parent}
    assert told == {"long": ("a", 0.0, 3000.0), "certain": ("a", 0.0, 4000.0)}
    assert total_ms == 4000.0
    assert [span.name for span in spans if not span.parent] == ["a", "b"]


# --- budgets -------------------------------------------------------------------------


async def test_a_turn_over_its_budgets_says_so_before_it_ends(autojump_clock: MockClock) -> None:
    budgets = Budgets(first_token_ms=500, turn_ms=2500, cancel_ms=1000)
    async with on_stage(limits=Limits(budgets=budgets)) as stage:
        _, viewer = await talk(stage)
        await viewer.event("turn.trace")
    told = [frame for frame in viewer.frames if frame["type"] == "object"]
    assert [frame["turn_id"] for frame in told] == ["turn_1"] * 2
    assert {frame["payload"]["kind"] for frame in told} == {"budget.exceeded"}
    by_name = {frame["payload"]["data"]["budget"]: frame["payload"]["data"] for frame in told}
    assert by_name["first_token_ms"]["limit_ms"] == 500
    assert 1000 <= by_name["first_token_ms"]["took_ms"] < 1100
    assert 3000 <= by_name["turn_ms"]["took_ms"] < 3100
    types = viewer.types()
    assert types.index("object") < types.index("response.end")


async def test_a_turn_within_its_budgets_says_nothing(autojump_clock: MockClock) -> None:
    budgets = Budgets(first_token_ms=1500, turn_ms=3500, cancel_ms=1000)
    async with on_stage(limits=Limits(budgets=budgets)) as stage:
        _, viewer = await talk(stage)
        await viewer.event("turn.trace")
        assert "object" not in viewer.types()


async def test_a_session_may_have_budgets_of_its_own(autojump_clock: MockClock) -> None:
    async with on_stage(limits=Limits(budgets=Budgets(turn_ms=1))) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        answer = await stage.ask(session, viewer, "configure", budgets={"first_token_ms": 500})
        assert answer["result"]["budgets"] == {"first_token_ms": 500}
        configured = await viewer.event("session.configured")
        assert configured["payload"]["config"]["budgets"] == {"first_token_ms": 500}
        await stage.send(session, viewer, "say", text="Hi")
        line = await stage.model.line(0)
        await trio.sleep(1)
        line.says("Hello.")
        line.ends()
        await viewer.event("turn.trace")
        told = [frame["payload"]["data"] for frame in viewer.frames if frame["type"] == "object"]
        assert [each["budget"] for each in told] == ["first_token_ms"]


async def test_waiting_behind_another_turn_is_not_the_turns_own_time(
    autojump_clock: MockClock,
) -> None:
    async with on_stage(limits=Limits(budgets=Budgets(first_token_ms=2000))) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="One")
        first = await stage.model.line(0)
        await stage.send(session, viewer, "say", text="Two", when_busy="queue")
        first.says("One.")
        await trio.sleep(5)
        first.ends()
        second = await stage.model.line(1)
        second.says("Two.")
        second.ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        assert "object" not in viewer.types()


async def test_a_cancel_over_its_budget_says_so_after_its_ack(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Puppet.stream

    async def stopped_slowly(self: Puppet, request: ModelRequest, listener: Listener) -> Completion:
        try:
            return await stream(self, request, listener)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)

    monkeypatch.setattr(Puppet, "stream", stopped_slowly)
    async with on_stage(limits=Limits(budgets=Budgets(cancel_ms=50))) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="Hi")
        await stage.model.line(0)
        await stage.send(session, viewer, "interrupt")
        told = await viewer.event("object")
        ack = await viewer.event("cancel.ack")
    assert told["turn_id"] is None  # a cancelled turn has nothing but its ladder
    assert told["seq"] > ack["seq"]
    assert told["payload"]["data"]["turn_id"] == "turn_1"
    assert told["payload"]["data"]["took_ms"] == ack["payload"]["took_ms"] >= 100
    assert told["payload"]["data"]["budget"] == "cancel_ms"


@pytest.mark.parametrize(
    ("words", "limits", "told_ms"),
    [
        ((), Budgets(first_token_ms=500, turn_ms=2500, cancel_ms=1000), {"first_token_ms": 2000}),
        ((), Budgets(first_token_ms=2500, turn_ms=2500), {}),
        (("Hello",), Budgets(first_token_ms=1500, turn_ms=1500), {"turn_ms": 2000}),
        (("Hello",), Budgets(first_token_ms=500), {"first_token_ms": 1000}),
    ],
)
async def test_a_turn_that_was_over_its_budgets_when_it_was_interrupted_says_so_after_the_ack(
    autojump_clock: MockClock, words: tuple[str, ...], limits: Budgets, told_ms: dict[str, int]
) -> None:
    async with on_stage(limits=Limits(budgets=limits)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="Hi")
        line = await stage.model.line(0)
        await trio.sleep(1)
        for word in words:
            line.says(word)
        await trio.sleep(1)
        await stage.send(session, viewer, "interrupt")
        ack = await viewer.event("cancel.ack")
        await stage.send(session, viewer, "say", text="And now?")
        await viewer.until(lambda f: f["type"] == "turn.start" and f["turn_id"] == "turn_2")
        told = [frame for frame in viewer.frames if frame["type"] == "object"]
        assert all(each["turn_id"] is None and each["seq"] > ack["seq"] for each in told)
        took_ms = {
            each["payload"]["data"]["budget"]: each["payload"]["data"]["took_ms"] for each in told
        }
        assert took_ms.keys() == told_ms.keys()
        assert all(told_ms[name] <= took < told_ms[name] + 100 for name, took in took_ms.items())


# --- where a client's trace goes on ------------------------------------------------------


@pytest.mark.parametrize("when_busy", ["interrupt", "queue"])
async def test_words_carry_the_clients_span(autojump_clock: MockClock, when_busy: str) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="Hi")
        await stage.model.line(0)
        await stage.send(
            session, viewer, "say", text="And", when_busy=when_busy, traceparent=PARENT
        )
        said = await viewer.event("input.text", text="And")
    assert said["payload"]["traceparent"] == PARENT


@pytest.mark.parametrize(
    "odd", ["", "00-0-0-00", PARENT.upper(), PARENT + "-more", "ff" + PARENT[2:]]
)
async def test_what_is_no_traceparent_is_ignored(autojump_clock: MockClock, odd: str) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        answer = await stage.ask(session, viewer, "say", text="Hi", traceparent=odd)
        assert answer["type"] == "reply"
        said = await viewer.event("input.text")
        assert "traceparent" not in said["payload"]
