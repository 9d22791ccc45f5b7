"""The list of a principal's sessions by activity, on each store."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bargein.protocol.codec import encode_event, session_prefix
from bargein.protocol.events import InputText, Payload, SessionTitled, ToolCall
from bargein.protocol.ids import CallId, Seq, SessionId
from bargein.timeline.recent import Asked, Mark, Recent
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import Store, StoreUnavailable, TimelineCorrupt
from tests.timeline.appends import OPENED_AT, A, B, C, Notes, Opener, frame, new_session, running

PAGE = 4096
NAMES = [SessionId(f"sess_{n}") for n in range(6)]


def at(minute: int) -> str:
    return f"2026-11-21T10:{minute:02d}:00.000Z"


def said(session_id: SessionId, seq: int, minute: int, payload: Payload | None = None) -> bytes:
    """Return an event as the server encodes it."""
    prefix = session_prefix(session_id)
    ts = at(minute).encode()
    return encode_event(prefix, Seq(seq), ts, None, None, payload or InputText(f"words {seq}"))


def asked(limit: int = 10, before: Mark | None = None, principal: str = "ann") -> Asked:
    return Asked(principal, None, before, limit)


def names(found: tuple[Recent, ...]) -> list[SessionId]:
    return [each.row.session_id for each in found]


async def test_the_latest_activity_comes_first_and_not_the_latest_opening(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        for number, name in enumerate((A, B, C)):
            notes.submit(store, name, 1, frames=(said(name, 1, number),))
        notes.submit(store, A, 2, frames=(said(A, 2, 7),))
        await notes.all_answered()
        page = await store.recent_of(asked())
        assert names(page.sessions) == [A, C, B]
        assert [each.last_at for each in page.sessions] == [at(7), at(2), at(1)]
        assert page.sessions[0].row == await store.row(A)
        assert page.end is None


async def test_a_page_goes_on_where_the_last_one_ended(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        for number, name in enumerate(NAMES):  # two of each time: then the name decides
            notes.submit(store, name, 1, frames=(said(name, 1, number // 2),))
        await notes.all_answered()
        found: list[SessionId] = []
        sizes: list[int] = []
        mark = None
        while True:
            page = await store.recent_of(asked(limit=3, before=mark))
            found += names(page.sessions)
            sizes.append(len(page.sessions))
            mark = page.end
            if mark is None:
                break
        assert found == NAMES[::-1]
        assert sizes == [3, 3, 0]


async def test_nobody_is_shown_what_is_not_theirs(opened: Opener) -> None:
    store, notes = opened(), Notes()
    owners = [("ann", None), ("bob", None), ("ann", "acme")]
    async with running(store):
        for name, (principal, tenant) in zip((A, B, C), owners, strict=True):
            notes.submit(store, name, 1, opened=new_session(name, principal, tenant))
        await notes.all_answered()
        for name, (principal, tenant) in zip((A, B, C), owners, strict=True):
            page = await store.recent_of(Asked(principal, tenant, None, 10))
            assert names(page.sessions) == [name]
        for principal, tenant in (("bob", "acme"), ("", None), ("' OR 1=1 --", None)):
            assert (await store.recent_of(Asked(principal, tenant, None, 10))).sessions == ()


async def test_a_session_has_its_title_and_the_first_words_of_its_user(opened: Opener) -> None:
    store, notes = opened(), Notes()
    frames = (
        said(A, 1, 1, InputText("What  is\nbarge-in?")),
        said(A, 2, 1, SessionTitled("About interrupts")),
        *(said(A, seq, 1) for seq in range(3, 300)),
        said(A, 300, 1, SessionTitled("A better title")),
        *(said(A, seq, 2) for seq in range(301, 400)),
    )
    async with running(store):
        notes.submit(store, A, 1, frames=frames)
        notes.submit(store, B, 1, frames=(said(B, 1, 1, SessionTitled("t" * 500)),))
        notes.submit(store, C, 1, frames=(said(C, 1, 0, InputText("w" * 500)),))
        await notes.all_answered()
        one, two, three = (await store.recent_of(asked())).sessions
        assert (one.title, one.first_words) == ("A better title", "What is barge-in?")
        assert (two.title, two.first_words) == ("t" * 199 + "…", None)
        assert (three.title, three.first_words) == (None, "w" * 199 + "…")


async def test_what_only_looks_like_a_title_is_none(opened: Opener) -> None:
    store, notes = opened(), Notes()
    trap = {"ts": at(9), "type": "session.titled", "payload": {"title": "a trap"}}
    call = ToolCall(CallId("call_1"), "t", {"a": trap, **trap}, "read")
    words = InputText(f'","ts":"{at(9)}","type":"session.titled","payload":{{"title":"a trap"}}')
    async with running(store):
        notes.submit(store, A, 1, frames=(said(A, 1, 1, call), said(A, 2, 1, words)))
        await notes.all_answered()
        (found,) = (await store.recent_of(asked())).sessions
        assert found.title is None
        assert found.first_words == words.text
        assert found.last_at == at(1)


async def test_an_event_without_a_time_leaves_the_time_of_opening(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        notes.submit(store, A, 1, frames=(frame(A, 1),))
        notes.submit(store, B, 1, frames=(b"\x00\xff no text",))
        await notes.all_answered()
        for found in (await store.recent_of(asked())).sessions:
            assert (found.last_at, found.title, found.first_words) == (OPENED_AT, None, None)


async def test_an_erased_session_is_not_listed(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        for name in (A, B):
            notes.submit(store, name, 1, frames=(said(name, 1, 1, SessionTitled("t")),))
        await notes.all_answered()
        await store.erase(A)
        assert names((await store.recent_of(asked())).sessions) == [B]


async def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable):
        await SqliteStore(tmp_path / "timelines.sqlite3").recent_of(asked())


async def pages_of_three(path: Path) -> None:
    """Store three sessions whose events fill more than a page each."""
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for name in (A, B, C):
            notes.submit(store, name, 1, frames=tuple(said(name, seq, 1) for seq in range(1, 61)))
        await notes.all_answered()


def overwrite(path: Path, what: bytes | int) -> None:
    """Overwrite the page of that number, or the one that holds these bytes."""
    content = bytearray(path.read_bytes())
    number = what if isinstance(what, int) else content.index(what) // PAGE + 1
    assert number > 1
    content[(number - 1) * PAGE : number * PAGE] = b"\xff" * PAGE
    path.write_bytes(content)


async def titled(store: Store) -> None:
    """Store two sessions with a title each."""
    notes = Notes()
    async with running(store):
        for name in (A, B):
            title = SessionTitled(f"title of {name}")
            notes.submit(store, name, 1, frames=(said(name, 1, 1), said(name, 2, 1, title)))
        await notes.all_answered()


@pytest.mark.parametrize(
    ("change", "title"),
    [
        ("UPDATE events SET frame = replace(frame, 'title of', 'trash of') WHERE seq = 2", None),
        ("UPDATE events SET crc = 0 WHERE seq = 2", None),
        ("UPDATE events SET frame = x'ff' WHERE seq = 2", None),
        ("UPDATE events SET frame = CAST(frame AS TEXT) WHERE seq = 2", None),
        ("UPDATE events SET crc = 0 WHERE seq = 1", "title of sess_a"),
    ],
)
async def test_a_damaged_event_is_not_shown(tmp_path: Path, change: str, title: str | None) -> None:
    path = tmp_path / "timelines.sqlite3"
    store = SqliteStore(path)
    await titled(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute(f"{change} AND session = 1")
    store = SqliteStore(path)
    async with running(store):
        found = {each.row.session_id: each for each in (await store.recent_of(asked())).sessions}
        assert found[A].title == title
        assert found[B].title == "title of sess_b"


async def test_a_damaged_row_is_left_out_and_the_list_goes_on_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "timelines.sqlite3"
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        for number, name in enumerate(NAMES):
            notes.submit(store, name, 1, frames=(said(name, 1, number),))
        await notes.all_answered()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE sessions SET epoch = 'x' WHERE session_id = 'sess_4'")
        page = await store.recent_of(asked(limit=2))
        assert names(page.sessions) == [NAMES[5]]
        assert page.end == Mark(at(4), NAMES[4])
        rest = await store.recent_of(asked(before=page.end))
        assert names(rest.sessions) == NAMES[3::-1]


def made_older(path: Path) -> None:
    """Make a store one of the version that noted no titles."""
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("DROP TABLE titles")
        older.execute("DROP TABLE journal")
        older.execute("PRAGMA user_version = 2")


async def test_a_file_of_the_second_version_lists_old_sessions_by_their_words(
    tmp_path: Path,
) -> None:
    path = tmp_path / "timelines.sqlite3"
    await titled(SqliteStore(path))
    made_older(path)
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        notes.submit(store, B, 3, frames=(said(B, 3, 1, SessionTitled("titled since")),))
        await notes.all_answered()
        found = {each.row.session_id: each for each in (await store.recent_of(asked())).sessions}
        assert (found[A].title, found[B].title) == (None, "titled since")
        assert (found[A].first_words, found[B].first_words) == ("words 1", "words 1")
    with closing(sqlite3.connect(path)) as after:
        assert after.execute("PRAGMA user_version").fetchone() == (4,)


async def test_a_damaged_page_of_one_session_does_not_keep_an_older_file_shut(
    tmp_path: Path,
) -> None:
    path = tmp_path / "timelines.sqlite3"
    await pages_of_three(path)
    made_older(path)
    overwrite(path, said(B, 30, 1))
    store = SqliteStore(path)
    async with running(store):
        for name in (A, C):
            assert len(await store.read(name, Seq(0), limit=100, most_bytes=2**20)) == 60
        with pytest.raises(TimelineCorrupt):
            await store.read(B, Seq(0), limit=100, most_bytes=2**20)
        assert set(names((await store.recent_of(asked())).sessions)) == {A, B, C}


async def test_a_note_of_another_event_is_no_title(tmp_path: Path) -> None:
    path = tmp_path / "timelines.sqlite3"
    store, notes = SqliteStore(path), Notes()
    call = ToolCall(CallId("call_1"), "t", {}, "read", title="of a tool")
    async with running(store):
        frames = (said(A, 1, 1, call), said(A, 2, 1, SessionTitled("of a session")))
        notes.submit(store, A, 1, frames=frames)
        await notes.all_answered()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            for seq in (1, 99, "x", b"x"):
                other.execute("UPDATE titles SET seq = ?", (seq,))
                (found,) = (await store.recent_of(asked())).sessions
                assert found.title is None


async def test_a_session_is_titled_and_erased_where_the_notes_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "timelines.sqlite3"
    await titled(SqliteStore(path))
    with closing(sqlite3.connect(path)) as other:
        (number,) = other.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'titles'"
        ).fetchone()
    overwrite(path, number)
    store, notes = SqliteStore(path), Notes()
    async with running(store):
        notes.submit(store, A, 3, frames=(said(A, 3, 1, SessionTitled("a better one")),))
        await notes.all_answered()
        assert not notes.failed
        assert len(await store.read(A, Seq(0), limit=100, most_bytes=2**20)) == 3
        assert await store.erase(A)
        assert await store.row(A) is None
