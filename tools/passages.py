"""Documents, and the passages that they are cut into to be found and quoted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog
from attrs import frozen

MOST_PASSAGE_CHARS: Final = 1200
"""About 300 tokens: several of them fit into an answer, and each still says something."""

MOST_FILE_BYTES: Final = 8 * 2**20
"""Longer files are hardly prose, and nobody has checked them."""

SUFFIXES: Final = frozenset({".md", ".markdown", ".txt"})

_HEADING: Final = re.compile(r"(?P<marks>#{1,6}) +(?P<text>.*?) *#*")
_FENCE: Final = re.compile(r" {0,3}(```|~~~)")
_PARAGRAPHS: Final = re.compile(r"\n\s*\n")

# Where a long paragraph is cut, the best place first: a line, a sentence, a word.
_BREAKS: Final = (re.compile(r"\n"), re.compile(r"(?<=[.!?…]) "), re.compile(r" "))

_log = structlog.get_logger()


@frozen
class Document:
    """A text with its title, and where it is from: a path, an address, a number."""

    title: str
    text: str
    source: str


@frozen
class Passage:
    """A part of a document that can be read alone.

    Attributes:
        heading: The headings that it stands under, the outermost first.
    """

    heading: str
    text: str


def documents_in(folder: Path) -> Iterator[Document]:
    """Read the text and Markdown files below *folder*, in the order of their paths.

    Hidden files, links that lead out of the folder and very long files are left out.
    What is not UTF-8 in a file is replaced.

    Raises:
        OSError: If the folder or a file in it can't be read.
    """
    root = folder.resolve(strict=True)
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root)
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        if any(part.startswith(".") for part in inside.parts):
            continue
        if not path.resolve().is_relative_to(root) or path.stat().st_size > MOST_FILE_BYTES:
            _log.warning("library.file_left_out", file=inside.as_posix())
            continue
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        yield Document(_title_of(text) or path.stem, text, inside.as_posix())


def passages_of(text: str) -> Iterator[Passage]:
    """Cut *text* at its headings and paragraphs into passages of some 1,200 characters."""
    for heading, section in _sections(text):
        gathered = ""
        for paragraph in _PARAGRAPHS.split(section):
            for piece in _pieces(paragraph.strip()):
                if gathered and len(gathered) + len(piece) + 2 > MOST_PASSAGE_CHARS:
                    yield Passage(heading, gathered)
                    gathered = ""
                gathered = f"{gathered}\n\n{piece}" if gathered else piece
        if gathered:
            yield Passage(heading, gathered)


def _sections(text: str) -> Iterator[tuple[str, str]]:
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    fence = ""
    for line in text.splitlines():
        marks = _FENCE.match(line)
        if marks and fence in ("", marks[1]):
            fence = "" if fence else marks[1]
        if fence or not (heading := _HEADING.fullmatch(line)):
            lines.append(line)
            continue
        yield " > ".join(name for _, name in path), "\n".join(lines)
        lines = []
        level = len(heading["marks"])
        path = [*((above, name) for above, name in path if above < level), (level, heading["text"])]
    yield " > ".join(name for _, name in path), "\n".join(lines)


def _pieces(paragraph: str) -> Iterator[str]:
    while len(paragraph) > MOST_PASSAGE_CHARS:
        end = _break_in(paragraph)
        yield paragraph[:end].rstrip()
        paragraph = paragraph[end:].lstrip()
    if paragraph:
        yield paragraph


def _break_in(paragraph: str) -> int:
    for place in _BREAKS:
        # Not in the first half, or a passage would be two words and a dot.
        found = [
            match.end()
            for match in place.finditer(paragraph, MOST_PASSAGE_CHARS // 2, MOST_PASSAGE_CHARS)
        ]
        if found:
            return found[-1]
    return MOST_PASSAGE_CHARS


def _title_of(text: str) -> str | None:
    first = next((line for line in text.splitlines() if line.strip()), "")
    heading = _HEADING.fullmatch(first)
    return heading["text"] if heading else None
