"""A conversation by lines: from a pipe or a file, or from a terminal that is left as it is."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import trio
from attrs import define

from bargein.gateway.terminal.chat import Chat
from bargein.gateway.terminal.painter import Painter

MOST_LINE_BYTES: Final = 64 * 1024
READ_BYTES: Final = 65536

MOST_RESUMES: Final = 3
"""An answer that breaks off is taken up so often, where nobody is there to ask for it."""


@define(eq=False)
class LineRoom:
    """Hands lines to the chat.

    Attributes:
        fd: Where they are read.
        waits: Each line waits until all is answered that was said before; where a person types,
            it interrupts.
    """

    chat: Chat
    painter: Painter
    fd: int
    waits: bool

    async def run(self) -> None:
        """Say each line; leave when the last is answered."""
        async with aclosing(self._lines()) as lines:
            async for line in lines:
                if self.waits:
                    await self._answered()
                if self.chat.leaving.is_set():
                    return
                # A person answers what stands on the terminal; a file answers what comes up.
                seen = self.chat.decisions.asked if self.waits else self.painter.seen
                self.chat.entered(line, seen)
        await self._answered()
        self.chat.leave()

    async def _answered(self) -> None:
        resumes = 0
        while True:
            changed = self.chat.changed
            if not self.chat.is_idle:
                await changed.wait()
            elif self.waits and resumes < MOST_RESUMES and self.chat.resume(only_latest=True):
                resumes += 1
            else:
                return

    async def _lines(self) -> AsyncGenerator[str]:
        rest, skips = b"", False
        while some := await read(self.fd):
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                if not skips:
                    yield line.decode(errors="replace")
                skips = False
            if skips:
                rest = b""
            elif len(rest) > MOST_LINE_BYTES:
                # It is refused for its length; its end would pass for words of its own.
                yield rest.decode(errors="replace")
                rest, skips = b"", True
        if rest:
            yield rest.decode(errors="replace")


async def read(fd: int) -> bytes:
    """Read what there is; nothing at its end.  Cancelled, nothing is lost."""
    try:
        await trio.lowlevel.wait_readable(fd)
    except OSError:
        await trio.lowlevel.checkpoint()  # a file of a disk: what there is can be read at once
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        return b""
