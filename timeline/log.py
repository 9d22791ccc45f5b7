"""The live timeline of one session: what was appended, what is durable, who follows it.

Events are appended in memory and handed to the store; they become visible when
the store has them.  What one commit makes visible goes to each follower in one
call.  The newest events stay in memory as encoded frames; older ones are read
back from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import trio
from attrs import define, field

from bargein.protocol.ids import NOTHING, Epoch, Seq, SessionId
from bargein.timeline.audit import AuditEntry
from bargein.timeline.store import Append, NewSession, Store, Stored, StoreError

MOST_TAIL_EVENTS: Final = 4096
MOST_TAIL_BYTES: Final = 1024 * 1024
_TRIM_EVENTS: Final = 256  # the tail is cut in steps, so that a cut is rare and cheap

MOST_BACKLOG_EVENTS: Final = 1000
"""Events that may wait for the store before the writer waits too."""


class Follower(Protocol):
    """Reads the timeline from a place of its own."""

    def advance(self) -> None:
        """Take what has become visible.  Never waits and never raises."""


@define(eq=False)
class Timeline:
    """One session's events, from the writer to its followers.

    Lives as long as the session is in memory.  `head` is the seq of the last
    event appended, `durable` of the last one that the store has.  `size_bytes` is
    the sum of all frames, if whoever revives the session starts it with what it read.

    Attributes:
        on_settled: Called when the store has all that was appended, after the followers.
            Must not wait, and may append.
    """

    session_id: SessionId
    epoch: Epoch
    _store: Store
    head: Seq = NOTHING
    durable: Seq = NOTHING
    epoch_changed: bool = False
    most_tail_events: int = MOST_TAIL_EVENTS
    most_tail_bytes: int = MOST_TAIL_BYTES
    size_bytes: int = 0
    failure: StoreError | None = field(default=None, init=False)
    on_settled: Callable[[], None] | None = field(default=None, init=False)
    # The frames alone: their seqs follow from their places, and a thousand sessions
    # keep millions of them, which the collector had better not look at.
    _tail: list[bytes] = field(factory=list[bytes], init=False)
    _tail_bytes: int = field(default=0, init=False)
    _followers: list[Follower] = field(factory=list[Follower], init=False)
    _waiting: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    _on_failed: list[trio.CancelScope] = field(factory=list[trio.CancelScope], init=False)

    def append(
        self,
        frames: Sequence[bytes],
        *,
        urgent: bool,
        unsettled: bool,
        closed: bool = False,
        opened: NewSession | None = None,
        audit: tuple[AuditEntry, ...] = (),
    ) -> None:
        """Hand *frames*, which follow `head`, to the store.  Never waits."""
        self._tail.extend(frames)
        size_bytes = len(frames[0]) if len(frames) == 1 else sum(map(len, frames))
        self._tail_bytes += size_bytes
        self.size_bytes += size_bytes
        first_seq = Seq(self.head + 1)
        self.head = Seq(self.head + len(frames))
        self._store.submit(
            Append(
                session_id=self.session_id,
                first_seq=first_seq,
                frames=tuple(frames),
                urgent=urgent,
                unsettled=unsettled,
                closed=closed,
                opened=opened,
                audit=audit,
                on_durable=self._became_durable,
                on_failed=self._failed,
            )
        )

    def take_in(self, frames: Sequence[bytes]) -> None:
        """Show what another process appended: *frames*, which follow `head`, from the store."""
        self._tail.extend(frames)
        size_bytes = sum(map(len, frames))
        self._tail_bytes += size_bytes
        self.size_bytes += size_bytes
        self.head = Seq(self.head + len(frames))
        self._became_durable(self.head)

    def give_up(self, error: StoreError) -> None:
        """Append no more, since somebody else may: what the store has stays visible."""
        self._failed(error)

    @property
    def is_writable(self) -> bool:
        """Whether what is appended now is likely to be stored."""
        return self._store.health.is_sound

    def audit(self, entry: AuditEntry) -> None:
        """Put on the audit what has no event; durable with the next commit."""
        self._store.record_audit((entry,))

    @property
    def has_room(self) -> bool:
        """Whether little of this session is waiting for the store."""
        return self.failure is None and self.head - self.durable < MOST_BACKLOG_EVENTS

    async def room(self) -> None:
        """Wait while too much of this session is waiting for the store.

        Raises:
            StoreError: If the store has failed; the session cannot go on.
        """
        while self.failure is None and not self.has_room:
            await self._waiting.park()
        if self.failure is not None:
            raise self.failure

    async def until_durable(self, seq: Seq) -> None:
        """Wait until the store has the event at *seq*.

        Raises:
            StoreError: If it never will.
        """
        while self.durable < seq and self.failure is None:
            await self._waiting.park()
        if self.durable < seq and self.failure is not None:
            raise self.failure

    def visible_after(self, seq: Seq, most: int) -> list[bytes] | None:
        """Return at most *most* visible events after *seq*, the oldest first, as frames.

        None if they are not in memory any more: read them from the store.
        """
        first = self.head + 1 - len(self._tail)
        if seq + 1 < first:
            return None if seq < self.durable else []
        start = seq + 1 - first
        return self._tail[start : min(start + most, self.durable + 1 - first)]

    async def read_back(self, after: Seq, *, limit: int, most_bytes: int) -> list[Stored]:
        """Read durable events after *after* from the store, oldest first.

        Raises:
            StoreError: If they can't be read, or are damaged.
        """
        return await self._store.read(self.session_id, after, limit=limit, most_bytes=most_bytes)

    def follow(self, follower: Follower) -> None:
        """Tell *follower* from now on whenever events become visible."""
        self._followers.append(follower)

    def unfollow(self, follower: Follower) -> None:
        """Tell *follower* no more."""
        if follower in self._followers:
            self._followers.remove(follower)

    def cancel_on_failure(self, scope: trio.CancelScope) -> None:
        """Cancel *scope* if the store fails this session: it can't go on without."""
        self._on_failed.append(scope)

    def _became_durable(self, seq: Seq) -> None:
        self.durable = seq
        for follower in tuple(self._followers):
            follower.advance()
        if self._waiting:
            self._waiting.unpark_all()
        if seq == self.head and self.on_settled is not None:
            self.on_settled()
        if len(self._tail) > self.most_tail_events or self._tail_bytes > self.most_tail_bytes:
            self._trim()

    def _trim(self) -> None:
        first = self.head + 1 - len(self._tail)
        while (
            len(self._tail) > self.most_tail_events - _TRIM_EVENTS
            or self._tail_bytes > self.most_tail_bytes
        ):
            step = min(_TRIM_EVENTS, self.durable + 1 - first)
            if step <= 0:
                return
            self._tail_bytes -= sum(map(len, self._tail[:step]))
            del self._tail[:step]
            first += step

    def _failed(self, error: StoreError) -> None:
        self.failure = error
        self._waiting.unpark_all()
        for scope in self._on_failed:
            scope.cancel()
