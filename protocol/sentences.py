"""Cuts an answer that streams into lines for a person: sentences, and lines of code."""

from __future__ import annotations

import re
from typing import Final

from attrs import define, field

MOST_SENTENCE_CHARS: Final = 400
"""A sentence without end is shown in pieces: five lines of a usual terminal at a time."""

_MOST_MARGIN_CHARS: Final = 40

_BEFORE_NAMES: Final = frozenset({
    "bzw", "cf", "dr", "ggf", "mr", "mrs", "ms", "mt", "prof", "st", "vgl", "viz", "vs",
})  # fmt: skip
"""Abbreviations that end no sentence.  `etc.` is missing: before a capital it does."""

_BEFORE_NUMBERS: Final = frozenset({
    "approx", "art", "ca", "ch", "eq", "est", "fig", "max", "min", "no", "nos", "nr", "p", "par",
    "pp", "sec", "tab", "v", "vol",
})  # fmt: skip
_DOTTED: Final = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # e.g, U.S, and initials
_END: Final = re.compile(
    # A mark ends a sentence if a blank and then something follows, so that it
    # is known what; Chinese and Japanese put no blank.
    r"\n"
    r"|(?P<mark>[.!?…:]+)(?P<closing>[\"')\]}»”’*_`]*)(?=[^\S\n]+(?P<next>\S))"  # noqa: RUF001 - a quote
    r"|[。！？]+[」』”’）)]*(?=[^。！？」』”’）)\n])"  # noqa: RUF001 - full width on purpose
)
_WHOLE: Final = re.compile(
    r"[.!?…:。！？][\"')\]}»”’*_`」』）]*\s*$"  # noqa: RUF001 - a quote, and full width on purpose
)
_ITEM: Final = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s")
_FENCE: Final = "```"


def ends_sentence(text: str) -> bool:
    """Whether *text* looks like a sentence to its end."""
    return bool(_WHOLE.search(text))


@define(eq=False)
class Sentences:
    """Cuts a stream of text into lines to show: sentences, and lines of code.

    Where the text was cut into tokens makes no difference.  Numbers, initials
    and usual abbreviations end no sentence.  Holds 400 characters at most.
    """

    _text: str = field(default="", init=False)
    _indents: bool = field(default=True, init=False)
    _code: bool = field(default=False, init=False)

    @property
    def held_chars(self) -> int:
        """How much text waits for the end of its sentence."""
        return len(self._text)

    def feed(self, text: str) -> list[str]:
        """Take more text; return the lines that are whole now, as they were written."""
        self._text += text
        lines: list[str] = []
        while (end := self._first_end()) is not None:
            lines += self._cut(end)
        return lines

    @property
    def is_whole(self) -> bool:
        """Whether what waits looks like a sentence to its end, though nothing follows yet."""
        return ends_sentence(self._text)

    def rest(self) -> list[str]:
        """Return what waits, as a line if there is any; what follows starts afresh."""
        lines = self._cut(len(self._text))
        self.drop()
        # A blank that follows in the middle of a line is no margin.
        self._indents = not lines
        return lines

    def drop(self) -> None:
        """Forget what waits; what follows starts afresh."""
        self._text, self._indents, self._code = "", True, False

    def _first_end(self) -> int | None:
        # Nothing beyond the window may decide: it could be in the next token.
        window = self._text[: MOST_SENTENCE_CHARS + 1]
        for found in _END.finditer(window):
            if found[0] == "\n" or not (self._code or _goes_on(window, found)):
                return found.end()
        if len(window) <= MOST_SENTENCE_CHARS:
            return None
        blank = window.rfind(" ", MOST_SENTENCE_CHARS // 2)
        return MOST_SENTENCE_CHARS if blank < 0 else blank

    def _cut(self, end: int) -> list[str]:
        piece, self._text = self._text[:end], self._text[end:]
        line = piece.strip()
        indents, self._indents = self._indents, piece.endswith("\n")
        if indents and line.startswith(_FENCE):
            self._code = not self._code
        if not line:
            return []
        margin = piece[: len(piece) - len(piece.lstrip(" \t"))] if indents else ""
        return [margin[:_MOST_MARGIN_CHARS] + line]


def _goes_on(text: str, end: re.Match[str]) -> bool:
    """Whether the sentence goes on behind what looks like its end."""
    mark, closing, following = end["mark"], end["closing"], end["next"]
    if mark is None:
        return False
    if mark.endswith(":"):  # in an item of a list the rest is about what stands before it
        return bool(_ITEM.match(text))
    if mark.endswith(("!", "?")):
        return bool(closing) and following.islower()
    if following.islower():
        return True
    if mark != "." or closing:
        return False
    before = text[: end.start()].split()
    word = before[-1].lstrip("\"'([{«“‘*_`") if before else ""  # noqa: RUF001 - quotes
    if len(before) == 1 and word.isdigit():  # the number of an item in a list
        return True
    if word.lower() in _BEFORE_NUMBERS:
        return following.isdigit() or len(word) == 1
    return word.lower() in _BEFORE_NAMES or (word != "I" and bool(_DOTTED.fullmatch(word)))
