"""The journal where pages are lost, writes fail, or another process writes in between."""

# pyright: reportPrivateUsage=false
# What lies where in the file is looked at from inside.

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bargein.protocol.ids import SessionId
from bargein.timeline import journal as journal_module
from bargein.timeline.group import GroupCommit, open_commits
from bargein.timeline.reads import Reads
from bargein.timeline.store import SeqConflict, StoreDead, StoreUnavailable, TimelineCorrupt
from tests.timeline.appends import A, B, C, frame
from tests.timeline.desk import (
    Desk,
    abandon,
    append,
    in_rows,
    journal_rows,
    left_behind,
    one_page_lost,
)

NAMES = (A, B, C)
D = SessionId("sess_d")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "timelines.sqlite3"


@pytest.fixture
def desk(path: Path) -> Generator[Desk]:
    desk = Desk(path)
    yield desk
    desk.close()


# --- pages that are lost -------------------------------------------------------------


def test_a_session_whose_page_is_damaged_stays_in_the_journal_and_holds_up_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MOST_ROWS", 4)
    monkeypatch.setattr(journal_module, "TRIM_ROWS", 1)
    first = Desk(path)
    first.store(*(append(name, 1, 500) for name in (B, A, C)))
    first.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("VACUUM")  # leaves no old copies that could be taken for the page
    one_page_lost(path, frame(A, 500))
    # The journal has words of A that came before the damage did.
    desk = Desk(path)
    connection = desk.commits._connection
    (key,) = connection.execute("SELECT key FROM sessions WHERE session_id = ?", (A,)).fetchone()
    late: list[object] = []
    for seq in (501, 502):
        late += (key, seq, frame(A, seq), 0)
    connection.execute("BEGIN IMMEDIATE")
    desk.commits.journal.note({A: late})
    connection.execute("COMMIT")
    desk.commits.journal.noted({A: late})
    try:
        for seq in range(501, 530):
            desk.store(append(B, seq))
            desk.commits.settle()
            assert journal_rows(path) <= 4 + 2
        assert in_rows_after(desk, B) == 529
        (refused,) = desk.commits.write([append(A, 503)]).values()
        assert isinstance(refused, TimelineCorrupt)
        assert refused.session_id == A
        assert desk.commits.journal.late(A) is not None
    finally:
        desk.close()


def in_rows_after(desk: Desk, name: SessionId) -> int:
    while desk.commits.settle():
        pass
    return in_rows(desk.path, name)[-1]


def last_in_rows(path: Path, name: SessionId) -> int:
    """Return the last seq among a session's rows, though earlier ones may be lost."""
    with closing(sqlite3.connect(path)) as other:
        found = other.execute(
            "SELECT max(seq) FROM events WHERE session ="
            " (SELECT key FROM sessions WHERE session_id = ?)",
            (name,),
        )
        return found.fetchone()[0]


def with_a_lost_page(path: Path) -> None:
    """Leave a file with events of three turns in the journal, and the end of A's rows lost."""
    first = Desk(path)
    first.store(*(append(name, 1, 500) for name in (B, A, C)))
    first.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("VACUUM")
    second = Desk(path)
    second.store(*(append(name, 501) for name in NAMES))
    abandon(second)
    one_page_lost(path, frame(A, 500))


def test_a_session_that_can_not_be_settled_keeps_no_file_shut(path: Path) -> None:
    with_a_lost_page(path)
    for start in range(3):
        desk = Desk(path)
        try:
            assert desk.seqs(B, after=500) == [*range(501, 502 + start)]
            desk.store(append(B, 502 + start))
            (refused,) = desk.commits.write([append(A, 502)]).values()
            assert isinstance(refused, TimelineCorrupt)
        finally:
            desk.close()
        assert last_in_rows(path, C) == 501


