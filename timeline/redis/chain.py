"""The audit in Redis: a chain in a slot of its own, and how lines get there from sessions.

A session's slot and the audit's can't be changed by one script. So the lines of an append are put
into the session's outbox by the script that appends, and are moved from there into the chain: all
of a session's own is in step, and a crash between the two leaves an item that is moved later. The
chain notes the items that it has taken until they are out of their outbox, so none is taken twice.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import SystemRandom
from typing import Any, Final

import trio
from attrs import asdict, define, field, frozen

from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.audit import (
    HASH_BYTES,
    START,
    AuditEntry,
    AuditHead,
    AuditLine,
    sealed,
)
from bargein.timeline.redis.cold import Remains
from bargein.timeline.redis.keys import (
    ALL,
    ASKED,
    HEAD,
    LINES,
    MARKS,
    OUTBOXES,
    TAKEN,
    UNSETTLED,
    outbox_key,
    owner_key,
)
from bargein.timeline.redis.lease import leases
from bargein.timeline.redis.link import Ask, Refused
from bargein.timeline.redis.scripts import CHAIN, UNLIST, Command
from bargein.timeline.store import AuditCorrupt, StoreUnavailable

MOST_TRIES: Final = 100
"""Others may have written lines first, a few times; more often there is something wrong."""

_CROWDED: Final = "others write the audit all the time"

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
        remains: What it has left in files then; None in an item of older code.
    """

    name: str
    session_id: SessionId
    audit: tuple[AuditEntry, ...]
    erased: tuple[str, str | None] | None = None
    remains: Remains | None = None

    @classmethod
    def new(
        cls,
        session_id: SessionId,
        audit: tuple[AuditEntry, ...],
        erased: tuple[str, str | None] | None = None,
        remains: Remains | None = None,
    ) -> Item:
        """Make an item that is not in an outbox yet."""
        return cls(secrets.token_hex(8), session_id, audit, erased, remains)

    @property
    def text(self) -> str:
        """The item as it lies in the outbox."""
        entries = [asdict(entry) for entry in self.audit]
        parts: list[Any] = [self.name, entries, self.erased]
        if self.remains is not None:
            cold = self.remains.cold
            parts += ["" if cold is None else cold.text, self.remains.erased_s]
        return json.dumps(parts, separators=(",", ":"))


def item_of(session_id: SessionId, text: bytes) -> Item:
    """Read an item from an outbox.

    Raises:
        ValueError, TypeError: If it is none.
    """
    name, entries, erased, *files = json.loads(text)
    audit = tuple(AuditEntry(**entry) for entry in entries)
    owner = None if erased is None else (erased[0], erased[1])
    remains = Remains.of(str(files[0]), float(files[1])) if files else None
    return Item(str(name), session_id, audit, owner, remains)


