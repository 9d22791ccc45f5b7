"""Facts on Redis: what one server process changes, all others tell from their next turn on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from bargein.cluster.redis_facts_change import Attempts, answered, whole_change
from bargein.cluster.redis_facts_rows import LOADS, Shelf
from bargein.memory.errors import FactsError, FactsInDoubt, FactsUnavailable, FactsUnreadable
from bargein.memory.facts import Change, Erased, Fact, Owner, Wish
from bargein.timeline.health import Ward
from bargein.timeline.redis.copies import TOO_FEW, Copies
from bargein.timeline.redis.door import Door
from bargein.timeline.redis.link import Ask, Link, LinkLost, Refused
from bargein.timeline.redis.scripts import Command
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreDead, StoreError, StoreUnavailable, StoreUnopened

MOST_WAITING: Final = 256
"""Calls that may wait for Redis; one more is refused, and nothing was done."""

log = structlog.get_logger(__name__)


@define(eq=False)
class RedisFacts:
    """Keeps facts on Redis; see `Facts` for what the calls promise.

    What a change returned Redis has acknowledged, and as many replicas as are asked for. What it
    loses after that, in a restart or a failover, is not there any more: its last changes, an
    erasure among them.

    Nothing is held in memory: each call asks Redis, which it does in a millisecond.

    Attributes:
        address: Where Redis is.
        now: The time in UTC, as text.
        replicas: How many replicas of Redis have to acknowledge what is written.
        call_s: How long a call may take before it fails, also while Redis is away.
        open_s: How long opening waits for Redis; later calls go on seeking it.
        answer_s: How long Redis may take for an answer; then the connection counts as lost.
    """

    address: Address
    now: Callable[[], str]
    replicas: int = field(default=0, kw_only=True)
    call_s: float = field(default=5.0, kw_only=True)
    open_s: float = field(default=2.0, kw_only=True)
    answer_s: float = field(default=2.0, kw_only=True)
    _link: Link = field(init=False)
    _copies: Copies = field(init=False)
    _waiting: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._link = Link(self.address, _greet, _leave_it, self.answer_s)
        self._copies = Copies(self._link, Ward(), self.replicas)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, serve until cancelled, and hang up; see `Facts.run`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._link.run)
            try:
                with trio.move_on_after(self.open_s) as opening:
                    await self._link.until_first()
                if opening.cancelled_caught:  # turns go on without it
                    log.warning("memory.not_opened", reason=self._link.reason)
                task_status.started()
                await trio.sleep_forever()
            except StoreError as error:
                refusal = error
                nursery.cancel_scope.cancel(reason="this Redis can't be served from")
        raise FactsUnreadable(_why(refusal)) from refusal  # else it was cancelled

    async def of(self, owner: Owner) -> tuple[Fact, ...]:
        """Return all that is remembered of *owner*; see `Facts.of`."""
        shelf = Shelf.of(owner)
        (rows,) = await self._asked(((b"HGETALL", shelf.facts),))
        return shelf.facts_in(rows)

    async def change(self, owner: Owner, wish: Wish) -> Change:
        """Do what is wished, once; see `Facts.change`.

        Raises:
            FactsError: As there.
        """
        attempts = Attempts(self._link, self._copies, Shelf.of(owner), wish, self.now())
        with self._place():
            try:
                with trio.move_on_after(self.call_s):
                    return await attempts.made()
            except FactsError as error:
                if not attempts.is_in_doubt:
                    raise
                attempts.trouble = str(error)
        if attempts.is_in_doubt:
            raise _doubt(attempts.trouble or self._delay())
        raise FactsUnavailable(attempts.trouble or self._delay())

    async def outcome(self, owner: Owner, done_key: str) -> Change | None:
        """Return the change that was made under *done_key*; see `Facts.outcome`.

        Raises:
            FactsUnavailable: As there.
        """
        shelf = Shelf.of(owner)
        call = shelf.outcome_call(done_key)
        ((verdict, *row),) = await self._asked((call,), copied=True)
        if verdict == _FORGOTTEN:
            raise FactsUnavailable("older changes are not kept")
        return whole_change(shelf, done_key, row[0] if row else None)

    async def changes(self, owner: Owner) -> tuple[Change, ...]:
        """Return what can be undone; see `Facts.changes`."""
        shelf = Shelf.of(owner)
        order, rows = await self._asked(
            ((b"ZRANGE", shelf.order, 0, -1), (b"HGETALL", shelf.changes))
        )
        # What is in one of the two alone was made or taken away in between.
        read = (shelf.change_in(name.decode(), rows[name]) for name in order if name in rows)
        return tuple(change for change in read if change is not None)

    async def erase(self, owner: Owner, key: str | None = None) -> Erased:
        """Take away what is kept; see `Facts.erase`.

        Redis frees the memory in the background; its files on disk lose it with their next
        rewrite (`BGREWRITEAOF`, `BGSAVE`).

        Raises:
            FactsError: As there.
        """
        call, is_sent, trouble = Shelf.of(owner).erase_call(key), False, ""
        with self._place(), trio.move_on_after(self.call_s):
            await self._link.until_up()
            is_sent = True
            try:
                # Once: sent again after a lost answer, it would count what it no longer finds.
                ((facts, changes),) = answered(await self._link.ask((call,)))
                trouble = TOO_FEW
                while not await self._copies.are_there():
                    continue
            except LinkLost as lost:
                trouble = lost.reason
            else:
                return Erased(facts, changes)
        if not is_sent:
            raise FactsUnavailable(self._delay())
        raise _doubt(trouble or self._delay())

    async def _asked(self, commands: Sequence[Command], *, copied: bool = False) -> list[Any]:
        """Ask what may be asked twice, and return the answers.

        Raises:
            FactsUnavailable: If there are none in time, or one is a refusal.
        """
        trouble = ""
        with self._place(), trio.move_on_after(self.call_s):
            while True:
                await self._link.until_up()
                try:
                    answers = await self._link.ask(commands)
                    if not copied or await self._copies.are_there():
                        return answered(answers)
                    trouble = TOO_FEW
                except LinkLost as lost:
                    trouble = lost.reason
        raise FactsUnavailable(trouble or self._delay())

    def _delay(self) -> str:
        if self._link.is_up:
            return f"Redis took longer than {self.call_s:g} s"
        return self._link.reason

    @contextmanager
    def _place(self) -> Generator[None]:
        """Let a call in, if there are not too many, and a connection is at least sought."""
        if not self._link.runs:
            raise FactsUnavailable(self._link.reason)
        if self._waiting >= MOST_WAITING:
            raise FactsUnavailable("too many calls wait for it")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1


_FORGOTTEN: Final = 2
"""As the script answers of a change that may have been one of those that are not kept."""


async def _greet(ask: Ask) -> None:
    """Look at a Redis as the store does, and teach it the scripts of the memory."""
    await Door(None).greet_writer(ask)
    for answer in await ask(LOADS):
        if isinstance(answer, Refused):
            raise StoreUnopened(answer.text)


def _leave_it(_reason: str) -> None:
    """Do nothing: calls say themselves that they fail."""


def _doubt(reason: str) -> FactsInDoubt:
    log.warning("memory.in_doubt", reason=reason)
    return FactsInDoubt(reason)


def _why(refusal: StoreError) -> str:
    match refusal:
        case StoreUnavailable(reason=reason) | StoreDead(cause=reason):
            return reason
        case _:
            return str(refusal)