def test_a_session_that_can_not_be_settled_refuses_nobody_else_when_others_write(
    path: Path,
) -> None:
    with_a_lost_page(path)
    desk = Desk(path)
    try:
        desk.commits.settle()
        for round_ in range(3):
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("INSERT INTO erasures VALUES (?, 't', 'b')", (f"z{round_}",))
            desk.store(append(B, 502 + round_), append(SessionId(f"sess_new{round_}"), 1))
        assert desk.commits.forget(C, ())
    finally:
        desk.close()


@pytest.mark.parametrize("change", ["session_id = CAST(x'ff' AS TEXT)", "session_id = x'ff'"])
def test_a_damaged_name_keeps_no_file_shut(path: Path, change: str) -> None:
    first = Desk(path)
    first.store(append(A, 1), append(B, 1))
    first.store(append(A, 2), append(B, 2))
    abandon(first)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        assert other.execute(f"UPDATE sessions SET {change} WHERE key = 1").rowcount  # noqa: S608
    desk = Desk(path)
    try:
        assert desk.seqs(B) == [1, 2]
        desk.store(append(B, 3))
    finally:
        desk.close()


def test_a_lost_page_of_the_journal_hits_its_events_alone(path: Path) -> None:
    names = [SessionId(f"sess_{number:02}") for number in range(10)]
    first = Desk(path)
    first.store(*(append(name, 1) for name in names))
    for seq in range(2, 60):
        first.store(*(append(name, seq) for name in names))
    abandon(first)
    one_page_lost(path, frame(names[0], 30))
    desk = Desk(path)
    try:
        assert desk.commits.journal.damaged
        assert [desk.last(name) for name in names] == [59] * 10
        before = desk.seqs(names[0])  # as far as there is no hole
        with pytest.raises(TimelineCorrupt) as caught:
            desk.seqs(names[0], after=before[-1])
        assert 20 < caught.value.seq == before[-1] + 1 <= 30
        (refused,) = desk.commits.write([append(names[1], 2)]).values()
        assert isinstance(refused, SeqConflict)  # no second history
        while desk.commits.settle():
            pass
        desk.store(*(append(name, 60) for name in names[2:]), append(A, 1))
        desk.store(append(A, 2))
        assert desk.seqs(A) == [1, 2]
        assert not any(desk.commits.journal.late(name) for name in names)
    finally:
        desk.close()


# --- writes that fail ----------------------------------------------------------------


