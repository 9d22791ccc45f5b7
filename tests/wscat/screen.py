"""A small terminal: what a person sees after all that a program wrote.

It knows what Node's readline and wscat write (moves within a line, erasing, colours), and
refuses anything else, so that nothing is misread in silence.
"""

from __future__ import annotations

import re

from attrs import define, field, frozen

_TOKEN = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n\x07]+)|(\x07)")
_DEFAULT = 39


class NotUnderstood(AssertionError):
    """The program wrote a control sequence that this terminal does not know."""


@frozen
class Cell:
    """One character and the colour in which it was written (a number of ECMA-48)."""

    char: str = " "
    colour: int = _DEFAULT


@define(eq=False)
class Screen:
    """A terminal of *columns* columns that keeps every line it ever showed."""

    columns: int
    _rows: list[list[Cell]] = field(factory=lambda: [[]], init=False)
    _row: int = field(default=0, init=False)
    _column: int = field(default=0, init=False)
    _colour: int = field(default=_DEFAULT, init=False)
    _rest: str = field(default="", init=False)

    @property
    def rows(self) -> list[list[Cell]]:
        """Every line, from the first on."""
        return self._rows

    @property
    def text(self) -> str:
        """All lines as text, without blanks at their ends."""
        return "\n".join("".join(cell.char for cell in row).rstrip() for row in self._rows)

    def feed(self, written: str) -> None:
        """Take what the program wrote next; a sequence may be cut anywhere."""
        written = self._rest + written
        end = 0
        for token in _TOKEN.finditer(written):
            if token.start() != end:
                break
            end = token.end()
            self._take(token)
        self._rest = written[end:]
        if len(self._rest) > 16:
            raise NotUnderstood(repr(self._rest[:40]))

    def _take(self, token: re.Match[str]) -> None:
        parameters, final, is_return, is_newline, text, _bell = token.groups()
        if text:
            for char in text:
                self._put(char)
        elif is_return:
            self._column = 0
        elif is_newline:
            self._down()
        elif final:
            self._control(parameters, final)

    def _put(self, char: str) -> None:
        if self._column == self.columns:  # only now is it known that the line goes on
            self._down()
            self._column = 0
        row = self._rows[self._row]
        row.extend([Cell()] * (self._column + 1 - len(row)))
        row[self._column] = Cell(char, self._colour)
        self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self._rows):
            self._rows.append([])

    def _control(self, parameters: str, final: str) -> None:
        number = int(parameters) if parameters.isdigit() else None
        match final, number:
            case "A", _:
                self._row = max(0, self._row - (number or 1))
            case "B", _:
                for _ in range(number or 1):
                    self._down()
            case "C", _:
                self._column = min(self.columns - 1, self._column + (number or 1))
            case "D", _:
                self._column = max(0, self._column - (number or 1))
            case "G", _:
                self._column = min(self.columns, number or 1) - 1
            case "J", None | 0:
                del self._rows[self._row + 1 :]
                del self._rows[self._row][self._column :]
            case "K", 2:
                self._rows[self._row].clear()
            case "K", None | 0:
                del self._rows[self._row][self._column :]
            case "m", _:
                self._colour = number or _DEFAULT
            case (("h" | "l"), None):
                pass  # modes such as bracketed paste change nothing that is seen
            case _:
                raise NotUnderstood(f"ESC [ {parameters} {final}")
