"""How actors are reached: addresses, bounded mailboxes, one-shot replies.

An actor is a class with one `run`.  Its attributes are its state, and only its
own task writes them; everybody else holds its `Address`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, TypeVar

import trio
from attrs import define, field, frozen

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
T = TypeVar("T")


class ActorGone(Exception):
    """The actor has ended: what was sent to it will not be read.

    The session is ending; let the caller's task end with it.

    Attributes:
        actor: Name of the actor, as it appears in logs.
    """

    def __init__(self, actor: str) -> None:
        super().__init__(f"actor {actor!r} has ended")
        self.actor = actor


@define(eq=False)
class Receipt(Generic[T]):
    """One answer: sent once by the actor, awaited once by the asker."""

    _answer: tuple[T] | None = field(default=None, init=False)
    _settled: trio.Event = field(factory=trio.Event, init=False)

    def send(self, answer: T) -> None:
        """Answer.  Never waits; an asker that gave up does not matter."""
        self._answer = (answer,)
        self._settled.set()

    def abandon(self) -> None:
        """Wake the asker without an answer, because the actor has ended."""
        self._settled.set()

    async def wait(self) -> tuple[T] | None:
        """Wait for the answer; None if there will be none."""
        await self._settled.wait()
        return self._answer


@frozen(eq=False)
class Address(Generic[M_contra]):
    """Where an actor is reached.  Cheap to share; says nothing of its state."""

    name: str
    _lane: trio.MemorySendChannel[M_contra]
    _asking: set[Receipt[Any]]

    async def tell(self, message: M_contra) -> None:
        """Deliver *message*, waiting while the mailbox is full.

        Raises:
            ActorGone: If the actor has ended.
        """
        try:
            await self._lane.send(message)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ActorGone(self.name) from None

    def offer(self, message: M_contra) -> bool:
        """Deliver *message* if there is room now; say whether there was.

        Raises:
            ActorGone: If the actor has ended.
        """
        try:
            self._lane.send_nowait(message)
        except trio.WouldBlock:
            return False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise ActorGone(self.name) from None
        return True

    async def ask(self, request: Callable[[Receipt[T]], M_contra], *, within_s: float) -> T:
        """Send `request(receipt)` and return the answer.

        Raises:
            ActorGone: If the actor ended before it answered.
            trio.TooSlowError: If there is no answer within *within_s* seconds.
        """
        receipt: Receipt[T] = Receipt()
        self._asking.add(receipt)
        try:
            with trio.fail_after(within_s):
                await self.tell(request(receipt))
                answer = await receipt.wait()
        finally:
            self._asking.discard(receipt)
        if answer is None:
            raise ActorGone(self.name)
        return answer[0]

    def close(self) -> None:
        """Promise that no more messages come; what is queued is still read."""
        self._lane.close()


@define(eq=False)
class Mailbox(Generic[M]):
    """The reading end, held by the actor alone.  Leaving it ends the address."""

    _lane: trio.MemoryReceiveChannel[M]
    _asking: set[Receipt[Any]]

    @classmethod
    def open(cls, name: str, capacity: int) -> tuple[Address[M], Mailbox[M]]:
        """Return both ends of a new mailbox of *capacity* messages, at least 1."""
        if capacity < 1:
            raise ValueError(f"mailbox {name!r} needs a capacity of at least 1, not {capacity}")
        send, receive = trio.open_memory_channel[M](capacity)
        asking: set[Receipt[Any]] = set()
        return Address(name, send, asking), cls(receive, asking)

    async def take(self, at_most: int = 64) -> list[M]:
        """Wait for a message, then take all that are queued, up to *at_most*.

        Returns an empty list once the address is closed and all is read.
        """
        try:
            batch = [await self._lane.receive()]
        except trio.EndOfChannel:
            return []
        # A separate block: the end may show up here too, behind messages that
        # were queued before it, and those must not be lost with it.
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while len(batch) < at_most:
                batch.append(self._lane.receive_nowait())
        return batch

    def __enter__(self) -> Mailbox[M]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lane.close()
        for receipt in self._asking:
            receipt.abandon()
