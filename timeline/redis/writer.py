"""The one task that appends: group after group, each a pipeline of one call for each session.

While a group is on its way the next one gathers, so groups grow as answers get slower. An answer
may be lost with the connection: then the group is sent again, and what is found there already,
byte for byte, is what was stored the first time.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from bargein.protocol.ids import NodeId, Seq, SessionId
from bargein.timeline.counters import COMMIT_EVENTS, COMMIT_SECONDS
from bargein.timeline.health import SOUND, Health, Ward
from bargein.timeline.outcomes import Refusals, announce, fail
from bargein.timeline.redis.chain import Chain, Item
from bargein.timeline.redis.copies import TOO_FEW, Copies
from bargein.timeline.redis.keys import ALL, MARKS, UNSETTLED, events_key, owner_key
from bargein.timeline.redis.known import OPENER, Known
from bargein.timeline.redis.link import Ask, Link, LinkLost, Refused
from bargein.timeline.redis.parcel import Held, Parcel
from bargein.timeline.redis.queue import Queue
from bargein.timeline.redis.scripts import INDEX, Command
from bargein.timeline.store import (
    Append,
    AuditCorrupt,
    SeqConflict,
    StoreError,
    StoreUnavailable,
    TakenOver,
    TimelineCorrupt,
)

log = structlog.get_logger(__name__)

MOST_HELD_EVENTS: Final = 1000
"""Of one session, while Redis is away; with more its turn fails before the time is over."""


@define(eq=False)
class Writer:
    """Writes what is in the queue.  Lives as long as its store.

    Attributes:
        link: The connection that writes.
        history: Says in which life of the Redis server it is being written.
        hold: Called before anything is sent: after a long pause the lease comes first.
        rest: Set where outboxes may hold something that nobody else delivers.
    """

    link: Link
    queue: Queue
    chain: Chain
    known: Known
    ward: Ward
    refusals: Refusals
    copies: Copies
    history: Callable[[], str]
    hold: Callable[[Ask], Awaitable[None]]
    rest: trio.Event = field(factory=trio.Event, init=False)
    groups: int = field(default=0, init=False)
    _writing: list[Parcel] = field(factory=list[Parcel], init=False)
    _unmarks: dict[SessionId, int] = field(factory=dict[SessionId, int], init=False)
    _noting: trio.Lock = field(factory=trio.Lock, init=False)
    _number: str = field(factory=lambda: secrets.token_hex(8), init=False)
    _away: Counter[SessionId] = field(factory=Counter[SessionId], init=False)
    _unnoted: Health = field(default=SOUND, init=False)
    _crowded: trio.Event = field(factory=trio.Event, init=False)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self.queue.until_due()
            await self._write_next()

    async def flush(self) -> None:
        """Write all that waits, what was under way first."""
        self.queue.closing = True
        await self._settle()
        while self.queue.appends:
            await self._write_next()
        while self.queue.notebook:
            await self.link.until_up()
            if not await self.write_notes() and self.link.is_up:
                break

    def submit(self, append: Append) -> None:
        """Take *append* into the queue; who opens a session owns it."""
        if append.opened is not None and self.known.held(append.session_id) is None:
            self.known.own(append.session_id, OPENER)
        self.queue.put(append)
        if not self.link.is_up:
            self._away[append.session_id] += len(append.frames)
            if self._away[append.session_id] > MOST_HELD_EVENTS:
                self._crowded.set()

    def clear(self) -> list[Held]:
        """Take everything that was not answered, which nobody will write any more."""
        lost = [held for parcel in self._writing for held in parcel.helds]
        lost += self.queue.take_out(lambda _: True)
        self._writing = []
        return lost

    async def write_notes(self) -> bool:
        """Write the oldest notes; return whether that was done."""
        async with self._noting:
            entries = self.queue.notebook.first()
            if not entries:
                return True
            number = self._number
            try:
                await self.chain.note(number, entries)
            except LinkLost:
                return False
            except (AuditCorrupt, StoreUnavailable) as error:
                self._unnoted = Health("read-only", str(error))
                self.ward.turn(self._unnoted)
                return False
            # Before anything else may fail: they must not be written again.
            self.queue.notebook.stored(len(entries))
            self._number, self._unnoted = secrets.token_hex(8), SOUND
            with suppress(LinkLost):
                await self.chain.forget(number)
            return True

    async def _write_next(self) -> None:
        self._writing = self.queue.next_group()
        await self._settle()
        is_noted = self.queue.notebook and self.link.is_up and await self.write_notes()
        if is_noted and self.queue.notebook:
            self.queue.wake()

    async def _settle(self) -> None:
        """Send what is being written until all of it is answered or given up."""
        began_s = perf_counter()
        count = sum(parcel.count for parcel in self._writing)
        while self._writing:
            if not self.link.is_up:
                await self._hold()
                continue
            try:
                await self._send()
            except LinkLost:
                continue
        if count:
            COMMIT_SECONDS.observe(perf_counter() - began_s)
            COMMIT_EVENTS.observe(count)

    async def _hold(self) -> None:
        """Wait for the connection, and fail what has waited too long for it."""
        due_s = min(parcel.due_s for parcel in self._writing)
        with trio.move_on_at(due_s):
            async with trio.open_nursery() as nursery:

                async def first(wait: Callable[[], Any]) -> None:
                    await wait()
                    nursery.cancel_scope.cancel(reason="the other need not be awaited")

                nursery.start_soon(first, self.link.until_up)
                nursery.start_soon(first, self._crowded.wait)
        self._crowded = trio.Event()
        self._away.clear()
        if not self.link.is_up:
            self._give_up()

    def _give_up(self) -> None:
        now_s = trio.current_time()
        under_way = [held for parcel in self._writing for held in parcel.helds]
        counts: Counter[SessionId] = Counter()
        for held in (*under_way, *self.queue.appends):
            counts[held.append.session_id] += len(held.append.frames)
        lost = {held.append.session_id for held in under_way if held.due_s <= now_s}
        lost |= {name for name, count in counts.items() if count > MOST_HELD_EVENTS}
        error = StoreUnavailable(self.link.reason)
        gone = [parcel for parcel in self._writing if parcel.session_id in lost]
        self._writing = [parcel for parcel in self._writing if parcel.session_id not in lost]
        self._fail([held for parcel in gone for held in parcel.helds], lost, error)

    async def _send(self) -> None:
        await self.hold(self.link.ask)
        if any(parcel.item is not None for parcel in self._writing):
            async with self.chain.delivery:
                await self._check_audit()
                await self._send_all()
        else:
            await self._send_all()

    async def _send_all(self) -> None:
        group = self._writing
        sent, self.groups = tuple(group), self.groups + 1
        refusal = await self._list(sent)
        if refusal is not None:
            self._finish(group, (), {parcel.session_id: refusal for parcel in sent})
            return
        history = self.history()
        calls = [self._call(parcel, history) for parcel in sent]
        again = {parcel.session_id for parcel in sent if parcel.sent}
        for parcel in sent:
            parcel.sent = True
        # Listed again just ahead: after a pause others may have swept what was empty still.
        items = [parcel.session_id for parcel in sent if parcel.item is not None]
        again_listed = [self.chain.listing(items)] if items else []
        answers = (await self.link.ask((*again_listed, *calls)))[len(again_listed) :]
        stored: list[Parcel] = []
        refused: dict[SessionId, StoreError] = {}
        for parcel, answer in zip(sent, answers, strict=True):
            error = _error(parcel, answer, self.chain.me)
            is_unclear = isinstance(error, SeqConflict) and parcel.session_id in again
            if error is None or (is_unclear and await self._is_there(parcel)):
                stored.append(parcel)
            else:
                refused[parcel.session_id] = error
        urgent = [parcel for parcel in stored if parcel.urgent]
        if urgent and not await self.copies.until_there(min(parcel.due_s for parcel in urgent)):
            refused |= {parcel.session_id: StoreUnavailable(TOO_FEW) for parcel in urgent}
            stored = [parcel for parcel in stored if not parcel.urgent]
        if any(parcel.item is not None for parcel in sent):
            await self._deliver(stored, len(refused))
        self._finish(group, stored, refused)

    def _call(self, parcel: Parcel, history: str) -> Command:
        name = parcel.session_id
        known = self.known.is_all_known(name, history)
        return parcel.command(self.known.grant(name), history, self.chain.me, is_all_known=known)

    def _finish(
        self,
        group: list[Parcel],
        stored: Sequence[Parcel],
        refused: dict[SessionId, StoreError],
    ) -> None:
        if self._writing is group:  # else all of it has been given up meanwhile
            self._writing = []
            self._tell(stored, group, refused)

    async def _check_audit(self) -> None:
        try:
            await self.chain.check()
        except AuditCorrupt as error:
            bad = [parcel for parcel in self._writing if parcel.item is not None]
            self._writing = [parcel for parcel in self._writing if parcel.item is None]
            names = {parcel.session_id for parcel in bad}
            self._fail([held for parcel in bad for held in parcel.helds], names, error)

    async def _list(self, parcels: Sequence[Parcel]) -> StoreError | None:
        """List what these parcels may leave to recover; return why that was refused, if it was.

        Answered before anything is stored: it lies elsewhere, and one must not come without it.
        """
        commands = self._index(parcels)
        if commands:
            for answer in await self.link.ask(commands):
                if isinstance(answer, Refused):
                    return StoreUnavailable(answer.text)
        return None

    def _index(self, parcels: Sequence[Parcel]) -> list[Command]:
        may_be = [p.session_id for p in parcels if p.unsettled]
        marks = [name for name in may_be if not self.known.is_marked(name)]
        settled = [pair for pair in self._unmarks.items() if pair[0] not in may_be]
        self._unmarks.clear()
        opening = [p for p in parcels if p.opens]
        commands: list[Command] = []
        if settled or marks or opening:
            keys = [ALL, UNSETTLED, MARKS, *map(_list_of, opening)]
            pairs = (*settled, *((name, self.known.grant(name).fence) for name in marks))
            names = (*(part for pair in pairs for part in pair), *(p.session_id for p in opening))
            commands.append(INDEX.call(keys, len(settled), len(marks), *names))
        items = [p.session_id for p in parcels if p.item is not None]
        if items:
            commands.append(self.chain.listing(items))
        for name, _ in settled:
            self.known.unmark(name)
        return commands

    async def _is_there(self, parcel: Parcel) -> bool:
        seq = parcel.last_seq
        events = events_key(parcel.session_id)
        (found,) = await self.link.ask(((b"XRANGE", events, seq, seq, "COUNT", 1),))
        return bool(found) and found[0][1][1] == parcel.last_frame

    async def _deliver(self, stored: Sequence[Parcel], refused: int) -> None:
        """Move the lines of what was stored into the audit; if that fails, the sweep will."""
        items: list[Item] = [parcel.item for parcel in stored if parcel.item is not None]
        if refused:
            self.rest.set()  # their outboxes are listed, and have nothing in them
        try:
            await self.chain.deliver(items)
        except (LinkLost, StoreError):
            self.rest.set()

    def _tell(
        self,
        stored: Sequence[Parcel],
        sent: Sequence[Parcel],
        refused: dict[SessionId, StoreError],
    ) -> None:
        for parcel in stored:
            name = parcel.session_id
            self.known.stored(name, parcel.last_seq)
            if parcel.unsettled:
                self.known.mark(name)
            elif self.known.may_be_marked(name):
                self._unmarks[name] = parcel.fence
        faults = [e for e in refused.values() if isinstance(e, StoreUnavailable)]
        if faults:
            self.ward.turn(Health("read-only", str(faults[0])))
        elif stored and self.link.is_up and not self.copies.are_short:
            self.ward.turn(self._unnoted)
        for name, error in refused.items():
            self.refusals.add(name, error)
            if isinstance(error, TakenOver):
                self.known.forget(name)
        swept = self._swept(set(refused))
        for parcel in sent:
            error = refused.get(parcel.session_id)
            for held in parcel.helds:
                if error is None:
                    announce(held.append)
                else:
                    fail(held.append, error)
        for held in swept:
            fail(held.append, refused[held.append.session_id])

    def _fail(self, helds: list[Held], names: set[SessionId], error: StoreError) -> None:
        for name in names:
            self.refusals.add(name, error)
        for held in (*helds, *self._swept(names)):
            fail(held.append, error)

    def _swept(self, names: set[SessionId]) -> list[Held]:
        """Take out of the queue what came behind refused appends, and would fit by accident."""
        return self.queue.take_out(lambda held: held.append.session_id in names) if names else []


def _list_of(parcel: Parcel) -> str:
    opened = parcel.helds[0].append.opened
    return "" if opened is None else owner_key(opened.principal, opened.tenant)


def _error(parcel: Parcel, answer: Any, me: NodeId) -> StoreError | None:
    match answer:
        case [1, int()]:
            return None
        case [0, int() as last, bytes() as owner]:
            expected, found = Seq(parcel.first_seq - 1), Seq(last)
            if owner in {b"", me.encode()}:
                return SeqConflict(parcel.session_id, expected, found)
            return TakenOver(parcel.session_id, expected, found, NodeId(owner.decode()))
        case [_, int() as last]:
            return TimelineCorrupt(parcel.session_id, Seq(last + 1))
        case Refused():
            return StoreUnavailable(answer.text)
        case _:
            return StoreUnavailable(f"Redis gave an odd answer: {answer!r}"[:200])
