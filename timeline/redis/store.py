"""The store on a Redis server: what it has acknowledged is durable, and nothing before."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.archive import Erasure, Listed
from bargein.timeline.audit import AuditEntry, AuditHead, AuditLine
from bargein.timeline.health import SOUND, Health, Ward
from bargein.timeline.outcomes import Refusals, fail, fail_soon
from bargein.timeline.recent import Asked, RecentPage
from bargein.timeline.redis.care import Care
from bargein.timeline.redis.chain import HEAD_COMMANDS, Chain, lines_in, noted_head
from bargein.timeline.redis.changes import Changes
from bargein.timeline.redis.cold_folder import ColdFolder, clear_files, open_files
from bargein.timeline.redis.cold_mover import Mover
from bargein.timeline.redis.copies import Copies
from bargein.timeline.redis.door import Door
from bargein.timeline.redis.entrance import Entrance
from bargein.timeline.redis.keys import ASKED, LINES, SERVING, is_storable, owner_key
from bargein.timeline.redis.known import Known
from bargein.timeline.redis.lease import Lease, leases
from bargein.timeline.redis.link import Link, LinkLost
from bargein.timeline.redis.owners import Owners
from bargein.timeline.redis.queue import Queue
from bargein.timeline.redis.reads import Reads
from bargein.timeline.redis.writer import Writer
from bargein.timeline.redis_address import Address
from bargein.timeline.store import (
    Append,
    Durability,
    SessionRow,
    Stored,
    StoreDead,
    StoreError,
    StoreUnavailable,
)

log = structlog.get_logger(__name__)

HOLD_S: Final = 2.0
"""How long events wait unseen for a Redis that is away, before their turn fails."""

CLOSE_S: Final = 1.0
"""How long saying goodbye to Redis may take."""


@define(eq=False)
class RedisStore:
    """Keeps timelines on a Redis server; see `Store` for what it promises.

    A Redis that is away makes it `read-only`: appends wait for `hold_s`, of a session at most
    1,000 events, and then fail; it connects again by itself. Where Redis has lost events that it
    had acknowledged, the session has a new epoch as soon as its row is read.

    Attributes:
        address: Where Redis is.
        lease: By which other servers know that this one serves, and under which name.
        is_server: Whether sessions are served from it. A visitor may look and erase; it gives
            no session a new epoch.
        linger_s: How long an append that isn't urgent waits for others to share a round trip.
        replicas: How many replicas of Redis have to acknowledge urgent appends before these count
            as durable.
        hold_s: How long an append, a read or a change waits for a Redis that is away.
        open_s: How long opening may take.
        flush_s: How long an orderly end may take to write what is pending.
        cold: Where the files of cold sessions are; without it this Redis must have none.
        cold_after_s: How long nothing has happened in a session whose events are moved there;
            None moves none.
        owners: Says which server may append to a session; see `Ownership`.
    """

    address: Address
    lease: Lease = field(factory=Lease, kw_only=True)
    is_server: bool = field(default=True, kw_only=True)
    linger_s: float = field(default=0.002, kw_only=True)
    replicas: int = field(default=0, kw_only=True)
    hold_s: float = field(default=HOLD_S, kw_only=True)
    open_s: float = field(default=5.0, kw_only=True)
    flush_s: float = field(default=10.0, kw_only=True)
    cold: ColdFolder | None = field(default=None, kw_only=True)
    cold_after_s: float | None = field(default=None, kw_only=True)

    owners: Owners = field(init=False)
    mover: Mover | None = field(default=None, init=False)
    _ward: Ward = field(factory=Ward, init=False)
    _refusals: Refusals = field(factory=Refusals, init=False)
    _known: Known = field(factory=Known, init=False)
    _door: Door = field(init=False)
    _writing: Link = field(init=False)
    _reading: Link = field(init=False)
    _reads: Reads = field(init=False)
    _chain: Chain = field(init=False)
    _queue: Queue = field(init=False)
    _writer: Writer = field(init=False)
    _changes: Changes = field(init=False)
    _care: Care = field(init=False)
    _entrance: Entrance = field(init=False)
    _ended: StoreError | None = field(default=None, init=False)
    _is_open: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        door = self._door = Door(self.lease if self.is_server else None, self._known.doubt_all)
        self._writing = Link(self.address, self._greet, self._is_down, self.hold_s)
        self._reading = Link(self.address, door.greet_reader, _leave_it, self.hold_s)
        self._reads = Reads(self._reading, self.hold_s, self.cold)
        clear = partial(clear_files, self.cold, self._writing.ask)
        self._chain = Chain(self.lease.me, self._writing.ask, clear)
        self._queue = Queue(self.linger_s, self.hold_s)
        copies = Copies(self._writing, self._ward, self.replicas)
        self._writer = Writer(
            self._writing,
            self._queue,
            self._chain,
            self._known,
            self._ward,
            self._refusals,
            copies,
            lambda: door.history,
            door.hold,
        )
        self.owners = Owners(
            self._writing,
            self.lease,
            self._known,
            self._refusals,
            self.hold_s,
            lambda: door.history,
        )
        self._care = Care(self._writing, self._chain, self._writer, self._ward, copies)
        self._changes = Changes(
            self._writing,
            self._chain,
            self._known,
            lambda: door.history,
            self._care.on_rest,
            self.hold_s,
        )
        self._entrance = Entrance(
            self._reads,
            self._changes,
            self.owners,
            self._known,
            self._refusals,
            door.lease,
            lambda: door.history,
            lambda: door.history_read,
            lambda: self._ended is None,
        )
        if self.cold is not None:
            ends = (self._reads, self._writing, self.cold, self.lease)
            self.mover = Mover(*ends, lambda: self._known.owned, self.cold_after_s, self.hold_s)

    @property
    def durability(self) -> Durability:
        """Say who has acknowledged what is visible."""
        return f"replicas:{self.replicas}" if self.replicas else "server"

    @property
    def health(self) -> Health:
        """Say whether it can write at the moment; see `Store.health`."""
        return self._ward.health

    async def until_sound(self) -> None:
        """Wait until it can write; see `Store.until_sound`."""
        await self._ward.until(sound=True)

    @property
    def groups_written(self) -> int:
        """Count the groups sent to Redis so far; appends share them."""
        return self._writer.groups

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, write until cancelled, flush and hang up; see `Store.run`."""
        failure: StoreError | None = None
        async with trio.open_nursery() as nursery:
            # Shielded because the flush needs them; ended below, when it is over.
            links = [trio.CancelScope(shield=True), trio.CancelScope(shield=True)]
            for link, scope in zip((self._writing, self._reading), links, strict=True):
                nursery.start_soon(_kept, link, scope)
            try:
                await self._open()
                task_status.started()
                await self._work()
            except StoreError as error:
                failure = error
                self._end(error)
            finally:
                await self._close()
                for scope in links:
                    scope.cancel(reason="the store has been closed")
        if failure is not None:
            raise failure

    async def death(self) -> StoreDead:
        """Wait for ever: whatever becomes of Redis, it may come back; see `Store.death`."""
        return await trio.sleep_forever()

    def submit(self, append: Append) -> None:
        """Take *append* for the next group; see `Store.submit`."""
        if not append.frames:
            raise ValueError(f"{append.session_id}: an append needs at least one frame")
        refusal = self._ended or self._refusals.of(append.session_id)
        if refusal is None:
            self._writer.submit(append)
        else:
            fail_soon(append, refusal)

    def record_audit(self, entries: Iterable[AuditEntry]) -> None:
        """Take *entries* for the audit; see `Store.record_audit`."""
        if self._ended is None:
            self._queue.notebook.add(entries)
            if self._queue.notebook and self._ward.health.is_sound:
                self._queue.wake()

    async def row(self, session_id: SessionId) -> SessionRow | None:
        """Read a session's index row; see `Store.row`.

        A session that was refused is fenced first: what is still on its way comes too late. While
        nothing can be written that has to wait, so it can be read and stays refused. So does one
        that another server has taken over, until it is claimed.
        """
        return await self._entrance.row(session_id)

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        """Read the events behind *after*, checked; see `Store.read`."""
        return await self._reads.page(session_id, after, limit, most_bytes)

    async def unsettled(self) -> list[SessionId]:
        """List the sessions to recover; see `Store.unsettled`."""
        return await self._reads.unsettled()

    async def sessions_of(
        self, principal: str, tenant: str | None, *, limit: int
    ) -> list[SessionRow]:
        """List the sessions of a principal; see `Store.sessions_of`."""
        return [found.row for found in await self._reads.of_owner(principal, tenant, limit)]

    async def sessions(self, after: int, *, limit: int) -> list[Listed]:
        """List all sessions, oldest first; see `Archive.sessions`."""
        return await self._reads.listed(after, limit)

    async def recent_of(self, asked: Asked) -> RecentPage:
        """List a principal's sessions by activity; see `Archive.recent_of`."""
        return await self._reads.recent(asked)

    async def session_names(self) -> list[SessionId]:
        """List all sessions by name; see `Archive.session_names`."""
        return await self._reads.all_names()

    async def session_ids_of(self, principal: str, tenant: str | None) -> list[SessionId]:
        """List the sessions of a principal by name; see `Archive.session_ids_of`."""
        return await self._reads.names(b"ZRANGE", owner_key(principal, tenant), 0, -1)

    async def size_bytes(self, session_id: SessionId) -> int:
        """Return the size of a session's frames, which its row counts; see `Archive.size_bytes`."""
        found = await self._reads.row(session_id)
        return 0 if found is None else found.size_bytes

    async def erase(self, session_id: SessionId, audit: tuple[AuditEntry, ...] = ()) -> bool:
        """Erase a session whole; see `Archive.erase`.

        Redis frees the memory in the background; its files on disk lose it with their next
        rewrite (`BGREWRITEAOF`, `BGSAVE`).
        """
        self._raise_if_ended()
        return is_storable(session_id) and await self._changes.erase(session_id, audit)

    async def ask_erasure(self, erasures: tuple[Erasure, ...]) -> None:
        """Leave word of sessions to erase; see `Archive.ask_erasure`."""
        self._raise_if_ended()
        await self._changes.ask_erasure(erasures)

    async def erasures_asked(self) -> list[Erasure]:
        """List what is still to be erased; see `Archive.erasures_asked`."""
        (flat,) = await self._reads.ask(((b"HGETALL", ASKED),))
        erasures = [
            Erasure(SessionId(name.decode()), *map(str, json.loads(word)))
            for name, word in flat.items()
        ]
        return sorted(erasures, key=lambda erasure: (erasure.asked_at, erasure.session_id))

    async def audit_lines(self, after: int, *, limit: int) -> list[AuditLine]:
        """Read lines of the audit; see `Archive.audit_lines`."""
        command = (b"XRANGE", LINES, after + 1, "+", "COUNT", limit)
        (answer,) = await self._reads.ask((command,))
        return lines_in(answer)

    async def audit_head(self) -> AuditHead | None:
        """Read what was noted of the last line; see `Archive.audit_head`."""
        return noted_head(await self._reads.ask(HEAD_COMMANDS))

    async def is_served(self) -> bool:
        """Say whether a server serves from here, or did a moment ago.

        Raises:
            StoreUnavailable: If that can't be known now.
        """
        said = await leases(self._reads.ask)
        (older,) = await self._reads.ask(((b"EXISTS", SERVING),))
        return older == 1 or any(facts is not None for facts in said.values())

    async def _open(self) -> None:
        with trio.move_on_after(self.open_s):
            await self._writing.until_first()
            await self._reading.until_first()
            await open_files(self.cold, self._reads.ask, is_server=self.is_server)
            self._is_open = True
            return
        link = self._reading if self._writing.is_up else self._writing
        raise StoreUnavailable(link.reason)

    async def _work(self) -> None:
        self._writer.rest.set()  # what a crash may have left
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._writer.run)
            nursery.start_soon(self._door.keep, self._writing)
            nursery.start_soon(self._care.convalesce)
            nursery.start_soon(self.owners.run)
            if self.is_server:
                nursery.start_soon(self._care.sweep)
                if self.mover is not None:
                    nursery.start_soon(self.mover.run)

    async def _greet(self, ask: Any) -> None:
        before = self._door.history
        await self._door.greet_writer(ask)
        if before not in {"", self._door.history}:
            log.warning("redis.restarted_or_failed_over", address=str(self.address))
            self._known.distrust()
            self.owners.distrust()
        if self._door.history_read not in {"", self._door.history}:
            self._reading.drop("Redis has restarted or failed over")
        if self._ended is None:
            self._ward.turn(SOUND)

    def _is_down(self, reason: str) -> None:
        if self._is_open and self._ended is None:
            self._ward.turn(Health("read-only", str(StoreUnavailable(reason))))

    def _raise_if_ended(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _end(self, error: StoreError) -> None:
        """Fail everything that is under way and all that comes later."""
        if self._ended is not None:
            return
        self._ended = error
        lost, notes = self._writer.clear(), len(self._queue.notebook)
        if lost or notes:
            log.error("store.ended", cause=str(error), appends=len(lost), notes=notes)
        for held in lost:
            fail(held.append, error)

    async def _close(self) -> None:
        flushed = True
        if self._is_open and self._ended is None:
            # Shielded because sessions count on what they have submitted; bounded because a Redis
            # that hangs must not hold the process.
            with trio.move_on_after(self.flush_s, shield=True) as flushing:
                await self._writer.flush()
            flushed = not flushing.cancelled_caught
        why = "it has been closed" if flushed else "it was not flushed in time"
        self._end(StoreUnavailable(why))
        # Shielded and bounded likewise: the others would wait for the end of this one's lease.
        with trio.move_on_after(CLOSE_S, shield=True):
            with suppress(LinkLost):
                await self.owners.close()
                await self._door.leave(self._writing)


def _leave_it(_reason: str) -> None:
    """Do nothing: reads say themselves that they fail."""


async def _kept(link: Link, scope: trio.CancelScope) -> None:
    with scope:
        await link.run()
