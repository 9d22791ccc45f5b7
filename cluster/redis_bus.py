"""Letters between servers through one Redis: a stream for each of them, its inbox.

Each entry says who sent it and which one of that sender's it is. What comes twice, because an
answer was lost or a failover has brought back what was read already, is known by its number. Two
connections of its own keep letters from waiting behind events, and behind a read that waits for
letters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from bargein.cluster.bus import Receive
from bargein.cluster.redis_counters import LETTERS_DROPPED, LETTERS_MISSED
from bargein.protocol.ids import NodeId
from bargein.timeline.health import RETRY_S
from bargein.timeline.redis.keys import inbox_key
from bargein.timeline.redis.link import Ask, Asked, Link, LinkLost, Refused
from bargein.timeline.redis.scripts import Command
from bargein.timeline.redis_address import Address

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 10_000
"""Letters to one node that wait for Redis; then the oldest is dropped."""

MOST_WAITING_BYTES: Final = 16 * 2**20
"""The same for large ones."""

MOST_KEPT: Final = 10_000
"""Entries in an inbox, about; a node that reads nothing any more loses the oldest."""

KEPT_MS: Final = 60_000
"""How long an inbox that nobody writes to is there: that of a dead node goes."""

MOST_TOGETHER: Final = 256
"""Letters in one entry."""

MOST_TOGETHER_BYTES: Final = 256 * 1024

MOST_READ: Final = 100
"""Entries read with one call."""

BLOCK_S: Final = 5.0
"""How long a read waits for letters; then it is looked whether all is well."""

FLUSH_S: Final = 0.5
"""How long an orderly end may take to send what waits."""

MOST_COMMANDS: Final = 64
"""Sent together."""

MOST_UNDER_WAY: Final = 4
"""Batches that are not answered yet; what comes later waits for one of them."""

MOST_NODES: Final = 1000
"""Remembered; of others it is not known what of theirs was read already."""

# What was read is not kept: there may be secrets in it, and words that are to be erased.
_CLEAR: Final = """
local read = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if read and read[2][2] == ARGV[2] and read[2][4] == ARGV[3] then
  redis.call('XTRIM', KEYS[1], 'MINID', ARGV[4])
