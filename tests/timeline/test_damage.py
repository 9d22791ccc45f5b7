"""Damage is found when it is read, named by session and seq, and never served."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import frozen

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.reads import Reads
from bargein.timeline.schema import open_for_reading, open_for_writing
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import Stored, StoreError, TimelineCorrupt
from tests.timeline.appends import LATEST_S, A, B, Notes, all_seqs, frame, running

EVENTS = 5
VICTIM = Seq(3)
WHERE = "session = (SELECT key FROM sessions WHERE session_id = 'sess_a') AND seq"


@frozen
class Damaged:
    """A store with two sessions, and a second connection that can damage them."""

    store: SqliteStore
    other: sqlite3.Connection

    def change(self, column: str, value: Any) -> None:
        self.other.execute(f"UPDATE events SET {column} = ? WHERE {WHERE} = 3", (value,))  # noqa: S608

    def victim(self, column: str) -> Any:
        (value,) = self.other.execute(
            f"SELECT {column} FROM events WHERE {WHERE} = 3"  # noqa: S608
        ).fetchone()
        return value

    async def found(self, after: int = 0) -> TimelineCorrupt:
        with pytest.raises(TimelineCorrupt) as caught:
            await self.store.read(A, Seq(after), limit=100, most_bytes=10**6)
        assert caught.value.session_id == A
        assert str(caught.value.seq) in str(caught.value)
        return caught.value


@pytest.fixture
async def damaged(tmp_path: Path) -> AsyncGenerator[Damaged]:
    path = tmp_path / "timelines.sqlite3"
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, EVENTS)
        await notes.stored(store, B, 1, EVENTS)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("PRAGMA synchronous = OFF")
        yield Damaged(store, other)
        other.close()


async def test_any_flipped_byte_of_a_frame_is_found(damaged: Damaged) -> None:
    sound = damaged.victim("frame")
    assert sound == frame(A, VICTIM)
    for place in range(len(sound)):
        for flip in (0x01, 0x80, 0xFF):
            bad = bytearray(sound)
            bad[place] ^= flip
            damaged.change("frame", bytes(bad))
            assert (await damaged.found()).seq == VICTIM
    damaged.change("frame", sound)
    assert await all_seqs(damaged.store, A) == [1, 2, 3, 4, 5]


async def test_any_flipped_bit_of_a_checksum_is_found(damaged: Damaged) -> None:
    sound = damaged.victim("crc")
    for bit in range(63):
        damaged.change("crc", sound ^ (1 << bit))
        assert (await damaged.found()).seq == VICTIM
    damaged.change("crc", sound)
    assert await all_seqs(damaged.store, A) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("column", ["frame", "crc"])
@pytest.mark.parametrize("value", [b"", "", "text \x00", "\u20ac", 7, -1, 1.5, b"\x00\xff", 2**62])
async def test_a_value_of_another_kind_or_length_is_found(
    damaged: Damaged, column: str, value: Any
) -> None:
    damaged.change(column, value)
    assert (await damaged.found()).seq == VICTIM


async def test_a_missing_event_is_found_and_named(damaged: Damaged) -> None:
    damaged.other.execute(f"DELETE FROM events WHERE {WHERE} = 3")  # noqa: S608
    assert (await damaged.found()).seq == VICTIM
    assert (await damaged.found(after=2)).seq == VICTIM


@pytest.mark.parametrize("left", [0, 1, 4])
async def test_newest_events_that_are_missing_are_found_and_named(
    damaged: Damaged, left: int
) -> None:
    damaged.other.execute(f"DELETE FROM events WHERE {WHERE} > ?", (left,))  # noqa: S608
    assert (await damaged.found()).seq == left + 1
    assert (await damaged.found(after=left)).seq == left + 1
    with pytest.raises(TimelineCorrupt):
        await damaged.store.row(A)
    assert await all_seqs(damaged.store, B) == [1, 2, 3, 4, 5]


async def test_nothing_is_appended_behind_newest_events_that_are_missing(tmp_path: Path) -> None:
    path, notes = tmp_path / "timelines.sqlite3", Notes()
    first = SqliteStore(path)
    async with running(first):
        notes.submit(first, A, 1, unsettled=True)
        notes.submit(first, A, 2, unsettled=True)
        notes.submit(first, A, 3, 4, unsettled=False)  # the turn ends here
        await notes.all_answered()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM events WHERE seq = 4")
    second = SqliteStore(path)
    async with running(second):
        notes.submit(second, A, 4)
        notes.submit(second, B, 1)
        await notes.all_answered()
        ((name, _, error),) = notes.failed
        assert name == A
        assert isinstance(error, TimelineCorrupt)
        assert error.seq == 4
        assert notes.durable[-1] == (B, 1)


async def test_sound_events_in_each_others_place_are_found(damaged: Damaged) -> None:
    for old, new in ((3, -3), (4, 3), (-3, 4)):
        damaged.other.execute(
            f"UPDATE events SET seq = ? WHERE {WHERE} = ?",  # noqa: S608
            (new, old),
        )
    assert (await damaged.found()).seq == VICTIM


async def test_sound_sessions_in_each_others_place_are_found(damaged: Damaged) -> None:
    for old, new in ((1, 99), (2, 1), (99, 2)):
        damaged.other.execute("UPDATE events SET session = ? WHERE session = ?", (new, old))
    assert (await damaged.found()).seq == 1


async def test_other_sessions_and_other_pages_do_not_notice(damaged: Damaged) -> None:
    damaged.change("frame", b"damage")
    await damaged.found()
    assert await all_seqs(damaged.store, B) == [1, 2, 3, 4, 5]
    before = await damaged.store.read(A, Seq(0), limit=2, most_bytes=10**6)
    behind = await damaged.store.read(A, VICTIM, limit=9, most_bytes=10**6)
    assert [event.seq for event in (*before, *behind)] == [1, 2, 4, 5]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("principal", "eve"),
        ("principal", b"\xff\xfe"),
        ("principal", 5),
        ("tenant", "acme"),
        ("epoch", "another"),
        ("epoch_changed", 1),
        ("opened_at", "2000-01-01T00:00:00.000Z"),
        ("crc", 0),
    ],
)
async def test_a_damaged_index_row_is_found_and_serves_nobody(
    damaged: Damaged, column: str, value: Any
) -> None:
    # As damage on the disk would: without the declared type being applied.
    damaged.other.execute(f"UPDATE sessions SET {column} = ? WHERE key = 1", (value,))  # noqa: S608
    with pytest.raises(TimelineCorrupt) as caught:
        await damaged.store.row(A)
    assert (caught.value.session_id, caught.value.seq) == (A, 0)
    for owner in ("ann", "eve"):
        rows = await damaged.store.sessions_of(owner, None, limit=10)
        assert A not in [row.session_id for row in rows]
    assert (await damaged.store.row(B)) is not None


async def test_text_that_is_no_text_is_damage_and_not_a_crash(damaged: Damaged) -> None:
    damaged.other.execute("UPDATE sessions SET principal = CAST(x'616eff' AS TEXT) WHERE key = 1")
    with pytest.raises(TimelineCorrupt):
        await damaged.store.row(A)


async def test_no_flipped_byte_of_the_file_changes_what_is_served(tmp_path: Path) -> None:
    path = tmp_path / "timelines.sqlite3"
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        await notes.stored(store, A, 1, EVENTS)
    sound = path.read_bytes()
    first = sound.index(frame(A, EVENTS))  # cells grow downwards: the last one comes first
    last = sound.index(frame(A, 1)) + len(frame(A, 1)) + 5  # its checksum
    truth = [Stored(Seq(seq), frame(A, seq)) for seq in range(1, EVENTS + 1)]
    outcomes: dict[str, int] = {"error": 0, "sound": 0}
    for place in range(first - 16, min(last, len(sound))):
        bad = bytearray(sound)
        bad[place] ^= 0xFF
        path.write_bytes(bytes(bad))
        with trio.fail_after(LATEST_S):
            served = await trio.to_thread.run_sync(_served, path)
        assert served in (None, truth), place
        outcomes["error" if served is None else "sound"] += 1
    # Nearly all of these bytes matter; those that don't are outside of every cell.
    assert outcomes["error"] > EVENTS * len(frame(A, 1))


def _served(path: Path) -> list[Stored] | None:
    """Read the timeline as a new process would, or None where damage was named."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    try:
        writing = open_for_writing(path, locked_s=1)
    except StoreError:
        return None
    reads = Reads(open_for_reading(path, locked_s=1))
    try:
        return reads.page(SessionId(A), Seq(0), 100, 10**6)
    except TimelineCorrupt as error:
        return None if error.session_id == A else []
    finally:
        reads.close(within_s=1)
        writing.close()
