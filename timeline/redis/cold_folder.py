"""The directory with the files of cold sessions: opened, read, cleared; all in threads, in time.

All servers of one Redis see the same directory. In it each Redis has a folder of its own, drawn
once and noted in Redis: where that has lost everything, another one is drawn and the files stay for
an operator; and a directory without the folder is the wrong one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
import trio
from attrs import define, field, frozen

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.redis.cold import PART_SUFFIX, Cold, Remains, new_number, shelf_of, stem_of
from bargein.timeline.redis.cold_file import (
    ColdDraft,
    ColdMissing,
    read_events,
    read_one,
    session_in,
    sync,
)
from bargein.timeline.redis.keys import COLD, row_key
from bargein.timeline.redis.link import Ask, Refused
from bargein.timeline.store import Stored, StoreUnavailable, StoreUnsuitable

T = TypeVar("T")

log = structlog.get_logger(__name__)

SHELVES: Final = 256

MOST_THREADS: Final = 4
"""Threads that read and write files; what they wait for is one disk."""

MOST_SCANS: Final = 100
"""Looks at a shelf until nothing of an erased session is there; the second one finds nothing."""

OPEN_S: Final = 3.0
"""How long a look at the directory may take at the start."""

AWAY: Final = "redis.cold_dir: the folder of this Redis is not there"

LOST: Final = "redis.cold_dir: Redis has lost the name of its folder"

UNNAMED: Final = "the events of this Redis lie in files: name their directory (redis.cold_dir)"


@frozen
class Old:
    """A file that was written long ago.

    Attributes:
        session_id: Whose it is; None where that can't be told, or it was never finished.
        written_s: When it was written, in seconds of UTC.
    """

    path: Path
    session_id: SessionId | None
    written_s: float

    @property
    def is_part(self) -> bool:
        """Whether it was never finished."""
        return self.path.suffix == PART_SUFFIX


@define(eq=False)
class ColdFolder:
    """Reads and writes the files of one Redis.  Lives as long as its store.

    A thread that hangs in the file system is left behind; it keeps its place among the few that
    there may be, so that others then fail in time.

    Attributes:
        root: The directory.
        answer_s: How long one step of work with a file may take.
        name: The folder in it; empty until it is opened, and for a visitor where there is none.
    """

    root: Path
    answer_s: float = 10.0
    name: str = field(default="", init=False)
    _threads: trio.CapacityLimiter = field(
        factory=lambda: trio.CapacityLimiter(MOST_THREADS), init=False
    )

    @property
    def path(self) -> Path:
        """Where the folder is."""
        return self.root / self.name

    async def open(self, ask: Ask, *, is_server: bool) -> None:
        """Find the folder of this Redis, or make it.

        Raises:
            StoreUnsuitable: If the directory or the folder is not there, or can't be written to;
                an operator has to name another one.
            StoreUnavailable: If it does not answer in time, or Redis refuses; try again.
            LinkLost: If Redis does not answer.
        """
        what = f"redis.cold_dir ({self.root})"
        await self.do(partial(_check, self.root, what, is_server), OPEN_S)
        self.name = await named(ask)
        if not self.name and is_server:
            self.name = await self._drawn(ask)
        if self.name:
            what = f"redis.cold_dir ({self.root}) lacks the folder {self.name} of this Redis, which"
            await self.do(partial(_check, self.path, what, is_server), OPEN_S)

    async def settle(self, ask: Ask) -> None:
        """See that this is still the folder of this Redis; else change over to the one that is.

        A Redis that knows of none has lost it, and maybe all else: it never gets back the one
        that it had, whose files then would look like those of erased sessions.

        Raises:
            StoreUnavailable: If that can't be done now, or that folder is not in the directory;
                nothing may be written or taken away then.
            LinkLost: If Redis does not answer.
        """
        name = await named(ask) or await self._drawn(ask)
        if name == self.name:
            return
        await self.do(partial(_require, self.root / name))
        if self.name:
            log.warning("cold.folder_changed", before=self.name, now=name)
        self.name = name

    async def read(
        self, session_id: SessionId, cold: Cold, after: Seq, limit: int, most_bytes: int
    ) -> list[Stored]:
        """Read events behind *after*; see `read_events`."""
        path, folder = cold.path(self.root, session_id), self.root / cold.folder

        def read() -> list[Stored]:
            try:
                return read_events(path, session_id, cold.last, after, limit, most_bytes)
            except ColdMissing:
                if not folder.is_dir():
                    raise StoreUnavailable(AWAY) from None
                raise

        return await self.do(read)

    async def ones(
        self, wanted: Sequence[tuple[SessionId, Cold, Seq]], within_s: float
    ) -> list[tuple[Any, Any, Any] | None]:
        """Read single events within *within_s*, unchecked; see `read_one`.

        Raises:
            StoreUnavailable: If that takes too long.
        """
        places = [(cold.path(self.root, name), seq) for name, cold, seq in wanted]
        return await self.do(lambda: [read_one(path, seq) for path, seq in places], within_s)

    async def begin(self, session_id: SessionId, cold: Cold) -> ColdDraft:
        """Begin a file, which is to be written by way of `do`.

        Raises:
            StoreUnavailable: If that can't be done now.
        """
        path = cold.path(self.root, session_id)
        return await self.do(partial(ColdDraft.begin, path, session_id))

    async def clear(self, ask: Ask, session_id: SessionId, remains: Remains) -> None:
        """Take away the files of an erased session, and return once they are gone from the disk.

        What its row names now stays, and what was written since: it was opened again.

        Raises:
            StoreUnavailable: If that can't be done now; try again.
            LinkLost: If Redis does not answer.
        """
        answers = await ask(((b"GET", COLD), (b"HGET", row_key(session_id), "cold")))
        for answer in answers:
            if isinstance(answer, Refused):
                raise StoreUnavailable(answer.text)
        name, text = ("" if each is None else each.decode(errors="replace") for each in answers)
        now, was = Remains.of(text, remains.erased_s).cold, remains.cold
        folders = [name] if name else []  # a visitor may have come before the first file
        if was is not None and was.folder not in folders:
            folders.append(was.folder)  # Redis has lost its name since
        for folder in folders:
            await self.do(partial(_clear, self.root, folder, session_id, remains, now))

    async def old_files(self, number: int, age_s: float) -> list[Old]:
        """List the files on shelf *number* that are older than *age_s*."""
        shelf = self.path / f"{number:02x}"
        before_s = time.time() - age_s
        return await self.do(lambda: _old_files(shelf, before_s))

    async def _drawn(self, ask: Ask) -> str:
        new = new_number()
        # Made before it is named: whoever reads its name looks for it.
        await self.do(partial(_make, self.root / new))
        (answer,) = await ask(((b"SET", COLD, new, "NX"),))
        name = "" if isinstance(answer, Refused) else await named(ask)
        if name != new:
            await self.do((self.root / new).rmdir)
        if isinstance(answer, Refused) or not name:
            raise StoreUnavailable(answer.text if isinstance(answer, Refused) else LOST)
        return name

    async def do(self, work: Callable[[], T], within_s: float | None = None) -> T:
        """Do work that blocks, in a thread, within *within_s* or else `answer_s`.

        Raises:
            StoreUnavailable: If it fails, or takes too long; it may be done all the same.
        """
        with trio.move_on_after(self.answer_s if within_s is None else within_s):
            try:
                return await trio.to_thread.run_sync(
                    work, limiter=self._threads, abandon_on_cancel=True
                )
            except OSError as error:
                raise StoreUnavailable(f"redis.cold_dir: {error.strerror}") from error
            except sqlite3.Error as error:
                raise StoreUnavailable(f"redis.cold_dir: {error}") from error
        raise StoreUnavailable("redis.cold_dir does not answer")


async def named(ask: Ask) -> str:
    """Return the folder of this Redis; empty where it never had one.

    Raises:
        StoreUnavailable: If Redis refuses to say.
        LinkLost: If it does not answer.
    """
    (answer,) = await ask(((b"GET", COLD),))
    if isinstance(answer, Refused):
        raise StoreUnavailable(answer.text)
    return "" if answer is None else answer.decode(errors="replace")


async def open_files(folder: ColdFolder | None, ask: Ask, *, is_server: bool) -> None:
    """Open the folder of this Redis; without a directory see that there is none.

    Raises:
        StoreUnsuitable: If there is one, or as for `ColdFolder.open`.
        StoreUnavailable, LinkLost: As for that.
    """
    if folder is not None:
        await folder.open(ask, is_server=is_server)
    elif await named(ask):
        raise StoreUnsuitable(UNNAMED)


async def clear_files(
    folder: ColdFolder | None, ask: Ask, session_id: SessionId, remains: Remains
) -> None:
    """Take away the files of an erased session, also for who was told of no directory.

    Raises:
        StoreUnavailable: If that can't be done now, or there may be some and nobody knows where.
        LinkLost: If Redis does not answer.
    """
    if folder is not None:
        await folder.clear(ask, session_id, remains)
    elif await named(ask):
        raise StoreUnavailable(UNNAMED)


def _check(path: Path, what: str, is_server: bool) -> None:  # noqa: FBT001 - called by way of partial
    if not path.is_dir():
        raise StoreUnsuitable(f"{what} is no directory")
    if is_server and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise StoreUnsuitable(f"{what} may not be written to")


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    sync(folder.parent)


def _require(folder: Path) -> None:
    if not folder.is_dir():
        raise StoreUnavailable(AWAY)


def _clear(
    root: Path, name: str, session_id: SessionId, remains: Remains, now: Cold | None
) -> None:
    shelf = shelf_of(root / name, session_id)
    _require(root / name)
    if not shelf.is_dir():
        return
    named, kept = (
        None if cold is None else cold.path(root, session_id) for cold in (remains.cold, now)
    )
    for count in range(MOST_SCANS):
        mine = _written_by(shelf, session_id, remains.erased_s, named)
        gone = [path for path in mine if path != kept]
        for path in gone:
            path.unlink(missing_ok=True)
        if not gone:  # one scan may miss what is renamed meanwhile
            if count:
                sync(shelf)
            return
    raise StoreUnavailable("redis.cold_dir: files of an erased session come again and again")


def _written_by(
    shelf: Path, session_id: SessionId, by_s: float, named: Path | None
) -> Generator[Path]:
    """Find those files of a session that are the named one, or not younger than *by_s*."""
    stem = stem_of(session_id)
    for entry in os.scandir(shelf):
        if entry.name.startswith(stem):
            path = Path(entry.path)
            with suppress(FileNotFoundError):  # another server takes it, too
                if path == named or entry.stat().st_mtime <= by_s:
                    yield path


def _old_files(shelf: Path, before_s: float) -> list[Old]:
    if not shelf.is_dir():
        return []
    found: list[Old] = []
    for entry in sorted(os.scandir(shelf), key=lambda entry: entry.name):
        written_s = entry.stat().st_mtime
        if written_s < before_s:
            path = Path(entry.path)
            name = None if path.suffix == PART_SUFFIX else session_in(path)
            found.append(Old(path, name, written_s))
    return found
