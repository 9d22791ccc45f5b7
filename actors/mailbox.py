"""How actors are reached: addresses, bounded mailboxes, one-shot replies.

An actor is a class with one `run`.  Its attributes are its state, and only its
own task writes them, or whoever brings a message, on its behalf and without a wait,
while that task waits for one (`Mailbox.when_idle`).  Everybody else holds its `Address`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

import trio
from attrs import define, field, frozen

M = TypeVar("M")
T = TypeVar("T")


MOST_PASSED: Final = 8
"""Messages that are delivered to an actor while nobody else has a turn: half a ms of work."""

_depths: dict[str, int] = {}
"""Of mailboxes by name: the most that waited in one of them, since somebody asked."""


def take_depths() -> dict[str, int]:
    """Return how many messages have waited in a mailbox of each name at most, since the last call.

    One alone that is taken at once does not wait; names without any that waited are missing.
    """
    depths = dict(_depths)
    _depths.clear()
    return depths


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
    """One answer: sent once by the actor, awaited once by the asker.

    Attributes:
        answer: What was sent; None before that.
    """

    answer: tuple[T] | None = field(default=None, init=False)
    _settled: trio.Event = field(factory=trio.Event, init=False)

    def send(self, answer: T) -> None:
        """Answer.  Never waits; an asker that gave up does not matter."""
        self.answer = (answer,)
        self._settled.set()

    def abandon(self) -> None:
        """Wake the asker without an answer, because the actor has ended."""
        self._settled.set()

    async def wait(self) -> tuple[T] | None:
        """Wait for the answer; None if there will be none."""
        if self.answer is None:
            await self._settled.wait()
        return self.answer


@define(eq=False)
class _Letter(Generic[M]):
    """A message whose sender waits for room."""

    message: M
    sender: trio.lowlevel.Task
    taken: bool = False


@define(eq=False)
class _Lane(Generic[M]):
    """What both ends share: the messages that wait, and who waits for them or for room.

    Made for many that are mostly empty: a list takes a tenth of a deque, and is only
    ever read from the front by a reader that takes nearly all of it.
    """

    name: str
    capacity: int
    queue: list[M] = field(factory=list[M], init=False)
    letters: list[_Letter[M]] = field(factory=list[_Letter[M]], init=False)
    asking: set[Receipt[Any]] | None = field(default=None, init=False)
    reader: trio.lowlevel.Task | None = field(default=None, init=False)
    delivered: bool = field(default=False, init=False)
    when_idle: Callable[[M, bool], bool] | None = field(default=None, init=False)
    serving: bool = field(default=False, init=False)
    passed: int = field(default=0, init=False)
    closed: bool = field(default=False, init=False)
    failure: Exception | None = field(default=None, init=False)

    def owes_others_a_turn(self) -> bool:
        """Whether so many have gone on without a wait that others are to have their turn."""
        self.passed = (self.passed + 1) % MOST_PASSED
        return not self.passed

    def put(self, message: M) -> bool:
        if self.closed:
            raise ActorGone(self.name)
        # What wakes the reader is as good as read, and takes nobody's room.
        if self.letters or len(self.queue) - self.delivered >= self.capacity:
            return False
        self.queue.append(message)
        if self.reader is not None:
            self.delivered = True
            self.rouse()
        return True

    def rouse(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            trio.lowlevel.reschedule(reader)

    async def until_taken(self, message: M) -> None:
        letter = _Letter(message, trio.lowlevel.current_task())
        self.letters.append(letter)

        def take_back(_: object) -> trio.lowlevel.Abort:
            self.letters.remove(letter)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(take_back)
        if not letter.taken:
            raise ActorGone(self.name)

    async def until_something(self) -> None:
        self.reader = trio.lowlevel.current_task()

        def go_away(_: object) -> trio.lowlevel.Abort:
            self.reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(go_away)

    def drain(self, at_most: int) -> list[M]:
        depth = len(self.queue)
        if depth > 1 and depth > _depths.get(self.name, 0):
            _depths[self.name] = depth
        batch = self.queue[:at_most]
        del self.queue[:at_most]
        self.delivered = False
        while self.letters and len(self.queue) < self.capacity:
            letter = self.letters.pop(0)
            letter.taken = True
            trio.lowlevel.reschedule(letter.sender)
            into = batch if len(batch) < at_most else self.queue
            into.append(letter.message)
        return batch

    def fail(self, error: Exception) -> None:
        self.failure = error
        self.rouse()

    def close(self) -> None:
        self.closed = True
        self.rouse()
        letters, self.letters = self.letters, []
        for letter in letters:
            trio.lowlevel.reschedule(letter.sender)


@frozen(eq=False)
class Address(Generic[M]):
    """Where an actor is reached.  Cheap to share; says nothing of its state."""

    _lane: _Lane[M]

    @property
    def name(self) -> str:
        """The name of the actor, as it appears in logs."""
        return self._lane.name

    async def tell(self, message: M) -> None:
        """Deliver *message*, waiting while the mailbox is full.

        Where nothing is in the way, that takes no step of the scheduler, but for some of those who
        deliver much: don't count on others having had their turn.

        Raises:
            ActorGone: If the actor has ended.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self.offer(message, told=True):
            await self._lane.until_taken(message)
        elif self._lane.owes_others_a_turn():
            await trio.lowlevel.cancel_shielded_checkpoint()

    def offer(self, message: M, *, told: bool = False) -> bool:
        """Deliver *message* if there is room now; say whether there was.

        An actor that waits for messages may take it in this very call.

        Args:
            message: What is offered.
            told: Who offers would wait for room, and has no other answer to there being none.

        Raises:
            ActorGone: If the actor has ended.
        """
        lane = self._lane
        if lane.reader is not None and lane.when_idle is not None and not lane.serving:
            lane.serving = True
            try:
                if lane.when_idle(message, told):
                    return True
            except Exception as error:  # noqa: BLE001 - the actor's, not of who offers
                lane.fail(error)
                return True
            finally:
                lane.serving = False
        return lane.put(message)

    async def ask(self, request: Callable[[Receipt[T]], M], *, within_s: float) -> T:
        """Send `request(receipt)` and return the answer.

        Raises:
            ActorGone: If the actor ended before it answered.
            trio.TooSlowError: If there is no answer within *within_s* seconds.
        """
        receipt: Receipt[T] = Receipt()
        asking = self._lane.asking
        if asking is None:
            asking = self._lane.asking = set()
        asking.add(receipt)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            message = request(receipt)
            delivered = self.offer(message, told=True)
            if receipt.answer is not None:
                if self._lane.owes_others_a_turn():
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return receipt.answer[0]
            with trio.fail_after(within_s):
                if not delivered:
                    await self._lane.until_taken(message)
                answer = await receipt.wait()
        finally:
            asking.discard(receipt)
        if answer is None:
            raise ActorGone(self.name)
        return answer[0]

    def close(self) -> None:
        """Promise that no more messages come; what is queued is still read."""
        self._lane.close()


