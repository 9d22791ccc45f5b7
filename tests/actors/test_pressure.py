"""When a mailbox is full: what sheds, what waits, and what is never lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from bargein.actors import composition
from bargein.actors.session import Session
from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.memory import MemoryStore
from bargein.timeline.store import Append, Stored, StoreUnavailable
from tests.actors.stage import Frame, Stage, Viewer, on_stage

Commands = Sequence[tuple[str, dict[str, Any]]]


async def _all_at_once(
    stage: Stage, session: Session, viewer: Viewer, commands: Commands
) -> list[Frame]:
    """Send *commands* so that input takes them in one batch; return their answers."""
    ids = [f"p{number}" for number in range(len(commands))]
    async with trio.open_nursery() as nursery:
        for command_id, (kind, fields) in zip(ids, commands, strict=True):
            body = {**fields, "id": command_id}

            async def send(kind: str = kind, body: dict[str, Any] = body) -> None:
                await stage.send(session, viewer, kind, **body)

            nursery.start_soon(send)
    return [
        await viewer.until(lambda f, wanted=command_id: f.get("command_id") == wanted)
        for command_id in ids
    ]


def _codes(answers: list[Frame]) -> list[str]:
    return sorted(f["error"]["code"] if f["type"] == "error" else "done" for f in answers)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("say", {"text": "hi", "when_busy": "queue"}), ("interrupt", {}), ("close", {})],
)
async def test_what_the_planner_has_no_room_for_is_refused_and_may_be_sent_again(
    kind: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "PLANNER_MAILBOX", 1)
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        answers = await _all_at_once(stage, session, viewer, [(kind, fields)] * 3)
        assert _codes(answers).count("overloaded") >= 1
        assert _codes(answers).count("done") >= 1


async def test_an_interrupt_is_answered_even_where_the_planner_has_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(composition, "PLANNER_MAILBOX", 1)
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.model.line(0)
        commands = [("interrupt", dict[str, Any]())] * 4
        answers = await _all_at_once(stage, session, viewer, commands)
        assert _codes(answers) == ["done"] * 4
        assert {answer["result"]["interrupted"] for answer in answers} == {True}
        assert viewer.types().count("cancel.requested") == 1
        assert viewer.types().count("cancel.ack") == 1


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("configure", {"on_disconnect": "cancel"}),
        ("playback.progress", {"turn_id": "turn_1", "chars": 1}),
        ("say", {"text": "more", "when_busy": "queue"}),
    ],
)
async def test_what_cannot_be_written_down_now_is_refused(
    kind: str, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "OUTPUT_MAILBOX", 1)
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        (await stage.model.line(0)).says("word")
        await viewer.event("model.token")
        answers = await _all_at_once(stage, session, viewer, [(kind, fields)] * 3)
        assert "overloaded" in _codes(answers)
        assert "done" in _codes(answers)
        done = [answer for answer in answers if answer["type"] == "reply"]
        events = {
            "configure": "session.configured",
            "say": "input.text",
            "playback.progress": "playback.progress",
        }
        written = viewer.types().count(events[kind]) - (kind == "say")
        assert written == len(done)


async def test_words_that_cannot_be_dropped_on_paper_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(composition, "OUTPUT_MAILBOX", 1)
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        for text in ("two", "three", "four"):
            await stage.ask(session, viewer, "say", text=text, when_busy="queue")
        await stage.ask(session, viewer, "interrupt", queue="drop")
        dropped = viewer.types().count("input.dropped")
        assert 1 <= dropped < 3
        for number in range(1, 4 - dropped):
            (await stage.model.line(number)).ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_4")
        assert viewer.types().count("turn.start") + dropped == 4


async def test_text_that_output_has_no_room_for_is_joined_and_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(composition, "OUTPUT_MAILBOX", 1)
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        line = await stage.model.line(0)
        line.listener.retrying(2, 0.5, "model_overloaded")
        line.listener.retrying(3, 0.5, "model_overloaded")
        words = [f"{number} " for number in range(50)]
        for word in words:
            line.says(word)
        await line.listener.room()
        line.ends()
        ended = await viewer.event("response.end")
        assert ended["payload"]["text"] == "".join(words)
        tokens = [f["payload"] for f in viewer.frames if f["type"] == "model.token"]
        assert "".join(token["text"] for token in tokens) == "".join(words)
        assert sum(token["n"] for token in tokens) == 50
        assert len(tokens) < 5
        retries = [f["payload"]["attempt"] for f in viewer.frames if f["type"] == "model.retry"]
        assert retries == [2, 3]


async def test_who_comes_and_goes_is_recorded_even_where_output_has_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(composition, "OUTPUT_MAILBOX", 1)
    monkeypatch.setattr(composition, "PLANNER_MAILBOX", 1)
    async with on_stage() as stage:
        session = stage.open()
        viewers = [Viewer(session.timeline) for _ in range(4)]
        async with trio.open_nursery() as nursery:
            for viewer in viewers:
                session.attach(viewer)
                nursery.start_soon(session.announce, viewer)
        async with trio.open_nursery() as nursery:
            for viewer in viewers[1:]:
                nursery.start_soon(session.detach, viewer)
        with trio.fail_after(10):
            while viewers[0].types().count("session.detached") < 3:
                await trio.testing.wait_all_tasks_blocked()
        assert viewers[0].types().count("session.attached") == 4


class Unreadable(MemoryStore):
    """Takes events, and gives none back."""

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        await trio.lowlevel.checkpoint()
        raise StoreUnavailable("the disk is away")


async def test_history_that_cannot_be_read_is_refused_and_the_session_goes_on() -> None:
    async with on_stage(store=Unreadable()) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        refused = await stage.ask(session, viewer, "history")
        assert refused["error"]["code"] == "store_unavailable"
        assert (await stage.ask(session, viewer, "ping"))["result"] == {}


async def test_a_writer_waits_where_the_store_is_far_behind() -> None:
    held = trio.Event()
    holding = False

    async def slow(_: Sequence[Append]) -> None:
        await trio.lowlevel.checkpoint()
        if holding:
            await held.wait()

    async with on_stage(store=MemoryStore(before_commit=slow)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        line = await stage.model.line(0)
        holding = True
        for number in range(1500):
            line.says(f"{number} ")
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert session.timeline.head - session.timeline.durable < 1100
        reply = await stage.send(session, viewer, "interrupt")
        await viewer.until(lambda f: f["type"] == "flush")  # waits for no store
        await trio.testing.wait_all_tasks_blocked()
        assert line.cancelled
        assert "cancel.requested" not in viewer.types()
        held.set()
        holding = False
        answered = await viewer.until(lambda f: f.get("command_id") == reply)
        assert answered["result"]["interrupted"] is True
