"""The line between a supervisor and a worker: a pair of sockets that closes when either dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog
import trio
from attrs import define, field

MOST_LETTERS: Final = 8
"""That may wait for an end that does not read; a stopped process is no reason to grow."""

MOST_BYTES: Final = 32 * 1024 * 1024
_LENGTH_BYTES: Final = 4
_READ_BYTES: Final = 65_536

T = TypeVar("T")

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@define(eq=False)
class Line(Generic[T]):
    """One end of it.  Lives until the other end has gone.

    Attributes:
        _stream: To the other end.
        _kind: The letters that come from there.
    """

    _stream: trio.SocketStream
    _kind: type[T]
    _outgoing: trio.MemorySendChannel[bytes] = field(init=False)
    _waiting: trio.MemoryReceiveChannel[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._outgoing, self._waiting = trio.open_memory_channel[bytes](MOST_LETTERS)

    def post(self, letter: Any) -> bool:
        """Send a letter soon; say whether there was room for it.  Never waits."""
        body = msgspec.msgpack.encode(letter)
        try:
            self._outgoing.send_nowait(len(body).to_bytes(_LENGTH_BYTES, "big") + body)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    async def run(self, hear: Callable[[T], None]) -> None:
        """Carry letters until the other end has gone; *hear* is told of each, and must not raise.

        What can't be read ends the line, too: letters of other versions can be read.
        """
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._write)
            try:
                await self._read(hear)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it has gone, with what it had not read
            except msgspec.MsgspecError:
                _log.exception("workers.letter_unreadable")
            tasks.cancel_scope.cancel(reason="the other end has gone")
        await trio.aclose_forcefully(self._stream)

    async def _write(self) -> None:
        try:
            async for letter in self._waiting:
                await self._stream.send_all(letter)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # whoever reads will see it, too

    async def _read(self, hear: Callable[[T], None]) -> None:
        received = bytearray()
        while more := await self._stream.receive_some(_READ_BYTES):
            received += more
            while len(received) >= _LENGTH_BYTES:
                end = _LENGTH_BYTES + int.from_bytes(received[:_LENGTH_BYTES], "big")
                if end > MOST_BYTES:
                    raise msgspec.DecodeError("a letter is longer than any that is sent")
                if len(received) < end:
                    break
                letter = msgspec.msgpack.decode(bytes(received[_LENGTH_BYTES:end]), type=self._kind)
                del received[:end]
                hear(letter)
