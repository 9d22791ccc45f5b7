"""A person at a terminal with `bargein chat`: on a pseudo-terminal, drawn by pyte."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import termios
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import pyte
import trio
from attrs import define, field

from bargein.gateway.terminal.address import read_address
from bargein.gateway.terminal.conversation import Ends, Wishes, converse
from bargein.gateway.terminal.token_file import TokenSource
from tests.docs.server_process import COMMAND, environment

COLUMNS = 100
ROWS = 40
DEADLINE_S = 90.0
"""Far beyond what anything here takes, on a machine that does a lot beside."""

REACTION_S = 0.1
"""Nobody answers sooner what they read; and keys that come as soon answer nothing."""

STOP = "\x03"
END = "\x04"
UP = "\x1b[A"
LEFT = "\x1b[D"


class NeverShown(AssertionError):
    """What a person waited for was never shown; the screen says what was."""

    def __init__(self, wanted: str, screen: str) -> None:
        super().__init__(f"{wanted!r} was never shown; the screen:\n{screen}")


@define(eq=False)
class Person:
    """Sees the terminal, with all that has scrolled away, and types."""

    _end: int
    columns: int
    process: trio.Process | None = None
    exit_code: int | None = field(default=None, init=False)
    written: bytes = field(default=b"", init=False)
    _screen: pyte.HistoryScreen = field(init=False)
    _stream: pyte.ByteStream = field(init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._screen = pyte.HistoryScreen(self.columns, ROWS, history=5000, ratio=0.5)
        self._stream = pyte.ByteStream(self._screen)

    @property
    def text(self) -> str:
        """Every row, from the first that scrolled away to the last on the screen."""
        gone = [
            "".join(row[column].data for column in range(self.columns))
            for row in self._screen.history.top
        ]
        return "\n".join(row.rstrip() for row in [*gone, *self._screen.display]).rstrip()

    @property
    def row(self) -> str:
        """The row with the cursor."""
        return self._screen.display[self._screen.cursor.y].rstrip()

    @property
    def cursor_column(self) -> int:
        return self._screen.cursor.x

    async def read(self) -> None:
        """Draw what is written, until the end."""
        while not self._over:
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
            self.written += some
            self._stream.feed(some)
            self._changed.set()
            self._changed = trio.Event()

    async def shows(self, pattern: str) -> re.Match[str]:
        """Wait until *pattern* stands somewhere in the text."""
        return await self._until(pattern, lambda: self.text)

    async def asks(self, pattern: str) -> re.Match[str]:
        """Wait until *pattern* stands in the row with the cursor, and the person has read it."""
        found = await self._until(pattern, lambda: self.row)
        await trio.sleep(REACTION_S)
        return found

    async def _until(self, pattern: str, seen: Callable[[], str]) -> re.Match[str]:
        with trio.move_on_after(DEADLINE_S):
            while True:
                changed = self._changed
                if found := re.search(pattern, seen(), re.MULTILINE):
                    return found
                if self._over:
                    break
                await changed.wait()
        raise NeverShown(pattern, self.text)

    def presses(self, keys: str) -> None:
        """Press *keys*."""
        os.write(self._end, keys.encode())

    def types(self, line: str) -> None:
        """Type *line* and press Enter."""
        self.presses(f"{line}\r")

    def resizes(self, columns: int) -> None:
        """Drag the window to another width."""
        self.columns = columns
        self._screen.resize(columns=columns)
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        # The kernel tells the processes of a terminal's session; here there is none.
        self.gets(signal.SIGWINCH)

    def gets(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(os.getpid() if self.process is None else self.process.pid, number)

    async def ended(self) -> int:
        """Wait until the chat has ended, and all that it wrote is drawn; return its exit code."""
        with trio.fail_after(DEADLINE_S):
            while not self._over:
                await self._changed.wait()
            if self.process is not None:
                self.exit_code = await self.process.wait()
        assert self.exit_code is not None
        return self.exit_code


@asynccontextmanager
async def person(
    url: str,
    *,
    session: str | None = None,
    watch: bool = False,
    plain: bool = False,
    colours: bool = True,
    editor: str = "",
    columns: int = COLUMNS,
) -> AsyncGenerator[Person]:
    """Run the chat in this process, on a terminal of its own; it is gone when the block ends."""
    address = read_address(url)
    wishes = Wishes(address, session, TokenSource(), watch, plain, colours, editor)
    here, there = _terminal(columns)
    before = termios.tcgetattr(there)
    async with trio.open_nursery() as nursery:
        someone = Person(here, columns)

        async def talk() -> None:
            someone.exit_code = await converse(wishes, Ends(there, there, there))
            assert termios.tcgetattr(here) == before, "the terminal is left as it was"

        async def until_the_end() -> None:
            try:
                await talk()
            finally:
                os.close(there)

        nursery.start_soon(someone.read)
        nursery.start_soon(until_the_end)
        yield someone
        nursery.cancel_scope.cancel()
    os.close(here)


@asynccontextmanager
async def person_process(
    *arguments: str, variables: Mapping[str, str] | None = None
) -> AsyncGenerator[Person]:
    """Run the real command `bargein chat` in a terminal; it is gone when the block ends."""
    here, there = _terminal(COLUMNS)
    before = termios.tcgetattr(there)
    unset = {"NO_COLOR": "", "VISUAL": "", "EDITOR": ""}
    try:
        process = await trio.lowlevel.open_process(
            [COMMAND, "chat", *arguments],
            stdin=there,
            stdout=there,
            stderr=there,
            start_new_session=True,
            env=environment(TERM="xterm-256color", **{**unset, **(variables or {})}),
        )
    finally:
        os.close(there)
    try:
        async with trio.open_nursery() as nursery:
            someone = Person(here, COLUMNS, process)
            nursery.start_soon(someone.read)
            try:
                yield someone
            finally:
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
                # Shielded so that no process is left behind a failed test; a killed one ends at
                # once.
                with trio.move_on_after(DEADLINE_S, shield=True):
                    await process.wait()
                nursery.cancel_scope.cancel()
        if process.returncode != -signal.SIGKILL:
            assert termios.tcgetattr(here) == before, "the terminal is left as it was"
    finally:
        os.close(here)


def _terminal(columns: int) -> tuple[int, int]:
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    os.set_blocking(here, False)
    return here, there
