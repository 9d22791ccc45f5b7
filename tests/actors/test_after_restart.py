"""Commands that are sent again to another process: known by the events that they left."""

from __future__ import annotations

from typing import Any

from bargein.actors.session import Session
from tests.actors.stage import Frame, Stage, Viewer, on_stage


async def _restart(stage: Stage, session: Session, viewer: Viewer) -> tuple[Session, Viewer]:
    await session.detach(viewer)
    session.end()
    await session.until_ended()
    again = await stage.sessions.enter(session.id)
    return again, await stage.attend(again, after=viewer.seq)


def _told(frame: Frame) -> Any:
    return frame["result"] if frame["type"] == "reply" else frame["error"]["code"]


async def test_another_body_is_a_duplicate_and_the_right_one_still_has_its_answer() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        first = await stage.ask(session, viewer, "say", text="one", id="x")
        (await stage.model.line(0)).ends()
        await viewer.event("turn.trace")
        session, viewer = await _restart(stage, session, viewer)
        other = await stage.ask(session, viewer, "say", text="another", id="x")
        assert _told(other) == "duplicate"
        same = await stage.ask(session, viewer, "say", text="one", id="x")
        assert _told(same) == _told(first)
        kind = await stage.ask(session, viewer, "interrupt", id="x")
        assert _told(kind) == "duplicate"


async def test_an_interrupt_that_stopped_a_turn_is_not_done_to_the_next_one() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.model.line(0)
        first = await stage.ask(session, viewer, "interrupt", id="stop")
        assert _told(first)["interrupted"] is True
        session, viewer = await _restart(stage, session, viewer)
        await stage.ask(session, viewer, "say", text="two")
        line = await stage.model.line(1)
        again = await stage.ask(session, viewer, "interrupt", id="stop")
        assert _told(again) == _told(first)
        assert not line.cancelled
        line.ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")


async def test_words_that_waited_are_answered_as_queued_though_they_began_since() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        first = await stage.ask(session, viewer, "say", text="two", when_busy="queue", id="q")
        for number in range(2):
            (await stage.model.line(number)).ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        session, viewer = await _restart(stage, session, viewer)
        again = await stage.ask(session, viewer, "say", text="two", when_busy="queue", id="q")
        assert _told(again) == _told(first)
        assert _told(again)["outcome"] == "queued"


async def test_spoken_words_that_no_turn_had_taken_are_answered() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        said = {"utterance_id": "u1", "revision": 0, "text": "Show me the"}
        await stage.ask(session, viewer, "asr.final", **said)
        assert session.state.open_turn is None
        session, viewer = await _restart(stage, session, viewer)
        start = await viewer.event("turn.start", input="Show me the")
        assert start["payload"]["utterances"] == [{"utterance_id": "u1", "revision": 0}]
        (await stage.model.line(0)).ends()
        await viewer.event("turn.trace")


async def test_words_that_rolled_a_turn_back_are_answered_so_again() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.model.line(0)
        say = {"text": "two", "when_busy": "rollback", "id": "r"}
        first = await stage.ask(session, viewer, "say", **say)
        (await stage.model.line(1)).ends()
        await viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        session, viewer = await _restart(stage, session, viewer)
        again = await stage.ask(session, viewer, "say", **say)
        assert _told(again) == _told(first)
        assert _told(again) == {
            "turn_id": "turn_2",
            "outcome": "rolled_back",
            "interrupted": "turn_1",
        }