@define(eq=False)
class Chain:
    """Writes the audit, one writer at a time.  Lives as long as its store.

    Attributes:
        me: Under which name outboxes are listed.
        ask: Asks Redis through the connection that writes.
        clear: Takes away the files of an erased session, before the item that says so is delivered.
        delivery: Held by whoever fills outboxes, until they are delivered: a sweep meanwhile
            would take them off the list of those that have something in them.
    """

    me: NodeId
    ask: Ask
    clear: Callable[[SessionId, Remains], Awaitable[None]]
    delivery: trio.Lock = field(factory=trio.Lock, init=False)
    _turn: trio.Lock = field(factory=trio.Lock, init=False)

    async def check(self) -> None:
        """Look whether lines can follow.

        Raises:
            AuditCorrupt: If its end is damaged.
            LinkLost: If that can't be known.
        """
        _end_in(await self.ask(HEAD_COMMANDS))

    async def note(self, number: str, entries: Sequence[AuditEntry]) -> None:
        """Add lines of *entries* that no session has; asked again with the same number, once.

        Raises:
            AuditCorrupt: If the audit's end is damaged; nothing was added.
            StoreUnavailable: If Redis refused it; nothing was added.
            LinkLost: If it may have been done; ask again.
        """
        name = NOTE + number
        async with self._turn:
            for _ in range(MOST_TRIES):
                *ends, is_taken = await self.ask((*HEAD_COMMANDS, (b"SISMEMBER", TAKEN, name)))
                if is_taken or await self._written(_end_in(ends), entries, (name,)):
                    return
        raise StoreUnavailable(_CROWDED)

    async def forget(self, number: str) -> None:
        """Forget a number that is not asked with again; if that fails, it stays and harms nobody.

        Raises:
            LinkLost: If it may not have been done.
        """
        await self.ask(((b"SREM", TAKEN, NOTE + number),))

    def listing(self, session_ids: Iterable[SessionId]) -> Command:
        """Return the command that lists outboxes, which goes before what fills them."""
        return (b"HSET", OUTBOXES, *(part for name in session_ids for part in (name, self.me)))

    async def deliver(self, items: Sequence[Item], lister: str | None = None) -> None:
        """Move *items* from their outboxes to where they belong; the caller holds `delivery`.

        Args:
            items: Of any sessions.
            lister: Under whose name their outboxes are listed; by default our own.

        Raises:
            AuditCorrupt: If the audit's end is damaged; they stay.
            StoreUnavailable: If Redis refused it; they stay.
            LinkLost: If some of it may have been done; doing it again does the rest.
        """
        async with self._turn:
            there = await self._chained(items)
        if not there:
            return
        await self.ask([command for item in there for command in _unlisted(item)])
        # Out of the outbox before it is forgotten that it was taken.
        await self.ask([(b"LREM", outbox_key(item.session_id), 1, item.text) for item in there])
        counts = await self.ask([(b"LLEN", outbox_key(item.session_id)) for item in there])
        empty = [item.session_id for item, count in zip(there, counts, strict=True) if count == 0]
        await self.ask(
            [
                (b"SREM", TAKEN, *(item.name for item in there)),
                UNLIST.call([OUTBOXES], self.me if lister is None else lister, *empty),
            ]
        )

    async def sweep(self) -> None:
        """Deliver what a crash has left in outboxes: our own, and those of nodes that have gone.

        Erasures come last, and none does behind one whose files can't be taken away: each would
        wait for the same directory, and the others for them.

        Raises:
            AuditCorrupt: If the audit's end is damaged; what is left stays.
            StoreUnavailable: If Redis refused it; likewise. Or if the files of an erased session
                can't be taken away: then erasures alone are left.
            LinkLost: Likewise.
        """
        (listed,) = await self.ask(((b"HGETALL", OUTBOXES),))
        listers = {NodeId(node.decode()) for node in listed.values()} - {self.me}
        living = await leases(self.ask, listers) if listers else {}
        later: list[tuple[SessionId, NodeId]] = []
        for name, node in sorted(listed.items()):
            session_id, lister = SessionId(name.decode()), NodeId(node.decode())
            if living.get(lister) is not None:
                continue  # it delivers them itself
            async with self.delivery:
                items = await self._items(session_id)
                ready = [item for item in items if item.erased is None]
                if ready:
                    await self.deliver(ready, lister)
                if not items:
                    await self.ask((UNLIST.call([OUTBOXES], lister, session_id),))
            if len(ready) < len(items):
                later.append((session_id, lister))
        SystemRandom().shuffle(later)  # one that can never be done must not keep back the others
        for session_id, lister in later:
            await self._sweep_erased(session_id, lister)

        (taken,) = await self.ask(((b"SMEMBERS", TAKEN),))
        done = [name for name in taken if not name.startswith(NOTE.encode())]
        if done:
            # They were cut off before they could be forgotten, if nothing was under way since.
            async with self.delivery:
                (left,) = await self.ask(((b"EXISTS", OUTBOXES),))
                if not left:
                    await self.ask(((b"SREM", TAKEN, *done),))

    async def _sweep_erased(self, session_id: SessionId, lister: NodeId) -> None:
        """Take away the files of a session that was erased, and deliver the items that say so.

        The files without holding `delivery`: a file system may hang, and appends wait for that.
        """
        items = [item for item in await self._items(session_id) if item.erased is not None]
        for item in items:
            if item.remains is not None:  # else they are tidied
                await self.clear(session_id, item.remains)
        if items:  # else another sweep was faster
            async with self.delivery:
                await self.deliver(items, lister)

    async def _items(self, session_id: SessionId) -> list[Item]:
        (texts,) = await self.ask(((b"LRANGE", outbox_key(session_id), 0, -1),))
        return [item_of(session_id, text) for text in texts]

    async def _chained(self, items: Sequence[Item]) -> list[Item]:
        """Add the lines of those items that nobody has taken; return all that are in an outbox.

        Whoever came first, here or in another process, may have done some of it. It is looked
        at behind the end of the chain: if that is still the end, nobody has done more since.
        """
        # Which are taken first: whoever has written them takes them from their outbox, and then
        # forgets that they were taken.
        boxes = [(b"LPOS", outbox_key(item.session_id), item.text) for item in items]
        names = (b"SMISMEMBER", TAKEN, *(item.name for item in items))
        for _ in range(MOST_TRIES):
            found = await self.ask((*HEAD_COMMANDS, names, *boxes))
            ends, (taken, *places) = found[: len(HEAD_COMMANDS)], found[len(HEAD_COMMANDS) :]
            looked = zip(items, places, taken, strict=True)
            left = [(item, is_taken) for item, place, is_taken in looked if place is not None]
            new = [item for item, is_taken in left if not is_taken]
            entries = [entry for item in new for entry in item.audit]
            if not entries or await self._written(
                _end_in(ends), entries, [item.name for item in new]
            ):
                return [item for item, _ in left]
        raise StoreUnavailable(_CROWDED)

    async def _written(
        self, end: AuditHead, entries: Sequence[AuditEntry], names: Sequence[str]
    ) -> bool:
        """Add lines of *entries*, of the items with these *names*, unless others came behind *end*.

        Raises:
            AuditCorrupt: If its end is damaged; nothing was added.
            StoreUnavailable: If Redis refused it; nothing was added.
            LinkLost: If it may have been done.
        """
        columns = [part for line in sealed(end, entries) for part in (line.text, line.hash)]
        at = (str(end.n), end.hash, len(names))
        (answer,) = await self.ask((CHAIN.call([HEAD, LINES, TAKEN], *at, *names, *columns),))
        match answer:
            case [1]:
                return True
            case [0, *_]:
                return False
            case Refused():
                raise StoreUnavailable(answer.text)
            case _:
                raise AuditCorrupt


def noted_head(answers: list[Any]) -> AuditHead | None:
    """Return the end of the chain as it is noted, by the answers to `HEAD_COMMANDS`."""
    match answers[-1]:
        case [[None, None], []]:
            return START
        case [[bytes() as n, bytes() as digest], _] if n.isdigit() and len(digest) == HASH_BYTES:
            return AuditHead(int(n), digest)
        case _:
            return None


def _end_in(answers: list[Any]) -> AuditHead:
    """Return the same, where it is the end of the last line, too; else it is damaged."""
    head, lines = noted_head(answers), lines_in(answers[-1][1])
    ends = [line.head for line in lines] or [START]
    if head is None or head != ends[0]:
        raise AuditCorrupt
    return head


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
        (b"HDEL", MARKS, item.session_id),
        (b"HDEL", ASKED, item.session_id),
    ]
