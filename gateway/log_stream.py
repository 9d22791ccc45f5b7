"""Where log lines go: somewhere that may be full, stuck or gone, and must not stop the server."""

from __future__ import annotations

import os
import select
import threading
from typing import Final, TextIO

from attrs import define, field

from bargein.gateway.counters import LOG_LINES_DROPPED

# What a pipe that polls as writable takes without blocking (PIPE_BUF on Linux).
_PIECE_BYTES: Final = 4096


@define(eq=False)
class LogStream:
    """Write lines to a descriptor without ever waiting or raising; drop and count what won't go.

    A full disk, a closed stderr and a pipe that nobody reads cost log lines, and nothing else.
    A line that was begun is finished before the next, so lines stay whole.  Any thread may write.
    """

    _descriptor: int
    _unfinished: bytes = field(default=b"", init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    @classmethod
    def on(cls, stream: TextIO | None) -> LogStream:
        """Return one that writes where *stream* does; None stands for a closed one."""
        try:
            return cls(-1 if stream is None else stream.fileno())
        except (OSError, ValueError):
            return cls(-1)

    def write(self, text: str) -> int:
        """Write one line, or drop it."""
        line = text.encode("utf-8", "backslashreplace")
        with self._lock:
            self._unfinished = self._left_of(self._unfinished)
            left = line if self._unfinished else self._left_of(line)
            if left == line and line:
                LOG_LINES_DROPPED.inc()
            elif not self._unfinished:
                self._unfinished = left
        return len(text)

    def flush(self) -> None:
        """Do nothing: nothing is kept that could be written."""

    def isatty(self) -> bool:
        """Say whether a person reads this."""
        return self._descriptor >= 0 and os.isatty(self._descriptor)

    def _left_of(self, text: bytes) -> bytes:
        while text and self._is_ready():
            try:
                text = text[os.write(self._descriptor, text[:_PIECE_BYTES]) :]
            except OSError:
                break
        return text

    def _is_ready(self) -> bool:
        if self._descriptor < 0:
            return False
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))
