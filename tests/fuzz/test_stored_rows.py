"""What is stored, damaged: named by session and seq, never served, and no other session notices."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

import trio

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.recent import Asked
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import Stored, StoreError, TimelineCorrupt
from tests.fuzz.mutation import ODD, bytes_like
from tests.fuzz.rounds import expect, rounds, shown
from tests.timeline.appends import A, B, Notes, all_seqs, frame, running

EVENTS = 6
TRUTH = [Stored(Seq(seq), frame(A, seq)) for seq in range(1, EVENTS + 1)]
COLUMNS = {
    "events": ("frame", "crc", "seq", "session"),
    "sessions": (
        "session_id",
        "principal",
        "tenant",
        "epoch",
        "epoch_changed",
        "closed",
        "opened_at",
        "crc",
        "noted_seq",
    ),
}


async def a_store_at(path: Path) -> None:
    """Write two sessions, and close the store in order."""
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, EVENTS)
        await notes.stored(store, B, 1, EVENTS)


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[tuple[SqliteStore, sqlite3.Connection]]:
    """Run the store for as long as it takes, and open a second connection that can damage it."""
    store = SqliteStore(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA synchronous = OFF")
            yield store, other
        nursery.cancel_scope.cancel()


async def read_all(store: SqliteStore, session_id: SessionId) -> list[Stored]:
    """Read as a reviving session does: its row, and its events up to where the row says."""
    row = await store.row(session_id)
    assert row is not None
    events = await store.read(session_id, Seq(0), limit=100, most_bytes=2**20)
    if len(events) < row.last_seq:
        raise TimelineCorrupt(session_id, Seq(len(events) + 1))
    return events


def odd_value(drawn: Random, good: Any) -> Any:
    if isinstance(good, bytes) and drawn.random() < 0.8:
        return bytes_like(drawn, good)
    if isinstance(good, str) and drawn.random() < 0.5:
        return bytes_like(drawn, good.encode()).decode(errors="replace")
    if isinstance(good, int) and drawn.random() < 0.7:
        return good ^ (1 << drawn.randrange(62))
    odd = drawn.choice([value for value in ODD if not isinstance(value, dict | list)])
    if isinstance(odd, int) and not isinstance(odd, bool):
        return max(-(2**63), min(odd, 2**63 - 1))
    return odd.encode(errors="surrogatepass") if isinstance(odd, str) else odd


def damage(drawn: Random, other: sqlite3.Connection) -> tuple[str, str, Any]:
    """Change one value of session A, whatever its type was to be."""
    table = drawn.choice(("events", "events", "events", "sessions"))
    column = drawn.choice(COLUMNS[table])
    # As damage does it: no declared type, and no constraint, stands in the way of a bit.
    where = "key = 1" if table == "sessions" else f"session = 1 AND seq = {drawn.randint(1, 6)}"
    (good,) = other.execute(f"SELECT {column} FROM {table} WHERE {where}").fetchone()  # noqa: S608
    bad = odd_value(drawn, good)
    try:
        other.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", (bad,))  # noqa: S608
    except sqlite3.IntegrityError:
        return table, column, good  # SQLite itself keeps NULL and doubles out
    return table, column, bad


def restore(other: sqlite3.Connection, rows: dict[str, list[tuple[Any, ...]]]) -> None:
    other.execute("BEGIN")
    for table, kept in rows.items():
        other.execute(f"DELETE FROM {table}")  # noqa: S608
        marks = ", ".join("?" * len(kept[0]))
        other.executemany(f"INSERT INTO {table} VALUES ({marks})", kept)  # noqa: S608
    other.execute("COMMIT")


async def test_a_damaged_row_is_named_or_true_and_others_do_not_notice(tmp_path: Path):
    path = tmp_path / "timelines.sqlite3"
    await a_store_at(path)
    outcomes: Counter[str] = Counter()
    async with opened(path) as (store, other):
        rows = {
            table: other.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608
            for table in COLUMNS
        }
        for number, drawn in rounds("rows", least=100):
            done = damage(drawn, other)
            with shown(number, done), trio.fail_after(20):
                outcomes[await outcome_of(store, *done)] += 1
                if done[1] != "session":  # an event of A under B's key is damage of B, too
                    assert await all_seqs(store, B) == list(range(1, EVENTS + 1))
                await store.unsettled()
                await store.sessions_of("ann", None, limit=10)
                await store.recent_of(Asked("ann", None, None, 10))
            restore(other, rows)
        assert await read_all(store, A) == TRUTH
    expect(outcomes["corrupt"] > 50, outcomes)
    assert set(outcomes) <= {"corrupt", "true", "gone"}, outcomes


async def outcome_of(store: SqliteStore, table: str, column: str, _: Any) -> str:
    try:
        if await store.row(A) is None:
            # Without its name nobody can ask for it: what is not found is not served.
            assert (table, column) == ("sessions", "session_id")
            return "gone"
        events = await read_all(store, A)
    except TimelineCorrupt as corrupt:
        return checked(corrupt)
    assert events == TRUTH
    return "true"


def checked(corrupt: TimelineCorrupt) -> str:
    """Check that the error names the session, and an event that is there or missing."""
    assert corrupt.session_id == A
    assert 0 <= corrupt.seq <= EVENTS + 1
    assert A in str(corrupt)
    return "corrupt"


async def test_a_damaged_file_is_refused_or_true(tmp_path: Path):
    sound, path = tmp_path / "sound.sqlite3", tmp_path / "damaged.sqlite3"
    await a_store_at(sound)
    good = sound.read_bytes()
    outcomes: Counter[str] = Counter()
    for number, drawn in rounds("file", least=60):
        bad = file_like(drawn, good)
        for left in tmp_path.glob("damaged.*"):
            left.unlink()
        path.write_bytes(bad)
        where = [
            place for place, pair in enumerate(zip(good, bad, strict=False)) if len(set(pair)) > 1
        ]
        with shown(number, (len(bad), where[:20])), trio.fail_after(20):
            outcomes[await file_outcome(path)] += 1
    shutil.rmtree(tmp_path, ignore_errors=True)
    expect(min(outcomes["true"], outcomes["refused"], outcomes["corrupt"]) > 0, outcomes)


def file_like(drawn: Random, good: bytes) -> bytes:
    bad = bytearray(good)
    for _ in range(drawn.choice((1, 1, 3, 50))):
        place = drawn.choice((drawn.randrange(200), drawn.randrange(len(bad))))
        bad[place] = drawn.choice((bad[place] ^ (1 << drawn.randrange(8)), drawn.randrange(256)))
    if drawn.random() < 0.1:
        del bad[drawn.randrange(len(bad)) :]
    elif drawn.random() < 0.2:
        page = 4096 * drawn.randrange(len(bad) // 4096)
        bad[page : page + 4096] = bytes(4096)
    return bytes(bad)


async def file_outcome(path: Path) -> str:
    store, read = SqliteStore(path), list[Stored]()
    outcome = "true"
    try:
        async with running(store):
            try:
                if await store.row(A) is None:
                    return "refused"  # nobody finds it: so nothing of it is served
                read = await read_all(store, A)
            except TimelineCorrupt as corrupt:
                return checked(corrupt)
    except* StoreError:
        outcome = "refused"
    if outcome == "true":
        assert read == TRUTH
    return outcome
