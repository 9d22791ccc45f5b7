"""Retrieval as a built-in tool: documents in a full-text index, found by rank and quoted.

    library = Library.of_folder(Path("handbook"))
    agent = Agent("desk", tools=(library.tool("handbook", "Search the bank's handbook."),))

The index is SQLite's FTS5, in memory or in a file.  A folder is read once, when the
library is built; build it again to see what has changed.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Self

import structlog
from attrs import define, field, frozen
from msgspec import Meta

from bargein.protocol.events import Object, RetrieveResult, RetrieveStart
from bargein.tools.passages import Document, documents_in, passages_of
from bargein.tools.tool import Tool, ToolContext, ToolFailed, tool

__all__ = ["Document", "Found", "Library", "LibraryUnusable"]

MOST_FOUND: Final = 20
"""More passages than this only push the good ones out of a model's sight."""

SEARCH_LIMIT_S: Final = 5.0
"""How long one search may take; it is interrupted, for its thread can't be."""

LOCKED_LIMIT_S: Final = 5.0

APPLICATION: Final = 0x6261726C
"""`barl`, kept in the file's `application_id`: nobody else's database is overwritten."""

MOST_TERMS: Final = 32
MOST_TERM_CHARS: Final = 64

_STEPS_BETWEEN_LOOKS: Final = 1_000
_TERM: Final = re.compile(r"\w+")

# Titles say best what a text is about, headings next.
_LAYOUT: Final = (
    "DROP TABLE IF EXISTS passages",
    """
    CREATE VIRTUAL TABLE passages USING fts5(
        title, heading, text, source UNINDEXED, tokenize = 'porter unicode61 remove_diacritics 2'
    )
    """,
    "INSERT INTO passages (passages, rank) VALUES ('rank', 'bm25(4.0, 2.0, 1.0)')",
    f"PRAGMA application_id = {APPLICATION}",
)

_FIND: Final = """
SELECT title, heading, text, source, snippet(passages, 2, '', '', '…', 24), -rank
FROM passages WHERE passages MATCH ? ORDER BY rank, rowid LIMIT ?
"""

_log = structlog.get_logger()


class LibraryUnusable(Exception):
    """The index can't be built or read; name another file, or mend the disk.

    Attributes:
        path: The file; None in memory.
        reason: What is wrong.
    """

    def __init__(self, path: Path | None, reason: str) -> None:
        super().__init__(f"the library in {path or 'memory'} can't be used: {reason}")
        self.path = path
        self.reason = reason


@frozen
class Found:
    """A passage that fits a query.

    Attributes:
        heading: The headings above it, the outermost first; may be empty.
        text: The passage.
        snippet: The part of it where the words of the query are.
        score: How well it fits, more is better; comparable within one search alone.
    """

    title: str
    heading: str
    text: str
    source: str
    snippet: str
    score: float


