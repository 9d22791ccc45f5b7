"""Cuts an answer into chunks that can be spoken, while it is still being written.

A chunk is a sentence, or a clause of a long one; numbers, dates, abbreviations and names with
initials stay whole.  The chunks are slices of the text, all of it but for blanks between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

FIRST_CLAUSE_CHARS: Final = 18
"""A clause of this length is spoken at once, where nothing was spoken yet: silence costs more."""

CLAUSE_CHARS: Final = 60
"""A sentence longer than this is cut at its commas."""

MOST_CHARS: Final = 220
"""Longer ones are cut between words, so that an interrupt leaves little unsaid."""

_NEVER_END: Final = frozenset(
    re.findall(
        r"\S+",
        "mr mrs ms dr prof rev gen sen rep jr sr nos vs approx fig figs e.g i.e cf vol pp p ch "
        "dept tel ext ca jan feb apr jun jul aug sep sept oct nov tue tues wed thu thur thurs fri",
    )
)
_MAY_END: Final = frozenset(
    re.findall(
        r"\S+",
        "etc inc ltd co corp a.m p.m u.s u.k u.n e.u ph.d b.a m.a no st al mar dec mon sat sun art "
        "sec est min max",
    )
)
"""They end a sentence where a capital follows."""

_CLOSERS: Final = "\"'\u201d\u2019)]*_"
_END: Final = re.compile(rf"([.!?\u2026]+)[{re.escape(_CLOSERS)}]*(?=\s)|\n\s*\n|\n(?=\s*[-*\d])")
_CLAUSE: Final = re.compile(r"[,;:](?=\s)|\s[\u2013\u2014](?=\s)|\u2014")
_LAST_WORD: Final = re.compile(r"(\S+)$")
_MONTH_DAY: Final = re.compile(
    r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? \d{1,2}(?:st|nd|rd|th)?$",
    re.IGNORECASE,
)
_OPEN_NUMBER: Final = re.compile(r"(?:[$\u20ac\u00a3#]|\d)\S*$")


@frozen
class Piece:
    """A chunk, without the blanks around it, and its place in the whole answer."""

    text: str
    start: int
    end: int


@define(eq=False)
class Chunking:
    """Cuts one answer.  Lives as long as it is written; does no I/O and never waits."""

    _waiting: str = field(default="", init=False)
    _start: int = field(default=0, init=False)
    _has_spoken: bool = field(default=False, init=False)

    def feed(self, text: str) -> list[Piece]:
        """Take in more of the answer; return the chunks that are complete."""
        self._waiting += text
        pieces: list[Piece] = []
        while (end := self._next_cut()) is not None:
            pieces += self._cut(end)
        return pieces

    def flush(self) -> list[Piece]:
        """Return what is left, as the last chunk: nothing follows for now."""
        return self._cut(len(self._waiting)) if self._waiting else []

    def _cut(self, end: int) -> list[Piece]:
        whole, self._waiting = self._waiting[:end], self._waiting[end:]
        start, self._start = self._start, self._start + end
        text = whole.strip()
        if not any(char.isalnum() for char in text):
            return []
        self._has_spoken = True
        start += len(whole) - len(whole.lstrip())
        return [Piece(text, start, start + len(text))]

    def _next_cut(self) -> int | None:
        text = self._waiting
        sentence = next(self._sentence_ends(text), None)
        clause = self._clause_end(text, sentence if sentence is not None else len(text))
        if clause is not None:
            return clause
        if sentence is not None:
            return sentence
        return _word_end(text) if len(text) > MOST_CHARS else None

    def _sentence_ends(self, text: str) -> Iterator[int]:
        for found in _END.finditer(text):
            stop = found.group(1)
            if not text[: found.end()].strip():
                continue
            if stop == "." and not _ends_sentence(text, found.start(), found.end()):
                continue
            yield found.end()

    def _clause_end(self, text: str, before: int) -> int | None:
        least = CLAUSE_CHARS if self._has_spoken else FIRST_CLAUSE_CHARS
        if before < least:
            return None
        for found in _CLAUSE.finditer(text, 0, before):
            # What follows has to be worth a chunk of its own, as far as it is known.
            if found.end() < least or (before < len(text) and before - found.end() < least // 2):
                continue
            if found.group().startswith(",") and _is_inside_date(text, found):
                continue
            return found.end()
        return None


def _ends_sentence(text: str, dot: int, end: int) -> bool:
    """Whether the full stop at *dot* ends a sentence, as far as the text before it tells."""
    found = _LAST_WORD.search(text[:dot])
    word = found.group(1).lstrip("\"'(\u201c\u2018[").lower() if found else ""
    if word in _NEVER_END or (len(word) == 1 and word.isalpha() and word != "i"):
        return False
    if word.isdigit() and text[: dot - len(word)].rpartition("\n")[2].strip() == "":
        return False  # the number of an item in a list
    if word in _MAY_END:
        following = text[end:].lstrip()
        return bool(following) and following[0].isupper()
    return True


def _is_inside_date(text: str, comma: re.Match[str]) -> bool:
    if not _MONTH_DAY.search(text[: comma.start()]):
        return False
    following = text[comma.end() :].lstrip()
    return not following or following[0].isdigit()


def _word_end(text: str) -> int | None:
    end = text.rfind(" ", 0, MOST_CHARS)
    while end > 0 and _OPEN_NUMBER.search(text[:end]):
        end = text.rfind(" ", 0, end)
    return end if end > 0 else None