def test_a_write_that_failed_while_settling_is_the_last_one(desk: Desk, path: Path) -> None:
    desk.store(append(A, 1))
    desk.store(append(A, 2, 200))
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    log_bytes = Path(f"{path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (log_bytes, most[1]))
    try:
        assert desk.commits.settle() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert isinstance(desk.commits.dead, StoreDead)
    before = Path(f"{path}-wal").read_bytes()
    assert desk.commits.settle() == 0
    assert isinstance(desk.commits.write([append(A, 201)])[0], StoreDead)
    for work in (
        lambda: desk.commits.forget(A, ()),
        lambda: desk.commits.ask(()),
        desk.commits.probe,
        desk.commits.sweep,
    ):
        with pytest.raises(StoreDead):
            work()
    assert Path(f"{path}-wal").read_bytes() == before
    assert desk.seqs(A) == [*range(1, 201)]


def test_while_others_hold_the_lock_all_is_served_and_nothing_is_erased(path: Path) -> None:
    desk = Desk(path, locked_s=0.01)
    desk.store(append(A, 1), append(B, 1))
    desk.store(append(A, 2), append(B, 2))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert desk.commits.settle() == 0
        assert isinstance(desk.commits.hindrance, StoreUnavailable)
        with pytest.raises(StoreUnavailable):
            desk.commits.forget(A, ())
        assert (desk.seqs(A), desk.seqs(B)) == ([1, 2], [1, 2])
        other.execute("ROLLBACK")
    assert desk.commits.settle() == 2
    assert desk.commits.hindrance is None
    desk.close()


def test_the_journal_does_not_grow_faster_than_it_is_settled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "STEP_EVENTS", 10)
    monkeypatch.setattr(journal_module, "MOST_ROWS", 2)
    desk.store(*(append(name, 1) for name in NAMES))
    waiting: list[int] = []
    for round_ in range(100):
        first = 2 + 20 * round_
        desk.store(*(append(name, first, first + 19) for name in NAMES))
        desk.commits.settle()
        waiting.append(sum(len(desk.commits.journal.rows_of(name)) // 4 for name in NAMES))
    assert max(waiting) <= 60 * journal_module.STEP_SHARE
    assert [desk.last(name) for name in NAMES] == [2001] * 3


# --- others that write in between ----------------------------------------------------


def before_the_end_of(commits: GroupCommit, act: Callable[[], object]) -> None:
    """Do *act* as the next transaction that erases a session begins."""
    begun: list[int] = []

    def trace(text: str) -> None:
        if text.startswith("BEGIN") and not commits.journal.waits and not begun:
            begun.append(1)
            act()

    commits._connection.set_trace_callback(trace)


def test_an_erasure_lets_go_of_nothing_that_another_process_wrote_meanwhile(
    desk: Desk, path: Path
) -> None:
    desk.store(append(A, 1), append(D, 1, ends=True))
    for seq in range(2, 10):
        desk.store(append(A, seq))
    other = Desk(path)
    try:
        before_the_end_of(desk.commits, lambda: other.store(append(A, 10, 12)))
        assert desk.commits.forget(D, ())
        desk.commits._connection.set_trace_callback(None)
        after = Desk(left_behind(path))
        assert after.seqs(A) == [*range(1, 13)]
        after.close()
        other.store(append(A, 13))
        desk.commits.ask(())  # it looks at what others have written before it writes
        assert desk.seqs(A) == other.seqs(A) == [*range(1, 14)]
    finally:
        other.close()


def test_an_erasure_does_not_take_what_another_process_wrote_for_its_own(
    desk: Desk, path: Path
) -> None:
    desk.store(append(A, 1), append(D, 1, ends=True))
    desk.store(append(A, 2, 4))
    other = Desk(path)
    try:
        other.store(append(A, 5, 6))
        assert desk.commits.forget(D, ())
        (refused,) = desk.commits.write([append(A, 5)]).values()
        assert isinstance(refused, SeqConflict)
        assert refused.found == 6
        assert desk.seqs(A) == [*range(1, 7)]
    finally:
        other.close()


def test_a_writer_with_nothing_to_write_settles_what_others_have_left_to_it(
    desk: Desk, path: Path
) -> None:
    desk.store(append(A, 1))
    desk.store(append(A, 2))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO erasures VALUES ('z', 't', 'b')")
    assert desk.commits.settle() == 1
    assert in_rows(path, A) == [1, 2]
    assert journal_rows(path) == 0


# --- reads while it is settled -------------------------------------------------------


def test_a_session_that_is_erased_while_it_is_read_is_no_damage(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.store(append(A, 1))
    desk.store(append(A, 2, 4))
    asked = Reads._late

    def asked_and_erased(self: Reads, name: SessionId) -> list[object]:
        late = asked(self, name)
        desk.commits.forget(A, ())
        return late

    monkeypatch.setattr(Reads, "_late", asked_and_erased)
    assert desk.seqs(A) == []


def test_a_list_does_not_go_back_while_it_is_settled(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.store(append(A, 1))
    desk.store(append(A, 2, 4))
    read = Reads._all

    def read_and_settled(self: Reads, *what: object) -> list[Any]:
        rows = read(self, *what)  # pyright: ignore[reportArgumentType]
        desk.commits.settle()
        return rows

    monkeypatch.setattr(Reads, "_all", read_and_settled)
    (row,) = desk.reads.sessions_of("ann", None, 9)
    assert row.last_seq == 4


def test_what_could_not_be_opened_leaves_no_connection_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Desk(path).close()

    def lost(_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(journal_module.Journal, "catch_up", lost)
    with pytest.raises(StoreDead):
        open_commits(path, 1)
    assert not Path(f"{path}-wal").exists()  # the last to close takes it along
