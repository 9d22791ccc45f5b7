"""Many connections read by one task: a task for each would cost more than what it reads."""

from __future__ import annotations

from collections.abc import Callable
from selectors import EVENT_READ, DefaultSelector
from typing import Final, Protocol

import structlog
import trio
from attrs import define, field

MOST_AT_ONCE: Final = 32
"""Read before others have their turn: about 1 ms.  An interrupt is not to wait for 200 answers."""

FEW: Final = 16
"""So many streams are read at once, whenever one of them has something."""

PAUSE_S: Final = 40e-6
"""For each of more, the loop waits so long before it reads: as long as reading it takes.  Then it
reads many at a time, and what is paid for each pass and each commit is shared by more tokens."""

MOST_PAUSE_S: Final = 0.008
"""But never longer: it is a part of the time to the first token."""

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
class Readers:
    """Calls back whoever has something to read, all in one task.

    The task starts with the first reader and ends with `close`, or with the loop.  It belongs to
    the loop and not to a nursery, because it has no caller that it could fail.  What is wrong
    with it fails those who are read at that moment, and another task reads those who come later.
    """

    _selector: DefaultSelector = field(factory=DefaultSelector, init=False)
    _running: trio.CancelScope | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    async def until(self, source: Source, read: Callable[[], bool]) -> None:
        """Call *read* each time that *source* can be read, until it returns False.

        It must take what is there and never wait.  It may be called once for nothing.

        Raises:
            ReadersClosed: `close` came first.
            ReaderBroken: There is a bug in what reads; the log has it.
            Exception: What *read* raised.
        """
        if self._closed:
            raise ReadersClosed
        if self._running is None:
            self._running = trio.CancelScope()
            whole = self._run, self._running, self._selector
            trio.lowlevel.spawn_system_task(*whole, name="model readers")
        reader = _Reader(read)
        self._selector.register(source, EVENT_READ, reader)
        try:
            await reader.over.wait()
        finally:
            if not reader.over.is_set():
                reader.given_up = True
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

    async def _run(self, running: trio.CancelScope, selector: DefaultSelector) -> None:
        with running, selector:
            try:
                while True:
                    # epoll and kqueue are files themselves, readable when any of theirs is.
                    await trio.lowlevel.wait_readable(selector.fileno())
                    streams = len(selector.get_map())
                    if streams > FEW:
                        await trio.sleep(min(PAUSE_S * streams, MOST_PAUSE_S))
                    ready = selector.select(0)
                    for start in range(0, len(ready), MOST_AT_ONCE):
                        if start:
                            await trio.lowlevel.checkpoint()
                        for key, _ in ready[start : start + MOST_AT_ONCE]:
                            # It may have been, since the kernel was asked.
                            if not (key.data.given_up or key.data.goes_on()):
                                selector.unregister(key.fileobj)
            except Exception as error:  # noqa: BLE001  in a system task it would end the process
                _log.exception("readers.broken")
                self._begin_anew(selector, error)

    def _begin_anew(self, broken: DefaultSelector, error: Exception) -> None:
        """Fail all that are read by *broken*, or they would wait for ever."""
        if not self._closed:
            self._selector, self._running = DefaultSelector(), None
        for key in tuple(broken.get_map().values()):
            key.data.fail(ReaderBroken(error))
