"""Moves the events of sessions in which nothing has happened for long from Redis into files.

A file is whole and on the disk before Redis lets go of anything, and Redis does so only if the
session is as it was read. So whoever dies in between, or comes late, leaves a file that no row
names, and loses nothing. A session goes on behind its file in Redis; when it is moved again, a new
file has all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import Final
from zlib import crc32

import structlog
import trio
from attrs import define, field

from bargein.protocol.ids import NodeId, Seq, SessionId
from bargein.timeline.counters import COLD_BYTES, COLD_FAILURES, COLD_MOVED
from bargein.timeline.redis.cold import Cold
from bargein.timeline.redis.cold_file import ColdDraft, ColdMissing
from bargein.timeline.redis.cold_folder import SHELVES, ColdFolder, Old
from bargein.timeline.redis.keys import COLD, events_key, row_key
from bargein.timeline.redis.lease import Lease, leases
from bargein.timeline.redis.link import Link, LinkLost, Refused
from bargein.timeline.redis.reads import MOST_BYTES, MOST_EVENTS, Reads
from bargein.timeline.redis.rows import StoredRow
from bargein.timeline.redis.scripts import COOL
from bargein.timeline.store import Stored, StoreError, StoreUnavailable

log = structlog.get_logger(__name__)

MOST_AT_ONCE: Final = 4
"""Sessions that a server moves at the same time."""

MOVE_S: Final = 60.0
"""How long moving one may take, from the reading to the answer of Redis."""

DROP_S: Final = 1.0
"""How long taking away a file that is of no use may take."""

KEPT_S: Final = 86_400.0
"""How long a file stays that no row names any more.

