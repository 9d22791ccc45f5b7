"""A person at a terminal, with the real wscat on the other side of a pseudo-terminal."""

from __future__ import annotations

import codecs
import errno
import fcntl
import os
import pty
import re
import shutil
import struct
import termios
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from attrs import define, field

from tests.docs.server_process import STOP_LIMIT_S, environment
from tests.project.tree import ROOT
from tests.wscat.screen import Screen

WSCAT = ROOT / "tests" / "wscat" / "node_modules" / "wscat" / "bin" / "wscat"
COLUMNS = 96
ROWS = 50
DEADLINE_S = 20.0
"""Far beyond what anything here takes, on a machine that does a lot beside."""


def why_not() -> str | None:
    """Say what is missing for wscat to run; None where all is there."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not WSCAT.exists():
        return "wscat is not installed: `make test` does that where npm is"
    return None


class NeverShown(AssertionError):
    """What a person waited for was never shown; the screen says what was."""

    def __init__(self, wanted: str, screen: str) -> None:
        super().__init__(f"{wanted!r} was never shown; the screen:\n{screen}")


@define(eq=False)
class Terminal:
    """What wscat shows, and the keyboard."""

    process: trio.Process
    screen: Screen
    _end: int
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _over: bool = field(default=False, init=False)

    @property
    def text(self) -> str:
        return self.screen.text

    async def read(self) -> None:
        """Show what wscat writes, until it ends."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        while True:
            await trio.lowlevel.wait_readable(self._end)
            try:
                some = os.read(self._end, 65536)
            except BlockingIOError:
                continue
            except OSError as error:
                if error.errno != errno.EIO:  # how Linux says that the other side has gone
                    raise
                some = b""
            self._over = not some
            self.screen.feed(decoder.decode(some, final=self._over))
            self._changed.set()
            self._changed = trio.Event()
            if self._over:
                return

    async def shows(self, pattern: str, *, within_s: float = DEADLINE_S) -> re.Match[str]:
        """Wait until *pattern* stands on the screen; lines that ran on are joined by a blank."""
        with trio.move_on_after(within_s):
            while True:
                changed = self._changed
                if found := re.search(pattern, self.text, re.MULTILINE):
                    return found
                if self._over:
                    break
                await changed.wait()
        raise NeverShown(pattern, self.text)

    async def types(self, line: str, *, each_s: float = 0.0) -> None:
        """Type *line*, key by key, and press Enter."""
        for char in f"{line}\r":
            os.write(self._end, char.encode())
            await trio.sleep(each_s)

    async def ended(self) -> int:
        """Wait until wscat has ended; return its exit code."""
        with trio.fail_after(DEADLINE_S):
            return await self.process.wait()


@asynccontextmanager
async def wscat(url: str, *arguments: str, columns: int = COLUMNS) -> AsyncGenerator[Terminal]:
    """Run the real `wscat -c url` in a terminal; it is gone when the block ends."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    os.set_blocking(here, False)
    try:
        process = await trio.lowlevel.open_process(
            ["node", str(WSCAT), "-c", url, *arguments],
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            env=environment(TERM="xterm-256color"),
        )
    finally:
        os.close(there)
    try:
        async with trio.open_nursery() as nursery:
            terminal = Terminal(process, Screen(columns), here)
            try:
                nursery.start_soon(terminal.read)
                # What is typed before this is lost: wscat does not listen yet.
                await terminal.shows(r"^(Connected|Disconnected|error)\b")
                yield terminal
            finally:
                if process.returncode is None:
                    process.kill()
                # Shielded so that no process is left behind a failed test; a killed one ends at
                # once.
                with trio.move_on_after(STOP_LIMIT_S, shield=True):
                    await process.wait()
                nursery.cancel_scope.cancel()
    finally:
        os.close(here)
