"""Many connections read by one task: a task for each would cost more than what it reads."""

from __future__ import annotations

from collections.abc import Callable
from selectors import EVENT_READ, DefaultSelector
from typing import Protocol

import trio
from attrs import define, field


class Source(Protocol):
    """What the kernel can say of whether it may be read: an open connection."""

    def fileno(self) -> int:
        """Return its file descriptor."""
        ...


class ReadersClosed(Exception):
    """Nobody reads any more: the model is being closed, and so are its connections."""


@define(eq=False)
class _Reader:
    """One connection that is read, for the task that waits for the end of it."""

    read: Callable[[], bool]
    over: trio.Event = field(factory=trio.Event, init=False)
    error: Exception | None = field(default=None, init=False)

    def goes_on(self) -> bool:
        """Read; return whether there is more to come."""
        try:
            if self.read():
                return True
        except Exception as error:  # noqa: BLE001  it belongs to the task that waits
            self.error = error
        self.over.set()
        return False

    def fail(self, error: Exception) -> None:
        """End it with *error*."""
        self.error = error
        self.over.set()


@define(eq=False)
class Readers:
    """Calls back whoever has something to read, all in one task.

    The task starts with the first reader and ends with `close`, or with the loop.  It belongs to
    the loop and not to a nursery, because it has no caller that it could fail.
    """

    _selector: DefaultSelector = field(factory=DefaultSelector, init=False)
    _running: trio.CancelScope | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    async def until(self, source: Source, read: Callable[[], bool]) -> None:
        """Call *read* each time that *source* can be read, until it returns False.

        It must take what is there and never wait.  It may be called once for nothing.

        Raises:
            ReadersClosed: `close` came first.
            Exception: What *read* raised.
        """
        if self._closed:
            raise ReadersClosed
        if self._running is None:
            self._running = trio.CancelScope()
            trio.lowlevel.spawn_system_task(self._run, self._running, name="model readers")
        reader = _Reader(read)
        self._selector.register(source, EVENT_READ, reader)
        try:
            await reader.over.wait()
        finally:
            if not reader.over.is_set():
                self._selector.unregister(source)
        if reader.error is not None:
            raise reader.error

    def close(self) -> None:
        """Read no more, ever.  Who waits is told so."""
        if self._closed:
            return
        self._closed = True
        for key in tuple(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.data.fail(ReadersClosed())
        if self._running is not None:
            self._running.cancel()
        else:
            self._selector.close()

    async def _run(self, running: trio.CancelScope) -> None:
        with running, self._selector as selector:
            while True:
                # epoll and kqueue are files themselves, readable when any of theirs is.
                await trio.lowlevel.wait_readable(selector.fileno())
                for key, _ in selector.select(0):
                    if not key.data.goes_on():
                        selector.unregister(key.fileobj)