Much longer than a move takes, and than a replica of Redis lags that may become the primary."""

LEAST_LOOK_S: Final = 1.0
MOST_LOOK_S: Final = 600.0


class WriteRefused(StoreUnavailable):
    """Redis takes no writes now; what comes next would be written for nothing.

    Attributes:
        is_sure: Whether nothing can have been done by an earlier try.
    """

    def __init__(self, text: str, *, is_sure: bool) -> None:
        super().__init__(text)
        self.is_sure = is_sure


@define(eq=False)
class Mover:
    """Looks for sessions to move, and files to tidy, again and again.  Lives as long as its store.

    All servers of a Redis do so, each for its own sessions and a share of those that are nobody's.

    Attributes:
        link: The connection that writes.
        after_s: How long nothing has happened in a session that is moved; None moves none.
        wait_s: How long it waits for a lost connection.
        now: Tells the time, in seconds of UTC.
    """

    reads: Reads
    link: Link
    folder: ColdFolder
    lease: Lease
    owned: Callable[[], tuple[SessionId, ...]]
    after_s: float | None
    wait_s: float
    now: Callable[[], float] = time.time
    _chance: SystemRandom = field(factory=SystemRandom, init=False)
    _shelf: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._shelf = self._chance.randrange(SHELVES)

    async def run(self) -> None:
        """Look until cancelled, not at the same moment as all others."""
        after_s = self.after_s
        least_s = MOST_LOOK_S if after_s is None else after_s / 10
        look_s = min(max(least_s, LEAST_LOOK_S), MOST_LOOK_S)
        works = (self.tidy,) if after_s is None else (self.sweep, self.tidy)
        while True:
            await trio.sleep(look_s * self._chance.uniform(0.5, 1.5))
            for work in works:
                try:
                    await self.link.until_up()
                    await work()
                except (StoreError, LinkLost) as error:
                    COLD_FAILURES.labels("look").inc()
                    log.warning("cold.put_off", error=str(error))

    async def sweep(self) -> int:
        """Move all that are to be moved now; return how many were.

        Raises:
            StoreError: If it can't be gone on with now; with the first write that Redis refuses
                it ends.
            LinkLost: If Redis does not answer.
        """
        await self.folder.settle(self.link.ask)
        living = {
            node for node, facts in (await leases(self.link.ask)).items() if facts is not None
        }
        count = await self._sweep(self.owned(), living)
        names, after = await self.reads.names_behind(0)
        while names:
            count += await self._sweep(self._share_of(names, living), living)
            names, after = await self.reads.names_behind(after)
        if count:
            log.info("cold.moved", sessions=count)
        return count

    async def move(self, found: StoredRow) -> bool:
        """Move one session whose row was just read; return whether that was done.

        Raises:
            TimelineCorrupt: If it is damaged; all of it stays as it is.
            WriteRefused: If Redis takes no writes now.
            StoreUnavailable: If it can't be done now; nobody knows whether it was done.
        """
        row = found.row
        cold = Cold.new(row.last_seq, self.folder.name)
        with trio.move_on_after(MOVE_S):
            draft = await self.folder.begin(row.session_id, cold)
            last = await self._written(draft, row.last_seq)
            if last is None:
                return False
            frame, size_bytes = last
            try:
                is_done, is_sure = await self._named(found, cold, frame)
            except WriteRefused as refused:
                if refused.is_sure:
                    await self._drop(draft)
                raise
            if is_done:
                COLD_MOVED.inc()
                COLD_BYTES.inc(size_bytes)
            elif is_sure:
                await self._drop(draft)
            return is_done
        raise StoreUnavailable(f"a session could not be moved within {MOVE_S:g} s")

    async def tidy(self) -> int:
        """Take away the old files on the next shelf that no row names; return how many.

        Raises:
            StoreError: If that can't be done now.
            LinkLost: If Redis does not answer.
        """
        await self.folder.settle(self.link.ask)
        folder = self.folder.name
        self._shelf = (self._shelf + 1) % SHELVES
        old = await self.folder.old_files(self._shelf, KEPT_S)
        named: dict[SessionId, list[Old]] = {}
        gone = [file.path for file in old if file.session_id is None and file.is_part]
        for file in old:
            if file.session_id is not None:
                named.setdefault(file.session_id, []).append(file)
        for name, files in named.items():
            gone += await self._unnamed(name, files, folder)
        for path in gone:
            await self.folder.do(partial(path.unlink, missing_ok=True))
        if gone:
            log.info("cold.tidied", files=len(gone))
        return len(gone)

    async def _sweep(self, names: Iterable[SessionId], living: set[NodeId]) -> int:
        rows = [row for row in await self.reads.rows(names) if self._is_due(row, living)]
        limiter, count = trio.CapacityLimiter(MOST_AT_ONCE), 0
        refusals: list[WriteRefused] = []

        async def move(found: StoredRow) -> None:
            nonlocal count
            async with limiter:
                if refusals:
                    return
                try:
                    is_moved = await self.move(found)
                except WriteRefused as refused:
                    refusals.append(refused)
                except StoreError as error:
                    COLD_FAILURES.labels("move").inc()
                    log.warning("cold.not_moved", session=found.row.session_id, error=str(error))
                else:
                    count += is_moved

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(move, row)
        if refusals:
            raise refusals[0]
        return count

    def _share_of(self, names: Iterable[SessionId], living: set[NodeId]) -> list[SessionId]:
        me = self.lease.me
        servers = sorted({*living, me})
        mine = servers.index(me)
        return [name for name in names if crc32(name.encode()) % len(servers) == mine]

    def _is_due(self, found: StoredRow, living: set[NodeId]) -> bool:
        row, me = found.row, self.lease.me
        if found.owner not in {None, me} and found.owner in living:
            return False  # it sees to that
        if self.after_s is None or row.unsettled or row.last_seq <= found.moved:
            return False
        try:
            active_s = datetime.fromisoformat(found.active_at).timestamp()
        except ValueError:
            return False  # whatever this is, it is no age
        return active_s + self.after_s <= self.now()

    async def _written(self, draft: ColdDraft, last: Seq) -> tuple[bytes, int] | None:
        """Write a session up to *last*; return that event, and the size of all in bytes.

        Return None where it has become another meanwhile.
        """
        size_bytes, page = 0, list[Stored]()
        try:
            while draft.last < last:
                page = await self.reads.page(draft.session_id, draft.last, MOST_EVENTS, MOST_BYTES)
                if not page or page[-1].seq > last:
                    await self._drop(draft)
                    return None
                await self.folder.do(partial(draft.add, page))
                size_bytes += sum(len(event.frame) for event in page)
            await self.folder.do(draft.seal)
        except BaseException as error:  # a cancel, too
            await self._drop(draft)
            if isinstance(error, ColdMissing):
                raise StoreUnavailable("a file that was just written is gone") from None
            raise
        return page[-1].frame, size_bytes

    async def _drop(self, draft: ColdDraft) -> None:
        # Shielded because a store that ends should leave nothing behind; else it is tidied later.
        with trio.move_on_after(DROP_S, shield=True), suppress(StoreUnavailable):
            await self.folder.do(draft.drop)

    async def _named(self, found: StoredRow, cold: Cold, frame: bytes) -> tuple[bool, bool]:
        """Let Redis name the file; return whether it does, and whether no more may come of it."""
        row, sent = found.row, list[Cold]()
        keys = [row_key(row.session_id), events_key(row.session_id)]
        before = "" if found.cold is None else found.cold.text
        call = COOL.call(keys, row.epoch, row.last_seq, found.grant.text, before, cold.text, frame)

        async def ask() -> bool:
            sent.append(cold)
            (answer,) = await self.link.ask((call,))
            if isinstance(answer, Refused):
                raise WriteRefused(answer.text, is_sure=len(sent) == 1)
            return answer == 1

        is_done = await self.link.persist(ask, self.wait_s)
        return is_done, len(sent) == 1

    async def _unnamed(self, session_id: SessionId, files: list[Old], folder: str) -> list[Path]:
        """Return those of a session's old files that are not needed any more.

        Of an erased session all of them: a crash has left them. Else those that are older than
        the one that its row names, if that is old, too: a failover may bring back the row of a
        moment ago. None where this Redis has another folder: then it has lost its rows.
        """
        # The folder behind the row: one that has lost all never gets back the name it had.
        look = ((b"HMGET", row_key(session_id), "epoch", "cold"), (b"GET", COLD))
        (epoch, text), now = await self.reads.ask(look)
        if now != folder.encode():
            return []
        if epoch is None and text is None:
            return [file.path for file in files]
        try:
            kept = Cold.of((text or b"").decode()).path(self.folder.root, session_id)
        except ValueError:
            return []
        written_s = next((file.written_s for file in files if file.path == kept), None)
        if written_s is None:
            return []
        return [f.path for f in files if f.path != kept and f.written_s < written_s]
