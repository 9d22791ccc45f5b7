"""A store that can't write says so, goes on reading, and is well again by itself."""

# pyright: reportPrivateUsage=false
# The connection's limit is set from inside, where a disk would be full.

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from bargein.timeline.health import SOUND, Health, Ward
from bargein.timeline.memory import MemoryStore
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import Append, StoreDead, StoreUnavailable
from tests.timeline.appends import A, B, Notes, Opener, all_seqs, entry, running

WELL_WITHIN_S = 5.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timelines.sqlite3"


def connection_of(store: SqliteStore) -> sqlite3.Connection:
    assert store._writer is not None
    return store._writer.commits._connection


def let_grow_by(store: SqliteStore, pages: int) -> None:
    """Let the file have *pages* more; behind that SQLite finds the disk full."""
    connection = connection_of(store)
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {count + pages}")


async def refused(store: SqliteStore, notes: Notes, size_bytes: int = 100) -> StoreUnavailable:
    """Append to a new session, and return why that failed."""
    before = len(notes.failed)
    notes.submit(store, B, 1, frames=(b"x" * size_bytes,))
    await notes.all_answered()
    _, _, error = notes.failed[before]
    assert isinstance(error, StoreUnavailable)
    await store.row(B)
    return error


async def test_a_store_that_writes_is_sound(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        assert store.health == SOUND
        await notes.stored(store, A, 1, 3)
        assert store.health.is_sound
        await store.until_sound()


async def test_a_full_disk_makes_it_read_only_until_there_is_space(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        let_grow_by(store, 0)
        error = await refused(store, notes, 1_000_000)
        assert store.health == Health("read-only", str(error))
        assert "full" in store.health.reason
        assert await all_seqs(store, A) == [1, 2, 3]  # history is served
        let_grow_by(store, 10_000)
        with trio.fail_after(WELL_WITHIN_S):
            await store.until_sound()
        assert store.health == SOUND
        await notes.stored(store, B, 1, 2)
        await notes.stored(store, A, 4, 4)


async def test_it_does_not_call_itself_well_as_long_as_the_disk_is_full(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        let_grow_by(store, 0)
        await refused(store, notes, 1_000_000)
        tried = store.groups_written
        while store.groups_written < tried + 2:  # it tries by itself, and in vain
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert not store.health.is_sound


async def test_what_a_probe_wrote_is_gone_afterwards(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        let_grow_by(store, 0)
        await refused(store, notes, 1_000_000)
        let_grow_by(store, 10_000)
        await store.until_sound()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM events").fetchone() == (3,)


async def test_an_append_that_succeeds_makes_it_well_at_once(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        let_grow_by(store, 0)
        await refused(store, notes, 1_000_000)
        let_grow_by(store, 10_000)
        await notes.stored(store, A, 4, 4)
        assert store.health.is_sound


async def test_a_lock_that_stays_makes_it_read_only_until_it_is_free(path: Path) -> None:
    store, notes = SqliteStore(path, locked_s=0.05), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "locked" in (await refused(store, notes)).reason
            assert store.health.condition == "read-only"
            assert await all_seqs(store, A) == [1, 2, 3]
        with trio.fail_after(WELL_WITHIN_S):
            await store.until_sound()
        assert await all_seqs(store, A) == [1, 2, 3]
        await notes.stored(store, B, 1, 1)


async def test_a_refused_append_of_one_session_is_no_illness_of_the_store(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        notes.submit(store, A, 9)
        await notes.all_answered()
        assert len(notes.failed) == 1
        assert store.health == SOUND


async def test_a_dead_store_is_never_well_again(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        path.rename(path.with_name("aside"))
        notes.submit(store, A, 4)
        await notes.all_answered()
        assert isinstance(notes.failed[0][2], StoreDead)
        assert store.health.condition == "dead"
        assert "gone" in store.health.reason
        with trio.move_on_after(0.01) as waiting:
            await store.until_sound()
        assert waiting.cancelled_caught


async def test_a_damaged_audit_with_notes_that_wait_is_an_illness(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 1)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE audit_head SET n = -1, hash = x''")
            store.record_audit([entry(A, 1)])
            notes.submit(store, A, 2)
            await notes.all_answered()
            assert notes.durable[-1] == (A, 2)
            assert "audit" in store.health.reason
            other.execute("UPDATE audit_head SET n = 0, hash = zeroblob(32)")
        with trio.fail_after(WELL_WITHIN_S):
            await store.until_sound()
        assert [line.n for line in await store.audit_lines(0, limit=9)] == [1]


async def test_memory_is_read_only_after_a_failed_commit_and_hopes_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    faults = [StoreUnavailable("the disk is full")]

    async def failing(_group: Sequence[Append]) -> None:
        if faults:
            raise faults.pop()

    store, notes = MemoryStore(before_commit=failing), Notes()
    async with running(store):
        notes.submit(store, A, 1)
        await notes.all_answered()
        assert store.health == Health("read-only", "the store is unavailable: the disk is full")
        failed_s = trio.current_time()
        await store.until_sound()
        assert 0 < trio.current_time() - failed_s <= WELL_WITHIN_S
        await store.row(A)
        await notes.stored(store, A, 1, 1)
    assert autojump_clock.autojump_threshold == 0


async def test_whoever_waits_for_a_change_is_woken_by_it_and_by_nothing_else() -> None:
    ward, ill, well = Ward(), trio.Event(), trio.Event()

    async def watch() -> None:
        await ward.until(sound=False)
        ill.set()
        await ward.until(sound=True)
        well.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        ward.turn(SOUND)
        await trio.testing.wait_all_tasks_blocked()
        assert not ill.is_set()
        for reason in ("full", "locked"):
            ward.turn(Health("read-only", reason))
            await trio.testing.wait_all_tasks_blocked()
            assert ill.is_set()
            assert not well.is_set()
        ward.turn(SOUND)
        await well.wait()
