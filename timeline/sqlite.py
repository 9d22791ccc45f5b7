"""The embedded store: SQLite with one writer, group commit and an fsync for each group."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
import trio
from attrs import define, field, validators

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.audit import AuditEntry, AuditHead, AuditLine
from bargein.timeline.group import GroupCommit
from bargein.timeline.health import RETRY_S, SOUND, Health, Ward
from bargein.timeline.notebook import Notebook
from bargein.timeline.outcomes import Refusals, announce, fail, fail_soon
from bargein.timeline.reads import Reads
from bargein.timeline.schema import Identity, open_for_reading, open_for_writing
from bargein.timeline.store import (
    Append,
    Durability,
    SessionRow,
    Stored,
    StoreDead,
    StoreError,
    StoreUnavailable,
)
from bargein.timeline.writer import Batch, Group, WriterThread, Written

log = structlog.get_logger(__name__)

T = TypeVar("T")

MOST_GROUP_EVENTS: Final = 2048
"""Bounds how long one transaction takes: about 20 ms, and others wait behind it."""

MOST_GROUP_BYTES: Final = 4 * 2**20
"""The same for large events."""

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

    _pending: deque[Append] = field(factory=deque[Append], init=False)
    _notebook: Notebook = field(factory=Notebook, init=False)
    _ward: Ward = field(factory=Ward, init=False)
    _refusals: Refusals = field(factory=Refusals, init=False)
    _writer: WriterThread | None = field(default=None, init=False)
    _reads: Reads | None = field(default=None, init=False)
    # Two threads at most: more would only wait for the one connection.
    _readers: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(2), init=False)
    _files: Identity | None = field(default=None, init=False)
    _writing: Batch | None = field(default=None, init=False)
    _urgent: bool = field(default=False, init=False)
    _closing: bool = field(default=False, init=False)
    _groups: int = field(default=0, init=False)
    _due_at: float = field(default=0.0, init=False)
    _lingering: trio.Event = field(factory=trio.Event, init=False)
    _idle: trio.Event = field(factory=trio.Event, init=False)
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
        is_first = self._is_idle()
        self._pending.append(append)
        if append.urgent:
            self._urgent = True
        if is_first:
            self._due_at = trio.current_time() + self.linger_s
        if self._writing is None and (is_first or append.urgent):
            self._proceed()

    def record_audit(self, entries: Iterable[AuditEntry]) -> None:
        """Take *entries* for the next group's audit; see `Store.record_audit`."""
        is_first = self._is_idle()
        self._notebook.add(entries)
        if is_first and self._notebook:
            self._due_at = trio.current_time() + self.linger_s
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

    async def _open(self) -> WriterThread:
        # Not cancelled half way: a connection that nobody knows would stay open.
        connection, reading, self._files = await trio.to_thread.run_sync(
            _open_both, self.path, self.locked_s
        )
        self._reads = Reads(reading)
        writer = WriterThread(GroupCommit(connection), self._finished)
        writer.start()
        return writer

    async def audit_lines(self, after: int, *, limit: int) -> list[AuditLine]:
        """Read lines of the audit; see `Store.audit_lines`."""
        return await self._read(lambda reads: reads.audit_lines(after, limit))

    async def audit_head(self) -> AuditHead | None:
        """Read what was noted of the last line; see `Store.audit_head`."""
        return await self._read(lambda reads: reads.audit_head())

    async def _pace(self) -> None:
        while True:
            await self._lingering.wait()
            await trio.sleep_until(self._due_at)
            self._lingering = trio.Event()
            if self._writing is None:
                self._proceed()

    async def _convalesce(self) -> None:
        """Try to write once in a while when that has failed, until it does not."""
        while True:
            await self._ward.until(sound=False)
            await trio.sleep(RETRY_S)
            if self._writing is None and not self._ward.health.is_sound and self._ended is None:
                self._write(Batch(self._next_group(), self._notebook.first(), probe=True))

    def _proceed(self) -> None:
        """Write what is pending if its time has come, else let the pacer wait for it."""
        if self._writer is None or self._writing is not None:
            return
        if self._is_idle():
            self._idle.set()
        elif self._urgent or trio.current_time() >= self._due_at:
            self._write(Batch(self._next_group(), self._notebook.first()))
        else:
            self._lingering.set()

    def _is_idle(self) -> bool:
        # Notes that could not be written wait for a group or a probe, or the
        # writer would do nothing but fail.
        return not self._pending and not (self._notebook and self._ward.health.is_sound)

    def _write(self, batch: Batch) -> None:
        if self._writer is not None:
            self._writing = batch
            self._groups += 1
            self._writer.write(batch)

    def _next_group(self) -> Group:
        pending = self._pending
        group: list[Append] = []
        events, size_bytes = 0, 0
        while pending:
            frames = pending[0].frames
            events += len(frames)
            size_bytes += sum(map(len, frames))
            if group and (events > MOST_GROUP_EVENTS or size_bytes > MOST_GROUP_BYTES):
                return tuple(group)  # the rest is overdue, so it goes next
            group.append(pending.popleft())
        self._urgent = self._closing
        return tuple(group)

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
            self._notebook.stored(len(batch.notes))
        fault = written.unnoted or next(
            (e for e in errors if isinstance(e, StoreUnavailable)), None
        )
        self._ward.turn(SOUND if fault is None else Health("read-only", str(fault)))
        for index, error in refused.items():
            self._refusals.add(group[index].session_id, error)
        swept = self._refusals.sweep(self._pending) if refused else []
        for index, append in enumerate(group):
            error = refused.get(index) if refused else None
            if error is None:
                announce(append)
            else:
                fail(append, error)
        for append in swept:
            fail(append, self._refusals.of(append.session_id) or StoreUnavailable("refused"))
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
        if isinstance(error, StoreDead):
            self._ward.turn(Health("dead", str(error)))
            self._died.set()
        under_way = () if self._writing is None else self._writing.group
        lost = (*under_way, *self._pending)
        self._pending.clear()
        self._writing = None
        self._idle.set()
        if lost or self._notebook:
            log.error("store.ended", cause=str(error), appends=len(lost), notes=len(self._notebook))
        for append in lost:
            fail(append, error)

    async def _close(self) -> None:
        writer, flushed = self._writer, False
        if writer is not None:
            # Shielded because sessions count on what they have submitted; bounded
            # because a hung disk must not hold the process.
            with trio.move_on_after(self.flush_s, shield=True) as flushing:
                await self._flush()
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
        self._closing = self._urgent = True
        self._idle = trio.Event()
        self._proceed()
        await self._idle.wait()

    async def _read(self, what: Callable[[Reads], T]) -> T:
        if self._reads is None:
            raise StoreUnavailable("it has not been opened")
        try:
            with trio.fail_after(self.read_s):
                return await trio.to_thread.run_sync(
                    what, self._reads, abandon_on_cancel=True, limiter=self._readers
                )
        except trio.TooSlowError:
            raise StoreUnavailable(f"a read took longer than {self.read_s:g} s") from None


def _open_both(
    path: Path, locked_s: float
) -> tuple[sqlite3.Connection, sqlite3.Connection, Identity]:
    writing = open_for_writing(path, locked_s=locked_s)
    try:
        return writing, open_for_reading(path, locked_s=locked_s), Identity.of(path)
    except BaseException:
        writing.close()
        raise