@define(eq=False)
class Mailbox(Generic[M]):
    """The reading end, held by the actor alone.  Leaving it ends the address."""

    _lane: _Lane[M]

    @classmethod
    def open(cls, name: str, capacity: int) -> tuple[Address[M], Mailbox[M]]:
        """Return both ends of a new mailbox of *capacity* messages, at least 1."""
        if capacity < 1:
            raise ValueError(f"mailbox {name!r} needs a capacity of at least 1, not {capacity}")
        lane: _Lane[M] = _Lane(name, capacity)
        return Address(lane), cls(lane)

    async def take(self, at_most: int = 64) -> list[M]:
        """Wait for a message, then take all that are queued, up to *at_most*.

        Returns an empty list once the address is closed and all is read.
        """
        lane = self._lane
        if lane.queue or lane.closed or lane.failure:
            await trio.lowlevel.checkpoint()
        else:
            await lane.until_something()
        if lane.failure is not None:
            raise lane.failure
        return lane.drain(at_most)

    def when_idle(self, serve: Callable[[M, bool], bool]) -> None:
        """Let whoever sends a message run *serve* with it while this actor waits for one.

        It is the actor's own work, done without waking its task: nothing is queued then, and
        nothing of the actor is under way.  It is told whether the sender would wait for room,
        and says whether it has served; what it has not is queued, and so is what it sends here
        itself.  Must not wait.  What it raises is raised in the actor's task instead, and the
        tasks that it starts and the lines that it logs have the actor's context.
        """
        self._lane.when_idle = partial(copy_context().run, serve)

    def on_behalf(self, work: Callable[[], None]) -> None:
        """Do *work* of the actor in the task that calls; what it raises ends the actor."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the actor's, not of who happened to call
            self._lane.fail(error)

    def __enter__(self) -> Mailbox[M]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lane.close()
        self._lane.when_idle = None  # or the actor would hold itself in memory
        for receipt in self._lane.asking or ():
            receipt.abandon()
