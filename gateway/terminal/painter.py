"""Writes what a face shows, and notes how much of the answer that was."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field

from bargein.gateway.terminal.face import Face, Ink
from bargein.gateway.terminal.reports import Reports
from bargein.gateway.terminal.tty import write


@define(eq=False)
class Painter:
    """The only one who writes.  What comes while it writes is shown together, the next time.

    Attributes:
        seen: The question that really stands on the terminal; None where none does.
        blind: Set when nobody reads any more what is written.
    """

    _face: Face
    _reports: Reports
    _asked: Callable[[], str | None]
    seen: str | None = field(default=None, init=False)
    _over: bool = field(default=False, init=False)
    blind: trio.Event = field(factory=trio.Event, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)
    _one_at_a_time: trio.Lock = field(factory=trio.Lock, init=False)

    def soon(self) -> None:
        """Show soon what is new."""
        self._news.set()

    async def run(self) -> None:
        """Show what is new, for ever."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self.paint()

    async def paint(self) -> None:
        """Show now what is new."""
        async with self._one_at_a_time:
            if self._over:
                return
            inks, asked = self._face.paint(), self._asked()
            # A screen that paints nothing is hidden; a pipe shows all there is.
            shows = bool(inks) or not self._face.draws
            if await self._write(inks) and shows:
                self.seen = asked

    async def last(self, inks_of: Callable[[], list[Ink]]) -> None:
        """Write what *inks_of* returns when all before is written, and then nothing any more."""
        self._over = True
        await self.write_when_free(inks_of)

    async def write_when_free(self, inks_of: Callable[[], list[Ink]]) -> None:
        """Write what *inks_of* returns when all before is written."""
        async with self._one_at_a_time:
            await self._write(inks_of())

    async def _write(self, inks: list[Ink]) -> bool:
        for ink in inks:
            if not await write(ink):
                self.blind.set()
                return False
            if ink.turn_id is not None:
                self._reports.printed(ink.turn_id, ink.chars)
        return True
