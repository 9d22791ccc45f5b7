"""One connection to Redis, made anew whenever it is lost.

It carries the commands of many tasks at once. So the store has two of them, one to write and one
to read, and no pool: where nothing is lent, no slot is lost, as coredis 6.9's pool loses one with
each lease that is cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

import structlog
import trio
from attrs import define, field, frozen

from bargein.timeline.health import RETRY_S
from bargein.timeline.redis.connection import (
    CONNECT_S,
    LATE,
    LinkLost,
    Refused,
    answered,
    begun,
    connected,
    exchange,
    located,
)
from bargein.timeline.redis.scripts import Command
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreError, StoreUnavailable

__all__ = ["Ask", "Asked", "Link", "LinkLost", "Refused"]

T = TypeVar("T")

log = structlog.get_logger(__name__)

SOONEST_S: Final = 0.05
"""When a connection that could not be made is tried again; then later and later, up to a second."""


@frozen
class Asked:
    """Commands that were sent, and have not been answered yet."""

    connection: Any
    batch: Any


Ask: TypeAlias = Callable[[Sequence[Command]], Awaitable[list[Any]]]
"""Sends commands together and returns an answer to each; see `Link.ask`."""


@define(eq=False)
class Link:
    """Keeps one connection.  Lives as long as its store runs.

    Attributes:
        greet: Called with each new connection before anybody else may use it; raises
            `LinkLost` if it will not do now, another `StoreError` if it never will.
        on_down: Told why whenever a connection could not be made.
        answer_s: How long Redis may take for an answer; then the connection counts as lost.
    """

    address: Address
    greet: Callable[[Ask], Awaitable[None]]
    on_down: Callable[[str], None]
    answer_s: float = 2.0
    _connection: Any = field(default=None, init=False)
    _runs: bool = field(default=False, init=False)
    _reason: str = field(default="it has not been opened", init=False)
    _refusal: StoreError | None = field(default=None, init=False)
    _turned: trio.Event = field(factory=trio.Event, init=False)

    @property
    def runs(self) -> bool:
        """Whether there is a connection, or one is sought."""
        return self._runs

    @property
    def is_up(self) -> bool:
        """Whether there is a connection that can be used."""
        return self._connection is not None

    @property
    def reason(self) -> str:
        """Why there is no connection, as a few words."""
        return self._reason

    async def until_up(self) -> None:
        """Wait until there is a connection."""
        while self._connection is None:
            await self._turned.wait()

    async def until_first(self) -> None:
        """Wait until there is a connection for the first time.

        Raises:
            StoreError: If this Redis will not do, or doesn't let us in; an operator has to look.
        """
        while self._connection is None:
            if self._refusal is not None:
                raise self._refusal
            await self._turned.wait()

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands* together, in order; return an answer to each, which may be `Refused`.

        Raises:
            LinkLost: If an answer is missing: any of them may have been done, or none.
        """
        return await self.answers(self.begin(commands))

    def begin(self, commands: Sequence[Command]) -> Asked:
        """Send *commands* now, behind all that was sent before, without waiting for answers.

        Raises:
            LinkLost: If there is no connection; none of them was done.
        """
        if self._connection is None:
            raise LinkLost(self._reason)
        connection = self._connection
        try:
            return Asked(connection, begun(connection, commands))
        except LinkLost as lost:
            self._lose(connection, lost)
            raise

    async def answers(self, asked: Asked) -> list[Any]:
        """Return the answer to each command; see `ask`.

        Raises:
            LinkLost: As there.
        """
        try:
            return await answered(asked.connection, asked.batch, self.answer_s)
        except LinkLost as lost:
            self._lose(asked.connection, lost)
            raise

    def carries(self, asked: Asked) -> bool:
        """Say whether what was sent went through the connection that there is now."""
        return asked.connection is self._connection

    def _lose(self, connection: Any, lost: LinkLost) -> None:
        # Known at once: whoever tries again must not meet the dead one.
        if self._connection is connection:
            self._connection, self._reason = None, lost.reason

    async def persist(self, work: Callable[[], Awaitable[T]], wait_s: float) -> T:
        """Do *work*, which may be done twice, until its answers are there.

        Raises:
            StoreUnavailable: If that took more than *wait_s*; nobody knows what was done.
        """
        with trio.move_on_after(wait_s):
            while True:
                await self.until_up()
                with suppress(LinkLost):
                    return await work()
        slow = f"Redis did not answer within {wait_s:g} s"
        raise StoreUnavailable(slow if self.is_up else self._reason)

    def drop(self, why: str) -> None:
        """Give the connection up: it may lead to a server that is not the right one any more."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._reason = why
            connection.invalidate(why)

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        pause_s = SOONEST_S
        self._runs = True
        try:
            while True:
                try:
                    await self._hold_one()
                    pause_s = SOONEST_S
                except LinkLost as lost:
                    self._reason = lost.reason
                    self.on_down(lost.reason)
                    await trio.sleep(pause_s)
                    pause_s = min(pause_s * 2, RETRY_S)
        finally:
            self._runs, self._connection, self._reason = False, None, "it has been closed"

    async def _hold_one(self) -> None:
        """Connect, let others use it, and return when it is lost."""
        async with trio.open_nursery() as nursery:
            connection = None
            try:
                place = await located(self.address)
                with trio.fail_after(CONNECT_S):
                    connection = await connected(place, nursery)
                    await self.greet(lambda commands: self._exchange(connection, commands))
            except (trio.TooSlowError, LinkLost, StoreError) as error:
                nursery.cancel_scope.cancel(reason="it is no good")
                trouble = error
            else:
                trouble = None
                self._connection = connection
                self._turn()
        if trouble is None:
            self._connection = None
            self._reason = "the connection was lost"
            log.warning("redis.connection_lost", address=str(self.address))
            return
        if isinstance(trouble, StoreError):
            self._refusal = trouble
            self._turn()
            raise LinkLost(str(trouble))
        raise trouble if isinstance(trouble, LinkLost) else LinkLost(LATE)

    def _turn(self) -> None:
        self._turned.set()
        self._turned = trio.Event()

    async def _exchange(self, connection: Any, commands: Sequence[Command]) -> list[Any]:
        return await exchange(connection, commands, self.answer_s)