end
"""

_BEGINNING: Final = b"0-0"


@define(eq=False)
class _Outbox:
    """What waits to be sent to one node.

    Attributes:
        number: That of the entry sent last.
    """

    number: int
    letters: deque[bytes] = field(factory=deque[bytes], init=False)
    size_bytes: int = field(default=0, init=False)

    def put(self, letter: bytes) -> int:
        """Take in a letter; return how many older ones had to go."""
        self.letters.append(letter)
        self.size_bytes += len(letter)
        dropped = 0
        while len(self.letters) > MOST_WAITING or self.size_bytes > MOST_WAITING_BYTES:
            self.size_bytes -= len(self.letters.popleft())
            dropped += 1
        return dropped

    def take(self) -> list[bytes]:
        """Take out what goes into the next entry."""
        some: list[bytes] = []
        room_bytes = MOST_TOGETHER_BYTES
        while self.letters and len(some) < MOST_TOGETHER:
            if some and len(self.letters[0]) > room_bytes:
                break
            room_bytes -= len(self.letters[0])
            some.append(self.letters.popleft())
        self.size_bytes -= sum(map(len, some))
        return some


@define(eq=False)
class _Batch:
    """What was sent together, to any nodes.

    Attributes:
        asked: None where it could not be sent; it is sent again, and before all that comes later.
    """

    commands: Sequence[Command]
    asked: Asked | None


@define(eq=False)
class RedisBus:
    """Carries letters through Redis; see `Bus`.  Lives as long as the process.

    While Redis is away letters wait, up to a bound for each node that they go to; then the oldest
    are dropped. A batch does not wait for the answer to the one before it; where an answer was lost
    all that is under way is sent again, in order.

    Attributes:
        address: Where Redis is.
        me: This process.
    """

    address: Address
    me: NodeId
    _sending: Link = field(init=False)
    _receiving: Link = field(init=False)
    _outboxes: dict[NodeId, _Outbox] = field(factory=dict[NodeId, _Outbox], init=False)
    _full: set[NodeId] = field(factory=set[NodeId], init=False)
    _under_way: deque[_Batch] = field(factory=deque[_Batch], init=False)
    _begun: trio.Event = field(factory=trio.Event, init=False)
    _entries: int = field(default=0, init=False)
    _some: trio.Event = field(factory=trio.Event, init=False)
    _read: dict[NodeId, int] = field(factory=dict[NodeId, int], init=False)
    _is_doubtful: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self._sending = Link(self.address, _greet, _leave_it)
        self._receiving = Link(self.address, self._meet, _leave_it, BLOCK_S + 2)

    def send(self, to: NodeId, letter: bytes) -> None:
        """Put *letter* into the inbox of a node; see `Bus.send`."""
        outbox = self._outboxes.get(to)
        if outbox is None:
            outbox = self._new_outbox(to)
        dropped = outbox.put(letter)
        if dropped:
            LETTERS_DROPPED.inc(dropped)
            if to not in self._full:
                self._full.add(to)
                log.warning("letters.dropped", to=to, waiting=len(outbox.letters))
        self._some.set()

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Carry letters until cancelled; then send what waits, and clear the inbox."""
        async with trio.open_nursery() as nursery:
            # Shielded because the last letters need them; ended below, when they are sent.
            links = [trio.CancelScope(shield=True), trio.CancelScope(shield=True)]
            for link, scope in zip((self._sending, self._receiving), links, strict=True):
                nursery.start_soon(_kept, link, scope)
            try:
                await self._sending.until_up()
                await self._receiving.until_up()
                task_status.started()
                async with trio.open_nursery() as both:
                    both.start_soon(self._send_out)
                    both.start_soon(self._settle)
                    both.start_soon(self._take_in, receive)
            finally:
                # Shielded because others wait for the last letters; bounded because Redis may hang.
                with trio.move_on_after(FLUSH_S, shield=True):
                    await self._flush()
                    await self._goodbye()
                for scope in links:
                    scope.cancel(reason="the bus has been closed")

    async def _send_out(self) -> None:
        """Send all that has come since the last pass together."""
        while True:
            await self._some.wait()
            self._some = trio.Event()
            await self._sending.until_up()
            self._begin()

    async def _settle(self) -> None:
        """Wait for answers, one batch after the other, and send again what was lost."""
        while True:
            while not self._under_way:
                self._begun = trio.Event()
                await self._begun.wait()
            await self._settle_first()
            self._some.set()

    async def _flush(self) -> None:
        """Send all that waits, and wait until it is answered."""
        while self._begin() or self._under_way or any(o.letters for o in self._outboxes.values()):
            if self._under_way:
                await self._settle_first()
            else:
                await self._sending.until_up()

    def _begin(self) -> bool:
        """Send what waits, as far as so much may be under way; say whether anything was."""
        before = len(self._under_way)
        while len(self._under_way) < MOST_UNDER_WAY and self._is_in_order:
            commands = self._taken()
            if not commands:
                break
            self._under_way.append(_Batch(commands, self._sent(commands)))
        if len(self._under_way) > before:
            self._begun.set()
        return len(self._under_way) > before

    @property
    def _is_in_order(self) -> bool:
        """Whether what is sent now comes behind all that is under way: nothing of it was lost."""
        if not self._under_way:
            return self._sending.is_up
        asked = self._under_way[-1].asked
        return asked is not None and self._sending.carries(asked)

    def _sent(self, commands: Sequence[Command]) -> Asked | None:
        with suppress(LinkLost):
            return self._sending.begin(commands)
        return None

    async def _settle_first(self) -> None:
        """Wait for the oldest answers; where they are lost, send all again that is under way."""
        oldest = self._under_way[0]
        answers = await self._answers_to(oldest)
        if answers is None:
            await self._sending.until_up()
            for batch in self._under_way:
                batch.asked = self._sent(batch.commands)
            return
        self._under_way.popleft()
        self._full.clear()
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        if refused:
            LETTERS_DROPPED.inc(len(refused))
            log.warning("letters.refused", entries=len(refused), reason=refused[0].text)

    async def _answers_to(self, batch: _Batch) -> list[Any] | None:
        if batch.asked is not None:
            with suppress(LinkLost):
                return await self._sending.answers(batch.asked)
        return None

    def _new_outbox(self, to: NodeId) -> _Outbox:
        if len(self._outboxes) >= MOST_NODES:
            idle = (name for name, box in self._outboxes.items() if not box.letters)
            lost = self._outboxes.pop(next(idle, next(iter(self._outboxes))))
            LETTERS_DROPPED.inc(len(lost.letters))
        # Numbers go on where a node that was forgotten comes again.
        outbox = self._outboxes[to] = _Outbox(self._entries)
        return outbox

    def _taken(self) -> list[Command]:
        """Take out of the outboxes what goes into the next batch."""
        batch: list[Command] = []
        for to, outbox in self._outboxes.items():
            if len(batch) >= MOST_COMMANDS:
                break
            some = outbox.take()
            if not some:
                continue
            outbox.number += 1
            self._entries += 1
            key = inbox_key(to)
            columns = [part for letter in some for part in (b"l", letter)]
            head = ("MAXLEN", "~", MOST_KEPT, "*", "s", self.me, "n", outbox.number)
            batch += ((b"XADD", key, *head, *columns), (b"PEXPIRE", key, KEPT_MS))
        return batch

    async def _take_in(self, receive: Receive) -> None:
        key, last, newest = inbox_key(self.me), _BEGINNING, None
        wait_ms = round(BLOCK_S * 1000)
        while True:
            await self._receiving.until_up()
            try:
                if self._is_doubtful:
                    self._is_doubtful = False
                    last = await self._place(key, last, newest)
                read = (b"XREAD", "COUNT", MOST_READ, "BLOCK", wait_ms, "STREAMS", key, last)
                *_, answer = await self._receiving.ask((*_clearing(key, last, newest), read))
            except LinkLost:
                continue
            if isinstance(answer, Refused):
                log.warning("letters.not_read", reason=answer.text)
                await trio.sleep(RETRY_S)
                continue
            entries = _entries_in(answer)
            self._is_doubtful = not entries
            for name, columns in entries:
                last, newest = name, columns
                self._open(columns, receive)

    async def _place(self, key: str, last: bytes, newest: Any) -> bytes:
        """Return where to read on: at the beginning if the inbox isn't the one that it was.

        Another one may begin in the same millisecond, and so with the same name.
        """
        (found,) = await self._receiving.ask(((b"XREVRANGE", key, "+", "-", "COUNT", 1),))
        match found:
            case [[bytes() as name, _]] if _order(name) > _order(last):
                return last
            case [[bytes() as name, columns]] if name == last and columns == newest:
                return last
            case _:
                return _BEGINNING

    def _open(self, columns: Any, receive: Receive) -> None:
        """Hand over the letters of an entry that was not read before."""
        match columns:
            case [b"s", bytes() as sent_by, b"n", bytes() as number, *rest] if number.isdigit():
                sender, n = NodeId(sent_by.decode(errors="replace")), int(number)
            case _:
                log.warning("letters.odd_entry", columns=repr(columns)[:200])
                return
        before = self._read.get(sender)
        if before is not None and n <= before:
            return
        if before is not None and n > before + 1:
            LETTERS_MISSED.inc(n - before - 1)
            log.warning("letters.missed", sender=sender, entries=n - before - 1)
        if before is None and len(self._read) >= MOST_NODES:
            del self._read[next(iter(self._read))]
        self._read[sender] = n
        for letter in rest[1::2]:
            try:
                receive(sender, letter)
            except Exception:
                # A boundary: the letters behind it are others' affair.
                log.exception("letters.receiver_raised", sender=sender)

    async def _meet(self, ask: Ask) -> None:
        """Have it looked whether the inbox is the one that it was: Redis may have failed over."""
        await _greet(ask)
        self._is_doubtful = True

    async def _goodbye(self) -> None:
        try:
            await self._sending.ask(((b"UNLINK", inbox_key(self.me)),))
        except LinkLost:
            log.info("letters.inbox_left", node=self.me)


async def _greet(ask: Ask) -> None:
    """Take any Redis that answers: the store's own connections look at it."""
    await ask(((b"PING",),))


def _leave_it(_reason: str) -> None:
    """Do nothing: the store says that Redis is away."""


async def _kept(link: Link, scope: trio.CancelScope) -> None:
    with scope:
        await link.run()


def _entries_in(answer: Any) -> Sequence[tuple[bytes, Any]]:
    # By RESP3 what was read of each stream is in a map; where nothing came there is none.
    return [] if answer is None else next(iter(answer.values()))


def _clearing(key: str, last: bytes, newest: Any) -> tuple[Command, ...]:
    """Return what clears away all that was read, if the inbox is the one that it was."""
    match newest:
        case [b"s", sent_by, b"n", number, *_]:
            at_ms, behind = _order(last)
            return ((b"EVAL", _CLEAR, 1, key, last, sent_by, number, f"{at_ms}-{behind + 1}"),)
        case _:
            return ()


def _order(name: bytes) -> tuple[int, int]:
    at_ms, _, number = name.partition(b"-")
    return int(at_ms), int(number)
