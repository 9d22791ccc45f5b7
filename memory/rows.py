"""What is read from and written to the memory's file; each function is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress

from bargein.memory.changes import change_for
from bargein.memory.errors import FactsUnavailable
from bargein.memory.facts import MOST_CHANGES, Change, Erased, Fact, Owner, Undo, Wish
from bargein.memory.schema import fault_of
from bargein.memory.seals import name_of, sealed, unsealed


def facts_of(connection: sqlite3.Connection, owner: Owner) -> tuple[Fact, ...]:
    """Read all that is remembered of *owner*, by key; what was damaged is left out."""
    with _reading():
        rows = connection.execute(
            "SELECT key, fact, crc FROM facts WHERE owner = ? ORDER BY key", (name_of(owner),)
        ).fetchall()
    read = (unsealed(Fact, owner, key, text, crc) for key, text, crc in rows)
    return tuple(fact for fact in read if fact is not None)


def changes_of(connection: sqlite3.Connection, owner: Owner) -> tuple[Change, ...]:
    """Read the changes that are kept of *owner*, oldest first; damaged ones are left out."""
    with _reading():
        rows = connection.execute(
            "SELECT done_key, change, crc FROM changes WHERE owner = ? ORDER BY number",
            (name_of(owner),),
        ).fetchall()
    read = (unsealed(Change, owner, done_key, text, crc) for done_key, text, crc in rows)
    return tuple(change for change in read if change is not None)


def outcome_of(connection: sqlite3.Connection, owner: Owner, done_key: str) -> Change | None:
    """Read the change of *done_key*; None: there is none, and none was thrown away.

    Raises:
        FactsUnavailable: If it may have been thrown away, or is damaged.
    """
    with _reading():
        found = _change_under(connection, owner, done_key)
        if found is None and _is_forgetful(connection, owner):
            raise FactsUnavailable("older changes are not kept")
    return found


def make_change(connection: sqlite3.Connection, owner: Owner, wish: Wish, at: str) -> Change:
    """Do what is wished, once, and write down what was done; both or neither.

    Raises:
        FactRefused: If it can't be done.
        FactsError: If it could not be written, or nobody knows.
    """
    with _writing(connection):
        earlier = _change_under(connection, owner, wish.source.done_key)
        if earlier is not None:
            return earlier
        facts = {fact.key: fact for fact in facts_of(connection, owner)}
        done = _change_under(connection, owner, wish.done_key) if isinstance(wish, Undo) else None
        change = change_for(wish, facts, done, at)
        _put_fact(connection, owner, change)
        _put_change(connection, owner, change)
    return change


def erase(connection: sqlite3.Connection, owner: Owner, key: str | None) -> Erased:
    """Take away all of *owner*, or all of *key*, from the file and from its log."""
    name = name_of(owner)
    where, values = (
        ("owner = ?", (name,)) if key is None else ("owner = ? AND key = ?", (name, key))
    )
    with _writing(connection):
        facts = connection.execute(f"DELETE FROM facts WHERE {where}", values).rowcount  # noqa: S608
        changes = connection.execute(f"DELETE FROM changes WHERE {where}", values).rowcount  # noqa: S608
        if key is None:
            connection.execute("DELETE FROM forgetful WHERE owner = ?", values)
    # The log still holds the pages as they were; somebody who reads just now may delay it.
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Erased(facts, changes)


def _put_fact(connection: sqlite3.Connection, owner: Owner, change: Change) -> None:
    if change.after is None:
        connection.execute(
            "DELETE FROM facts WHERE owner = ? AND key = ?", (name_of(owner), change.key)
        )
        return
    text, crc = sealed(owner, change.key, change.after)
    connection.execute(
        "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", (name_of(owner), change.key, text, crc)
    )


def _put_change(connection: sqlite3.Connection, owner: Owner, change: Change) -> None:
    name, done_key = name_of(owner), change.source.done_key
    text, crc = sealed(owner, done_key, change)
    connection.execute(
        "INSERT INTO changes (owner, done_key, key, change, crc) VALUES (?, ?, ?, ?, ?)",
        (name, done_key, change.key, text, crc),
    )
    pruned = connection.execute(
        "DELETE FROM changes WHERE owner = ?1 AND number <= (SELECT number FROM changes"
        " WHERE owner = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        (name, MOST_CHANGES),
    ).rowcount
    if pruned:
        connection.execute("INSERT OR IGNORE INTO forgetful VALUES (?)", (name,))


def _change_under(connection: sqlite3.Connection, owner: Owner, done_key: str) -> Change | None:
    row = connection.execute(
        "SELECT change, crc FROM changes WHERE owner = ? AND done_key = ?",
        (name_of(owner), done_key),
    ).fetchone()
    if row is None:
        return None
    change = unsealed(Change, owner, done_key, *row)
    if change is None:
        raise FactsUnavailable("what was noted of this change is damaged")
    return change


def _is_forgetful(connection: sqlite3.Connection, owner: Owner) -> bool:
    found = connection.execute("SELECT 1 FROM forgetful WHERE owner = ?", (name_of(owner),))
    return found.fetchone() is not None


@contextmanager
def _reading() -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise FactsUnavailable(f"it can't be read: {error}") from error


@contextmanager
def _writing(connection: sqlite3.Connection) -> Generator[None]:
    """Commit what is done inside, or take it back; an error of either is told as what it means."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise fault_of(error) from error
    finally:
        if connection.in_transaction:  # it was not committed: refused, raised, or locked
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
