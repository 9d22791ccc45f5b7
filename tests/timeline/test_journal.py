"""What comes while turns run is durable in the journal first, and nobody can tell from outside."""

# pyright: reportPrivateUsage=false
# What lies where in the file is looked at from inside.

from __future__ import annotations

import random
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline import journal as journal_module
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import Append, SeqConflict, TimelineCorrupt
from tests.scale import scaled
from tests.timeline.appends import A, B, C, Notes, all_seqs, frame, running
from tests.timeline.desk import Desk, append, in_rows, journal_rows, left_behind

HISTORIES = scaled(400)
NAMES = (A, B, C)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timelines.sqlite3"


@pytest.fixture
def desk(path: Path) -> Generator[Desk]:
    desk = Desk(path)
    yield desk
    desk.close()


def begun(desk: Desk, *names: SessionId) -> None:
    """Begin a turn in each, with one event among its rows and three in the journal."""
    desk.store(*(append(name, 1) for name in names))
    desk.store(*(append(name, 2, 4) for name in names))


# --- what is where -----------------------------------------------------------------


def test_the_events_of_many_turns_are_one_row_and_one_statement(desk: Desk, path: Path) -> None:
    desk.store(*(append(name, 1) for name in NAMES))
    statements: list[str] = []
    desk.commits._connection.set_trace_callback(statements.append)
    desk.store(*(append(name, 2, 4) for name in NAMES))
    desk.commits._connection.set_trace_callback(None)
    whole = [each for each in statements if not each.startswith("--")]
    assert [each[:19] for each in whole] == ["INSERT INTO journal"]
    assert journal_rows(path) == 1
    assert [in_rows(path, name) for name in NAMES] == [[1]] * 3


def test_what_is_in_the_journal_is_read_as_if_it_were_not(desk: Desk) -> None:
    begun(desk, *NAMES)
    for name in NAMES:
        assert desk.seqs(name) == [1, 2, 3, 4]
        assert desk.last(name) == 4
        assert desk.seqs(name, after=2) == [3, 4]
        assert desk.seqs(name, after=4) == desk.seqs(name, after=9) == []
        assert desk.seqs(name, limit=2) == [1, 2]
        assert desk.seqs(name, after=1, limit=2) == [2, 3]
    small = desk.reads.page(A, Seq(0), 100, 2 * len(frame(A, 1)))
    assert [event.seq for event in small] == [1, 2]
    assert desk.reads.page(A, Seq(1), 100, 1)[0].seq == 2  # at least one, whatever its size
    assert desk.reads.size_bytes(A) == sum(len(frame(A, seq)) for seq in range(1, 5))
    rows = desk.reads.sessions_of("ann", None, 10)
    assert [row.last_seq for row in rows] == [4, 4, 4]


def test_a_turn_that_ends_is_settled_with_its_flags_and_leaves_nothing(
    desk: Desk, path: Path
) -> None:
    begun(desk, A, B)
    desk.store(append(A, 5, ends=True))
    assert desk.reads.unsettled() == [B]
    assert desk.seqs(A) == [1, 2, 3, 4, 5]
    assert desk.commits.settle() == 2
    assert (in_rows(path, A), in_rows(path, B)) == ([1, 2, 3, 4, 5], [1, 2, 3, 4])
    assert journal_rows(path) == 0
    assert desk.seqs(A) == [1, 2, 3, 4, 5]
    assert desk.commits.settle() == 0


async def test_a_writer_with_nothing_to_do_settles_by_itself(path: Path) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for seq in range(1, 30):
            notes.submit(store, A, seq, unsettled=True)
            await notes.all_answered()
        while await trio.to_thread.run_sync(journal_rows, path):  # noqa: ASYNC110 - what another process sees
            await trio.sleep(0.01)
        assert in_rows(path, A) == list(range(1, 30))
        assert await all_seqs(store, A) == list(range(1, 30))


