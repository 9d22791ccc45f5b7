"""Opening, finding, reviving, recovering and draining sessions."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bargein.actors.clock import SystemChance, SystemClock
from bargein.actors.limits import Limits
from bargein.actors.registry import Sessions
from bargein.actors.session import Session
from bargein.agents.app import App, Apps
from bargein.protocol.ids import NOTHING, Epoch, Seq, SessionId, TurnId
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.store import Append, NewSession, Stored, StoreUnavailable, TimelineCorrupt
from tests.actors.stage import AGENTS, Puppet, Viewer, on_stage


async def test_nothing_is_opened_before_the_sessions_run() -> None:
    sessions = Sessions(
        MemoryStore(), Apps(App("a", AGENTS)), Puppet(), SystemClock(), SystemChance(), Limits()
    )
    with pytest.raises(RuntimeError, match=r"Sessions\.run has to run first"):
        sessions.open(sessions.new_place("anonymous", None))


async def test_a_session_is_found_while_it_lives_and_when_it_sleeps() -> None:
    async with on_stage() as stage:
        session = stage.open("ann")
        viewer = await stage.attend(session)
        live = await stage.sessions.find(session.id)
        await session.detach(viewer)
        session.end()
        await session.until_ended()
        asleep = await stage.sessions.find(session.id)
        assert live is not None
        assert asleep is not None
        assert live.principal == asleep.principal == "ann"
        assert live.epoch == asleep.epoch
        assert asleep.last_seq == session.state.seq
        assert await stage.sessions.find(SessionId("sess_ff")) is None


async def test_to_enter_a_session_that_was_never_there_says_that_it_is_damaged() -> None:
    async with on_stage() as stage:
        with pytest.raises(TimelineCorrupt):
            await stage.sessions.enter(SessionId("sess_ff"))
        with pytest.raises(TimelineCorrupt):
            await stage.sessions.enter(SessionId("sess_ff"))


async def test_all_who_enter_at_once_get_the_same_session() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await session.detach(viewer)
        session.end()
        entered: list[Session] = []

        async def enter() -> None:
            entered.append(await stage.sessions.enter(session.id))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(enter)
        assert len(set(map(id, entered))) == 1
        assert entered[0] is not session
        assert stage.sessions.live == 1


# --- after a crash of the process ---------------------------------------------------------


async def _leave_open_turns(shelf: Shelf, count: int) -> list[SessionId]:
    """Let a process die with a running turn in each of its sessions."""
    left: list[SessionId] = []
    store = MemoryStore(shelf)
    async with on_stage(store=store) as stage:
        for number in range(count):
            session = stage.open()
            viewer = await stage.attend(session)
            await stage.ask(session, viewer, "say", text="one")
            line = await stage.model.line(number)
            line.says("half")
            await viewer.event("model.token")
            left.append(session.id)
        store.crash()
    return left


async def test_recovery_settles_what_the_last_process_left_and_lets_it_sleep() -> None:
    shelf = Shelf()
    left = await _leave_open_turns(shelf, 3)
    async with on_stage(store=MemoryStore(shelf)) as stage:
        assert await stage.sessions.recover() == 3
        with trio.fail_after(10):
            while stage.sessions.live:
                await trio.testing.wait_all_tasks_blocked()
        assert await stage.sessions.recover() == 0
        for session_id in left:
            session = await stage.sessions.enter(session_id)
            turn = session.state.turns[TurnId("turn_1")]
            assert turn.status == "failed"
            assert turn.over
            assert turn.resume_token is not None


async def test_recovery_leaves_alone_whom_somebody_entered_first(
    autojump_clock: MockClock,
) -> None:
    shelf = Shelf()
    [session_id] = await _leave_open_turns(shelf, 1)

    async def slow(_: Sequence[Append]) -> None:
        await trio.sleep_forever()

    async with on_stage(store=MemoryStore(shelf, slow)) as stage:
        session = await stage.sessions.enter(session_id)
        assert await stage.sessions.recover() == 1  # the index does not know it yet
        assert stage.sessions.live == 1
        assert await stage.sessions.enter(session_id) is session


class HoledStore(MemoryStore):
    """Has lost the events of one session."""

    lost: SessionId | None = None

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        stored = await super().read(session_id, after, limit=limit, most_bytes=most_bytes)
        return [] if session_id == self.lost else stored


async def test_who_is_recovered_can_be_read_as_recovered(autojump_clock: MockClock) -> None:
    shelf = Shelf()
    [session_id] = await _leave_open_turns(shelf, 1)

    async def slow(_: Sequence[Append]) -> None:
        await trio.sleep(1)

    async with on_stage(store=MemoryStore(shelf, slow)) as stage:
        before = len(shelf.events(session_id, NOTHING, 1_000_000))
        await stage.sessions.recover()
        written = shelf.events(session_id, Seq(before), 1_000_000)
        assert b'"turn.trace"' in written[-1].frame


async def test_recovery_goes_on_past_a_session_that_cannot_be_read() -> None:
    shelf = Shelf()
    left = await _leave_open_turns(shelf, 2)
    store = HoledStore(shelf)
    store.lost = left[0]
    async with on_stage(store=store) as stage:
        assert await stage.sessions.recover() == 2
        with pytest.raises(TimelineCorrupt) as damaged:
            await stage.sessions.enter(left[0])
        assert damaged.value.seq == 1
        assert (await stage.sessions.enter(left[1])).state.turns


async def test_an_event_that_cannot_be_read_is_named() -> None:
    shelf = Shelf()
    opened = NewSession(SessionId("sess_00"), "ann", None, Epoch("e0"), "2026-11-21T00:00:00.000Z")
    shelf.keep(
        Append(
            session_id=opened.session_id,
            first_seq=Seq(1),
            frames=(b'{"no":"event"}',),
            urgent=True,
            unsettled=False,
            opened=opened,
            on_durable=lambda _: None,
            on_failed=lambda _: None,
        )
    )
    async with on_stage(store=MemoryStore(shelf)) as stage:
        with pytest.raises(TimelineCorrupt) as damaged:
            await stage.sessions.enter(opened.session_id)
        assert damaged.value.seq == 1
        assert stage.sessions.live == 0


# --- the end of the process -----------------------------------------------------------------


async def test_a_drain_lets_turns_finish_and_sends_everybody_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        line = await stage.model.line(0)

        async def finish() -> None:
            await trio.sleep(5)
            line.ends()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish)
            await stage.sessions.drain(30, "the server stops")
        assert trio.current_time() == pytest.approx(5, abs=0.5)
        assert (await viewer.event("response.end"))["payload"]["status"] == "completed"
        away = await viewer.until(lambda f: f["type"] == "go_away")
        assert away["reason"] == "the server stops"
        assert viewer.closed == (4000, "the server stops")
        assert stage.sessions.live == 0


async def test_a_drain_interrupts_what_is_not_over_in_time_and_keeps_what_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        await stage.ask(session, viewer, "say", text="two", when_busy="queue")
        await stage.model.line(0)
        await stage.sessions.drain(30, "the server stops")
        requested = await viewer.event("cancel.requested")
        assert requested["payload"]["by"] == "operator"
        assert await viewer.event("cancel.ack")
        assert len(stage.model.lines) == 1
        assert stage.sessions.live == 0
        again = await stage.sessions.enter(session.id)
        assert again.state.queue == ["turn_2"]


# --- crashes --------------------------------------------------------------------------------


class Bug(Exception):
    """What a mistake of ours raises."""


class Trap(Viewer):
    """A client with a mistake in it: it raises where it must not."""

    def show(self, frame: bytes) -> None:
        if b"pong" in frame:
            raise Bug
        super().show(frame)


async def test_a_crash_ends_one_session_and_the_others_never_notice() -> None:
    async with on_stage() as stage:
        broken, sound = stage.open(), stage.open()
        viewer, neighbour = await stage.attend(broken), await stage.attend(sound)
        stored = stage.store.shelf.events(sound.id, NOTHING, 1000)
        trap = Trap(broken.timeline)
        broken.attach(trap)
        await stage.send(broken, trap, "ping")
        assert await viewer.until_closed() == (4000, "internal")
        told = [f for f in viewer.frames if f["type"] in ("error", "go_away")]
        assert [f["type"] for f in told] == ["error", "go_away"]
        assert told[0]["error"]["code"] == "internal"
        assert told[0]["command_id"] is None
        assert told[1]["reason"] == "internal"
        await broken.until_ended()
        assert stage.store.shelf.events(sound.id, NOTHING, 1000) == stored
        assert (await stage.ask(sound, neighbour, "ping"))["result"] == {}
        again = await stage.sessions.enter(broken.id)
        assert again is not broken
        back = await stage.attend(again, after=viewer.seq)
        assert (await stage.ask(again, back, "ping"))["result"] == {}


async def test_who_cannot_be_stored_is_told_to_come_back() -> None:
    faults: list[StoreUnavailable] = []

    async def failing(_: Sequence[Append]) -> None:
        await trio.lowlevel.checkpoint()
        if faults:
            raise faults.pop()

    async with on_stage(store=MemoryStore(before_commit=failing)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        faults.append(StoreUnavailable("the disk is full"))
        unanswered = await stage.send(session, viewer, "say", text="one")
        assert await viewer.until_closed() == (4000, "store_unavailable")
        assert not any(f.get("command_id") == unanswered for f in viewer.frames)
        await session.until_ended()
        again = await stage.sessions.enter(session.id)
        back = await stage.attend(again, after=viewer.seq)
        reply = await stage.ask(again, back, "say", text="one", id=unanswered)
        assert reply["result"]["outcome"] == "started"


async def test_who_closes_a_session_is_told_when_that_could_not_be_stored() -> None:
    faults: list[StoreUnavailable] = []

    async def failing(_: Sequence[Append]) -> None:
        await trio.lowlevel.checkpoint()
        if faults:
            raise faults.pop()

    async with on_stage(store=MemoryStore(before_commit=failing)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        faults.append(StoreUnavailable("the disk is full"))
        await stage.send(session, viewer, "close")
        assert await viewer.until_closed() == (4000, "store_unavailable")
        place = await stage.sessions.find(session.id)
        assert place is not None
        assert not place.closed


async def test_a_damaged_timeline_is_no_reason_to_come_back() -> None:
    async def damaged(group: Sequence[Append]) -> None:
        await trio.lowlevel.checkpoint()
        if group[0].first_seq > 2:
            raise TimelineCorrupt(group[0].session_id, group[0].first_seq)

    async with on_stage(store=MemoryStore(before_commit=damaged)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.send(session, viewer, "say", text="one")
        await viewer.until_closed()
        error = await viewer.until(lambda f: f["type"] == "error")
        assert error["error"]["code"] == "timeline_corrupt"
        assert error["error"]["retryable"] is False


async def test_nobody_is_served_by_a_session_that_ends() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        session.end()
        session.end()
        await session.until_ended()
        await session.detach(viewer)
        again = await stage.sessions.enter(session.id)
        assert again is not session


async def test_a_last_flush_does_not_wait_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    hanging = False

    async def hang(_: Sequence[Append]) -> None:
        await trio.lowlevel.checkpoint()
        if hanging:
            await trio.sleep_forever()

    async with on_stage(store=MemoryStore(before_commit=hang), limits=Limits(flush_s=5)) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        hanging = True
        await stage.send(session, viewer, "say", text="one")
        line = await stage.model.line(0)
        line.ends()
        started_s = trio.current_time()
        session.end()
        with trio.fail_after(60):
            await session.until_ended()
        assert trio.current_time() - started_s == pytest.approx(5, abs=0.1)
        assert viewer.closed is not None
