"""What becomes of sessions whose store fails for a while, and of those that wait for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field

from bargein.actors.place import Place
from bargein.actors.reading import Reading
from bargein.protocol.codec import command_of
from bargein.protocol.ids import NOTHING, Seq, SessionId, TurnId
from bargein.timeline.memory import MemoryStore
from bargein.timeline.store import Append, Stored, StoreUnavailable
from tests.actors.stage import Frame, Stage, Viewer, on_stage
from tests.actors.test_registry import HoledStore, Trap


@define(eq=False)
class Faulty:
    """Lets commits fail as long as it is told to."""

    failing: bool = field(default=False)

    async def __call__(self, _: Sequence[Append]) -> None:
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise StoreUnavailable("the disk is full")


async def test_a_turn_that_the_store_has_failed_is_settled_though_nobody_comes_back(
    autojump_clock: trio.testing.MockClock,
) -> None:
    disk = Faulty()
    async with on_stage(store=MemoryStore(before_commit=disk)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        line = await stage.model.line(0)
        line.says("half")
        await viewer.event("model.token")
        disk.failing = True
        line.says("lost")
        assert await viewer.until_closed() == (4000, "store_unavailable")
        await session.until_ended()
        await trio.testing.wait_all_tasks_blocked()
        assert stage.sessions.live == 0  # nothing is revived that could not be written
        assert not stage.sessions.can_write
        disk.failing = False
        with trio.fail_after(5):
            await stage.sessions.until_can_write()
            while (await stage.store.unsettled()) or stage.sessions.live:
                await trio.testing.wait_all_tasks_blocked()
        again = await stage.sessions.enter(session.id)
        turn = again.state.turns[TurnId("turn_1")]
        assert (turn.status, turn.text) == ("failed", "half")
        back = await stage.attend(again, after=viewer.seq)
        stored = stage.store.shelf.events(session.id, NOTHING, 1000)
        faults = [json.loads(one.frame) for one in stored if b'"type":"error"' in one.frame]
        assert [fault["payload"]["code"] for fault in faults] == ["store_unavailable"]
        assert (await stage.ask(again, back, "ping"))["result"] == {}


async def test_after_a_crash_of_its_own_a_turn_is_not_blamed_on_the_store() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.model.line(0)
        trap = Trap(session.timeline)
        session.attach(trap)
        await stage.send(session, trap, "ping")
        await session.until_ended()
        again = await stage.sessions.enter(session.id)
        await again.timeline.until_durable(again.timeline.head)
        stored = stage.store.shelf.events(session.id, NOTHING, 1000)
        assert any(b'"server_restarted"' in one.frame for one in stored)


async def test_a_revived_timeline_knows_its_size() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "configure", agent="second")
        size_bytes = session.timeline.size_bytes
        await session.detach(viewer)
        session.end()
        await session.until_ended()
        again = await stage.sessions.enter(session.id)
        stored = stage.store.shelf.events(session.id, NOTHING, 1000)
        assert again.timeline.size_bytes == sum(len(one.frame) for one in stored) > size_bytes


async def test_a_drain_does_not_wait_for_a_session_that_crashes_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.model.line(0)
        trap = Trap(session.timeline)
        session.attach(trap)

        async def crash() -> None:
            await trio.sleep(2)
            await stage.send(session, trap, "ping")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            await stage.sessions.drain(30, "the server stops")
        assert trio.current_time() == pytest.approx(2, abs=0.5)
        assert stage.sessions.live == 0


# --- who reads meanwhile ---------------------------------------------------------------------


async def asleep(stage: Stage) -> tuple[Viewer, Place]:
    """Return a session's last client and its place, once it has left memory."""
    session = stage.open("ann")
    viewer = await stage.attend(session)
    await stage.ask(session, viewer, "configure", agent="second")
    await session.detach(viewer)
    session.end()
    await session.until_ended()
    place = await stage.sessions.find(session.id)
    assert place is not None
    return viewer, place


