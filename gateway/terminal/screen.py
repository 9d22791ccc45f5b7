"""A conversation on a terminal: it scrolls above, the line that is typed stays below.

What can still change is at the bottom, and drawn anew each time: the last row of the answer, rows
that stand (the plan, the connection), and the input.  All above is written once and scrolls away,
so it can be read, searched and copied like anything else in the terminal.

The terminal is told not to wrap while it is drawn on.  So how many rows there are is known, even
where it and this program disagree about the width of an emoji.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from bargein.gateway.terminal.cells import cells, clipped, rows_of
from bargein.gateway.terminal.editor import Editor
from bargein.gateway.terminal.face import Began, Ink, Paused, Sheet, Spoke, Told
from bargein.protocol.ids import TurnId
from bargein.protocol.lines import answer_line, visible
from bargein.protocol.sentences import ends_sentence

_HOLD: Final = "\x1b[?7l"
_LET_GO: Final = "\x1b[?7h"
_ERASE_BELOW: Final = "\x1b[J"
_PLAIN: Final = "\x1b[0m"

_TONES: Final = (
    (("!!",), "\x1b[31m"),
    (("? ",), "\x1b[33m"),
    (("> ",), "\x1b[1m"),
    (("--", "..", "tool", "plan", "act", "data"), "\x1b[2m"),
)
_MARGIN: Final = 4
"""Room for the bar in front of what looks like one of our own lines, and one more."""

_NEWLINE: Final = "⏎"
_LEAST_COLUMNS: Final = 20


@define(eq=False)
class Screen:
    """Draws on one terminal.  Only one task paints, and what it gets is written in order.

    Attributes:
        columns: Of the terminal, as it is now.
        height: Its rows.
        showing: False while another program has the terminal.
    """

    editor: Editor
    columns: int
    height: int
    colours: bool
    fd: int = 1
    showing: bool = True
    draws: bool = field(default=True, init=False)
    sheet: Sheet = field(factory=Sheet, init=False)
    _turn_id: TurnId | None = field(default=None, init=False)
    _chars: int = field(default=0, init=False)
    _unseen: str = field(default="\n", init=False)
    _tail: str = field(default="", init=False)
    _standing: tuple[str, ...] = field(default=(), init=False)
    _label: str = field(default="> ", init=False)
    _above: list[int] = field(factory=list[int], init=False)
    """How wide each row of the bottom is that is above the cursor."""

    def stand(self, rows: tuple[str, ...]) -> None:
        """Show *rows* above the input until others come."""
        self._standing = rows

    def ask(self, label: str) -> None:
        """Show *label* in front of the input."""
        self._label = label

    # --- for whoever writes -----------------------------------------------------------

    def paint(self) -> list[Ink]:
        """Return what shows all that is new."""
        if not self.showing:
            return []
        done = self._settle()
        bottom, row, column = self._bottom()
        lines = "".join(f"{line}\r\n" for line in done)
        drawn = self._erase() + _HOLD + lines + "\r\n".join(bottom) + _LET_GO
        below = len(bottom) - 1 - row
        drawn += (f"\x1b[{below}A" if below else "") + "\r"
        drawn += f"\x1b[{column}C" if column else ""
        self._above = [cells(_bare(line)) for line in bottom[:row]]
        return [Ink(self.fd, drawn.encode(), self._turn_id, self._chars)]

    def leave(self) -> list[Ink]:
        """Return what leaves the terminal to others: the answer stays, the input goes."""
        done = self._settle()
        if self._tail:
            done.append(answer_line(self._tail.rstrip()))
            self._tail = ""
        lines = "".join(f"{line}\r\n" for line in done)
        drawn = self._erase() + _HOLD + lines + _LET_GO
        self._above = []
        return [Ink(self.fd, drawn.encode(), self._turn_id, self._chars)]

    def clear(self) -> list[Ink]:
        """Return what clears the terminal; the next paint draws the bottom again."""
        self._above = []
        return [Ink(self.fd, b"\x1b[H\x1b[2J", self._turn_id, self._chars)]

    # ----------------------------------------------------------------------------------

    def _erase(self) -> str:
        # A terminal that has become narrower has broken its rows anew.
        up = sum(max(1, -(-wide // max(1, self.columns))) for wide in self._above)
        return "\r" + (f"\x1b[{up}A" if up else "") + _ERASE_BELOW

    def _settle(self) -> list[str]:
        """Return the rows that will not change any more."""
        done: list[str] = []
        for shown in self.sheet.take():
            match shown:
                case Spoke(text=text):
                    self._chars += len(text)
                    self._tail = (self._tail + text).lstrip(self._unseen)
                    self._unseen = "" if self._tail else self._unseen
                    done += self._whole_rows()
                case Began(turn_id=turn_id):
                    done += self._break_off()
                    self._turn_id, self._chars, self._unseen = turn_id, 0, "\n"
                case Paused():
                    done += self._break_off()
                case Told(line=line):
                    # In mid-sentence it goes above the row: words are not torn apart.
                    done += self._break_off() if ends_sentence(self._tail) else []
                    done += self._toned(line)
        return done

    def _whole_rows(self) -> list[str]:
        width = max(_LEAST_COLUMNS, self.columns) - _MARGIN
        *paragraphs, last = self._tail.split("\n")
        rows = [row for paragraph in paragraphs for row in rows_of(paragraph, width)]
        *whole, self._tail = rows_of(last, width)
        return [answer_line(row.rstrip()) for row in (*rows, *whole)]

    def _break_off(self) -> list[str]:
        tail, self._tail = self._tail, ""
        # In the middle of a line a blank may follow, and behind it none is seen.
        self._unseen = "\n " if tail else self._unseen or "\n"
        return [answer_line(tail.rstrip())] if tail.strip() else []

    def _toned(self, line: str) -> list[str]:
        first, *others = rows_of(line, max(_LEAST_COLUMNS, self.columns) - _MARGIN)
        rows = [visible(first).rstrip(), *(f"    {visible(row).rstrip()}" for row in others)]
        if not self.colours:
            return rows
        tone = next((tone for marks, tone in _TONES if line.startswith(marks)), "")
        return [f"{tone}{row}{_PLAIN}" for row in rows] if tone else rows

    def _bottom(self) -> tuple[list[str], int, int]:
        """Return the rows at the bottom, and where the cursor stands in them."""
        typed, row, column = self._input()
        room = max(0, self.height - len(typed) - 3)
        standing = [clipped(visible(line), self.columns - 1) for line in self._standing[-room:]]
        rows = standing if room else []
        if self.colours:
            rows = [f"\x1b[2m{line}{_PLAIN}" for line in rows]
        if self._tail:
            rows = [answer_line(self._tail.rstrip()), *rows]
        return [*rows, *typed], len(rows) + row, column

    def _input(self) -> tuple[list[str], int, int]:
        """Return the rows of the input around the cursor, and where that is."""
        width = max(_LEAST_COLUMNS, self.columns) - 1
        before = self._label + self._shown(self.editor.text[: self.editor.cursor])
        behind = self._shown(self.editor.text[self.editor.cursor :])
        front, column = _hard_rows(before, width)
        rest, _ = _hard_rows(behind, width, column)
        rows = [*front[:-1], front[-1] + rest[0], *rest[1:]]
        row = len(front) - 1
        most = max(1, self.height // 2)
        start = max(0, row - most + 1)
        return rows[start : start + most], row - start, column

    @staticmethod
    def _shown(text: str) -> str:
        return visible(text.replace("\n", _NEWLINE))


def _hard_rows(text: str, width: int, column: int = 0) -> tuple[list[str], int]:
    """Break *text* wherever a row is full, the first one after *column*; say where it ends."""
    rows = [""]
    for char in text:
        needed = cells(char)
        if column + needed > width:
            rows.append("")
            column = 0
        rows[-1] += char
        column += needed
    return rows, column


def _bare(row: str) -> str:
    return row.removeprefix("\x1b[2m").removesuffix(_PLAIN)
