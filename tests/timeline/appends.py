"""What the store tests append, and how they note what became of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import trio
from attrs import define, field

from bargein.protocol.ids import Epoch, Seq, SessionId
from bargein.timeline.archive import Archive
from bargein.timeline.audit import AuditEntry, digest_of
from bargein.timeline.store import Append, NewSession, Store, StoreError

OPENED_AT = "2026-11-21T10:12:33.120Z"
Opener: TypeAlias = Callable[[], Archive]
"""Opens the same store again and again."""

LATEST_S = 20.0
"""When a test with real threads gives up."""

A, B, C = SessionId("sess_a"), SessionId("sess_b"), SessionId("sess_c")


def frame(session_id: SessionId, seq: int, size_bytes: int = 0) -> bytes:
    text = f'{{"session_id":"{session_id}","seq":{seq},"payload":{{"text":"Grüße'
    return text.encode().ljust(size_bytes, b".") + b'"}}'


def new_session(
    session_id: SessionId, principal: str = "ann", tenant: str | None = None
) -> NewSession:
    return NewSession(session_id, principal, tenant, Epoch(f"epoch of {session_id}"), OPENED_AT)


def entry(session_id: SessionId, seq: int, act: str = "action.proposed") -> AuditEntry:
    return AuditEntry(
        ts=OPENED_AT,
        act=act,
        session_id=session_id,
        seq=Seq(seq),
        principal="ann",
        subject=f"act_{seq}",
        digest=digest_of(frame(session_id, seq)),
    )


@define(eq=False)
class Notes:
    """What the store has called back, in order, and a way to wait for it."""

    durable: list[tuple[SessionId, Seq]] = field(factory=list[tuple[SessionId, Seq]])
    failed: list[tuple[SessionId, Seq, StoreError]] = field(
        factory=list[tuple[SessionId, Seq, StoreError]]
    )
    submitted: int = 0
    inside_submit: bool = False
    _more: trio.Event = field(factory=trio.Event)

    def submit(
        self,
        store: Store,
        session_id: SessionId,
        first: int,
        last: int | None = None,
        *,
        opened: NewSession | None = None,
        frames: tuple[bytes, ...] = (),
        urgent: bool = True,
        unsettled: bool = False,
        closed: bool = False,
        audit: tuple[AuditEntry, ...] = (),
    ) -> None:
        seqs = range(first, (last or first) + 1)
        if first == 1 and opened is None:
            opened = new_session(session_id)

        def on_durable(seq: Seq) -> None:
            assert not self.inside_submit
            self.durable.append((session_id, seq))
            self._more.set()

        def on_failed(error: StoreError) -> None:
            assert not self.inside_submit
            self.failed.append((session_id, Seq(first), error))
            self._more.set()

        append = Append(
            session_id=session_id,
            first_seq=Seq(first),
            frames=frames or tuple(frame(session_id, seq) for seq in seqs),
            urgent=urgent,
            unsettled=unsettled,
            closed=closed,
            opened=opened,
            audit=audit,
            on_durable=on_durable,
            on_failed=on_failed,
        )
        self.submitted += 1
        self.inside_submit = True
        store.submit(append)
        self.inside_submit = False

    async def all_answered(self) -> None:
        while len(self.durable) + len(self.failed) < self.submitted:
            self._more = trio.Event()
            await self._more.wait()
        assert len(self.durable) + len(self.failed) == self.submitted

    async def stored(self, store: Store, session_id: SessionId, first: int, last: int) -> None:
        """Append events first..last and wait until they are durable."""
        self.submit(store, session_id, first, last)
        await self.all_answered()
        assert self.durable[-1] == (session_id, last), self.failed


@asynccontextmanager
async def running(store: Store) -> AsyncGenerator[trio.CancelScope]:
    """Run *store*; what leaves the block cancels it, and waits for its flush."""
    async with trio.open_nursery() as nursery:
        with trio.fail_after(LATEST_S):
            await nursery.start(store.run)
            yield nursery.cancel_scope
        nursery.cancel_scope.cancel()


async def all_seqs(store: Store, session_id: SessionId) -> list[int]:
    """Read the whole timeline, and check that it holds the frames that were appended."""
    events = await store.read(session_id, Seq(0), limit=100_000, most_bytes=2**30)
    assert [event.frame for event in events] == [frame(session_id, e.seq) for e in events]
    return [event.seq for event in events]
