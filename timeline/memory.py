"""A store that keeps nothing beyond its process: for tests, demos and the simulator.

It groups, orders, refuses and flushes exactly as the durable ones do. A simulator
puts together what it needs: a `Shelf` outlives stores as a disk outlives processes,
`before_commit` makes commits slow or lets them fail, and `crash` cuts the power.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import trio
from attrs import define, evolve, field

from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.timeline.archive import Erasure, Listed, time_of
from bargein.timeline.audit import START, AuditEntry, AuditHead, AuditLine, sealed
from bargein.timeline.health import RETRY_S, SOUND, Health, Ward
from bargein.timeline.notebook import Notebook
from bargein.timeline.outcomes import Refusals, announce, fail, fail_soon
from bargein.timeline.recent import Asked, Recent, RecentPage, page_of, recent_in
from bargein.timeline.store import (
    Append,
    Durability,
    NewSession,
    SeqConflict,
    SessionRow,
    Stored,
    StoreDead,
    StoreError,
    StoreUnavailable,
)

BeforeCommit: TypeAlias = Callable[[Sequence[Append]], Awaitable[None]]
"""Awaited with each group before it is kept: sleep in it, or raise a `StoreError`.

The group is empty where only audit entries without an append are written.
"""


async def at_once(_group: Sequence[Append]) -> None:
    """Let the group be committed without delay; other tasks get their turn first."""
    await trio.lowlevel.checkpoint()


@define(eq=False)
class _Kept:
    row: SessionRow
    place: int
    frames: list[bytes] = field(factory=list[bytes])


@define(eq=False)
class Shelf:
    """What is left of the sessions when a store has gone; holds them by opening order.

    Attributes:
        audit: The lines of the audit.
        asked: The sessions that are still to be erased.
    """

    audit: list[AuditLine] = field(factory=list[AuditLine], init=False)
    asked: dict[SessionId, Erasure] = field(factory=dict[SessionId, Erasure], init=False)
    _opened: int = field(default=0, init=False)
    _kept: dict[SessionId, _Kept] = field(factory=dict[SessionId, _Kept], init=False)

    def keep(self, append: Append) -> None:
        """Add the events of *append* to its session.

        Raises:
            SeqConflict: If they do not follow what is there; nothing is added.
        """
        kept = self._kept.get(append.session_id)
        found = NOTHING if kept is None else kept.row.last_seq
        if append.opened is not None and kept is None:
            kept = _Kept(_new_row(append.opened), self._opened + 1)
        elif append.opened is not None:
            kept = None
        if kept is None or append.first_seq != found + 1:
            raise SeqConflict(append.session_id, Seq(append.first_seq - 1), found)
        self._kept[append.session_id] = kept
        self._opened = max(self._opened, kept.place)
        kept.frames += append.frames
        kept.row = evolve(
            kept.row,
            last_seq=append.last_seq,
            unsettled=append.unsettled,
            closed=kept.row.closed or append.closed,
        )
        self.note(append.audit)

    def note(self, entries: Iterable[AuditEntry]) -> None:
        """Add *entries* to the audit."""
        self.audit += sealed(self.audit_head, entries)

    @property
    def audit_head(self) -> AuditHead:
        """The end of the audit."""
        return self.audit[-1].head if self.audit else START

    def rows(self) -> list[SessionRow]:
        """List the index rows of all sessions, oldest first."""
        return [kept.row for kept in self._kept.values()]

    def row(self, session_id: SessionId) -> SessionRow | None:
        """Return the index row of a session, or None if it is not here."""
        kept = self._kept.get(session_id)
        return None if kept is None else kept.row

    def erase(self, session_id: SessionId) -> bool:
        """Forget a session whole; return whether there was one."""
        self.asked.pop(session_id, None)
        return self._kept.pop(session_id, None) is not None

    def listed(self, after: int) -> list[Listed]:
        """List the sessions behind place *after*, oldest first."""
        return [
            Listed(kept.place, kept.row, time_of(kept.frames[-1]) or kept.row.opened_at)
            for kept in self._kept.values()
            if kept.place > after
        ]

    def recent(self, principal: str, tenant: str | None) -> Iterator[Recent]:
        """List the sessions of a principal, in any order."""
        for kept in self._kept.values():
            if (kept.row.principal, kept.row.tenant) == (principal, tenant):
                last_at = time_of(kept.frames[-1]) or kept.row.opened_at
                yield recent_in(kept.row, last_at, kept.frames)

    def events(self, session_id: SessionId, after: Seq, limit: int) -> list[Stored]:
        """List at most *limit* events of a session behind *after*."""
        kept = self._kept.get(session_id)
        frames = kept.frames[after : after + limit] if kept is not None else []
        return [Stored(Seq(seq), frame) for seq, frame in enumerate(frames, after + 1)]


@define(eq=False)
class MemoryStore:
    """Keeps timelines on a shelf in memory; see `Store` for what it promises."""

    shelf: Shelf = field(factory=Shelf)
    before_commit: BeforeCommit = at_once
    _pending: deque[Append] = field(factory=deque[Append], init=False)
    _work: trio.Event = field(factory=trio.Event, init=False)
    _notebook: Notebook = field(factory=Notebook, init=False)
    _ward: Ward = field(factory=Ward, init=False)
    _refusals: Refusals = field(factory=Refusals, init=False)
    _closed: bool = field(default=False, init=False)
    _crashed: bool = field(default=False, init=False)

    @property
    def durability(self) -> Durability:
        """Say that nothing here outlives the process."""
        return "none"

    @property
    def health(self) -> Health:
        """Say whether the last commit, if it was lately, has failed; see `Store.health`."""
        return self._ward.health

    async def until_sound(self) -> None:
        """Wait until commits are tried again; see `Store.until_sound`."""
        await self._ward.until(sound=True)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit groups until cancelled, then what is pending; see `Store.run`."""
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._convalesce)
                while True:
                    await self._work.wait()
                    await self._commit_group()
        finally:
            # Nothing in it waits, so there is nothing to shield.
            while self._pending:
                self._settle(len(self._pending), None)
            if not self._crashed:
                self._write_notes()
            self._closed = True

    async def death(self) -> StoreDead:
        """Wait for ever: memory does not fail."""
        await trio.sleep_forever()

    def submit(self, append: Append) -> None:
        """Take *append* for the next group; see `Store.submit`."""
        if not append.frames:
            raise ValueError(f"{append.session_id}: an append needs at least one frame")
        if self._crashed:
            return
        if refusal := self._refusal(append.session_id):
            fail_soon(append, refusal)
            return
        self._pending.append(append)
        self._work.set()

    def record_audit(self, entries: Iterable[AuditEntry]) -> None:
        """Take *entries* for the next group's audit; see `Store.record_audit`."""
        if not (self._crashed or self._closed):
            self._notebook.add(entries)
            self._work.set()

    async def row(self, session_id: SessionId) -> SessionRow | None:
        """Read a session's index row; see `Store.row`."""
        await trio.lowlevel.checkpoint()
        self._refusals.lift(session_id)
        return self.shelf.row(session_id)

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        """Read the events behind *after*; see `Store.read`."""
        await trio.lowlevel.checkpoint()
        page: list[Stored] = []
        for event in self.shelf.events(session_id, after, limit):
            most_bytes -= len(event.frame)
            if page and most_bytes < 0:
                break
            page.append(event)
        return page

    async def unsettled(self) -> list[SessionId]:
        """List the sessions to recover; see `Store.unsettled`."""
        await trio.lowlevel.checkpoint()
        return [row.session_id for row in self.shelf.rows() if row.unsettled]

    async def sessions_of(
        self, principal: str, tenant: str | None, *, limit: int
    ) -> list[SessionRow]:
        """List the sessions of a principal; see `Store.sessions_of`."""
        await trio.lowlevel.checkpoint()
        owner = (principal, tenant)
        rows = [row for row in self.shelf.rows() if (row.principal, row.tenant) == owner]
        return rows[::-1][:limit]

    async def sessions(self, after: int, *, limit: int) -> list[Listed]:
        """List all sessions, oldest first; see `Archive.sessions`."""
        await trio.lowlevel.checkpoint()
        return self.shelf.listed(after)[:limit]

    async def recent_of(self, asked: Asked) -> RecentPage:
        """List a principal's sessions by activity; see `Archive.recent_of`."""
        await trio.lowlevel.checkpoint()
        return page_of(self.shelf.recent(asked.principal, asked.tenant), asked)

    async def session_names(self) -> list[SessionId]:
        """List all sessions by name; see `Archive.session_names`."""
        return [listed.row.session_id for listed in self.shelf.listed(0)]

    async def session_ids_of(self, principal: str, tenant: str | None) -> list[SessionId]:
        """List the sessions of a principal by name; see `Archive.session_ids_of`."""
        rows = await self.sessions_of(principal, tenant, limit=len(self.shelf.rows()))
        return [row.session_id for row in reversed(rows)]

    async def size_bytes(self, session_id: SessionId) -> int:
        """Add up a session's frames; see `Archive.size_bytes`."""
        await trio.lowlevel.checkpoint()
        row = self.shelf.row(session_id)
        events = [] if row is None else self.shelf.events(session_id, NOTHING, row.last_seq)
        return sum(len(event.frame) for event in events)

    async def erase(self, session_id: SessionId, audit: tuple[AuditEntry, ...] = ()) -> bool:
        """Erase a session whole; see `Archive.erase`."""
        await trio.lowlevel.checkpoint()
        if self._crashed or self._closed:
            raise StoreUnavailable("it has been closed")
        found = self.shelf.erase(session_id)
        if found:
            self.shelf.note(audit)
        return found

    async def ask_erasure(self, erasures: tuple[Erasure, ...]) -> None:
        """Leave word of sessions to erase; see `Archive.ask_erasure`."""
        await trio.lowlevel.checkpoint()
        for erasure in erasures:
            self.shelf.asked.setdefault(erasure.session_id, erasure)

    async def erasures_asked(self) -> list[Erasure]:
        """List what is still to be erased; see `Archive.erasures_asked`."""
        await trio.lowlevel.checkpoint()
        asked = self.shelf.asked.values()
        return sorted(asked, key=lambda erasure: (erasure.asked_at, erasure.session_id))

    async def audit_lines(self, after: int, *, limit: int) -> list[AuditLine]:
        """Read lines of the audit; see `Archive.audit_lines`."""
        await trio.lowlevel.checkpoint()
        return self.shelf.audit[after : after + limit]

    async def audit_head(self) -> AuditHead | None:
        """Return the end of the audit; see `Archive.audit_head`."""
        await trio.lowlevel.checkpoint()
        return self.shelf.audit_head

    def crash(self, *, keep: int = 0) -> None:
        """Cut the power: of the appends in flight the first *keep* reach the shelf.

        From here on the store does nothing and calls nobody, because the `finally`
        blocks of a cancelled world run on. Open another one on the same shelf.
        """
        for append in list(self._pending)[:keep]:
            if self._refusals.of(append.session_id) is None:
                try:
                    self.shelf.keep(append)
                except SeqConflict as error:
                    self._refusals.add(append.session_id, error)
        self._pending.clear()
        self._crashed = True

    async def _commit_group(self) -> None:
        # The group stays in the queue until it is kept, so that a cancelled run
        # still finds it there to flush, and a crash finds it there to lose.
        group = tuple(self._pending)
        failure: StoreError | None = None
        try:
            if group or self._notebook:
                await self.before_commit(group)
        except StoreError as error:
            failure = error
        if not self._crashed:
            self._settle(len(group), failure)
            if failure is None:
                self._ward.turn(SOUND)
                self._write_notes()
            elif isinstance(failure, StoreUnavailable):
                self._ward.turn(Health("read-only", str(failure)))
        if not (self._pending or (self._notebook and self._ward.health.is_sound)):
            self._work = trio.Event()

    def _write_notes(self) -> None:
        while notes := self._notebook.first():
            self.shelf.note(notes)
            self._notebook.stored(len(notes))

    async def _convalesce(self) -> None:
        # Whether a commit would succeed is known to `before_commit` alone, so this
        # one has to hope.
        while True:
            await self._ward.until(sound=False)
            await trio.sleep(RETRY_S)
            self._ward.turn(SOUND)
            self._work.set()

    def _settle(self, count: int, failure: StoreError | None) -> None:
        outcomes = [self._outcome(self._pending.popleft(), failure) for _ in range(count)]
        if any(error is not None for _, error in outcomes):
            swept = self._refusals.sweep(self._pending)
            outcomes += [(append, self._refusals.of(append.session_id)) for append in swept]
        for append, error in outcomes:
            if error is None:
                announce(append)
            else:
                fail(append, error)

    def _outcome(
        self, append: Append, failure: StoreError | None
    ) -> tuple[Append, StoreError | None]:
        error = self._refusals.of(append.session_id) or failure
        if error is None:
            try:
                self.shelf.keep(append)
            except SeqConflict as conflict:
                error = conflict
        if error is not None:
            self._refusals.add(append.session_id, error)
        return append, error

    def _refusal(self, session_id: SessionId) -> StoreError | None:
        if self._closed:
            return StoreUnavailable("it has been closed")
        return self._refusals.of(session_id)


def _new_row(opened: NewSession) -> SessionRow:
    return SessionRow(
        session_id=opened.session_id,
        principal=opened.principal,
        tenant=opened.tenant,
        epoch=opened.epoch,
        epoch_changed=False,
        last_seq=NOTHING,
        closed=False,
        unsettled=False,
        opened_at=opened.opened_at,
    )
