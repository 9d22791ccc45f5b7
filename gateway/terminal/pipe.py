"""A conversation without a terminal: the answer to one file, all else to another."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import define, field

from bargein.gateway.terminal.face import Began, Ink, Paused, Sheet, Spoke, Told
from bargein.protocol.ids import TurnId
from bargein.protocol.lines import visible


@define(eq=False)
class Pipe:
    """Writes answers as they come, and nothing else, to one file.

    Lines about them go to the other.  Control characters are written out on both: what is
    read later may be read on a terminal.  Where both are *mixed*, such a line breaks the answer's.
    """

    _answers_fd: int = 1
    _notes_fd: int = 2
    _mixed: bool = False
    draws: bool = field(default=False, init=False)
    sheet: Sheet = field(factory=Sheet, init=False)
    _turn_id: TurnId | None = field(default=None, init=False)
    _chars: int = field(default=0, init=False)
    _in_line: bool = field(default=False, init=False)
    _stood: tuple[str, ...] = field(default=(), init=False)

    def stand(self, rows: tuple[str, ...]) -> None:
        """Write a state when it changes: nothing stands still here."""
        for row in rows:
            if row not in self._stood:
                self.sheet.tell(row)
        self._stood = rows

    def ask(self, label: str) -> None:
        """Ask nothing: there is no place in front of the input."""

    def paint(self) -> list[Ink]:
        """Return what is to be written, in order."""
        return list(self._inks())

    def _inks(self) -> Iterator[Ink]:
        for shown in self.sheet.take():
            match shown:
                case Began(turn_id=turn_id):
                    yield from self._line_end()
                    self._turn_id, self._chars = turn_id, 0
                case Spoke(text=text):
                    self._chars += len(text)
                    self._in_line = not text.endswith("\n") if text else self._in_line
                    yield self._ink(self._answers_fd, "\n".join(map(visible, text.split("\n"))))
                case Paused():
                    yield from self._line_end()
                case Told(line=line):
                    if self._mixed:
                        yield from self._line_end()
                    yield self._ink(self._notes_fd, f"{visible(line)}\n")

    def _line_end(self) -> Iterator[Ink]:
        if self._in_line:
            self._in_line = False
            yield self._ink(self._answers_fd, "\n")

    def _ink(self, fd: int, text: str) -> Ink:
        return Ink(fd, text.encode(), self._turn_id, self._chars)
