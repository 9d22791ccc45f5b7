"""The audit: in step with the timelines, and no change of it goes unseen."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline import notebook as notebook_module
from bargein.timeline.archive import Archive
from bargein.timeline.audit import (
    START,
    AuditCheck,
    AuditDamage,
    AuditEntry,
    AuditHead,
    AuditLine,
    digest_of,
    entry_of,
    sealed,
)
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.notebook import Notebook
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import Append, AuditCorrupt, SeqConflict, StoreUnavailable
from bargein.timeline.verification import checked_audit
from tests.timeline.appends import OPENED_AT, A, B, C, Notes, Opener, all_seqs, entry, running

REFUSED = AuditEntry(ts=OPENED_AT, act="confirm.forbidden", session_id=A, principal="eve")
ENTRIES = [entry(A, 1), REFUSED, entry(B, 7, "action.committed"), entry(A, 9)]


async def entries_in(store: Archive) -> list[AuditEntry]:
    """Read the whole audit, and check that its chain is sound."""
    check = await checked_audit(store)
    assert check.damage is None
    lines = await store.audit_lines(0, limit=100_000)
    assert [line.n for line in lines] == list(range(1, len(lines) + 1))
    entries = [entry for line in lines if (entry := entry_of(line)) is not None]
    assert len(entries) == len(lines)
    return entries


def found(lines: Sequence[AuditLine], head: AuditHead | None) -> AuditDamage | None:
    check = AuditCheck()
    check.follow(lines)
    check.end(head)
    return check.damage


# --- the chain -------------------------------------------------------------


def test_a_chain_that_nobody_touched_is_sound_and_says_what_was_written() -> None:
    lines = sealed(START, ENTRIES)
    assert found(lines, lines[-1].head) is None
    assert [entry_of(line) for line in lines] == ENTRIES
    assert found([], START) is None


def test_any_changed_byte_of_any_line_is_found_and_the_line_named() -> None:
    lines = sealed(START, ENTRIES)
    head = lines[-1].head
    for place, line in enumerate(lines):
        for name in ("text", "hash"):
            sound: bytes = getattr(line, name)
            for at in range(len(sound)):
                bad = bytearray(sound)
                bad[at] ^= 1
                changed = [*lines]
                changed[place] = evolve(line, **{name: bytes(bad)})
                damage = found(changed, head)
                assert damage is not None
                assert damage.n == line.n


def test_a_missing_line_is_found_and_named() -> None:
    lines = sealed(START, ENTRIES)
    for line in lines:
        damage = found([other for other in lines if other is not line], lines[-1].head)
        assert damage is not None
        assert damage.n == line.n


def test_lines_in_each_others_place_are_found() -> None:
    one, two, three, four = sealed(START, ENTRIES)
    swapped = [one, evolve(three, n=2), evolve(two, n=3), four]
    assert found(swapped, four.head) == AuditDamage(2, "its text or its hash was changed")


@pytest.mark.parametrize("left", range(4))
def test_a_tail_that_was_cut_off_is_found(left: int) -> None:
    lines = sealed(START, ENTRIES)
    damage = found(lines[:left], lines[-1].head)
    assert damage is not None
    assert damage.n == left + 1
    assert "missing" in damage.what


def test_a_head_that_does_not_fit_the_last_line_is_found() -> None:
    lines = sealed(START, ENTRIES)
    for head, n in (
        (AuditHead(4, bytes(32)), 4),
        (lines[2].head, 4),
        (START, 1),
        (None, 4),
    ):
        damage = found(lines, head)
        assert damage is not None
        assert damage.n == n


def test_an_entry_holds_any_text_that_a_principal_can_have() -> None:
    odd = AuditEntry(ts="", act="auth.refused", principal="\ud800\n\x00 Grüße 🎈")
    (line,) = sealed(START, [odd])
    assert entry_of(line) == odd
    assert line.text.isascii()


def test_a_line_beyond_reading_is_no_entry() -> None:
    for text in (b"", b"\xff", b"[]", b"7", b"{}", b'{"n":1}', b'{"n":1,"ts":"","act":"","x":1}'):
        assert entry_of(AuditLine(1, text, b"")) is None


def test_a_digest_is_64_characters_and_tells_contents_apart() -> None:
    assert len(digest_of(b"") + digest_of(b"a")) == 128
    assert digest_of(b"") != digest_of(b"a")


# --- on each store ---------------------------------------------------------


async def test_the_audit_of_an_append_is_stored_with_its_frames(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        assert await store.audit_head() == START
        notes.submit(store, A, 1, 2, audit=(entry(A, 1), entry(A, 2)))
        notes.submit(store, B, 1, audit=(entry(B, 1),), urgent=False)
        notes.submit(store, B, 2)
        await notes.all_answered()
        assert await entries_in(store) == [entry(A, 1), entry(A, 2), entry(B, 1)]
    again = opened()
    async with running(again):
        notes.submit(again, A, 3, audit=(entry(A, 3),))
        await notes.all_answered()
        assert await entries_in(again) == [entry(A, 1), entry(A, 2), entry(B, 1), entry(A, 3)]


async def test_a_refused_append_leaves_no_line_and_its_neighbours_do(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 1)
        for session_id, seq in ((B, 1), (A, 9), (C, 1)):
            notes.submit(store, session_id, seq, urgent=False, audit=(entry(session_id, seq),))
        await notes.all_answered()
        ((_, _, error),) = notes.failed
        assert isinstance(error, SeqConflict)
        assert await entries_in(store) == [entry(B, 1), entry(C, 1)]


async def test_entries_without_an_append_are_stored_with_the_next_group(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        store.record_audit([REFUSED, entry(C, 5)])
        notes.submit(store, A, 1, audit=(entry(A, 1),))
        store.record_audit([])
        await notes.all_answered()
        seen = await entries_in(store)
        assert [e for e in seen if e.session_id == A and e.seq == 1] == [entry(A, 1)]
    again = opened()
    async with running(again):
        assert sorted(map(str, await entries_in(again))) == sorted(
            map(str, [REFUSED, entry(C, 5), entry(A, 1)])
        )


async def test_entries_without_any_append_need_no_append_to_be_stored(opened: Opener) -> None:
    store = opened()
    async with running(store):
        store.record_audit([REFUSED])
        while not (lines := await store.audit_lines(0, limit=5)):
            pass
        assert entry_of(lines[0]) == REFUSED


async def test_what_is_noted_before_the_end_is_stored_by_the_last_flush(opened: Opener) -> None:
    store = opened()
    async with running(store):
        store.record_audit(entry(A, seq) for seq in range(1, 2501))
    again = opened()
    async with running(again):
        assert await entries_in(again) == [entry(A, seq) for seq in range(1, 2501)]


async def test_lines_are_read_by_pages(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        notes.submit(store, A, 1, audit=tuple(entry(A, seq) for seq in range(1, 2101)))
        await notes.all_answered()
        assert [line.n for line in await store.audit_lines(7, limit=3)] == [8, 9, 10]
        check = await checked_audit(store)
        assert check.damage is None
        assert check.reached == await store.audit_head()
        assert check.reached.n == 2100


async def test_a_head_noted_earlier_has_to_be_on_the_way(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        notes.submit(store, A, 1, audit=tuple(ENTRIES))
        await notes.all_answered()
        lines = await store.audit_lines(0, limit=10)
        for line in lines:
            assert (await checked_audit(store, line.head)).damage is None
        for n in (1, 4, 5):
            check = await checked_audit(store, AuditHead(n, bytes(32)))
            assert check.damage is not None
            assert check.damage.n == n


# --- power cuts ------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.booleans()), max_size=8), st.integers(0, 9))
async def test_a_power_cut_leaves_events_and_their_lines_in_step(
    steps: list[tuple[SessionId, bool]], keep: int
) -> None:
    shelf, notes = Shelf(), Notes()
    store = MemoryStore(shelf)
    heads = {A: 0, B: 0}
    for session_id, audited in steps:
        heads[session_id] += 1
        seq = heads[session_id]
        audit = (entry(session_id, seq),) if audited else ()
        notes.submit(store, session_id, seq, audit=audit)
    store.record_audit([REFUSED])
    store.crash(keep=keep)
    store.record_audit([REFUSED])
    kept = {name: heads[name] and len(shelf.events(name, Seq(0), 99)) for name in heads}
    places = {A: 0, B: 0}
    expected: list[AuditEntry] = []
    for session_id, audited in steps:
        places[session_id] += 1
        if audited and places[session_id] <= kept[session_id]:
            expected.append(entry(session_id, places[session_id]))
    assert sum(kept.values()) == min(keep, len(steps))
    assert [entry_of(line) for line in shelf.audit] == expected


async def test_no_torn_log_leaves_an_event_without_its_line_or_the_other_way_round(
    tmp_path: Path,
) -> None:
    path, notes = tmp_path / "timelines.sqlite3", Notes()
    store = SqliteStore(path)
    async with running(store):
        await notes.stored(store, A, 1, 1)
        before = path.with_name(f"{path.name}-wal").stat().st_size
        for seq in range(2, 5):
            notes.submit(store, A, seq, audit=(entry(A, seq),))
            await notes.all_answered()
        log = path.with_name(f"{path.name}-wal").read_bytes()
        database = path.read_bytes()
    outcomes: set[int] = set()
    for cut in range(before - 40, len(log) + 1, 509):  # a prime: no cut is like another
        crashed = tmp_path / f"cut_{cut}" / path.name
        crashed.parent.mkdir()
        crashed.write_bytes(database)
        crashed.with_name(f"{path.name}-wal").write_bytes(log[:cut])
        again = SqliteStore(crashed)
        async with running(again):
            seqs = await all_seqs(again, A)
            assert await entries_in(again) == [entry(A, seq) for seq in seqs if seq > 1]
            outcomes.add(len(seqs))
    assert outcomes >= {1, 2, 3}


# --- damage in the file ----------------------------------------------------


async def written(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        notes.submit(store, A, 1, audit=tuple(ENTRIES))
        await notes.all_answered()


async def damage_in(path: Path) -> AuditDamage | None:
    store = SqliteStore(path)
    async with running(store):
        return (await checked_audit(store)).damage


@pytest.mark.parametrize(
    ("change", "n"),
    [
        ("UPDATE audit SET text = replace(text, 'ann', 'eve') WHERE n = 3", 3),
        ("UPDATE audit SET text = 7 WHERE n = 2", 2),
        ("UPDATE audit SET hash = 'text' WHERE n = 2", 2),
        ("UPDATE audit SET n = 99 WHERE n = 1", 1),
        ("DELETE FROM audit WHERE n = 2", 2),
        ("DELETE FROM audit WHERE n > 2", 3),
        ("DELETE FROM audit", 1),
        ("UPDATE audit_head SET n = 3", 4),
        ("UPDATE audit_head SET hash = zeroblob(32)", 4),
        ("UPDATE audit_head SET hash = 'text'", 4),
        ("DELETE FROM audit_head", 4),
        ("INSERT INTO audit VALUES (5, x'7b7d', zeroblob(32))", 5),
    ],
)
async def test_a_change_behind_the_servers_back_is_found(
    tmp_path: Path, change: str, n: int
) -> None:
    path = tmp_path / "timelines.sqlite3"
    await written(path)
    assert await damage_in(path) is None
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(change)
    damage = await damage_in(path)
    assert damage is not None
    assert damage.n == n


async def test_a_page_of_the_audit_that_cannot_be_read_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "timelines.sqlite3"
    await written(path)
    with closing(sqlite3.connect(path)) as other:
        (root,) = other.execute("SELECT rootpage FROM sqlite_schema WHERE name='audit'").fetchone()
        (size,) = other.execute("PRAGMA page_size").fetchone()
    whole = bytearray(path.read_bytes())
    whole[(root - 1) * size : (root - 1) * size + 8] = b"\xff" * 8
    path.write_bytes(bytes(whole))
    damage = await damage_in(path)
    assert damage is not None
    assert "can't be read" in damage.what


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM audit_head", "UPDATE audit_head SET n = 2", "UPDATE audit_head SET hash = x''"],
)
async def test_behind_a_damaged_end_nothing_audited_is_stored_and_all_else_is(
    tmp_path: Path, change: str
) -> None:
    path, notes = tmp_path / "timelines.sqlite3", Notes()
    await written(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(change)
    store = SqliteStore(path)
    async with running(store):
        for name, audit in ((B, (entry(B, 1),)), (C, ())):
            notes.submit(store, name, 1, urgent=False, audit=audit)
        await notes.all_answered()
        ((name, _, error),) = notes.failed
        assert name == B
        assert isinstance(error, AuditCorrupt)
        assert not error.retryable
        assert notes.durable == [(C, 1)]
        assert await store.row(B) is None
        assert len(await store.audit_lines(0, limit=10)) == len(ENTRIES)


async def test_two_processes_write_one_chain(tmp_path: Path) -> None:
    path, notes = tmp_path / "timelines.sqlite3", Notes()
    mine, others = SqliteStore(path), SqliteStore(path)
    async with running(mine), running(others):
        for seq in range(1, 6):
            notes.submit(mine, A, seq, audit=(entry(A, seq),))
            notes.submit(others, B, seq, audit=(entry(B, seq),))
            await notes.all_answered()
        assert len(await entries_in(mine)) == 10


# --- what waits ------------------------------------------------------------


async def test_entries_wait_for_a_store_that_cannot_write_and_are_not_lost(
    tmp_path: Path,
) -> None:
    path, notes = tmp_path / "timelines.sqlite3", Notes()
    store = SqliteStore(path, locked_s=0.02)
    async with running(store):
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            store.record_audit([REFUSED])
            notes.submit(store, A, 1)
            await notes.all_answered()
            assert isinstance(notes.failed[0][2], StoreUnavailable)
        await store.until_sound()
        assert await entries_in(store) == [REFUSED]


async def test_entries_of_a_failed_commit_in_memory_wait_likewise() -> None:
    faults = [StoreUnavailable("the disk is full")]

    async def failing(_group: Sequence[Append]) -> None:
        if faults:
            raise faults.pop()

    store, notes = MemoryStore(before_commit=failing), Notes()
    async with running(store):
        store.record_audit([REFUSED])
        notes.submit(store, A, 1, audit=(entry(A, 1),))
        await notes.all_answered()
        assert len(notes.failed) == 1
        assert store.shelf.audit == []
        await store.row(A)
        notes.submit(store, A, 1, audit=(entry(A, 1),))
        await notes.all_answered()
        assert await entries_in(store) == [entry(A, 1), REFUSED]


def test_a_flood_of_entries_is_counted_in_a_line_instead_of_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notebook_module, "MOST_NOTED", 4)
    notebook = Notebook()
    notebook.add(entry(A, seq) for seq in range(1, 11))
    assert len(notebook) == 4
    notebook.stored(2)
    notebook.add([entry(A, 11)])
    dropped = AuditEntry(ts=OPENED_AT, act="audit.dropped", subject="6")
    assert list(notebook.first()) == [entry(A, 3), entry(A, 4), dropped, entry(A, 11)]


# --- the file --------------------------------------------------------------

FIRST_LAYOUT = """
CREATE TABLE sessions (
    key INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, principal TEXT NOT NULL,
    tenant TEXT, epoch TEXT NOT NULL, epoch_changed INTEGER NOT NULL, closed INTEGER NOT NULL,
    unsettled INTEGER NOT NULL, noted_seq INTEGER NOT NULL, opened_at TEXT NOT NULL,
    crc INTEGER NOT NULL
);
CREATE INDEX sessions_by_owner ON sessions (principal, tenant, key);
CREATE INDEX sessions_unsettled ON sessions (key) WHERE unsettled;
CREATE TABLE events (
    session INTEGER NOT NULL, seq INTEGER NOT NULL, frame BLOB NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (session, seq)
) WITHOUT ROWID;
PRAGMA application_id = 0x62617267;
PRAGMA user_version = 1;
"""


async def test_a_file_of_the_first_version_gets_an_audit_and_keeps_its_sessions(
    tmp_path: Path,
) -> None:
    new, old = tmp_path / "new.sqlite3", tmp_path / "old.sqlite3"
    store, notes = SqliteStore(new), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 5)
    with closing(sqlite3.connect(old, isolation_level=None)) as first:
        first.executescript(FIRST_LAYOUT)
        first.execute("ATTACH ? AS new", (str(new),))
        first.execute("INSERT INTO sessions SELECT * FROM new.sessions")
        first.execute("INSERT INTO events SELECT * FROM new.events")
    for visit in (1, 2):  # migrated, and opened again
        migrated = SqliteStore(old)
        async with running(migrated):
            seqs = await all_seqs(migrated, A)
            assert seqs == list(range(1, 5 + visit))
            notes.submit(migrated, A, 5 + visit, audit=(entry(A, 5 + visit),))
            await notes.all_answered()
            assert await entries_in(migrated) == [entry(A, 5 + n) for n in range(1, visit + 1)]
    with closing(sqlite3.connect(old)) as after, closing(sqlite3.connect(new)) as fresh:
        layout = "SELECT name, sql FROM sqlite_schema WHERE name LIKE 'audit%' ORDER BY name"
        assert after.execute(layout).fetchall() == fresh.execute(layout).fetchall() != []
        assert after.execute("PRAGMA user_version").fetchone() == (4,)


def test_a_line_is_json_that_names_its_own_number() -> None:
    (line,) = sealed(AuditHead(41, bytes(32)), [REFUSED])
    said = json.loads(line.text)
    assert said["n"] == line.n == 42
    assert (said["act"], said["principal"], said["session_id"]) == ("confirm.forbidden", "eve", A)
