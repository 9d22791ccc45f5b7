"""One damaged page, one slow read: lists go on with everybody else."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from bargein.protocol.codec import encode_event, session_prefix
from bargein.protocol.events import InputText, SessionTitled
from bargein.protocol.ids import Seq, SessionId
from bargein.server import main
from bargein.timeline import reads as reads_module
from bargein.timeline.recent import Asked, Mark, RecentPage
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import StoreDead
from tests.timeline.appends import OPENED_AT, A, B, C, Notes, running

PAGE = 4096
EVENTS = 60
MANY = [SessionId(f"sess_{n:03d}") for n in range(300)]


def at(minute: int) -> str:
    return f"2026-11-21T10:{minute:02d}:00.000Z"


def said(session_id: SessionId, seq: int, minute: int) -> bytes:
    ts, payload = at(minute).encode(), InputText(f"words {seq}")
    if seq == 2:
        payload = SessionTitled(f"title of {session_id}")
    return encode_event(session_prefix(session_id), Seq(seq), ts, None, None, payload)


def overwrite(path: Path, number: int) -> None:
    content = bytearray(path.read_bytes())
    assert number > 1
    content[(number - 1) * PAGE : number * PAGE] = b"\xff" * PAGE
    path.write_bytes(content)


def page_of(path: Path, what: bytes) -> int:
    content = path.read_bytes()
    assert content.count(what) == 1
    return content.index(what) // PAGE + 1


def root_of(path: Path, tree: str) -> int:
    with closing(sqlite3.connect(path)) as other:
        found = other.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (tree,))
        return found.fetchone()[0]


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Return a store with three sessions, each of some pages; the last page is B's alone."""
    path = tmp_path / "timelines.sqlite3"
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for minute, name in enumerate((A, C, B)):
            frames = tuple(said(name, seq, minute) for seq in range(1, EVENTS + 1))
            notes.submit(store, name, 1, frames=frames)
        await notes.all_answered()
    return path


@pytest.fixture
async def many(tmp_path: Path) -> Path:
    """Return a store whose sessions' rows fill some pages."""
    path = tmp_path / "timelines.sqlite3"
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for number, name in enumerate(MANY):
            one = (said(name, 1, number % 60),)
            notes.submit(store, name, 1, frames=one, unsettled=True)
        await notes.all_answered()
    return path


def asked(limit: int = 10, before: Mark | None = None) -> Asked:
    return Asked("ann", None, before, limit)


def names(page: RecentPage) -> list[SessionId]:
    return [each.row.session_id for each in page.sessions]


async def test_a_session_whose_end_is_damaged_is_left_out_of_lists(path: Path) -> None:
    overwrite(path, page_of(path, said(B, EVENTS, 2)))
    store = SqliteStore(path)
    async with running(store):
        page = await store.recent_of(asked())
        assert names(page) == [C, A]
        assert [each.last_at for each in page.sessions] == [at(1), at(0)]
        assert [each.title for each in page.sessions] == [f"title of {C}", f"title of {A}"]
        first = await store.recent_of(asked(limit=1))
        assert (names(first), first.end) == ([C], Mark(at(1), C))
        assert names(await store.recent_of(asked(before=first.end))) == [A]
        assert [each.row.session_id for each in await store.sessions(0, limit=10)] == [A, C]
        one = await store.sessions(0, limit=1)
        assert [each.row.session_id for each in one] == [A]
        two = await store.sessions(one[0].place, limit=1)
        assert [each.row.session_id for each in two] == [C]
        assert await store.sessions(two[0].place, limit=1) == []
        rows = await store.sessions_of("ann", None, limit=10)
        assert [row.session_id for row in rows] == [C, A]
        assert sorted(await store.session_names()) == [A, B, C]
    assert store.failure is None


async def test_damage_in_the_rows_of_sessions_hits_those_alone(many: Path) -> None:
    number = page_of(many, b"sess_150annepoch of sess_150")
    overwrite(many, number)
    store = SqliteStore(many)
    async with running(store):
        listed = names(await store.recent_of(asked(limit=500)))
        assert 150 < len(listed) < 300
        assert MANY[150] not in listed
        assert {MANY[0], MANY[-1]} <= set(listed)
        found, after = set[SessionId](), 0
        while page := await store.sessions(after, limit=20):
            found |= {each.row.session_id for each in page}
            after = page[-1].place
        assert found == set(listed)
        rows = await store.sessions_of("ann", None, limit=500)
        assert {row.session_id for row in rows} == found
        assert set(await store.unsettled()) == found
        assert sorted(await store.session_names()) == MANY


async def test_sessions_are_listed_where_the_notes_of_titles_are_damaged(path: Path) -> None:
    overwrite(path, root_of(path, "titles"))
    store = SqliteStore(path)
    async with running(store):
        page = await store.recent_of(asked())
        assert names(page) == [B, C, A]
        assert [(each.title, each.first_words) for each in page.sessions] == [(None, "words 1")] * 3


async def test_a_list_without_any_index_says_that_the_store_is_dead(path: Path) -> None:
    overwrite(path, root_of(path, "sessions_by_owner"))
    store = SqliteStore(path)
    async with running(store):
        with pytest.raises(StoreDead):
            await store.recent_of(asked())


# --- for an operator ----------------------------------------------------------------------


def run(path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [*arguments, "--store", f"sqlite:///{path}"])


async def in_thread(path: Path, *arguments: str) -> Result:
    return await trio.to_thread.run_sync(lambda: run(path, *arguments))


async def test_commands_go_on_and_the_report_names_what_is_damaged(path: Path) -> None:
    overwrite(path, page_of(path, said(B, EVENTS, 2)))
    listed = await in_thread(path, "sessions", "list")
    assert listed.exit_code == 0, listed.output
    lines = [json.loads(line) for line in listed.output.splitlines()]
    assert [line["session_id"] for line in lines] == [A, C]
    report = await in_thread(path, "report", "--json", "--since", OPENED_AT[:10])
    assert report.exit_code == 1
    assert json.loads(report.output)["damaged"] == [B]


async def test_the_report_names_a_session_whose_row_is_damaged(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("UPDATE sessions SET epoch = 'x' WHERE session_id = 'sess_b'")
    report = await in_thread(path, "report", "--json", "--since", OPENED_AT[:10])
    assert report.exit_code == 1
    assert json.loads(report.output)["damaged"] == [B]


# --- slow reads ---------------------------------------------------------------------------

SLOW = (
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40000000)"
    " SELECT max(i) FROM n WHERE coalesce(?1, ?2, ?3, ?4, ?5, ?6) NOT NULL"
)


async def test_a_list_that_was_given_up_holds_up_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads_module, "_RECENT", SLOW)
    store = SqliteStore(path)
    async with running(store):
        with trio.move_on_after(0.3) as listing:
            await store.recent_of(asked())
        assert listing.cancelled_caught
        with trio.fail_after(1.5):
            assert await store.row(A) is not None
