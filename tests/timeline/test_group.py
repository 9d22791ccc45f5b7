"""Group commit when others interfere, to the statement: who is hit, and who is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import evolve, field, frozen

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline import places
from bargein.timeline.group import GroupCommit
from bargein.timeline.reads import Reads
from bargein.timeline.recent import Asked
from bargein.timeline.schema import open_for_reading, open_for_writing
from bargein.timeline.store import (
    Append,
    SeqConflict,
    StoreDead,
    StoreUnavailable,
    TimelineCorrupt,
)
from tests.timeline.appends import A, B, C, frame, new_session

D = SessionId("sess_d")
LATE = "INSERT INTO events VALUES ((SELECT key FROM sessions WHERE session_id = ?), ?, x'', 0)"


def append(session_id: SessionId, first: int, last: int | None = None) -> Append:
    return Append(
        session_id=session_id,
        first_seq=Seq(first),
        frames=tuple(frame(session_id, seq) for seq in range(first, (last or first) + 1)),
        urgent=True,
        unsettled=False,
        opened=new_session(session_id) if first == 1 else None,
        on_durable=print,
        on_failed=print,
    )


@frozen
class Bench:
    """A group commit on a file, and another process's connection to the same file."""

    path: Path
    connection: sqlite3.Connection
    other: sqlite3.Connection
    commits: GroupCommit = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "commits", GroupCommit(self.connection))

    def store(self, *appends: Append) -> None:
        assert self.commits.write(appends) == {}

    def seqs(self, session_id: SessionId) -> list[int]:
        reads = Reads(open_for_reading(self.path, locked_s=1))
        page = reads.page(session_id, Seq(0), 100_000, 2**30)
        reads.close(within_s=1)
        return [event.seq for event in page]

    def before_each_write(self, *acts: Callable[[], object]) -> list[int]:
        """Do one of *acts* as each next statement that writes begins; return those done."""
        coming = enumerate(acts)
        done: list[int] = []

        def trace(text: str) -> None:
            if text.startswith(("BEGIN", "INSERT INTO events")):
                for number, act in coming:
                    act()
                    done.append(number)  # an error in a callback would go unseen
                    break

        self.connection.set_trace_callback(trace)
        return done

    def intrude(self, session_id: SessionId, seq: int) -> Callable[[], object]:
        return lambda: self.other.execute(LATE, (session_id, seq))


@pytest.fixture
def bench(tmp_path: Path) -> Generator[Bench]:
    path = tmp_path / "timelines.sqlite3"
    connection = open_for_writing(path, locked_s=0.02)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
        bench = Bench(path, connection, other)
        yield bench
        bench.commits.close()


def test_whoever_collides_is_found_and_the_rest_is_stored(bench: Bench) -> None:
    bench.store(append(A, 1, 3), append(B, 1, 3))
    done = bench.before_each_write(bench.intrude(A, 4))
    refused = bench.commits.write([append(B, 4), append(A, 4), append(C, 1), append(A, 5)])
    assert done == [0]
    assert list(refused) == [1, 3]
    assert refused[1] is refused[3]
    error = refused[1]
    assert isinstance(error, SeqConflict)
    assert (error.session_id, error.expected, error.found) == (A, 3, 4)
    assert (bench.seqs(B), bench.seqs(C)) == ([1, 2, 3, 4], [1])


def test_a_collision_after_a_collision_is_found_too(bench: Bench) -> None:
    bench.store(append(A, 1, 3), append(B, 1, 3))
    # The group begins, and begins anew; from there on nobody else gets in.
    done = bench.before_each_write(bench.intrude(B, 4), bench.intrude(A, 4))
    refused = bench.commits.write([append(A, 4), append(B, 4), append(C, 1)])
    assert done == [0, 1]
    assert list(refused) == [0, 1]
    for error in refused.values():
        assert isinstance(error, SeqConflict)
        assert (error.expected, error.found) == (3, 4)
    assert bench.seqs(C) == [1]


def test_a_lock_while_the_guilty_are_sought_fails_all_that_is_left_at_once(bench: Bench) -> None:
    bench.store(append(A, 1, 3), append(B, 1, 3))
    done = bench.before_each_write(
        bench.intrude(B, 4), lambda: bench.other.execute("BEGIN IMMEDIATE")
    )
    refused = bench.commits.write([append(A, 4), append(B, 4), append(A, 5)])
    assert done == [0, 1]
    assert [type(refused[index]) for index in range(3)] == [StoreUnavailable] * 3
    bench.other.execute("ROLLBACK")
    assert bench.seqs(A) == [1, 2, 3]
    bench.connection.set_trace_callback(None)
    bench.store(append(A, 4))


def test_a_refused_opening_leaves_no_row_behind(bench: Bench) -> None:
    bench.store(append(A, 1, 3))
    refused = bench.commits.write([append(B, 1), append(A, 1)])
    assert list(refused) == [1]
    bench.connection.set_trace_callback(None)
    rows = bench.other.execute("SELECT session_id FROM sessions ORDER BY key").fetchall()
    assert rows == [(A,), (B,)]


