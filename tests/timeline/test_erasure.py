"""Erased is erased: whole, at once for everybody, and from the disk."""

# pyright: reportPrivateUsage=false
# What is left in the file is looked at from inside.

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from bargein.protocol.ids import NOTHING, Epoch, Seq, SessionId
from bargein.timeline import erasure as erasure_module
from bargein.timeline.archive import Archive, Erasure, time_of
from bargein.timeline.audit import AuditEntry, entry_of
from bargein.timeline.schema import is_in_use
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import (
    AuditCorrupt,
    NewSession,
    SeqConflict,
    StoreUnavailable,
    TimelineCorrupt,
)
from tests.timeline.appends import (
    LATEST_S,
    OPENED_AT,
    A,
    B,
    C,
    Notes,
    Opener,
    all_seqs,
    entry,
    frame,
    new_session,
    running,
)

ERASED = AuditEntry(ts=OPENED_AT, act="session.erased", session_id=A, principal="ann", by="test")
WORD = Erasure(A, OPENED_AT, "root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timelines.sqlite3"


async def acts_in(store: Archive) -> list[tuple[str, SessionId | None]]:
    entries = [entry_of(line) for line in await store.audit_lines(0, limit=100)]
    return [(entry.act, entry.session_id) for entry in entries if entry is not None]


# --- on each store ---------------------------------------------------------


async def test_an_erased_session_is_gone_whole_and_the_others_stay(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        for name in (A, B):
            notes.submit(store, name, 1, 5, unsettled=True)
            await notes.all_answered()
        assert await store.erase(A, (ERASED,))
        assert await store.row(A) is None
        assert await store.read(A, Seq(0), limit=9, most_bytes=999) == []
        assert await store.unsettled() == [B]
        assert [row.session_id for row in await store.sessions_of("ann", None, limit=9)] == [B]
        assert await store.session_ids_of("ann", None) == [B]
        assert await store.size_bytes(A) == 0
        assert await all_seqs(store, B) == [1, 2, 3, 4, 5]
        assert await acts_in(store) == [("session.erased", A)]
    again = opened()
    async with running(again):
        assert await again.row(A) is None
        assert await all_seqs(again, B) == [1, 2, 3, 4, 5]


async def test_erasing_what_is_not_there_leaves_no_line(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, B, 1, 1)
        assert not await store.erase(A, (ERASED,))
        assert await acts_in(store) == []


async def test_an_erased_session_takes_no_append_and_its_name_may_be_opened_anew(
    opened: Opener,
) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        await store.erase(A)
        notes.submit(store, A, 4)
        await notes.all_answered()
        ((_, _, error),) = notes.failed
        assert isinstance(error, SeqConflict)
        assert (error.expected, error.found) == (3, NOTHING)
        assert await store.row(A) is None
        notes.submit(store, A, 1, 2, opened=new_session(A, "bob"))
        await notes.all_answered()
        row = await store.row(A)
        assert row is not None
        assert (row.principal, row.last_seq) == ("bob", 2)
        assert await all_seqs(store, A) == [1, 2]


async def test_word_of_an_erasure_stays_until_it_is_done(opened: Opener) -> None:
    store, notes = opened(), Notes()
    other = Erasure(B, "2020-01-01T00:00:00.000Z", "ann")
    async with running(store):
        await notes.stored(store, A, 1, 1)
        assert await store.erasures_asked() == []
        await store.ask_erasure((WORD, other))
        await store.ask_erasure((Erasure(A, "2030-01-01T00:00:00.000Z", "somebody else"),))
        assert await store.erasures_asked() == [other, WORD]
    again = opened()
    async with running(again):
        assert await again.erasures_asked() == [other, WORD]
        assert await again.erase(A)
        assert not await again.erase(B)
        assert await again.erasures_asked() == []


async def test_sessions_are_listed_oldest_first_with_the_time_of_their_newest_event(
    opened: Opener,
) -> None:
    store, notes = opened(), Notes()
    newest = "2026-11-22T00:00:00.000Z"
    async with running(store):
        notes.submit(store, A, 1, 2, frames=(b"{}", b'{"ts":"%s"}' % newest.encode()))
        notes.submit(store, B, 1, frames=(b'{"ts":7}',))
        notes.submit(store, C, 1, closed=True)
        await notes.all_answered()
        listed = await store.sessions(0, limit=10)
        assert [(one.row.session_id, one.last_at) for one in listed] == [
            (A, newest),
            (B, OPENED_AT),
            (C, OPENED_AT),
        ]
        assert [one.row for one in listed] == [await store.row(name) for name in (A, B, C)]
        assert await store.sessions(listed[0].place, limit=1) == listed[1:2]
        assert await store.sessions(listed[2].place, limit=5) == []
        await store.erase(B)
        assert await store.sessions(0, limit=10) == [listed[0], listed[2]]
        notes.submit(store, B, 1)
        await notes.all_answered()
        places = [one.place for one in await store.sessions(0, limit=10)]
        assert places == sorted({*places, listed[0].place, listed[2].place})


async def test_the_size_of_a_session_is_the_sum_of_its_frames(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        notes.submit(store, A, 1, 3, frames=(b"x" * 10, b"x" * 200, b""))
        await notes.stored(store, B, 1, 2)
        assert await store.size_bytes(A) == 210
        assert await store.size_bytes(B) == len(frame(B, 1) + frame(B, 2))
        assert await store.size_bytes(C) == 0


async def test_the_sessions_of_a_principal_are_named_oldest_first(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        for name, tenant in ((B, None), (C, "acme"), (A, None)):
            notes.submit(store, name, 1, opened=new_session(name, "ann", tenant))
        await notes.all_answered()
        assert await store.session_ids_of("ann", None) == [B, A]
        assert await store.session_ids_of("ann", "acme") == [C]
        assert await store.session_ids_of("eve", None) == []


def test_a_frame_without_a_time_has_none() -> None:
    assert time_of(b'{"ts":"x","seq":1}') == "x"
    for odd in (b"", b"\xff", b"[]", b"{}", b'{"ts":1}', None, "text", 7):
        assert time_of(odd) is None


# --- in SQLite -------------------------------------------------------------


async def test_nothing_of_an_erased_session_is_left_in_the_file(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    secret = b"my credit card"
    async with running(store):
        opened = NewSession(A, "principal whose name goes", None, Epoch("e"), OPENED_AT)
        frames = tuple(b'{"text":"%s %d"}' % (secret, n) for n in range(3000))
        notes.submit(store, A, 1, 3000, opened=opened, frames=frames)
        await notes.stored(store, B, 1, 1)
        assert await store.erase(A)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    left = path.read_bytes()
    assert frame(B, 1) in left
    assert secret not in left
    assert b"principal whose name goes" not in left


async def test_a_long_session_goes_in_steps_between_which_others_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure_module, "STEP_EVENTS", 10)
    store, notes = SqliteStore(path), Notes()
    written: list[Seq] = []
    async with running(store):
        await notes.stored(store, A, 1, 200)
        async with trio.open_nursery() as nursery:
            erased = trio.Event()

            async def erase() -> None:
                await store.erase(A)
                erased.set()

            nursery.start_soon(erase)
            while not erased.is_set():
                seq = Seq(len(written) + 1)
                await notes.stored(store, B, seq, seq)
                written.append(seq)
        assert len(written) > 5
        assert await all_seqs(store, B) == written
        assert await store.row(A) is None


async def test_what_a_crash_left_of_an_erased_session_is_swept_at_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 2000)
        await notes.stored(store, B, 1, 1)
        # As if the process had died after the first step.
        await store._perform(lambda commits: commits.forget(A, ()))
    again = SqliteStore(path)
    async with running(again):
        while True:
            with closing(sqlite3.connect(path)) as other:
                count = other.execute("SELECT count(*) FROM events").fetchone()
            if count == (1,):
                break
            await trio.lowlevel.checkpoint()
        assert await all_seqs(again, B) == [1]


async def test_the_place_of_an_erased_session_is_never_given_again(path: Path) -> None:
    mine, others, notes = SqliteStore(path), SqliteStore(path), Notes()
    async with running(mine), running(others):
        await notes.stored(mine, A, 1, 3)  # `mine` remembers where it stands
        assert await others.erase(A)
        for name in (B, C):
            await notes.stored(others, name, 1, 1)
            await others.erase(name)
        await notes.stored(others, B, 1, 3)
        notes.submit(mine, A, 4)  # as a server that has not noticed
        await notes.all_answered()
        assert await all_seqs(mine, B) == [1, 2, 3]
        assert await mine.row(A) is None


async def test_a_damaged_session_can_be_found_by_its_owner_and_erased(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        await notes.stored(store, B, 1, 3)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE sessions SET epoch = 'x' WHERE session_id = ?", (A,))
            other.execute("UPDATE events SET frame = x'00' WHERE seq = 2 AND session = 1")
        with pytest.raises(TimelineCorrupt):
            await store.row(A)
        assert [one.row.session_id for one in await store.sessions(0, limit=1)] == [B]
        assert await store.session_ids_of("ann", None) == [A, B]
        assert await store.erase(A)
        assert await store.row(A) is None


async def test_a_read_that_an_erasure_overtakes_finds_nothing_instead_of_damage(
    path: Path,
) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        notes.submit(store, A, 1, 3, unsettled=True)
        await notes.all_answered()
        assert store._reads is not None
        # Between the statement that finds the session and the one that reads its page.
        connection = store._reads._connection
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

        def trace(text: str) -> None:
            if "WITH upcoming" in text:
                other.execute("DELETE FROM sessions")
                other.execute("DELETE FROM events")

        connection.set_trace_callback(trace)
        assert await store.read(A, Seq(0), limit=9, most_bytes=999) == []
        connection.set_trace_callback(None)
        other.close()


async def test_what_cannot_be_audited_is_not_erased(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        notes.submit(store, A, 1, 3, audit=(entry(A, 1),))
        await notes.all_answered()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE audit_head SET n = 0")
        with pytest.raises(AuditCorrupt):
            await store.erase(A, (ERASED,))
        assert await all_seqs(store, A) == [1, 2, 3]
        assert store.health.is_sound


async def test_a_lock_that_stays_fails_an_erasure_and_nothing_is_gone(path: Path) -> None:
    store, notes = SqliteStore(path, locked_s=0.02), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.erase(A)
        assert await all_seqs(store, A) == [1, 2, 3]
        assert await store.erase(A)


async def test_a_closed_store_erases_nothing(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
    with trio.fail_after(LATEST_S), pytest.raises(StoreUnavailable):
        await store.erase(A)


async def test_a_file_is_in_use_as_long_as_anybody_has_it_open(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 1)
        assert is_in_use(path)
    assert not is_in_use(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM events").fetchone()
        assert is_in_use(path)
    assert not is_in_use(path)
    again = SqliteStore(path)
    async with running(again):
        assert await all_seqs(again, A) == [1]
