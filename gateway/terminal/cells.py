"""How wide text is on a terminal, and where to break it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wcwidth import iter_graphemes, wcwidth

from bargein.protocol.lines import visible

_WIDE_SELECTOR: Final = "\ufe0f"


def graphemes(text: str) -> Iterator[str]:
    """Yield what a person takes for single characters, an emoji of several parts among them."""
    if text.isascii():
        yield from text
    else:
        yield from iter_graphemes(text)


def cells(text: str) -> int:
    """Return how many cells *text* may take at the most.

    Terminals differ about emoji of several parts: some draw one, some draw each part.  What is
    counted here is each part, so that no terminal needs more.
    """
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(max(0, wcwidth(char)) + (char == _WIDE_SELECTOR) for char in text)


def rows_of(text: str, columns: int) -> list[str]:
    """Break *text*, which has no newline, into rows that fit when they are made visible.

    Rows break behind blanks where they can, and join to *text* again; there is at least one.
    """
    rows: list[str] = []
    row, width, blank_at = "", 0, 0
    for grapheme in graphemes(text):
        needed = cells(visible(grapheme))
        if row and width + needed > columns and not grapheme.isspace():
            # A blank hangs over the edge: nobody sees it.
            end = blank_at or len(row)
            rows.append(row[:end])
            row = row[end:]
            width, blank_at = cells(visible(row)), 0
        row += grapheme
        width += needed
        if grapheme.isspace():
            blank_at = len(row)
    return [*rows, row]


def clipped(text: str, columns: int) -> str:
    """Return the beginning of *text* that fits, with a mark where something is missing."""
    if cells(text) <= columns:
        return text
    kept, width = "", 0
    for grapheme in graphemes(text):
        width += cells(grapheme)
        if width > columns - 1:
            break
        kept += grapheme
    return f"{kept}…"
