"""Old sessions go whole, live ones and young ones stay, and what was asked for is done."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from attrs import define, field

from bargein.actors import retention as retention_module
from bargein.actors.clock import utc_text
from bargein.actors.retention import LOOK_S, SWEEP_S, Retention, erase
from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.archive import Erasure
from bargein.timeline.audit import AuditEntry, entry_of
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.store import NewSession, Stored, StoreUnavailable, TimelineCorrupt
from tests.timeline.appends import A, B, C, Notes, new_session, running

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000
AGE_S = 30 * 86_400.0


@define(eq=False)
class Calendar:
    """A clock whose days a test turns."""

    ms: int = NOW_MS

    def now_s(self) -> float:
        return trio.current_time()

    def utc_ms(self) -> int:
        return self.ms


@define(eq=False)
class House:
    """Says which sessions are live, and notes which were sent away."""

    live: set[SessionId] = field(factory=set[SessionId])
    dismissed: list[SessionId] = field(factory=list[SessionId])

    def holds(self, session_id: SessionId) -> bool:
        return session_id in self.live

    async def is_ours(self, session_id: SessionId) -> bool:
        del session_id
        await trio.lowlevel.checkpoint()
        return True

    async def dismiss(self, session_id: SessionId) -> None:
        await trio.lowlevel.checkpoint()
        self.live.discard(session_id)
        self.dismissed.append(session_id)


def days_ago(days: float) -> str:
    return utc_text(NOW_MS - round(days * DAY_MS))


def aged(session_id: SessionId, days: float, opened_days: float | None = None) -> NewSession:
    base = new_session(session_id)
    opened_at = days_ago(days if opened_days is None else opened_days)
    return NewSession(session_id, base.principal, base.tenant, base.epoch, opened_at)


async def stored(
    store: MemoryStore, session_id: SessionId, days: float, opened_days: float | None = None
) -> None:
    """Store a session whose newest event is *days* old."""
    notes = Notes()
    frames = tuple(b'{"ts":"%s"}' % days_ago(day).encode() for day in (days + 1, days))
    notes.submit(
        store, session_id, 1, 2, opened=aged(session_id, days + 1, opened_days), frames=frames
    )
    await notes.all_answered()
    assert not notes.failed


def left_in(shelf: Shelf) -> list[SessionId]:
    return [row.session_id for row in shelf.rows()]


def lines_in(shelf: Shelf) -> list[AuditEntry]:
    return [entry for line in shelf.audit if (entry := entry_of(line)) is not None]


async def test_a_session_goes_when_its_newest_event_is_too_old_and_not_before() -> None:
    store, house = MemoryStore(), House()
    async with running(store):
        await stored(store, A, 30.001)
        await stored(store, B, 29.999)
        await stored(store, C, 5, opened_days=400)
        assert await Retention(store, Calendar(), house, AGE_S).sweep() == 1
        assert left_in(store.shelf) == [B, C]
        (line,) = lines_in(store.shelf)
        assert (line.act, line.session_id, line.principal) == ("session.erased", A, "ann")
        assert (line.by, line.seq, line.ts) == ("retention", 2, days_ago(0))


async def test_a_session_in_memory_is_not_touched_for_its_age() -> None:
    store, house = MemoryStore(), House({A})
    async with running(store):
        await stored(store, A, 99)
        await stored(store, B, 99)
        retention = Retention(store, Calendar(), house, AGE_S)
        assert await retention.sweep() == 1
        assert left_in(store.shelf) == [A]
        house.live.clear()
        assert await retention.sweep() == 1
        assert left_in(store.shelf) == []
        assert house.dismissed == []


async def test_without_an_age_nothing_goes() -> None:
    store = MemoryStore()
    async with running(store):
        await stored(store, A, 9999)
        assert await Retention(store, Calendar(), House(), None).sweep() == 0
        assert left_in(store.shelf) == [A]


async def test_many_sessions_go_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "PAGE_SESSIONS", 3)
    store, house = MemoryStore(), House()
    names = [SessionId(f"sess_{n}") for n in range(20)]
    async with running(store):
        for number, name in enumerate(names):
            await stored(store, name, 90 - number * 4)  # the first 15 are older than 30 days
        house.live.add(names[1])
        assert await Retention(store, Calendar(), house, AGE_S).sweep() == 14
        assert left_in(store.shelf) == [names[1], *names[15:]]


async def test_a_damaged_session_is_kept_for_whoever_mends_it() -> None:
    class Damaged(MemoryStore):
        async def read(
            self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
        ) -> list[Stored]:
            if session_id == A:
                raise TimelineCorrupt(A, Seq(2))
            return await super().read(session_id, after, limit=limit, most_bytes=most_bytes)

    store = Damaged()
    async with running(store):
        await stored(store, A, 99)
        await stored(store, B, 99)
        assert await Retention(store, Calendar(), House(), AGE_S).sweep() == 1
        assert left_in(store.shelf) == [A]


async def test_a_time_that_is_none_makes_no_session_old() -> None:
    store, notes = MemoryStore(), Notes()
    async with running(store):
        opened = aged(A, 99)
        notes.submit(store, A, 1, opened=opened, frames=(b'{"ts":"yesterday"}',))
        await notes.all_answered()
        assert await Retention(store, Calendar(), House(), AGE_S).sweep() == 0


async def test_what_was_asked_for_is_erased_and_live_sessions_are_sent_away_first() -> None:
    store, house = MemoryStore(), House({A})
    async with running(store):
        await stored(store, A, 0)
        await stored(store, B, 0)
        await store.ask_erasure(
            (Erasure(A, days_ago(1), "operator ann"), Erasure(C, days_ago(1), "operator ann"))
        )
        assert await Retention(store, Calendar(), house, AGE_S).fulfil() == 1
        assert house.dismissed == [A, C]
        assert left_in(store.shelf) == [B]
        assert await store.erasures_asked() == []
        (line,) = lines_in(store.shelf)
        assert (line.session_id, line.by) == (A, "operator ann")


async def test_a_session_whose_row_is_damaged_is_erased_all_the_same() -> None:
    class Damaged(MemoryStore):
        async def row(self, session_id: SessionId) -> None:
            raise TimelineCorrupt(session_id, Seq(0))

    store = Damaged()
    async with running(store):
        await stored(store, A, 0)
        assert await erase(store, Calendar(), A, "operator")
        (line,) = lines_in(store.shelf)
        assert (line.session_id, line.principal, line.by) == (A, None, "operator")


async def test_it_looks_often_for_what_is_asked_and_seldom_for_age(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, house, calendar = MemoryStore(), House(), Calendar()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await stored(store, A, 0)
        await stored(store, B, 29)
        nursery.start_soon(Retention(store, calendar, house, AGE_S).run)
        await trio.sleep(1)
        await store.ask_erasure((Erasure(A, days_ago(0), "operator"),))
        await trio.sleep(LOOK_S)
        assert left_in(store.shelf) == [B]
        calendar.ms += 2 * DAY_MS
        await trio.sleep(SWEEP_S - 10)
        assert left_in(store.shelf) == [B]
        await trio.sleep(10)
        assert left_in(store.shelf) == []
        nursery.cancel_scope.cancel()
    assert autojump_clock.autojump_threshold == 0


async def test_another_age_is_looked_for_soon_and_the_same_one_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    store, calendar = MemoryStore(), Calendar()
    retention = Retention(store, calendar, House(), AGE_S)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        nursery.start_soon(retention.run)
        await trio.sleep(LOOK_S)
        await stored(store, A, 29)
        await stored(store, B, 31)
        retention.keep_for(AGE_S)
        await trio.sleep(2 * LOOK_S)
        assert left_in(store.shelf) == [A, B]
        retention.keep_for(AGE_S * 28 / 30)
        await trio.sleep(2 * LOOK_S)
        assert left_in(store.shelf) == []
        nursery.cancel_scope.cancel()
    assert autojump_clock.autojump_threshold == 0


@pytest.mark.parametrize("corrected_s", [AGE_S, None])
async def test_a_sweep_stops_where_the_age_that_it_goes_by_is_taken_back(
    corrected_s: float | None,
) -> None:
    class Slow(MemoryStore):
        async def read(
            self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
        ) -> list[Stored]:
            if session_id == B:
                retention.keep_for(corrected_s)
            return await super().read(session_id, after, limit=limit, most_bytes=most_bytes)

    store = Slow()
    retention = Retention(store, Calendar(), House(), AGE_S / 10)
    async with running(store):
        for session_id in (A, B, C):
            await stored(store, session_id, 9)
        assert await retention.sweep() == 1
        assert left_in(store.shelf) == [B, C]
        assert await retention.sweep() == 0


async def test_a_store_that_cannot_be_written_puts_it_off_and_nothing_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Failing(MemoryStore):
        failures = 2

        async def erase(self, session_id: SessionId, audit: tuple[AuditEntry, ...] = ()) -> bool:
            if Failing.failures:
                Failing.failures -= 1
                raise StoreUnavailable("the disk is full")
            return await super().erase(session_id, audit)

    store = Failing()
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await stored(store, A, 0)
        await store.ask_erasure((Erasure(A, days_ago(0), "operator"),))
        nursery.start_soon(Retention(store, Calendar(), House(), AGE_S).run)
        await trio.sleep(LOOK_S * 1.5)
        assert left_in(store.shelf) == [A]
        await trio.sleep(LOOK_S)
        assert left_in(store.shelf) == []
        nursery.cancel_scope.cancel()
    assert autojump_clock.autojump_threshold == 0
