"""What SQLite does beyond the port: groups, locks, other writers, failing files."""

# pyright: reportPrivateUsage=false
# The connections' settings and statements are visible only inside.

from __future__ import annotations

import os
import resource
import sqlite3
import stat
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline import places, schema
from bargein.timeline.schema import open_for_reading
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import SchemaTooNew, SeqConflict, StoreDead, StoreUnavailable
from tests.timeline.appends import LATEST_S, A, B, C, Notes, all_seqs, running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timelines.sqlite3"


@contextmanager
def locked(path: Path) -> Generator[sqlite3.Connection]:
    """Hold the write lock, as another process would."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


async def opened_in_vain(store: SqliteStore) -> None:
    with trio.fail_after(LATEST_S):
        await store.run()


# --- opening ---------------------------------------------------------------


async def test_the_files_are_for_their_owner_alone(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    before = os.umask(0)
    try:
        async with running(store):
            await notes.stored(store, A, 1, 3)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {f"{path.name}{suffix}": 0o600 for suffix in ("", "-wal", "-shm")}


async def test_an_existing_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    path.touch(0o644)
    async with running(SqliteStore(path)):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_an_orderly_end_leaves_one_file(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_every_commit_is_fsynced(path: Path) -> None:
    store = SqliteStore(path)
    async with running(store):
        assert store.durability == "fsync"
        assert store._writer is not None
        connection = store._writer.commits._connection
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_a_newer_schema_is_refused_and_left_untouched(path: Path) -> None:
    async with running(SqliteStore(path)):
        pass
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 7")
    before = path.read_bytes()
    with pytest.raises(SchemaTooNew) as caught:
        await opened_in_vain(SqliteStore(path))
    assert (caught.value.found, caught.value.known) == (7, 4)
    assert "version 7" in str(caught.value)
    assert "version 4" in str(caught.value)
    assert path.read_bytes() == before


async def test_the_database_of_another_application_is_refused_and_left_untouched(
    path: Path,
) -> None:
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE invoices (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailable, match="another application"):
        await opened_in_vain(SqliteStore(path))
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_untouched(path: Path) -> None:
    path.write_bytes(b"my diary" * 1000)
    with pytest.raises(StoreDead, match="not a database"):
        await opened_in_vain(SqliteStore(path))
    assert path.read_bytes() == b"my diary" * 1000


async def test_a_folder_that_is_not_there_is_named_as_the_cause(path: Path) -> None:
    with pytest.raises(StoreDead, match="No such file"):
        await opened_in_vain(SqliteStore(path.parent / "missing" / path.name))


async def test_what_waits_for_a_store_that_does_not_open_is_told(path: Path) -> None:
    path.write_bytes(b"my diary" * 1000)
    store, notes = SqliteStore(path), Notes()
    notes.submit(store, A, 1)
    with pytest.raises(StoreDead):
        await opened_in_vain(store)
    ((_, _, error),) = notes.failed
    assert isinstance(error, StoreDead)
    with pytest.raises(StoreUnavailable):
        await store.row(A)


def test_nobody_waits_longer_for_company_than_the_product_promises(path: Path) -> None:
    with pytest.raises(ValueError, match="linger_s"):
        SqliteStore(path, linger_s=0.006)


# --- groups and their pace -------------------------------------------------


async def test_appends_of_many_sessions_share_one_commit(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    names = [SessionId(f"sess_{n}") for n in range(200)]
    async with running(store):
        for name in names:
            notes.submit(store, name, 1, urgent=False)
        await notes.all_answered()
        before = store.groups_written
        assert store._writer is not None
        statements: list[str] = []
        store._writer.commits._connection.set_trace_callback(statements.append)
        for name in names[:50]:
            notes.submit(store, name, 2, urgent=False)
        await notes.all_answered()
        assert store.groups_written == before + 1
    # One statement, and so one transaction and one fsync, for all 50.
    whole = [statement for statement in statements if not statement.startswith("--")]
    assert [statement[:18] for statement in whole] == ["INSERT INTO events"]


async def test_what_arrives_during_a_commit_forms_the_next_group(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 1)
        before = store.groups_written
        with locked(path) as other:
            for seq in range(2, 102):
                notes.submit(store, A, seq, urgent=True)
            other.execute("ROLLBACK")
        await notes.all_answered()
        assert store.groups_written == before + 2
        assert await all_seqs(store, A) == list(range(1, 102))


@pytest.mark.parametrize("size", [1, 63, 64, 65, 255, 256, 257, 320, 700, 5000])
async def test_groups_of_any_size_are_stored_in_order(path: Path, size: int) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        notes.submit(store, A, 1, size, urgent=False)
        for seq in range(1, size + 1):
            notes.submit(store, B, seq, urgent=False)
        await notes.all_answered()
        assert await all_seqs(store, A) == list(range(1, size + 1))
        assert await all_seqs(store, B) == list(range(1, size + 1))


async def test_a_group_is_bounded_and_the_rest_goes_next(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for seq in range(1, 10):
            notes.submit(store, A, seq, frames=(b"x" * 2**20,), urgent=False)
        await notes.all_answered()
        assert store.groups_written == 3  # 4 MiB, 4 MiB, 1 MiB


async def test_tokens_linger_and_an_urgent_append_takes_them_along_at_once(path: Path) -> None:
    # The test's clock stands still but for its jumps.
    clock, notes = trio.testing.MockClock(), Notes()

    async def main() -> None:
        store = SqliteStore(path, linger_s=0.002)
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            notes.submit(store, A, 1, urgent=False)
            notes.submit(store, B, 1, urgent=False)
            assert await store.row(A) is None
            assert store.groups_written == 0

            notes.submit(store, C, 1, urgent=True)
            await notes.all_answered()
            assert notes.durable == [(A, 1), (B, 1), (C, 1)]
            assert store.groups_written == 1

            notes.submit(store, A, 2, urgent=False)
            clock.jump(0.0019)
            await trio.testing.wait_all_tasks_blocked()
            assert store.groups_written == 1
            clock.jump(0.0002)
            await notes.all_answered()
            assert notes.durable[3:] == [(A, 2)]
            nursery.cancel_scope.cancel()

    await trio.to_thread.run_sync(lambda: trio.run(main, clock=clock))


# --- locks and other writers -----------------------------------------------


async def test_a_locked_database_is_tried_again_until_it_is_free(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        with locked(path) as other:
            notes.submit(store, A, 4, 5)
            for _ in range(20):  # reads go on meanwhile
                assert await all_seqs(store, A) == [1, 2, 3]
            assert len(notes.durable) == 1
            other.execute("ROLLBACK")
        await notes.all_answered()
        assert notes.durable[-1] == (A, 5)
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5]


async def test_a_database_that_stays_locked_fails_the_append_and_nothing_else(path: Path) -> None:
    store, notes = SqliteStore(path, locked_s=0.05), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        with locked(path):
            notes.submit(store, A, 4)
            notes.submit(store, A, 5)
            await notes.all_answered()
        for _, _, error in notes.failed:
            assert isinstance(error, StoreUnavailable)
            assert error.retryable
            assert "locked" in error.reason
        row = await store.row(A)
        assert row is not None
        assert row.last_seq == 3
        await notes.stored(store, A, 4, 5)
        assert store.failure is None


async def test_a_second_process_that_appended_first_wins(path: Path) -> None:
    mine, others, notes = SqliteStore(path), SqliteStore(path), Notes()
    async with running(mine), running(others):
        await notes.stored(mine, A, 1, 3)
        await notes.stored(mine, B, 1, 1)
        await notes.stored(others, A, 4, 5)
        for name, first in ((A, 4), (B, 2), (A, 5), (A, 6)):
            notes.submit(mine, name, first, urgent=False)
        await notes.all_answered()
        assert notes.durable[-1] == (B, 2)
        assert [(name, first) for name, first, _ in notes.failed] == [(A, 4), (A, 5), (A, 6)]
        for _, _, error in notes.failed:
            assert isinstance(error, SeqConflict)
            assert (error.expected, error.found) == (3, 5)
        assert await all_seqs(mine, A) == [1, 2, 3, 4, 5]

        assert await mine.row(A) is not None
        await notes.stored(mine, A, 6, 7)


async def test_two_processes_cannot_both_open_a_session(path: Path) -> None:
    mine, others, notes = SqliteStore(path), SqliteStore(path), Notes()
    async with running(mine), running(others):
        await notes.stored(mine, A, 1, 2)
        notes.submit(others, A, 1, urgent=False)
        notes.submit(others, B, 1, urgent=False)
        await notes.all_answered()
        ((name, _, error),) = notes.failed
        assert name == A
        assert isinstance(error, SeqConflict)
        assert error.found == 2
        assert notes.durable[-1] == (B, 1)


# --- failing disks ---------------------------------------------------------


@contextmanager
def no_file_may_grow_beyond(size_bytes: int) -> Generator[None]:
    """Let the kernel fail writes behind *size_bytes*, as a broken disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_failed_write_kills_the_store_and_it_is_never_retried(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        with no_file_may_grow_beyond(path.with_name(f"{path.name}-wal").stat().st_size):
            notes.submit(store, A, 4)  # under way
            notes.submit(store, B, 1)  # pending
            await notes.all_answered()
        notes.submit(store, C, 1)  # later, and the disk is fine again
        await notes.all_answered()
        assert [name for name, _, _ in notes.failed] == [A, B, C]
        for _, _, error in notes.failed:
            assert isinstance(error, StoreDead)
            assert not error.retryable
            assert "SQLITE_IOERR_WRITE" in error.cause
        assert store.failure is not None
        assert await all_seqs(store, A) == [1, 2, 3]  # what was shown is there
    again = SqliteStore(path)
    async with running(again):
        assert await all_seqs(again, A) == [1, 2, 3]
        assert await again.row(B) is None


async def test_a_full_disk_fails_appends_but_the_store_lives_on(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        assert store._writer is not None
        connection = store._writer.commits._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        notes.submit(store, A, 4, frames=(b"x" * 100_000,))
        await notes.all_answered()
        ((_, _, error),) = notes.failed
        assert isinstance(error, StoreUnavailable)
        assert "full" in error.reason
        assert await all_seqs(store, A) == [1, 2, 3]
        connection.execute("PRAGMA max_page_count = 1000000")
        await store.row(A)
        await notes.stored(store, A, 4, 4)


@pytest.mark.parametrize("suffix", ["", "-wal"])
@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
async def test_files_taken_away_under_the_store_kill_it(
    path: Path, suffix: str, *, replaced: bool
) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        victim = path.with_name(path.name + suffix)
        victim.rename(path.with_name("aside"))
        if replaced:
            victim.write_bytes(b"")
        notes.submit(store, A, 4)
        await notes.all_answered()
        assert len(notes.durable) == 1
        ((_, _, error),) = notes.failed
        assert isinstance(error, StoreDead)
        assert "files" in error.cause


async def test_the_flush_at_the_end_is_bounded(path: Path) -> None:
    store, notes = SqliteStore(path, flush_s=0.05, locked_s=1.0), Notes()
    async with running(store) as scope:
        await notes.stored(store, A, 1, 3)
        writer = store._writer
        with locked(path):
            notes.submit(store, A, 4)  # under way, and stuck
            notes.submit(store, A, 5)  # pending
            scope.cancel()
            with trio.CancelScope(shield=True), trio.fail_after(5):
                await notes.all_answered()
    assert [type(error) for _, _, error in notes.failed] == [StoreUnavailable] * 2
    assert "flushed" in str(notes.failed[0][2])
    # What was stuck may be stored after all, as after a crash: late, but without a gap.
    assert writer is not None
    with trio.fail_after(LATEST_S):
        await writer.stopped.wait()
    again = SqliteStore(path)
    async with running(again):
        assert await all_seqs(again, A) == [1, 2, 3, 4]
    assert len(notes.failed) == 2


async def test_a_reader_that_holds_its_page_for_long_is_given_up(path: Path) -> None:
    store, notes = SqliteStore(path, read_s=0.05), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        assert store._reads is not None
        with store._reads._turn, pytest.raises(StoreUnavailable, match="longer than"):
            await store.read(A, Seq(0), limit=1, most_bytes=1)
        assert await all_seqs(store, A) == [1, 2, 3]


@pytest.mark.parametrize("most", [1, 2])
async def test_a_session_goes_on_while_others_open_in_the_same_group(
    path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(places, "MOST_KNOWN", most)
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 1)
        await notes.stored(store, B, 1, 1)
        notes.submit(store, B, 2)  # the others are one group: they gather behind this one
        notes.submit(store, A, 2, unsettled=True)
        notes.submit(store, C, 1)
        notes.submit(store, A, 3, unsettled=True)
        await notes.all_answered()
        assert notes.failed == []
        assert await all_seqs(store, A) == [1, 2, 3]


async def test_a_fault_in_the_writer_kills_the_store_instead_of_hanging_it(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        notes.submit(store, A, 4, frames=(cast("bytes", "no bytes"),))
        await notes.all_answered()
        ((_, _, error),) = notes.failed
        assert isinstance(error, StoreDead)
        assert "TypeError" in error.cause
        assert store.failure is error


async def test_a_store_that_can_write_but_not_read_leaves_nothing_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(path: Path, *, locked_s: float) -> sqlite3.Connection:
        raise StoreUnavailable(f"{path.name} not opened within {locked_s} s")

    monkeypatch.setattr(schema, "open_for_reading", unreadable)
    with pytest.raises(StoreUnavailable, match="not opened"):
        await opened_in_vain(SqliteStore(path))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_that_is_not_there_cannot_be_read(path: Path) -> None:
    with pytest.raises(StoreDead, match="unable to open"):
        open_for_reading(path, locked_s=1)


def test_a_database_without_a_log_is_refused(path: Path) -> None:
    with (
        closing(sqlite3.connect(":memory:")) as volatile,
        pytest.raises(StoreUnavailable, match="no write-ahead log"),
    ):
        schema._prepare(volatile, path)