async def test_the_journal_of_a_busy_writer_stays_short(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MOST_ROWS", 10)
    monkeypatch.setattr(journal_module, "TRIM_ROWS", 1)
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for seq in range(1, 100):
            for name in NAMES:
                notes.submit(store, name, seq, unsettled=True)
            await notes.all_answered()
            assert journal_rows(path) <= 10 + 2
        for name in NAMES:
            assert await all_seqs(store, name) == list(range(1, 100))
    assert journal_rows(path) == 0  # an orderly end leaves nothing


async def test_large_events_do_not_make_the_journal_large(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MOST_BYTES", 1000)
    monkeypatch.setattr(journal_module, "TRIM_ROWS", 1)
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for seq in range(1, 30):
            notes.submit(store, A, seq, frames=(frame(A, seq, 600),), unsettled=True)
            await notes.all_answered()
            assert journal_rows(path) <= 3


def arrive(journal: journal_module.Journal, first: int, count: int, size_bytes: int) -> None:
    """Have so many sessions note an event of that size."""
    keys = range(first, first + count)
    journal.noted({SessionId(f"s{key}"): [key, 1, bytes(size_bytes), 0] for key in keys})


def waiting_in(journal: journal_module.Journal) -> int:
    return len(journal.ends())


@pytest.mark.parametrize(
    ("events", "size_bytes", "step"),
    [(8000, 10, 256), (16_384, 10, 512), (16_400, 10, 2050), (4000, 4000, 256), (4000, 4400, 500)],
)
def test_a_step_is_small_until_much_waits(events: int, size_bytes: int, step: int) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        journal = journal_module.Journal(connection)
        arrive(journal, 0, events, size_bytes)
        assert len(journal.oldest()) == step


def test_where_all_groups_are_full_what_waits_stays_small() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        journal = journal_module.Journal(connection)
        waiting = 0
        for round_ in range(60):
            arrive(journal, 2048 * round_, 2048, 10)
            waiting = max(waiting, waiting_in(journal))
            for name, _ in journal.oldest():
                journal.settled(name)
        assert 16_384 < waiting <= 16_384 + 2 * 2048


# --- a process that ended, and others ------------------------------------------------


def test_a_killed_process_leaves_all_of_it(desk: Desk, path: Path) -> None:
    begun(desk, *NAMES)
    desk.store(append(A, 5, ends=True))
    after = Desk(left_behind(path))
    try:
        assert [after.seqs(name) for name in NAMES] == [[1, 2, 3, 4, 5], [1, 2, 3, 4], [1, 2, 3, 4]]
        assert after.last(A) == 5
        after.store(append(A, 6), append(B, 5))
        assert after.seqs(A) == [1, 2, 3, 4, 5, 6]
    finally:
        after.close()
    assert in_rows(after.path, A) == [1, 2, 3, 4, 5, 6]
    assert journal_rows(after.path) == 0


def test_two_processes_on_one_file_lose_nothing_and_find_each_other(desk: Desk, path: Path) -> None:
    begun(desk, A, B)
    other = Desk(path)
    try:
        assert other.seqs(A) == [1, 2, 3, 4]
        other.store(append(A, 5, 6))  # it is in the journal of the other one now
        refused = desk.commits.write([append(A, 5), append(B, 5)])
        error = refused.pop(0)
        assert refused == {}
        assert isinstance(error, SeqConflict)
        assert (error.expected, error.found) == (4, 6)
        assert desk.seqs(A) == [1, 2, 3, 4, 5, 6]
        desk.store(append(A, 7))
        other.store(append(B, 6))
        assert other.commits.settle() > 0
        desk.store(append(A, 8))
        assert (desk.seqs(A), desk.seqs(B)) == ([*range(1, 9)], [*range(1, 7)])
    finally:
        other.close()
    assert (desk.seqs(A), desk.seqs(B)) == ([*range(1, 9)], [*range(1, 7)])


@pytest.mark.parametrize("seed", range(HISTORIES // 20))
def test_any_history_of_groups_ends_and_restarts_reads_as_it_was_written(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311
    written = dict.fromkeys(NAMES, 0)
    path = tmp_path / "0.sqlite3"
    desks = [Desk(path), Desk(path)]
    for step in range(20):
        desk = chance.choice(desks)
        match chance.choice(("write", "write", "write", "write", "settle", "restart", "kill")):
            case "write":
                group: list[Append] = []
                for name in chance.sample(NAMES, chance.randint(1, 3)):
                    first, count = written[name] + 1, chance.randint(1, 5)
                    ends = chance.random() < 0.3
                    group.append(append(name, first, first + count - 1, ends=ends))
                    written[name] += count
                desk.store(*group)
                assert [desk.last(each.session_id) for each in group] == [
                    each.last_seq for each in group
                ]
            case "settle":
                desk.commits.settle()
            case "restart":
                desk.close()
                desks[desks.index(desk)] = Desk(path)
            case _:
                old = desks
                path = left_behind(path).rename(tmp_path / f"{step + 1}.sqlite3")
                Path(f"{tmp_path}/left.sqlite3-wal").rename(f"{path}-wal")
                desks = [Desk(path), Desk(path)]
                for each in old:
                    each.close()
        fresh = Desk(path)
        assert {name: fresh.seqs(name) for name in NAMES} == {
            name: list(range(1, last + 1)) for name, last in written.items()
        }
        fresh.close()
    for each in desks:
        each.close()
    assert {name: in_rows(path, name) for name in NAMES} == {
        name: list(range(1, last + 1)) for name, last in written.items()
    }


# --- damage ------------------------------------------------------------------------


def damage(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute(statement, parameters).rowcount == 1


def read_or_named(desk: Desk, name: SessionId) -> list[int] | TimelineCorrupt:
    """Read a session in small pages, as far as it goes."""
    seqs: list[int] = []
    try:
        while page := desk.seqs(name, after=len(seqs), limit=2):
            seqs += page
    except TimelineCorrupt as error:
        return error
    return seqs


@pytest.mark.parametrize("place", [*range(24), 24, 24 + 30, 24 + len(frame(A, 2)) - 1])
def test_a_damaged_byte_of_the_journal_is_named_and_never_served(
    desk: Desk, path: Path, place: int
) -> None:
    desk.store(append(A, 1), append(B, 1), append(C, 1))
    desk.store(append(A, 2), append(B, 2))
    desk.store(append(A, 3), append(B, 3), append(C, 2))
    copy = left_behind(path)
    with closing(sqlite3.connect(copy, isolation_level=None)) as other:
        ((packed,),) = other.execute("SELECT events FROM journal WHERE n = 1").fetchall()
        bad = bytearray(packed)
        bad[place] ^= 0x41
        other.execute("UPDATE journal SET events = ? WHERE n = 1", (bytes(bad),))
    after = Desk(copy)
    try:
        for settled in (False, True):
            found = read_or_named(after, A)
            assert isinstance(found, TimelineCorrupt), settled
            assert (found.session_id, found.seq) == (A, 2)
            # Where one event ends is where the next one begins.
            found = read_or_named(after, B)
            assert found == [1, 2, 3] or (isinstance(found, TimelineCorrupt) and found.seq == 2)
            assert read_or_named(after, C) == [1, 2]
            while after.commits.settle():
                pass
    finally:
        after.close()


# --- erasing -----------------------------------------------------------------------


async def test_what_was_in_the_journal_of_an_erased_session_is_gone_from_the_disk(
    path: Path,
) -> None:
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        secret = frame(A, 2, 900).replace(b"....", b"hush")
        notes.submit(store, A, 1, unsettled=True)
        notes.submit(store, B, 1, unsettled=True)
        notes.submit(store, A, 2, frames=(secret,), unsettled=True)
        notes.submit(store, B, 2, unsettled=True)
        await notes.all_answered()
        assert await store.erase(A)
        assert await all_seqs(store, B) == [1, 2]
        assert await store.row(A) is None
    assert b"hush" not in path.read_bytes()


def test_a_session_that_can_not_be_settled_can_be_erased(desk: Desk, path: Path) -> None:
    begun(desk, A, B)
    for name in (A, B):
        late = desk.commits.journal.late(name)
        assert late is not None
        late.stuck = True
    assert desk.commits.forget(A, ())
    assert desk.seqs(A) == []
    assert desk.seqs(B) == [1, 2, 3, 4]
    with closing(sqlite3.connect(path)) as other:
        packed = b"".join(row for (row,) in other.execute("SELECT events FROM journal"))
    assert frame(A, 3) not in packed
    assert frame(B, 3) in packed
