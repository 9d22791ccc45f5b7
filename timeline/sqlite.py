"""The embedded store: SQLite with one writer, group commit and an fsync for each group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
import trio
from attrs import define, field, validators

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.archive import Erasure, Listed
from bargein.timeline.audit import AuditEntry, AuditHead, AuditLine
from bargein.timeline.group import GroupCommit, open_commits
from bargein.timeline.health import RETRY_S, SOUND, Health, Ward
from bargein.timeline.jobs import Job
from bargein.timeline.outcomes import Announcements, Refusals, fail, fail_soon
from bargein.timeline.reads import Reads
from bargein.timeline.recent import Asked, RecentPage
from bargein.timeline.schema import Identity
from bargein.timeline.store import (
    Append,
    Durability,
    SessionRow,
    Stored,
    StoreDead,
    StoreError,
    StoreUnavailable,
    StoreUnopened,
)
from bargein.timeline.waiting import Waiting
from bargein.timeline.writer import Batch, WriterThread, Written

log = structlog.get_logger(__name__)

T = TypeVar("T")

CLOSE_S: Final = 5.0
"""How long closing may take once all is written; it copies the log, at most 64 MiB."""

MOST_LINGER_S: Final = 0.005
"""What the product promises: tokens wait at most so long for company."""


@define(eq=False)
class SqliteStore:
    """Keeps timelines in one SQLite file; see `Store` for what it promises.

    Attributes:
        path: The database; created, with mode 0600, where there is none.
        linger_s: How long an append that isn't urgent waits for others, so that they
            share an fsync.
        locked_s: How long a write waits for another process's lock before it fails.
        flush_s: How long an orderly end may take to write what is pending.
        read_s: How long a read may take before it fails.
    """

    path: Path
    linger_s: float = field(
        default=0.002, kw_only=True, validator=[validators.ge(0), validators.le(MOST_LINGER_S)]
    )
    locked_s: float = field(default=5.0, kw_only=True)
    flush_s: float = field(default=10.0, kw_only=True)
    read_s: float = field(default=10.0, kw_only=True)

    _waiting: Waiting = field(factory=Waiting, init=False)
    _ward: Ward = field(factory=Ward, init=False)
    _refusals: Refusals = field(factory=Refusals, init=False)
    _news: Announcements = field(factory=Announcements, init=False)
    _writer: WriterThread | None = field(default=None, init=False)
    _reads: Reads | None = field(default=None, init=False)
    # Two threads at most: more would only wait for the one connection.
    _readers: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(2), init=False)
    _files: Identity | None = field(default=None, init=False)
    _writing: Batch | None = field(default=None, init=False)
    _groups: int = field(default=0, init=False)
    _lingering: trio.Event = field(factory=trio.Event, init=False)
    _idle: trio.Event = field(factory=trio.Event, init=False)
    _has_rest: bool = field(default=False, init=False)
    _died: trio.Event = field(factory=trio.Event, init=False)
    _ended: StoreError | None = field(default=None, init=False)

    @property
    def durability(self) -> Durability:
        """Say that fsync has returned before anything is visible."""
        return "fsync"

    @property
    def health(self) -> Health:
        """Say whether it can write at the moment; see `Store.health`."""
        return self._ward.health

    async def until_sound(self) -> None:
        """Wait until it can write; see `Store.until_sound`."""
        await self._ward.until(sound=True)

    @property
    def failure(self) -> StoreDead | None:
        """Return why the store is dead, or None while it lives."""
        return self._ended if isinstance(self._ended, StoreDead) else None

    @property
    def groups_written(self) -> int:
        """Count the groups handed to the disk so far; appends share them."""
        return self._groups

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the file, write until cancelled, flush and close; see `Store.run`."""
        try:
            self._writer = await self._open()
            self._proceed()
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pace)
                nursery.start_soon(self._convalesce)
                nursery.start_soon(self._news.run)
                if self._has_rest:
                    nursery.start_soon(self._sweep)
        except StoreError as error:
            self._end(error)
            raise
        finally:
            await self._close()

    async def death(self) -> StoreDead:
        """Wait until a write has failed in a way that nobody can mend; see `Store.death`."""
        while (failure := self.failure) is None:
            await self._died.wait()
        return failure

    def submit(self, append: Append) -> None:
        """Take *append* for the next group, or for one of its own; see `Store.submit`."""
        if not append.frames:
            raise ValueError(f"{append.session_id}: an append needs at least one frame")
        refusal = self._ended or self._refusals.of(append.session_id)
        if refusal is not None:
            fail_soon(append, refusal)
            return
        is_first = not self._waiting.appends and self._is_idle()
        self._waiting.appends.append(append)
        if append.urgent:
            self._waiting.urgent = True
        if is_first:
            self._waiting.due_at = trio.current_time() + self.linger_s
        if self._writing is None and (is_first or append.urgent):
            self._proceed()

    def record_audit(self, entries: Iterable[AuditEntry]) -> None:
        """Take *entries* for the next group's audit; see `Store.record_audit`."""
        is_first = self._is_idle()
        self._waiting.notebook.add(entries)
        if is_first and not self._is_idle():
            self._waiting.due_at = trio.current_time() + self.linger_s
            self._proceed()

    async def row(self, session_id: SessionId) -> SessionRow | None:
        """Read a session's index row; see `Store.row`."""
        self._refusals.lift(session_id)
        return await self._read(lambda reads: reads.row(session_id))

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        """Read the events behind *after*, checked; see `Store.read`."""
        return await self._read(lambda reads: reads.page(session_id, after, limit, most_bytes))

    async def unsettled(self) -> list[SessionId]:
        """List the sessions to recover; see `Store.unsettled`."""
        return await self._read(lambda reads: reads.unsettled())

    async def sessions_of(
        self, principal: str, tenant: str | None, *, limit: int
    ) -> list[SessionRow]:
        """List the sessions of a principal; see `Store.sessions_of`."""
        return await self._read(lambda reads: reads.sessions_of(principal, tenant, limit))

    async def sessions(self, after: int, *, limit: int) -> list[Listed]:
        """List all sessions, oldest first; see `Archive.sessions`."""
        return await self._read(lambda reads: reads.sessions(after, limit))

    async def recent_of(self, asked: Asked) -> RecentPage:
        """List a principal's sessions by activity; see `Archive.recent_of`."""
        return await self._read(lambda reads: reads.recent_of(asked))

    async def session_names(self) -> list[SessionId]:
        """List all sessions by name; see `Archive.session_names`."""
        return await self._read(lambda reads: reads.session_names())

    async def session_ids_of(self, principal: str, tenant: str | None) -> list[SessionId]:
        """List the sessions of a principal by name; see `Archive.session_ids_of`."""
        return await self._read(lambda reads: reads.session_ids_of(principal, tenant))

    async def size_bytes(self, session_id: SessionId) -> int:
        """Add up a session's frames; see `Archive.size_bytes`."""
        return await self._read(lambda reads: reads.size_bytes(session_id))

    async def erase(self, session_id: SessionId, audit: tuple[AuditEntry, ...] = ()) -> bool:
        """Erase a session whole; see `Archive.erase`."""
        found = await self._perform(lambda commits: commits.forget(session_id, audit))
        while found and await self._perform(GroupCommit.sweep):
            pass
        return found

    async def ask_erasure(self, erasures: tuple[Erasure, ...]) -> None:
        """Leave word of sessions to erase; see `Archive.ask_erasure`."""
        await self._perform(lambda commits: commits.ask(erasures))

    async def erasures_asked(self) -> list[Erasure]:
        """List what is still to be erased; see `Archive.erasures_asked`."""
        return await self._read(lambda reads: reads.erasures_asked())

    async def audit_lines(self, after: int, *, limit: int) -> list[AuditLine]:
        """Read lines of the audit; see `Archive.audit_lines`."""
        return await self._read(lambda reads: reads.audit_lines(after, limit))

    async def audit_head(self) -> AuditHead | None:
        """Read what was noted of the last line; see `Archive.audit_head`."""
        return await self._read(lambda reads: reads.audit_head())

    async def _open(self) -> WriterThread:
        # Not cancelled half way: a connection that nobody knows would stay open.
        try:
            commits, reading, self._files, self._has_rest = await trio.to_thread.run_sync(
                open_commits, self.path, self.locked_s
            )
        except StoreDead as error:
            raise StoreUnopened(error.cause) from error
        self._reads = Reads(reading, commits.journal)
        writer = WriterThread(commits, self._finished)
        writer.start()
        return writer

    async def _pace(self) -> None:
        while True:
            await self._lingering.wait()
            await trio.sleep_until(self._waiting.due_at)
            self._lingering = trio.Event()
            if self._writing is None:
                self._proceed()

    async def _convalesce(self) -> None:
        """Try to write once in a while when that has failed, until it does not."""
        while True:
            await self._ward.until(sound=False)
            await trio.sleep(RETRY_S)
            if self._writing is None and not self._ward.health.is_sound and self._ended is None:
                self._waiting.jobs.append(Job(GroupCommit.probe))
                self._write_next()

    async def _sweep(self) -> None:
        """Go on with what a crash has left of erased sessions."""
        try:
            while await self._perform(GroupCommit.sweep):
                pass
        except StoreError as error:
            log.warning("erasure.not_finished", error=str(error))

    def _proceed(self) -> None:
        """Write what is pending if its time has come, else let the pacer wait for it."""
        if self._writer is None or self._writing is not None:
            return
        if self._is_idle():
            self._idle.set()
        elif self._waiting.urgent or trio.current_time() >= self._waiting.due_at:
            self._write_next()
        else:
            self._lingering.set()

    def _is_idle(self) -> bool:
        return self._waiting.is_empty(sound=self._ward.health.is_sound)

    def _write_next(self) -> None:
        if self._writer is not None:
            self._writing = self._waiting.next_batch()
            self._groups += 1
            self._writer.write(self._writing)

    async def _perform(self, work: Callable[[GroupCommit], T]) -> T:
        if self._ended is not None:
            raise self._ended
        job = Job(work)
        self._waiting.jobs.append(job)
        self._waiting.urgent = True
        self._proceed()
        return await job.result()

    def _finished(self, batch: Batch, written: Written) -> None:
        """Tell the sessions what became of a batch; called by the loop, must not raise."""
        group, refused = batch.group, written.refused
        if self._writer is None:
            return  # the flush gave up, and they have been told that
        errors = written.errors
        dead = self._death(errors)
        if dead is not None:
            self._end(dead)
            return
        if written.unnoted is None:
            self._waiting.notebook.stored(len(batch.notes))
        fault = written.fault
        self._ward.turn(SOUND if fault is None else Health("read-only", str(fault)))
        for index, error in refused.items():
            self._refusals.add(group[index].session_id, error)
        swept = self._refusals.sweep(self._waiting.appends) if refused else []
        self._news.add(group, refused)
        if refused or batch.job is not None:
            self._news.tell_all()
        else:
            self._news.tell_some()
        for place, error in refused.items():
            fail(group[place], error)
        for append in swept:
            fail(append, self._refusals.of(append.session_id) or StoreUnavailable("refused"))
        if batch.job is not None:
            batch.job.finish()
        self._writing = None
        self._proceed()

    def _death(self, errors: list[StoreError]) -> StoreDead | None:
        for error in errors:
            if isinstance(error, StoreDead):
                return error
        try:
            found = Identity.of(self.path)
        except OSError as error:
            return StoreDead(f"its files are gone: {error.strerror}")
        if found != self._files:
            return StoreDead("its files have been replaced by others")
        return None

    def _end(self, error: StoreError) -> None:
        """Fail everything that is under way and all that comes later."""
        self._ended = error
        self._news.tell_all()
        if isinstance(error, StoreDead):
            self._ward.turn(Health("dead", str(error)))
            self._died.set()
        lost, jobs = self._waiting.clear()
        if self._writing is not None:
            lost = [*self._writing.group, *lost]
            jobs = [*filter(None, (self._writing.job,)), *jobs]
        self._writing = None
        self._idle.set()
        notes = len(self._waiting.notebook)
        if lost or notes:
            log.error("store.ended", cause=str(error), appends=len(lost), notes=notes)
        for append in lost:
            fail(append, error)
        for waiting in jobs:
            waiting.finish(error)

    async def _close(self) -> None:
        writer, flushed = self._writer, False
        if writer is not None:
            # Shielded because sessions count on what they have submitted; bounded
            # because a hung disk must not hold the process.
            with trio.move_on_after(self.flush_s, shield=True) as flushing:
                await self._flush()
            self._news.tell_all()
            flushed = not flushing.cancelled_caught
            self._writer = None
        if self._ended is None:
            self._end(
                StoreUnavailable("it has been closed" if flushed else "it was not flushed in time")
            )
        # Shielded, or the files stay open behind a run that has ended; bounded likewise.
        with trio.move_on_after(CLOSE_S, shield=True):
            if self._reads is not None:
                # First, because the last to close copies the log, and this one can't.
                close = partial(self._reads.close, within_s=CLOSE_S)
                await trio.to_thread.run_sync(close, abandon_on_cancel=True)
            if writer is not None:
                writer.stop()
                if flushed:  # otherwise it hangs, and ends with the process at the latest
                    await writer.stopped.wait()

    async def _flush(self) -> None:
        self._waiting.closing = self._waiting.urgent = True
        self._idle = trio.Event()
        self._proceed()
        await self._idle.wait()

    async def _read(self, what: Callable[[Reads], T]) -> T:
        if self._reads is None:
            raise StoreUnavailable("it has not been opened")
        try:
            with trio.fail_after(self.read_s):
                # Whoever waits may give up earlier: then the thread gives up, too.
                left_s = trio.current_effective_deadline() - trio.current_time()
                reads = self._reads.within(left_s)
                return await trio.to_thread.run_sync(
                    what, reads, abandon_on_cancel=True, limiter=self._readers
                )
        except trio.TooSlowError:
            raise StoreUnavailable(f"a read took longer than {self.read_s:g} s") from None
