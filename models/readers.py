"""Many connections read by one task: a task for each would cost more than what it reads.

Those that hurry have a task of their own, which reads whenever there is something.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from selectors import EVENT_READ, DefaultSelector, SelectorKey
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
    """One connection that is read, for the task that waits for the end of it."""

    read: Callable[[], bool]
    hurries: Callable[[], bool]
    selector: DefaultSelector
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


@define(eq=False)
class _Streams:
    """Those that are read: who hurries, and who can wait for others."""

    hurried: DefaultSelector = field(factory=DefaultSelector)
    others: DefaultSelector = field(factory=DefaultSelector)

    def all(self) -> list[SelectorKey]:
        return [*self.hurried.get_map().values(), *self.others.get_map().values()]

    def move(self, key: SelectorKey) -> None:
        """Let one that hurried wait for others from now on."""
        self.hurried.unregister(key.fileobj)
        self.others.register(key.fileobj, EVENT_READ, key.data)
        key.data.selector = self.others

    def close(self) -> None:
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

        It must take what is there and never wait.  It may be called once for nothing.

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
        streams = self._streams
        reader = _Reader(read, hurries, streams.hurried if hurries() else streams.others)
        reader.selector.register(source, EVENT_READ, reader)
        try:
            await reader.over.wait()
        finally:
            if not reader.over.is_set():
                reader.given_up = True
                reader.selector.unregister(source)
        if reader.error is not None:
            raise reader.error

    def close(self) -> None:
        """Read no more, ever.  Who waits is told so."""
        if self._closed:
            return
        self._closed = True
        for key in self._streams.all():
            key.data.selector.unregister(key.fileobj)
            key.data.fail(ReadersClosed())
        if self._running is not None:
            self._running.cancel()
        else:
            self._streams.close()

    async def _run(self, running: trio.CancelScope, streams: _Streams) -> None:
        with running, closing(streams):
            try:
                async with trio.open_nursery() as both:
                    both.start_soon(_read_hurried, streams)
                    both.start_soon(self._read_others, streams.others)
            except* Exception as broken:  # noqa: BLE001  in a system task it would end the process
                _log.exception("readers.broken")
                self._begin_anew(streams, broken.exceptions[0])

    async def _read_others(self, selector: DefaultSelector) -> None:
        due_s = trio.current_time()
        while True:
            # epoll and kqueue are files themselves, readable when any of theirs is.
            await trio.lowlevel.wait_readable(selector.fileno())
            if trio.current_time() < due_s:
                await trio.sleep_until(due_s)
            self._pace.look()
            due_s = trio.current_time() + self._period_s(len(selector.get_map()))
            ready = selector.select(0)
            for start in range(0, len(ready), MOST_AT_ONCE):
                if start:
                    await trio.lowlevel.checkpoint()
                for key, _ in ready[start : start + MOST_AT_ONCE]:
                    # It may have been, since the kernel was asked.
                    if not (key.data.given_up or key.data.goes_on()):
                        selector.unregister(key.fileobj)

    def _period_s(self, streams: int) -> float:
        if streams <= FEW:
            return 0.0
        return max(self._pace.period_s, min(PAUSE_S * streams, MOST_PAUSE_S))

    def _begin_anew(self, broken: _Streams, error: Exception) -> None:
        """Fail all that are read by *broken*, or they would wait for ever."""
        if not self._closed:
            self._streams, self._running = _Streams(), None
        for key in broken.all():
            key.data.fail(ReaderBroken(error))


async def _read_hurried(streams: _Streams) -> None:
    while True:
        await trio.lowlevel.wait_readable(streams.hurried.fileno())
        for place, (key, _) in enumerate(streams.hurried.select(0)):
            if place and place % MOST_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if key.data.given_up:
                continue
            if not key.data.goes_on():
                streams.hurried.unregister(key.fileobj)
            elif not key.data.hurries():
                streams.move(key)
