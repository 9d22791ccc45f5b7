"""Many sockets read by one task: a task for each would cost more than what it reads."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from selectors import EVENT_READ, DefaultSelector

import trio
from attrs import define, field


@define(eq=False)
class Readers:
    """Calls back whoever has something to read.  Lives until `run` is cancelled."""

    _selector: DefaultSelector = field(factory=DefaultSelector, init=False)

    async def run(self) -> None:
        """Call back until cancelled."""
        with self._selector:
            while True:
                # epoll and kqueue are files themselves, readable when any socket of theirs is.
                await trio.lowlevel.wait_readable(self._selector.fileno())
                for key, _ in self._selector.select(0):
                    key.data()

    @contextmanager
    def calling(
        self, connection: trio.socket.SocketType, read: Callable[[], None]
    ) -> Generator[None]:
        """Call *read* whenever there is something on *connection*, for as long as this lasts.

        It must read what is there, without waiting, and must not raise.
        """
        fd = connection.fileno()
        self._selector.register(fd, EVENT_READ, read)
        try:
            yield
        finally:
            self._selector.unregister(fd)
