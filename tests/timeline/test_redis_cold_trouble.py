"""What goes on where Redis refuses writes or the directory hangs, and what is tidied anyway."""

# pyright: reportPrivateUsage=false
# What is cut off in the middle is cut off from inside.

from __future__ import annotations

import os
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.recent import Asked
from bargein.timeline.redis import cold_folder, cold_mover, reads
from bargein.timeline.redis.cold_file import ColdDraft
from bargein.timeline.redis.cold_mover import KEPT_S, MOST_AT_ONCE, Mover, WriteRefused
from bargein.timeline.redis.keys import row_key
from bargein.timeline.redis.link import Link, LinkLost, Refused
from bargein.timeline.redis.scripts import COOL
from bargein.timeline.store import StoreUnavailable
from tests.timeline.appends import A, B, Notes, all_seqs, running
from tests.timeline.cold_room import ColdRoom, moved, mover

LONG_S = 60.0
"""A bound for what ends at once where all is well."""

MANY = tuple(SessionId(f"sess_{number}") for number in range(3 * MOST_AT_ONCE))


@contextmanager
def refusing(room: ColdRoom) -> Generator[None]:
    """Let Redis refuse all that writes."""
    room.redis.say("CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        yield
    finally:
        room.redis.say("CONFIG", "SET", "min-replicas-to-write", "0")


async def test_a_redis_that_refuses_writes_ends_the_look_and_no_file_is_left(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, begun = ColdDraft.begin, list[Path]()

    def counted(path: Path, session_id: SessionId) -> ColdDraft:
        begun.append(path)
        return begin(path, session_id)

    monkeypatch.setattr(ColdDraft, "begin", counted)
    async with running(store := room.store()):
        for name in MANY:
            await Notes().stored(store, name, 1, 3)
        with refusing(room), pytest.raises(WriteRefused):
            await moved(store)
        assert 1 <= len(begun) <= MOST_AT_ONCE
        assert [path for name in MANY for path in room.files(name)] == []
        assert await moved(store) == len(MANY)


async def test_a_file_that_an_earlier_try_may_have_named_is_kept_when_redis_refuses(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store := room.store()):
        await Notes().stored(store, A, 1, 3)
        ask, asked = Link.ask, list[Any]()

        async def unheard(link: Link, commands: Any) -> Any:
            if COOL.digest not in commands[0]:
                return await ask(link, commands)
            asked.append(commands)
            if len(asked) > 1:
                return [Refused("LOADING Redis is loading the dataset in memory")]
            await ask(link, commands)  # it is done, and nobody is told
            raise LinkLost("the answer was lost")

        (found,) = await mover(store).reads.rows([A])
        with monkeypatch.context() as patched:
            patched.setattr(Link, "ask", unheard)
            with pytest.raises(WriteRefused):
                await mover(store).move(found)
        assert room.kept(A) == 0
        assert await all_seqs(store, A) == [1, 2, 3]


async def test_a_directory_that_hangs_costs_a_list_of_sessions_some_titles_and_no_session(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake = threading.Event()

    def hangs(*_: Any) -> None:
        awake.wait(LONG_S)

    monkeypatch.setattr(reads, "MOST_ONES_S", 0.05)
    async with running(store := room.store()):
        for name in (A, B):
            await Notes().stored(store, name, 1, 5)
        await moved(store)
        room.redis.say("HSET", row_key(A), "said", "2")
        with monkeypatch.context() as patched:
            patched.setattr(cold_folder, "read_one", hangs)
            page = await store.recent_of(Asked("ann", None, None, 10))
            awake.set()
        told = {each.row.session_id: each.first_words for each in page.sessions}
        assert told == {A: None, B: None}


async def test_a_server_that_moves_nothing_tidies_all_the_same(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(store := room.store()):
        await Notes().stored(store, A, 1, 5)
        await moved(store)
    part = room.named(A).with_suffix(".part")
    part.write_bytes(b"half")
    at_s = time.time() - 2 * KEPT_S
    os.utime(part, (at_s, at_s))
    monkeypatch.setattr(cold_mover, "MOST_LOOK_S", 0.005)
    store = room.store(after_s=None)
    mover(store)._shelf = int(part.parent.name, 16) - 1
    async with running(store):
        with trio.fail_after(LONG_S):
            while part.exists():
                await trio.testing.wait_all_tasks_blocked(0.005)
        assert await moved(store) == 0
        assert room.files(A) == [room.named(A)]


async def test_files_are_tidied_also_while_nothing_can_be_moved(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = trio.Event()

    async def refused(_: Mover) -> int:
        raise StoreUnavailable("READONLY")

    async def tidied(_: Mover) -> int:
        looked.set()
        return 0

    monkeypatch.setattr(cold_mover, "LEAST_LOOK_S", 0.005)
    monkeypatch.setattr(Mover, "sweep", refused)
    monkeypatch.setattr(Mover, "tidy", tidied)
    async with running(room.store(after_s=0.0)):
        with trio.fail_after(LONG_S):
            await looked.wait()


async def test_a_file_that_one_scan_has_missed_goes_with_the_next(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, missed = cold_folder._written_by, list[Path]()

    def renaming(*arguments: Any) -> Iterator[Path]:
        found = list(scan(*arguments))
        if not missed:
            missed.append(found[0].with_name(found[0].name.replace(".sqlite3", "x.sqlite3")))
            missed[0].write_bytes(b"")
            os.utime(missed[0], (1, 1))
        yield from found

    async with running(store := room.store()):
        await Notes().stored(store, A, 1, 5)
        await moved(store)
        monkeypatch.setattr(cold_folder, "_written_by", renaming)
        assert await store.erase(A)
        assert missed
        assert room.files(A) == []
        assert await store.read(A, Seq(0), limit=9, most_bytes=999) == []
