"""Many connections read by one task: a task for each would cost more than what it reads.

Those that hurry have a task of their own, which reads whenever there is something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from selectors import EVENT_READ, DefaultSelector
from typing import Final, Protocol

import structlog
import trio
from attrs import define, field

from bargein.models.pace import Pace

MOST_AT_ONCE: Final = 8
"""Read before others have their turn: half a ms.  An interrupt is not to wait for 200 answers."""

FEW: Final = 16
"""So many streams are read at once, whenever one of them has something."""

PAUSE_S: Final = 40e-6
"""For each of more, so much time lies between two readings at least: as long as reading it takes.
Then many are read at a time, and what is paid for each pass and each commit is shared."""

MOST_PAUSE_S: Final = 0.008
"""But never more, as long as the core has room: see `Pace`."""

SLOTS: Final = 8
"""A long period has so many, and each stream has one: a little of all that there is to do is done
at any time, and never all of it at once."""

SLOTTED_S: Final = 0.016
"""A period is long from here on; in a shorter one, all that have something are read together."""

_log = structlog.get_logger()


class Source(Protocol):
    """What the kernel can say of whether it may be read: an open connection."""

    def fileno(self) -> int:
        """Return its file descriptor."""
        ...


class ReadersClosed(Exception):
    """Nobody reads any more: the model is being closed, and so are its connections."""


class ReaderBroken(Exception):
    """A bug of ours has ended what was read here: give this stream up, others may be asked for.

    Attributes:
        error: What was raised where nothing should have been.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"reading was broken off by {type(error).__name__}: {error}")
        self.error = error


@define(eq=False)
class _Reader:
    """One connection that is read, for the task that waits for the end of it.

    Attributes:
        hurried: It is among those that do not wait for others.
        slot: Its place in a long period, once it waits for others.
    """

    source: Source
    read: Callable[[], bool]
    hurries: Callable[[], bool]
    hurried: bool = field(default=True, init=False)
    slot: int = field(default=0, init=False)
    given_up: bool = field(default=False, init=False)
    over: trio.Event = field(factory=trio.Event, init=False)
    error: Exception | None = field(default=None, init=False)

    def goes_on(self) -> bool:
        """Read; return whether there is more to come."""
        try:
            if self.read():
                return True
        except Exception as error:  # noqa: BLE001  it belongs to the task that waits
            self.error = error
        except BaseException as error:  # noqa: BLE001  nothing here asks anybody to end
            self.error = ReaderBroken(error)
        self.over.set()
        return False

    def fail(self, error: Exception) -> None:
        """End it with *error*."""
        self.error = error
        self.over.set()


def _slots() -> tuple[set[_Reader], ...]:
    return tuple(set[_Reader]() for _ in range(SLOTS))


@define(eq=False)
class _Streams:
    """Those that are read: who hurries, and who can wait for others.

    Attributes:
        slots: Those who can wait, by their place in a long period.
        slot: Which of them was read last.
    """

    hurried: DefaultSelector = field(factory=DefaultSelector)
    others: DefaultSelector = field(factory=DefaultSelector)
    slots: tuple[set[_Reader], ...] = field(factory=_slots)
    slot: int = 0

    def all(self) -> list[_Reader]:
        """Return all that are read."""
        keys = *self.hurried.get_map().values(), *self.others.get_map().values()
        return [key.data for key in keys]

    def add(self, reader: _Reader, *, hurried: bool) -> None:
        """Read *reader* from now on: with those that hurry, or a whole period from now."""
        reader.hurried = hurried
        if hurried:
            self.hurried.register(reader.source, EVENT_READ, reader)
        else:
            self.others.register(reader.source, EVENT_READ, reader)
            reader.slot = self._free_slot()
            self.slots[reader.slot].add(reader)

    def begin_with(self, readers: Iterable[_Reader]) -> None:
        """Give *readers*, which are read now, their slots in the periods that follow."""
        self.slot = 0
        for reader in readers:
            self.slots[reader.slot].discard(reader)
            reader.slot = self._free_slot()
            self.slots[reader.slot].add(reader)

    def _free_slot(self) -> int:
        """Return the slot that was just read, or the emptiest where all come at the same time."""
        share = sum(map(len, self.slots)) / SLOTS
        if len(self.slots[self.slot]) <= 1 + 2 * share:
            return self.slot
        return min(range(SLOTS), key=lambda slot: len(self.slots[slot]))

    def remove(self, reader: _Reader) -> None:
        """Read it no more."""
        if reader.hurried:
            self.hurried.unregister(reader.source)
        else:
            self.others.unregister(reader.source)
            self.slots[reader.slot].discard(reader)

    def close(self) -> None:
        """Close what watches them; the connections are their owners'."""
        self.hurried.close()
        self.others.close()


def _never() -> bool:
    return False


