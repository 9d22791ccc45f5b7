"""The port of the timeline's stores: what a session appends to and reads from.

An event is kept as the exact bytes of its JSON frame. They are encoded once and
shared by the store and the connections, so a replay is byte-identical and needs
no decoding. Everything here is called in the trio thread.

Errors, by whose turn it is to act::

    StoreError
     ├── SeqConflict        the session: give up, another writer owns it
     │    └── TakenOver     its clients: go on at the server that has taken it over
     ├── StoreUnavailable   whoever asked: try again (`retryable`)
     │    └── StoreUnsuitable the operator: name another file
     ├── StoreDead          the process: end it, and start anew
     │    └── StoreUnopened the operator: mend its path or its file
     ├── TimelineCorrupt    the operator: restore this session
     ├── AuditCorrupt       the operator: look at the audit
     ├── DatabaseDamaged    the operator: restore the file
     └── SchemaTooNew       the operator: run newer code
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, Protocol, TypeAlias

import trio
from attrs import define, frozen

from bargein.protocol.ids import Epoch, NodeId, Seq, SessionId
from bargein.timeline.audit import AuditEntry
from bargein.timeline.health import Health

Durability: TypeAlias = str
"""What an event has survived once it is visible, one of `fsync`, `server`, `none` and `replicas:N`:
see `hello.limits.durability`."""


class StoreError(Exception):
    """Base of all that a store refuses or fails to do.

    Attributes:
        retryable: Whether the same call may succeed later without anybody's help.
    """

    retryable: ClassVar[bool] = False


class SeqConflict(StoreError):
    """Another writer appended first, or a seq was left out: nothing was stored.

    Attributes:
        session_id: The session whose append was refused.
        expected: Last seq that the writer of the append knew of.
        found: Last seq in the store.
    """

    def __init__(self, session_id: SessionId, expected: Seq, found: Seq) -> None:
        super().__init__(
            f"{session_id}: expected to append after seq {expected}, found seq {found}"
        )
        self.session_id = session_id
        self.expected = expected
        self.found = found


class TakenOver(SeqConflict):
    """Another server has taken the session over: nothing was stored, its clients belong there.

    Attributes:
        owner: The server that owns it now.
    """

    def __init__(self, session_id: SessionId, expected: Seq, found: Seq, owner: NodeId) -> None:
        super().__init__(session_id, expected, found)
        self.args = (f"{session_id}: another server has taken it over: {owner}",)
        self.owner = owner


class StoreUnavailable(StoreError):
    """The store can't do this now; what is stored stays as it is.

    Attributes:
        reason: What stands in the way, as a few words.
    """

    retryable: ClassVar[bool] = True

    def __init__(self, reason: str) -> None:
        super().__init__(f"the store is unavailable: {reason}")
        self.reason = reason


class StoreUnsuitable(StoreUnavailable):
    """The file, or where it lies, is nothing to keep timelines in: name another one."""

    retryable: ClassVar[bool] = False


class StoreDead(StoreError):
    """Writing failed in a way after which nobody knows what reached the disk.

    It is never retried: a second fsync may succeed without the lost pages. Every
    pending and later append fails with this; what was shown is still there.

    Attributes:
        cause: What the store said, as a few words.
    """

    sentence: ClassVar[str] = "the store is dead and needs a new process: {}"

    def __init__(self, cause: str) -> None:
        super().__init__(self.sentence.format(cause))
        self.cause = cause


class StoreUnopened(StoreDead):
    """It could not be opened, so it never lived: mend its path or its file, and start again."""

    sentence: ClassVar[str] = "the store can't be opened: {}"


class TimelineCorrupt(StoreError):
    """What is stored of a session is damaged; the damaged event is never served.

    Attributes:
        session_id: The damaged session; the others are not concerned.
        seq: The first event that is damaged or missing; 0 for the session's own row.
    """

    def __init__(self, session_id: SessionId, seq: Seq) -> None:
        what = f"seq {seq} is damaged or missing" if seq else "its index row is damaged"
        super().__init__(f"{session_id}: {what}; restore it from a backup")
        self.session_id = session_id
        self.seq = seq


class AuditCorrupt(StoreError):
    """The end of the audit is damaged, so nothing that has to be audited is stored.

    Appends without audit entries go on. `bargein audit verify` says what is wrong.
    """

    def __init__(self) -> None:
        super().__init__("the end of the audit is damaged; see `bargein audit verify`")


class DatabaseDamaged(StoreError):
    """Work on the whole store met a page that can't be right; it was not done.

    Sessions on other pages go on. An operator has to restore the file.
    """

    def __init__(self) -> None:
        super().__init__("a page of the database is damaged; restore the file from a backup")


class SchemaTooNew(StoreError):
    """The store was written by newer code; it has been left untouched.

    Attributes:
        found: Schema version of the store.
        known: Newest schema version that this code can read.
    """

    def __init__(self, found: int, known: int) -> None:
        super().__init__(
            f"the store has schema version {found}, this code knows up to version {known}: "
            f"run the newer code again"
        )
        self.found = found
        self.known = known


@frozen
class NewSession:
    """What a session is created with; none of it changes within an epoch.

    Raises:
        UnicodeEncodeError: If a text holds a lone surrogate, which JSON allows and no
            store can keep; refuse whoever sent it.
    """

    session_id: SessionId
    principal: str
    tenant: str | None
    epoch: Epoch
    opened_at: str

    def __attrs_post_init__(self) -> None:
        for text in (self.session_id, self.principal, self.tenant or "", self.epoch):
            text.encode()


@frozen
class SessionRow:
    """The index row of a session, as of the last durable append."""

    session_id: SessionId
    principal: str
    tenant: str | None
    epoch: Epoch
    epoch_changed: bool
    last_seq: Seq
    closed: bool
    unsettled: bool
    opened_at: str


@frozen
class Stored:
    """One durable event: the bytes that go on the wire, and where they belong."""

    seq: Seq
    frame: bytes


# Not frozen, which makes it take three times as long to make: there is one for each piece of text.
@define(eq=False, kw_only=True)
class Append:
    """Events of one session, to be stored together and in order.

    Attributes:
        session_id: The session they belong to.
        first_seq: Seq of the first frame; the others follow without a gap.
        frames: The encoded events; at least one.
        urgent: Ask for a commit at once; otherwise ride on the next group.
        unsettled: Whether the session has something to recover after this append
            (an open turn, queued words): it becomes the index flag.
        closed: Whether the session is over for good. Never taken back.
        opened: Creates the session, in the same transaction; its first append only.
        audit: Lines for the audit, stored if and only if the frames are.
        on_durable: Called in the trio thread after the commit, with the last seq of
            this append; or only for the last one of several that are stored together
            and have the same. Must not raise; if it does, that is logged and nobody
            else notices.
        on_failed: Called in the trio thread instead, if the append did not reach the
            store. The session must be opened anew (`Store.row`) before its next append.
    """

    session_id: SessionId
    first_seq: Seq
    frames: tuple[bytes, ...]
    urgent: bool
    unsettled: bool
    closed: bool = False
    opened: NewSession | None = None
    audit: tuple[AuditEntry, ...] = ()
    on_durable: Callable[[Seq], None]
    on_failed: Callable[[StoreError], None]

    @property
    def last_seq(self) -> Seq:
        """Return the seq of the last frame."""
        return Seq(self.first_seq + len(self.frames) - 1)


class Store(Protocol):
    """Keeps the timelines of all sessions; one per process, lives as long as it."""

    @property
    def durability(self) -> Durability:
        """Say what an event has survived when `on_durable` is called."""
        ...

    @property
    def health(self) -> Health:
        """Say whether it can write at the moment; a store that is not sound still reads.

        It turns when a write fails or succeeds. While it is `read-only` it tries by
        itself, once a second or as soon as a lock is free, and appends are tried, too.
        """
        ...

    async def until_sound(self) -> None:
        """Wait until it can write; returns at once if it can, never if it is dead."""
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the store, write groups until cancelled, then flush and close.

        Reports itself started once rows can be read. The flush is shielded and
        bounded; what it could not write fails with `StoreUnavailable`.

        Raises:
            SchemaTooNew: If newer code wrote it; do not start.
            StoreUnavailable: If it can't be opened now; try again.
            StoreUnsuitable: If it is the file of something else, or its disk will not do.
            StoreUnopened: If it can't be opened at all; an operator has to look.
        """
        ...

    async def death(self) -> StoreDead:
        """Wait until the store is dead, and return why; most never are.

        It goes on to serve reads.  The process should say goodbye and end.
        """
        ...

    def submit(self, append: Append) -> None:
        """Take *append* to be written; never waits and never calls back from inside.

        Appends of a session are stored in the order submitted. Exactly one of its
        callbacks is called, later. The caller bounds what a session has in flight.

        Raises:
            ValueError: If it has no frames; mend the caller.
        """
        ...

    def record_audit(self, entries: Iterable[AuditEntry]) -> None:
        """Take entries that belong to no append; they are durable with the next group.

        Never waits and never fails: what can't be written now waits for better times.
        It is lost, and logged, if the process ends before; and a store that holds
        10,000 of them counts further ones in a line `audit.dropped` instead.
        """
        ...

    async def row(self, session_id: SessionId) -> SessionRow | None:
        """Read the index row of a session, or None if there is no such session.

        A session whose append was refused takes appends again from here on.

        Raises:
            TimelineCorrupt: If the row is damaged.
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def read(
        self, session_id: SessionId, after: Seq, *, limit: int, most_bytes: int
    ) -> list[Stored]:
        """Read the durable events behind *after*, in order and without a gap.

        At most *limit* events and *most_bytes* bytes of frames, but at least one
        event if there is one; an empty list says that there is none.

        Raises:
            TimelineCorrupt: If an event of the page is damaged or missing; close the
                session for its clients, it needs an operator.
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def unsettled(self) -> list[SessionId]:
        """List the sessions to recover at start, oldest first.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def sessions_of(
        self, principal: str, tenant: str | None, *, limit: int
    ) -> list[SessionRow]:
        """List at most *limit* sessions of a principal within a tenant, newest first.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
        """
        ...
