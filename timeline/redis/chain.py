"""The audit in Redis: a chain in a slot of its own, and how lines get there from sessions.

A session's slot and the audit's can't be changed by one script. So the lines of an append are put
into the session's outbox by the script that appends, and are moved from there into the chain: all
of a session's own is in step, and a crash between the two leaves an item that is moved later. The
chain notes the items that it has taken until they are out of their outbox, so none is taken twice.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any, Final

import trio
from attrs import asdict, define, field, frozen

from bargein.protocol.ids import SessionId
from bargein.timeline.audit import (
    HASH_BYTES,
    START,
    AuditEntry,
    AuditHead,
    AuditLine,
    sealed,
)
from bargein.timeline.redis.keys import (
    ALL,
    ASKED,
    HEAD,
    LINES,
    OUTBOXES,
    TAKEN,
    UNSETTLED,
    outbox_key,
    owner_key,
)
from bargein.timeline.redis.link import Ask, Refused
from bargein.timeline.redis.scripts import CHAIN, Command
from bargein.timeline.store import AuditCorrupt, StoreUnavailable

MOST_TRIES: Final = 100
"""Others may have written lines first, once or twice; more often there is something wrong."""

NOTE: Final = "note "
"""What names begin with that are of no item."""

HEAD_COMMANDS: Final[tuple[Command, ...]] = (
    (b"MULTI",),
    (b"HMGET", HEAD, "n", "hash"),
    (b"XREVRANGE", LINES, "+", "-", "COUNT", 1),
    (b"EXEC",),
)


@frozen
class Item:
    """What a session's slot has to tell the others.

    Attributes:
        name: Like no other's.
        session_id: Whose outbox it is in.
        audit: Lines for the audit.
        erased: Principal and tenant of the session, if it was erased; else None.
    """

    name: str
    session_id: SessionId
    audit: tuple[AuditEntry, ...]
    erased: tuple[str, str | None] | None = None

    @classmethod
    def new(
        cls,
        session_id: SessionId,
        audit: tuple[AuditEntry, ...],
        erased: tuple[str, str | None] | None = None,
    ) -> Item:
        """Make an item that is not in an outbox yet."""
        return cls(secrets.token_hex(8), session_id, audit, erased)

    @property
    def text(self) -> str:
        """The item as it lies in the outbox."""
        entries = [asdict(entry) for entry in self.audit]
        return json.dumps([self.name, entries, self.erased], separators=(",", ":"))


def item_of(session_id: SessionId, text: bytes) -> Item:
    """Read an item from an outbox.

    Raises:
        ValueError, TypeError: If it is none.
    """
    name, entries, erased = json.loads(text)
    audit = tuple(AuditEntry(**entry) for entry in entries)
    return Item(str(name), session_id, audit, None if erased is None else (erased[0], erased[1]))


@define(eq=False)
class Chain:
    """Writes the audit, one writer at a time.  Lives as long as its store.

    Attributes:
        ask: Asks Redis through the connection that writes.
        delivery: Held by whoever fills outboxes, until they are delivered: a sweep meanwhile
            would take them off the list of those that have something in them.
    """

    ask: Ask
    delivery: trio.Lock = field(factory=trio.Lock, init=False)
    _turn: trio.Lock = field(factory=trio.Lock, init=False)
    _head: AuditHead = field(default=START, init=False)

    async def check(self) -> None:
        """Look whether lines can follow.

        Raises:
            AuditCorrupt: If its end is damaged.
            LinkLost: If that can't be known.
        """
        head = sound_head(await self.ask(HEAD_COMMANDS))
        if head is None:
            raise AuditCorrupt
        self._head = head

    async def write(self, entries: Sequence[AuditEntry], names: Sequence[str] = ()) -> None:
        """Add lines of *entries*, of the items with these *names*.

        Raises:
            AuditCorrupt: If its end is damaged; nothing was added.
            StoreUnavailable: If Redis refused it; nothing was added.
            LinkLost: If it may have been done. Asking again with the same does it once.
        """
        async with self._turn:
            for _ in range(MOST_TRIES):
                lines = sealed(self._head, entries)
                end = lines[-1].head if lines else self._head
                columns = [column for line in lines for column in (line.text, line.hash)]
                keys = [HEAD, LINES, TAKEN]
                at = (str(self._head.n), self._head.hash, len(names))
                (answer,) = await self.ask((CHAIN.call(keys, *at, *names, *columns),))
                match answer:
                    case [1]:
                        self._head = end
                        return
                    case [0, bytes() as n, bytes() as digest]:
                        self._head = AuditHead(int(n), digest)
                        if self._head == end and lines:
                            return  # the answer to an earlier try was lost
                    case Refused():
                        raise StoreUnavailable(answer.text)
                    case _:
                        raise AuditCorrupt
        raise StoreUnavailable("others write the audit all the time")

    async def note(self, number: str, entries: Sequence[AuditEntry]) -> None:
        """Add lines of *entries* that no session has; asked again with the same number, once.

        Raises:
            AuditCorrupt: If the audit's end is damaged; nothing was added.
            StoreUnavailable: If Redis refused it; nothing was added.
            LinkLost: If it may have been done; ask again.
        """
        name = NOTE + number
        (is_taken,) = await self.ask(((b"SISMEMBER", TAKEN, name),))
        if not is_taken:
            await self.write(entries, (name,))

    async def forget(self, number: str) -> None:
        """Forget a number that is not asked with again; if that fails, it stays and harms nobody.

        Raises:
            LinkLost: If it may not have been done.
        """
        await self.ask(((b"SREM", TAKEN, NOTE + number),))

    async def deliver(self, items: Sequence[Item]) -> None:
        """Move *items* from their outboxes to where they belong; the caller holds `delivery`.

        Raises:
            AuditCorrupt: If the audit's end is damaged; they stay.
            StoreUnavailable: If Redis refused it; they stay.
            LinkLost: If some of it may have been done; doing it again does the rest.
        """
        # Whoever came first, here or in a process that has died since, may have done some of it.
        boxes = [(b"LPOS", outbox_key(item.session_id), item.text) for item in items]
        names = (b"SMISMEMBER", TAKEN, *(item.name for item in items))
        *places, taken = await self.ask([*boxes, names])
        looked = zip(items, places, taken, strict=True)
        left = [(item, is_taken) for item, place, is_taken in looked if place is not None]
        new = [item for item, is_taken in left if not is_taken]
        entries = [entry for item in new for entry in item.audit]
        if entries:
            await self.write(entries, [item.name for item in new])
        if not left:
            return
        there = [item for item, _ in left]
        await self.ask([command for item in there for command in _unlisted(item)])
        # Out of the outbox before it is forgotten that it was taken.
        await self.ask([(b"LREM", outbox_key(item.session_id), 1, item.text) for item in there])
        counts = await self.ask([(b"LLEN", outbox_key(item.session_id)) for item in there])
        empty = [item.session_id for item, count in zip(there, counts, strict=True) if count == 0]
        await self.ask(
            [
                (b"SREM", TAKEN, *(item.name for item in there)),
                *((b"SREM", OUTBOXES, session_id) for session_id in empty),
            ]
        )

    async def sweep(self) -> None:
        """Deliver what a crash has left in outboxes.

        Raises:
            AuditCorrupt: If the audit's end is damaged; what is left stays.
            StoreUnavailable: If Redis refused it; likewise.
            LinkLost: Likewise.
        """
        (names,) = await self.ask(((b"SMEMBERS", OUTBOXES),))
        for name in sorted(names):
            session_id = SessionId(name.decode())
            async with self.delivery:
                (texts,) = await self.ask(((b"LRANGE", outbox_key(session_id), 0, -1),))
                if texts:
                    await self.deliver([item_of(session_id, text) for text in texts])
                else:
                    await self.ask(((b"SREM", OUTBOXES, session_id),))

        async with self.delivery:
            left, taken = await self.ask(((b"EXISTS", OUTBOXES), (b"SMEMBERS", TAKEN)))
            # Nothing is under way: they were cut off before they could be forgotten.
            done = [name for name in taken if not name.startswith(NOTE.encode())]
            if done and not left:
                await self.ask(((b"SREM", TAKEN, *done),))


def noted_head(answers: list[Any]) -> AuditHead | None:
    """Return the end of the chain as it is noted, by the answers to `HEAD_COMMANDS`."""
    match answers[-1]:
        case [[None, None], []]:
            return START
        case [[bytes() as n, bytes() as digest], _] if n.isdigit() and len(digest) == HASH_BYTES:
            return AuditHead(int(n), digest)
        case _:
            return None


def sound_head(answers: list[Any]) -> AuditHead | None:
    """Return the same, or None if it is not the end of the last line."""
    head, lines = noted_head(answers), lines_in(answers[-1][1])
    ends = [line.head for line in lines] or [START]
    return head if head == ends[0] else None


def lines_in(answer: list[Any]) -> list[AuditLine]:
    """Return the lines of an XRANGE; damage stays visible to a check."""
    lines: list[AuditLine] = []
    for name, columns in answer:
        number, _, rest = name.partition(b"-")
        fields = dict(zip(columns[::2], columns[1::2], strict=True))
        n = int(number) if rest == b"0" else 0
        lines.append(AuditLine(n, fields.get(b"t", b""), fields.get(b"h", b"")))
    return lines


def _unlisted(item: Item) -> list[Command]:
    """Return what takes an erased session from all lists."""
    if item.erased is None:
        return []
    return [
        (b"ZREM", ALL, item.session_id),
        (b"ZREM", owner_key(*item.erased), item.session_id),
        (b"ZREM", UNSETTLED, item.session_id),
        (b"HDEL", ASKED, item.session_id),
    ]
