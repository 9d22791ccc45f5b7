"""The line that a person types, apart from any terminal."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from attrs import define, field

from bargein.gateway.terminal.cells import graphemes
from bargein.gateway.terminal.keys import MOST_PASTED_CHARS, Key

MOST_REMEMBERED: Final = 200


@define(eq=False)
class Editor:
    """A line with a cursor, and the lines before it.  Moves by what a person takes for a character.

    Attributes:
        text: What stands there; a pasted one may have newlines.
        cursor: Code points in front of the cursor.
    """

    text: str = field(default="", init=False)
    cursor: int = field(default=0, init=False)
    _past: list[str] = field(factory=list[str], init=False)
    _place: int | None = field(default=None, init=False)
    _draft: str = field(default="", init=False)

    def put(self, text: str) -> None:
        """Begin anew with *text*, the cursor behind it."""
        self.text, self.cursor, self._place = text, len(text), None

    def take(self) -> str:
        """Return the line and begin a new one; it can be had again with the key for up."""
        text = self.text
        if text.strip() and (not self._past or self._past[-1] != text):
            self._past = [*self._past[1 - MOST_REMEMBERED :], text]
        self.put("")
        return text

    def press(self, key: Key) -> None:
        """Change the line as *key* says; one that changes no line does nothing."""
        match key.name:
            case "text":
                self._insert(key.text)
            case "newline":
                self._insert("\n")
            case "backspace":
                self._cut(self._left(), self.cursor)
            case "delete" | "end-of-input":
                self._cut(self.cursor, self._right())
            case "kill-left":
                self._cut(0, self.cursor)
            case "kill-right":
                self._cut(self.cursor, len(self.text))
            case "kill-word":
                self._cut(self._word_left(), self.cursor)
            case "up":
                self._recall(-1)
            case "down":
                self._recall(1)
            case _:
                self.cursor = self._moved(key.name)

    def _moved(self, name: str) -> int:
        match name:
            case "left":
                return self._left()
            case "right":
                return self._right()
            case "word-left":
                return self._word_left()
            case "word-right":
                return self._word_right()
            case "home":
                return 0
            case "end":
                return len(self.text)
            case _:
                return self.cursor

    def _insert(self, text: str) -> None:
        text = text[: max(0, MOST_PASTED_CHARS - len(self.text))]
        self.text = self.text[: self.cursor] + text + self.text[self.cursor :]
        self.cursor += len(text)

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start

    def _ends(self) -> list[int]:
        return [0, *accumulate(len(grapheme) for grapheme in graphemes(self.text))]

    def _left(self) -> int:
        return max((end for end in self._ends() if end < self.cursor), default=0)

    def _right(self) -> int:
        return min((end for end in self._ends() if end > self.cursor), default=len(self.text))

    def _word_left(self) -> int:
        before = self.text[: self.cursor].rstrip()
        return max(before.rfind(" "), before.rfind("\n")) + 1

    def _word_right(self) -> int:
        after = self.text[self.cursor :]
        word = after.lstrip()
        ends = [end for end in (word.find(" "), word.find("\n")) if end >= 0]
        return self.cursor + len(after) - len(word) + min(ends, default=len(word))

    def _recall(self, step: int) -> None:
        if self._place is None:
            if step > 0 or not self._past:
                return
            self._place, self._draft = len(self._past), self.text
        place = min(max(self._place + step, 0), len(self._past))
        self.put(self._draft if place == len(self._past) else self._past[place])
        self._place = None if place == len(self._past) else place
