"""A writer and a reader on one file, to the statement, and what another process would see."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from shutil import copyfile

from attrs import define, field

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.group import GroupCommit
from bargein.timeline.reads import Reads
from bargein.timeline.schema import open_for_reading, open_for_writing
from bargein.timeline.store import Append
from tests.timeline.appends import frame, new_session


@define(eq=False)
class Desk:
    """A writer and a reader of one file, as one process has them."""

    path: Path
    locked_s: float = 1.0
    commits: GroupCommit = field(init=False)
    reads: Reads = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.commits = GroupCommit(open_for_writing(self.path, locked_s=self.locked_s))
        self.reads = Reads(open_for_reading(self.path, locked_s=1), self.commits.journal)

    def close(self) -> None:
        self.reads.close(within_s=1)
        self.commits.close()

    def store(self, *appends: Append) -> None:
        assert self.commits.write(appends) == {}

    def seqs(self, session_id: SessionId, after: int = 0, limit: int = 100_000) -> list[int]:
        page = self.reads.page(session_id, Seq(after), limit, 2**30)
        assert [event.frame for event in page] == [frame(session_id, each.seq) for each in page]
        return [event.seq for event in page]

    def last(self, session_id: SessionId) -> int:
        row = self.reads.row(session_id)
        return 0 if row is None else row.last_seq


def append(
    session_id: SessionId, first: int, last: int | None = None, *, ends: bool = False
) -> Append:
    """Return events of a turn that runs, or with which it *ends*."""
    return Append(
        session_id=session_id,
        first_seq=Seq(first),
        frames=tuple(frame(session_id, seq) for seq in range(first, (last or first) + 1)),
        urgent=True,
        unsettled=not ends,
        opened=new_session(session_id) if first == 1 else None,
        on_durable=print,
        on_failed=print,
    )


def in_rows(path: Path, name: SessionId) -> list[int]:
    """Return the seqs that are among a session's rows, for anybody who looks at the file."""
    with closing(sqlite3.connect(path)) as other:
        found = other.execute(
            "SELECT seq FROM events WHERE session ="
            " (SELECT key FROM sessions WHERE session_id = ?) ORDER BY seq",
            (name,),
        )
        return [seq for (seq,) in found]


def journal_rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as other:
        (rows,) = other.execute("SELECT count(*) FROM journal").fetchone()
        return rows


def left_behind(path: Path) -> Path:
    """Copy a file that is open, as a killed process would leave it."""
    copy = path.with_name("left.sqlite3")
    for suffix in ("", "-wal"):
        copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


def one_page_lost(path: Path, content: bytes) -> None:
    """Overwrite the page of a closed file that has *content*."""
    pages = bytearray(path.read_bytes())
    page = pages.index(content) // 4096 * 4096
    pages[page : page + 4096] = bytes(4096)
    path.write_bytes(bytes(pages))


def abandon(desk: Desk) -> None:
    """End a process that settles nothing any more, and leaves but the one file."""
    desk.reads.close(within_s=1)
    desk.commits._connection.close()  # pyright: ignore[reportPrivateUsage]
