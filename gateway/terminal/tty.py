"""The terminal itself: raw while somebody types, and as it was afterwards."""

from __future__ import annotations

import os
import select
import shutil
import termios
import tty
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import trio
from attrs import define, field

from bargein.gateway.terminal.face import Ink
from bargein.gateway.terminal.keys import PASTE_OFF, PASTE_ON, Key, Keyboard

READ_BYTES: Final = 65536
ESCAPE_S: Final = 0.05
"""What follows an Escape is the rest of a key, if it comes within this time."""

_WRAPS: Final = "\x1b[?7h"


@define(eq=False)
class Tty:
    """A terminal to type on: *keyboard_fd* is read, *screen_fd* is written."""

    keyboard_fd: int
    screen_fd: int
    _keyboard: Keyboard = field(factory=Keyboard, init=False)
    _before: list[Any] | None = field(default=None, init=False)
    _early: bytes = field(default=b"", init=False)

    @property
    def size(self) -> tuple[int, int]:
        """Its columns and rows, as they are now."""
        try:
            size = os.get_terminal_size(self.screen_fd)
        except OSError:
            size = shutil.get_terminal_size()
        return size.columns or 80, size.lines or 24

    @contextmanager
    def raw(self) -> Generator[None]:
        """Have each key at once, and none of them end this process; then all is as it was."""
        self._before = termios.tcgetattr(self.keyboard_fd)
        try:
            tty.setraw(self.keyboard_fd, termios.TCSADRAIN)
            mode = termios.tcgetattr(self.keyboard_fd)
            mode[1] |= termios.OPOST  # what others write in between is to look as usual
            termios.tcsetattr(self.keyboard_fd, termios.TCSADRAIN, mode)
            self._early = self._typed_before()
            _say(self.screen_fd, PASTE_ON)
            yield
        finally:
            self._give_back()

    @contextmanager
    def cooked(self, *, flush: bool = False) -> Generator[None]:
        """Give the terminal to another program for a while, as it was before `raw`.

        With *flush* nothing that was typed to that program, and not read by it, is kept.
        """
        raw = termios.tcgetattr(self.keyboard_fd)
        self._give_back()
        try:
            yield
        finally:
            when = termios.TCSAFLUSH if flush else termios.TCSADRAIN
            with suppress(termios.error):  # a terminal that has gone is noticed when it is read
                termios.tcsetattr(self.keyboard_fd, when, raw)
            self._early = self._typed_before()
            _say(self.screen_fd, PASTE_ON)

    def _typed_before(self) -> bytes:
        """Return what was typed before the terminal was raw: there Enter is a newline."""
        readable = select.poll()
        readable.register(self.keyboard_fd, select.POLLIN)
        if not readable.poll(0):
            return b""
        try:
            return os.read(self.keyboard_fd, READ_BYTES).replace(b"\n", b"\r")
        except OSError:  # the next read will say so, too
            return b""

    def _give_back(self) -> None:
        _say(self.screen_fd, PASTE_OFF + _WRAPS)
        if self._before is not None:
            with suppress(termios.error):  # it has gone, and there is nothing to be given back
                termios.tcsetattr(self.keyboard_fd, termios.TCSADRAIN, self._before)

    async def keys(self) -> list[Key]:
        """Wait for keys; an empty list says that the terminal has gone."""
        while True:
            some = await self._read(None if not self._keyboard.in_doubt else ESCAPE_S)
            if some == b"":
                return []
            keys = self._keyboard.settle() if some is None else self._keyboard.feed(some)
            if keys:
                return keys

    async def _read(self, within_s: float | None) -> bytes | None:
        if self._early:
            await trio.lowlevel.checkpoint()
            early, self._early = self._early, b""
            return early
        with trio.move_on_after(float("inf") if within_s is None else within_s):
            await trio.lowlevel.wait_readable(self.keyboard_fd)
            try:
                return os.read(self.keyboard_fd, READ_BYTES)
            except OSError:  # it was hung up
                return b""
        return None


async def write(ink: Ink) -> bool:
    """Write *ink* whole; return False if nobody reads any more.

    In a thread: whoever reads may be slow, and the connection has to be read meanwhile.
    """
    if not ink.written:
        return True
    work = partial(_write_all, ink.fd, ink.written)
    return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


def _write_all(fd: int, written: bytes) -> bool:
    rest = memoryview(written)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except OSError:
        return False
    return True


def _say(fd: int, text: str) -> None:
    _write_all(fd, text.encode())