def test_sessions_beyond_those_remembered_are_looked_up_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST_KNOWN", 2)
    names = [SessionId(f"sess_{n}") for n in range(5)]
    bench.store(*(append(name, 1) for name in names))
    for seq in range(2, 5):
        bench.store(*(append(name, seq) for name in names))
    assert [bench.seqs(name) for name in names] == [[1, 2, 3, 4]] * 5
    refused = bench.commits.write([append(name, 9) for name in names])
    assert [cast("SeqConflict", refused[n]).found for n in range(5)] == [4] * 5


@pytest.mark.parametrize("most", [1, 2])
def test_a_session_written_before_and_after_a_newcomer_in_a_group_stays_whole(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(places, "MOST_KNOWN", most)
    bench.store(append(A, 1))
    bench.store(append(B, 1))
    bench.store(
        *(evolve(each, unsettled=True) for each in (append(A, 2), append(C, 1), append(A, 3)))
    )
    bench.store(evolve(append(A, 4), unsettled=True), append(D, 1), append(A, 5))
    while bench.commits.settle():
        pass
    assert (bench.seqs(A), bench.seqs(C), bench.seqs(D)) == ([1, 2, 3, 4, 5], [1], [1])


def test_the_place_that_was_not_used_for_longest_is_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "MOST_KNOWN", 2)
    looked_up: list[str] = []
    bench.store(append(A, 1), append(B, 1))
    bench.store(append(A, 2))
    bench.store(append(C, 1))  # B has to go
    bench.connection.set_trace_callback(
        lambda text: looked_up.append(text) if "noted_seq, closed" in text else None
    )
    bench.store(append(A, 3), append(C, 2))
    assert looked_up == []
    bench.store(append(B, 2))
    assert len(looked_up) == 1
    assert B in looked_up[0]


def test_a_damaged_page_hits_its_session_alone(tmp_path: Path) -> None:
    path = tmp_path / "timelines.sqlite3"
    commits = GroupCommit(open_for_writing(path, locked_s=1))
    # Sessions lie side by side: the page at A's end holds D's beginning too.
    assert commits.write([append(name, 1, 500) for name in (B, A, D)]) == {}
    commits.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("VACUUM")  # leaves no old copies that could be taken for the page
    content = bytearray(path.read_bytes())
    page = content.index(frame(A, 500)) // 4096 * 4096
    content[page : page + 4096] = bytes(4096)
    path.write_bytes(bytes(content))

    connection = open_for_writing(path, locked_s=1)
    commits = GroupCommit(connection)
    reads = Reads(open_for_reading(path, locked_s=1))
    try:
        refused = commits.write([append(B, 501), append(A, 501), append(C, 1), append(A, 502)])
        assert list(refused) == [1, 3]
        assert isinstance(refused[1], TimelineCorrupt)
        assert refused[1].session_id == A

        with pytest.raises(TimelineCorrupt) as caught:
            reads.page(A, Seq(0), 1000, 2**30)
        first = caught.value.seq
        assert 400 < first <= 500
        assert [event.seq for event in reads.page(A, Seq(0), first - 1, 2**30)] == [
            *range(1, first)
        ]
        with pytest.raises(TimelineCorrupt):
            reads.row(A)
        assert len(reads.page(B, Seq(0), 1000, 2**30)) == 501
        assert len(reads.page(C, Seq(0), 1000, 2**30)) == 1
    finally:
        reads.close(within_s=1)
        commits.close()


def test_a_closed_connection_is_no_surprise(bench: Bench) -> None:
    bench.store(append(A, 1, 3))
    reads = Reads(open_for_reading(bench.path, locked_s=1))
    reads.close(within_s=1)
    for read in (
        lambda: reads.row(A),
        lambda: reads.page(A, Seq(0), 1, 1),
        reads.unsettled,
        lambda: reads.sessions_of("ann", None, 1),
        lambda: reads.recent_of(Asked("ann", None, None, 1)),
    ):
        with pytest.raises(StoreUnavailable, match="closed"):
            read()


def test_a_tree_that_is_gone_fails_reads_by_name(bench: Bench) -> None:
    reads = Reads(open_for_reading(bench.path, locked_s=1))
    for table in ("events", "sessions"):
        bench.other.execute(f"DROP TABLE {table}")
    for read in (
        lambda: reads.row(A),
        lambda: reads.page(A, Seq(0), 1, 1),
        reads.unsettled,
        lambda: reads.sessions_of("ann", None, 1),
        lambda: reads.recent_of(Asked("ann", None, None, 1)),
    ):
        with pytest.raises(StoreDead, match="no such table"):
            read()
    reads.close(within_s=1)


def test_a_connection_in_use_is_left_open_at_the_limit(bench: Bench) -> None:
    connection = open_for_reading(bench.path, locked_s=1)
    reads = Reads(connection)
    turn: Any = reads._turn  # pyright: ignore[reportPrivateUsage]
    with turn:
        reads.close(within_s=0.01)
        assert connection.execute("SELECT 1").fetchone() == (1,)
    reads.close(within_s=1)


def test_what_would_fit_behind_a_refused_append_is_refused_in_the_same_group(bench: Bench) -> None:
    bench.store(append(A, 1, 3))
    refused = bench.commits.write([append(A, 5), append(A, 4), append(B, 1)])
    assert list(refused) == [0, 1]
    assert refused[0] is refused[1]
    assert (bench.seqs(A), bench.seqs(B)) == ([1, 2, 3], [1])