@define(eq=False)
class Library:
    """Documents that can be searched from any thread.  Lives until it is closed."""

    _connection: sqlite3.Connection
    _path: Path | None
    _turn: Lock = field(factory=Lock, init=False)
    _until_s: float = field(default=0.0, init=False)

    @classmethod
    def of(cls, documents: Iterable[Document], path: Path | None = None) -> Self:
        """Build a library of *documents*, in memory or in the file at *path*.

        What an older library left in the file is replaced, all at once.  Takes about a second
        for 10 MB of text, so do it before you serve.

        Raises:
            LibraryUnusable: If the file is not a library, or the disk fails.
        """
        with _explained(path):
            connection = _open(path)
            try:
                _write(connection, path, documents)
            except BaseException:
                connection.close()
                raise
            return cls(connection, path)

    @classmethod
    def of_folder(cls, folder: Path, path: Path | None = None) -> Self:
        """Build a library of the text and Markdown files below *folder*; see `of`.

        Raises:
            OSError: If the folder or a file in it can't be read.
            LibraryUnusable: If the index can't be written.
        """
        return cls.of(tuple(documents_in(folder)), path)

    @classmethod
    def at(cls, path: Path) -> Self:
        """Open the library that was built in the file at *path*.

        Raises:
            LibraryUnusable: If there is none.
        """
        with _explained(path):
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=LOCKED_LIMIT_S,
                check_same_thread=False,
            )
            try:
                _check_owner(connection, path)
                connection.execute("SELECT count(*) FROM passages").fetchone()
            except BaseException:
                connection.close()
                raise
            return cls(connection, path)

    def search(self, query: str, limit: int = 5) -> tuple[Found, ...]:
        """Return up to *limit* passages with any word of *query*, the best first.

        Every text is a fit query: it has no syntax.  Blocks for up to 5 s.

        Raises:
            LibraryUnusable: If the index is damaged, closed, or too slow.
            ValueError: If *limit* is not from 1 to 20.
        """
        if not 1 <= limit <= MOST_FOUND:
            raise ValueError(f"limit: {limit} is not from 1 to {MOST_FOUND}")
        expression = _expression(query)
        if not expression:
            return ()
        until_s = time.monotonic() + SEARCH_LIMIT_S
        if not self._turn.acquire(timeout=SEARCH_LIMIT_S):
            raise LibraryUnusable(self._path, "other searches take too long")
        try:
            with _explained(self._path):
                self._until_s = until_s
                self._connection.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)
                rows = self._connection.execute(_FIND, (expression, limit)).fetchall()
        finally:
            self._turn.release()
        return tuple(Found(*row) for row in rows)

    def tool(self, name: str, description: str) -> Tool:
        """Return a `read` tool that searches the library and numbers what it finds.

        It notes `retrieve.start` and `retrieve.result`, and an `object` of kind
        `citations` whose numbers are those in the text that the model reads.
        """

        def retrieve(
            query: Annotated[
                str, Meta(min_length=1, max_length=1000, description="Words to look for.")
            ],
            context: ToolContext,
            limit: Annotated[
                int, Meta(ge=1, le=MOST_FOUND, description="How many passages to return at most.")
            ] = 5,
        ) -> str:
            context.notes.note(RetrieveStart(query))
            try:
                found = self.search(query, limit)
            except LibraryUnusable as error:
                _log.warning("library.search_failed", tool=name, error=error.reason)
                context.notes.note(RetrieveResult(()))
                raise ToolFailed("The documents can't be searched now; try again later.") from error
            context.notes.note(RetrieveResult(tuple(map(_source, found))))
            if not found:
                return "No passage has any of these words; try others."
            context.notes.note(Object("citations", _citations(found)))
            return _numbered(found)

        retrieve.__doc__ = description
        return tool(effect="read", name=name)(retrieve)

    def close(self) -> None:
        """Close the index; whoever searches now is waited for."""
        with self._turn:
            self._connection.close()

    def _is_late(self) -> bool:
        return time.monotonic() > self._until_s


def _expression(query: str) -> str:
    # Every word becomes a quoted string, in which FTS5 sees nothing special; any of them will do,
    # for the ranking sees to it that more of them, and rarer ones, come first.
    terms = dict.fromkeys(term.lower()[:MOST_TERM_CHARS] for term in _TERM.findall(query))
    return " OR ".join(f'"{term}"' for term in list(terms)[:MOST_TERMS])


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:  # documents are nobody else's business
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return sqlite3.connect(
        path or ":memory:", timeout=LOCKED_LIMIT_S, isolation_level=None, check_same_thread=False
    )


def _write(
    connection: sqlite3.Connection, path: Path | None, documents: Iterable[Document]
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        _check_owner(connection, path)
    for statement in _LAYOUT:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO passages (title, heading, text, source) VALUES (?, ?, ?, ?)", _rows(documents)
    )
    connection.execute("INSERT INTO passages (passages) VALUES ('optimize')")
    connection.execute("COMMIT")


def _check_owner(connection: sqlite3.Connection, path: Path | None) -> None:
    if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
        raise LibraryUnusable(path, "it is a database of something else")


def _rows(documents: Iterable[Document]) -> Iterator[tuple[str, str, str, str]]:
    for document in documents:
        title, source = _clean(document.title), _clean(document.source)
        for passage in passages_of(_clean(document.text)):
            yield title, passage.heading, passage.text, source


def _clean(text: str) -> str:
    # SQLite ends a text at a zero, and can't hold half of a character.
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


@contextmanager
def _explained(path: Path | None) -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LibraryUnusable(path, str(error)) from error


def _source(found: Found) -> dict[str, Any]:
    return {"title": found.title, "source": found.source, "score": round(found.score, 3)}


def _citations(found: tuple[Found, ...]) -> list[dict[str, Any]]:
    return [
        {
            "n": number,
            "title": each.title,
            "heading": each.heading,
            "source": each.source,
            "snippet": each.snippet,
        }
        for number, each in enumerate(found, 1)
    ]


def _numbered(found: tuple[Found, ...]) -> str:
    return "\n\n".join(
        f"[{number}] {_place(each)} ({each.source})\n{each.text}"
        for number, each in enumerate(found, 1)
    )


def _place(found: Found) -> str:
    # A file's title is often its outermost heading as well.
    heading = found.heading.removeprefix(found.title).removeprefix(" > ")
    return f"{found.title} > {heading}" if heading else found.title