async def ask(reading: Reading, reader: Viewer, kind: str, **fields: Any) -> Frame:
    """Send a command to what can only be read; return its answer."""
    body = {"type": kind, "id": kind, **fields}
    await reading.receive(command_of(body), b"", reader)
    return await reader.until(
        lambda frame: (
            (frame.get("command_id") == kind and "at_seq" in frame) or frame["type"] == "error"
        )
    )


async def test_what_is_stored_can_be_read_and_nothing_else() -> None:
    async with on_stage() as stage, trio.open_nursery() as tasks:
        _, place = await asleep(stage)
        reading = stage.sessions.reading(place, tasks)
        reader = Viewer(reading.timeline, seq=place.last_seq)
        view = await ask(reading, reader, "projection", name="session")
        assert view["result"]["agent"] == "second"
        page = await ask(reading, reader, "history", after=0, limit=1000)
        assert len(page["result"]["events"]) == place.last_seq
        assert (await ask(reading, reader, "interrupt"))["result"] == {"interrupted": False}
        assert (await ask(reading, reader, "ping"))["at_seq"] == place.last_seq
        refusal = await ask(reading, reader, "say", text="one")
        assert refusal["error"]["code"] == "store_unavailable"
        assert (reading.is_writable, reading.open_decisions) == (False, ())
        assert stage.sessions.live == 0


async def test_who_reads_stops_what_runs_all_the_same() -> None:
    async with on_stage() as stage, trio.open_nursery() as tasks:
        session = stage.open("ann")
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        line = await stage.model.line(0)
        place = await stage.sessions.find(session.id)
        assert place is not None
        reading = stage.sessions.reading(place, tasks)
        reader = Viewer(reading.timeline, seq=place.last_seq)
        other = await ask(reading, reader, "interrupt", turn_id="turn_9")
        assert other["result"] == {"interrupted": False}
        reader.frames.clear()
        answer = await ask(reading, reader, "interrupt")
        assert answer["error"]["code"] == "store_unavailable"
        assert answer["error"]["retryable"] is True
        await viewer.event("cancel.ack")
        assert line.cancelled


async def test_a_damaged_timeline_has_no_view() -> None:
    store = HoledStore()
    async with on_stage(store=store) as stage, trio.open_nursery() as tasks:
        _, place = await asleep(stage)
        store.lost = place.session_id
        reading = stage.sessions.reading(place, tasks)
        reader = Viewer(reading.timeline, seq=place.last_seq)
        refusal = await ask(reading, reader, "projection", name="session")
        assert refusal["error"]["code"] == "timeline_corrupt"


async def test_a_view_that_cannot_be_read_now_may_be_asked_for_again() -> None:
    store = SlowStore()
    async with on_stage(store=store) as stage, trio.open_nursery() as tasks:
        _, place = await asleep(stage)
        reading = stage.sessions.reading(place, tasks)
        reader = Viewer(reading.timeline, seq=place.last_seq)
        store.slow = True
        for kind, fields in (("projection", {"name": "session"}), ("history", {"after": 0})):
            refusal = await ask(reading, reader, kind, **fields)
            assert refusal["error"]["code"] == "store_unavailable"
            reader.frames.clear()
        store.slow = False
        assert (await ask(reading, reader, "projection", name="session"))["result"]


async def test_a_forbidden_decision_of_who_only_reads_is_on_the_audit() -> None:
    async with on_stage() as stage, trio.open_nursery() as tasks:
        _, place = await asleep(stage)
        reading = stage.sessions.reading(place, tasks)
        confirm = command_of({"type": "confirm", "confirmation_id": "conf_1"})
        reading.note_forbidden(confirm, "bob")
        reading.note_forbidden(command_of({"type": "ping"}), "bob")
        session = stage.open()  # what it writes takes the audit with it
        await session.timeline.until_durable(session.timeline.head)
        lines = [json.loads(line.text) for line in await stage.store.audit_lines(0, limit=9)]
        assert [(line["act"], line["principal"], line["by"]) for line in lines] == [
            ("confirm.forbidden", "ann", "bob")
        ]


class SlowStore(MemoryStore):
    """Can't be read for a while."""

    slow: bool = False

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        if self.slow:
            raise StoreUnavailable("a read took longer than 10 s")
        return await super().read(session_id, after, limit=limit, most_bytes=most_bytes)
