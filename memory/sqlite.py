"""Facts in a SQLite file of their own: one connection, and one call at a time.

Every call runs in a thread, because the disk may be slow.  The next one starts when the
thread of the one before has ended, however long ago its caller gave up: so what is read
is never older than what was written, and `outcome` knows what became of a change whose
caller saw its deadline pass.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final, Generic, TypeVar

import structlog
import trio
from attrs import define, field, frozen

from bargein.memory import rows
from bargein.memory.errors import FactsInDoubt, FactsUnavailable
from bargein.memory.facts import Change, Erased, Fact, Owner, Wish
from bargein.memory.schema import Opened, open_facts

MOST_WAITING: Final = 256
"""Calls that may wait for the one before; one more is refused, and nothing was done."""

MOST_KNOWN: Final = 1000
"""Principals whose facts are held in memory, so that their next turn need not ask the disk."""

CLOSE_S: Final = 5.0

T = TypeVar("T")

log = structlog.get_logger()

Mark = tuple[int, int, int] | None
"""What the file system says of the write-ahead log: every commit changes it, whoever's it is."""


@frozen
class _Known:
    facts: tuple[Fact, ...]
    mark: Mark
    until_s: float


@define(eq=False)
class _Job(Generic[T]):
    """A call for the thread; it is either withdrawn before it starts, or it runs to its end."""

    work: Callable[[], T]
    started: bool = field(default=False, init=False)
    _withdrawn: bool = field(default=False, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def run(self) -> T:
        with self._lock:
            if self._withdrawn:
                raise FactsUnavailable("nobody waits for it any more")
            self.started = True
        return self.work()

    def withdraw(self) -> None:
        with self._lock:
            self._withdrawn = True


@define(eq=False)
class SqliteFacts:
    """Keeps facts in a file; see `Facts` for what the calls promise.

    The file is made with the first change: an app that remembers nothing leaves none.

    Attributes:
        path: Where it is.
        now: The time in UTC, as text.
        call_s: How long a call may take before it fails.
        locked_s: How long another process may hold the file before a call fails.
        known_s: How long what was read is told again without a look at the file, though
            nothing says that it was changed.
    """

    path: Path
    now: Callable[[], str]
    call_s: float = field(default=5.0, kw_only=True)
    locked_s: float = field(default=2.0, kw_only=True)
    known_s: float = field(default=60.0, kw_only=True)

    _opened: Opened | None = field(default=None, init=False)
    _failure: str | None = field(default="it has not been opened", init=False)
    _one: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)
    _known: dict[Owner, _Known] = field(factory=dict[Owner, _Known], init=False)
    _writes: int = field(default=0, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the file if there is one, serve until cancelled, close it; see `Facts.run`."""
        self._failure = None
        try:
            try:
                await self._call(self._look)
            except FactsUnavailable as error:  # a later call opens it; turns go on without it
                log.warning("memory.not_opened", reason=error.reason)
            task_status.started()
            await trio.sleep_forever()
        finally:
            # Shielded, or the file would stay open behind a run that has ended; bounded, because
            # a hung disk must not hold the process.
            with trio.move_on_after(CLOSE_S, shield=True):
                await trio.to_thread.run_sync(
                    self._close, abandon_on_cancel=True, limiter=self._one
                )
            self._failure = "it has been closed"

    async def of(self, owner: Owner) -> tuple[Fact, ...]:
        """Return all that is remembered of *owner*; see `Facts.of`."""
        mark, writes = self._mark(), self._writes
        known = self._known.get(owner)
        if known is not None and known.mark == mark and trio.current_time() < known.until_s:
            return known.facts
        facts = await self._read(rows.facts_of, owner)
        # What was written meanwhile, here or elsewhere, may be in *facts* or not.
        if facts is not None and writes == self._writes and mark == self._mark():
            self._known.pop(owner, None)
            while len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[owner] = _Known(facts, mark, trio.current_time() + self.known_s)
        return facts or ()

    async def change(self, owner: Owner, wish: Wish) -> Change:
        """Do what is wished, once; see `Facts.change`."""
        return await self._write(lambda file: rows.make_change(file, owner, wish, self.now()))

    async def outcome(self, owner: Owner, done_key: str) -> Change | None:
        """Return the change that was made under *done_key*; see `Facts.outcome`."""
        return await self._read(rows.outcome_of, owner, done_key)

    async def changes(self, owner: Owner) -> tuple[Change, ...]:
        """Return what can be undone; see `Facts.changes`."""
        return await self._read(rows.changes_of, owner) or ()

    async def erase(self, owner: Owner, key: str | None = None) -> Erased:
        """Take away what is kept; see `Facts.erase`."""
        if not await self._call(lambda: self._look() is not None):
            return Erased(0, 0)  # and no file is made for it
        return await self._write(lambda file: rows.erase(file, owner, key))

    # --- in the event loop ------------------------------------------------------------

    def _mark(self) -> Mark:
        try:
            status = self.path.with_name(f"{self.path.name}-wal").stat()
        except OSError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    async def _read(self, work: Callable[..., T], *args: object) -> T | None:
        def read() -> T | None:
            opened = self._look()
            return None if opened is None else work(opened.connection, *args)

        return await self._call(read)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def write() -> T:
            opened = self._look() or self._open()
            done = work(opened.connection)
            if not opened.is_in_place():
                raise FactsInDoubt("its file has been replaced by another")
            return done

        self._forget_known()
        try:
            return await self._call(write, writes=True)
        except FactsInDoubt as doubt:
            log.warning("memory.in_doubt", reason=doubt.reason)
            raise
        finally:
            self._forget_known()

    def _forget_known(self) -> None:
        self._writes += 1
        self._known.clear()

    async def _call(self, work: Callable[[], T], *, writes: bool = False) -> T:
        """Run *work* in the thread, within its time.

        Raises:
            FactsError: What *work* raises, or that it did not end in time.
        """
        if self._failure is not None:
            raise FactsUnavailable(self._failure)
        if self._one.statistics().tasks_waiting >= MOST_WAITING:
            raise FactsUnavailable("too many calls wait for it")
        job = _Job(partial(self._checked, work))
        with trio.move_on_after(self.call_s):
            try:
                return await trio.to_thread.run_sync(
                    job.run, abandon_on_cancel=True, limiter=self._one
                )
            finally:
                job.withdraw()
        if job.started and writes:
            raise FactsInDoubt(f"the disk took longer than {self.call_s:g} s")
        raise FactsUnavailable(f"it took longer than {self.call_s:g} s")

    # --- in the thread ----------------------------------------------------------------

    def _checked(self, work: Callable[[], T]) -> T:
        if self._failure is not None:
            raise FactsUnavailable(self._failure)
        try:
            return work()
        except FactsInDoubt:
            # After a failed write nobody knows what is on the disk, and a second try may
            # succeed without what the first one lost: it is for a new process to look.
            self._failure = "a write has failed; it needs a new process"
            raise

    def _look(self) -> Opened | None:
        """Return the open file; None where there is no file."""
        if self._opened is None and self.path.exists():
            self._open()
        return self._opened

    def _open(self) -> Opened:
        self._opened = open_facts(self.path, locked_s=self.locked_s)
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.connection.close()
            self._opened = None