@define(eq=False)
class Readers:
    """Calls back whoever has something to read, all in two tasks.

    They start with the first reader and end with `close`, or with the loop.  They belong to
    the loop and not to a nursery, because they have no caller that they could fail.  What is wrong
    with them fails those who are read at that moment, and others read those who come later.

    Attributes:
        _pace: How long many streams are left alone between two reads.
    """

    _pace: Pace = field(factory=Pace)
    _streams: _Streams = field(factory=_Streams, init=False)
    _running: trio.CancelScope | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    async def until(
        self, source: Source, read: Callable[[], bool], hurries: Callable[[], bool] = _never
    ) -> None:
        """Call *read* each time that *source* can be read, until it returns False.

        It must take what is there and never wait.  It may be called for nothing.

        Args:
            source: The connection.
            read: What reads it.
            hurries: Whether what comes next is not to wait for what other streams have; once it
                is not, it is asked no more.

        Raises:
            ReadersClosed: `close` came first.
            ReaderBroken: There is a bug in what reads; the log has it.
            Exception: What *read* raised.
        """
        if self._closed:
            raise ReadersClosed
        if self._running is None:
            self._running = trio.CancelScope()
            whole = self._run, self._running, self._streams
            trio.lowlevel.spawn_system_task(*whole, name="model readers")
        streams, reader = self._streams, _Reader(source, read, hurries)
        streams.add(reader, hurried=hurries())
        try:
            await reader.over.wait()
        finally:
            if not reader.over.is_set():
                reader.given_up = True
                streams.remove(reader)
        if reader.error is not None:
            raise reader.error

    def close(self) -> None:
        """Read no more, ever.  Who waits is told so."""
        if self._closed:
            return
        self._closed = True
        for reader in self._streams.all():
            self._streams.remove(reader)
            reader.fail(ReadersClosed())
        if self._running is not None:
            self._running.cancel()
        else:
            self._streams.close()

    async def _run(self, running: trio.CancelScope, streams: _Streams) -> None:
        with running, closing(streams):
            try:
                async with trio.open_nursery() as both:
                    both.start_soon(_read_hurried, streams)
                    both.start_soon(self._read_others, streams)
            except* Exception as broken:  # noqa: BLE001  in a system task it would end the process
                _log.exception("readers.broken")
                self._begin_anew(streams, broken.exceptions[0])

    async def _read_others(self, streams: _Streams) -> None:
        due_s = trio.current_time()
        quiet = True
        while True:
            asked_s = trio.current_time()
            # epoll and kqueue are files themselves, readable when any of theirs is.
            await trio.lowlevel.wait_readable(streams.others.fileno())
            if trio.current_time() < due_s:
                await trio.sleep_until(due_s)
            elif trio.current_time() - asked_s > SLOTTED_S:
                quiet = True
            self._pace.look()
            began_s = trio.current_time()
            period_s = self._period_s(len(streams.others.get_map()))
            due_s = began_s + period_s
            is_long = period_s >= SLOTTED_S
            if quiet or not is_long:
                readers = [key.data for key, _ in streams.others.select(0)]
                if is_long:
                    # Who speaks into silence does not wait for a slot, and has the first one then.
                    streams.begin_with(readers)
                await _read_each(streams, readers)
                if is_long and streams.others.select(0):
                    due_s = began_s + period_s / SLOTS  # or the last slot would wait for two
            else:
                for slot, readers in enumerate(streams.slots):
                    await trio.sleep_until(began_s + slot * period_s / SLOTS)
                    streams.slot = slot
                    # Whether they have something or not: most do, after so long.
                    await _read_each(streams, [*readers])
            quiet = is_long and not streams.others.select(0)

    def _period_s(self, streams: int) -> float:
        if streams <= FEW:
            return 0.0
        return max(self._pace.period_s, min(PAUSE_S * streams, MOST_PAUSE_S))

    def _begin_anew(self, broken: _Streams, error: Exception) -> None:
        """Fail all that are read by *broken*, or they would wait for ever."""
        if not self._closed:
            self._streams, self._running = _Streams(), None
        for reader in broken.all():
            reader.fail(ReaderBroken(error))


async def _read_each(streams: _Streams, readers: Iterable[_Reader]) -> None:
    for place, reader in enumerate(readers):
        if place and place % MOST_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
        # It may have been given up, or closed, since it was chosen.
        if not (reader.given_up or reader.over.is_set() or reader.goes_on()):
            streams.remove(reader)


async def _read_hurried(streams: _Streams) -> None:
    while True:
        await trio.lowlevel.wait_readable(streams.hurried.fileno())
        readers = [key.data for key, _ in streams.hurried.select(0)]
        for place, reader in enumerate(readers):
            if place and place % MOST_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if reader.given_up:
                continue
            goes_on = reader.goes_on()
            if goes_on and reader.hurries():
                continue
            streams.remove(reader)
            if goes_on:
                streams.add(reader, hurried=False)
