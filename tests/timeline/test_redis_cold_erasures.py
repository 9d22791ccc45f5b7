"""Which files go with an erased session, however late, and which are of another life of it."""

# pyright: reportPrivateUsage=false
# What is cut off in the middle is cut off from inside.

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from bargein.protocol.ids import SessionId
from bargein.timeline.redis import cold_folder
from bargein.timeline.redis.chain import Item, item_of
from bargein.timeline.redis.changes import Changes
from bargein.timeline.redis.cold import Remains
from bargein.timeline.redis.cold_folder import ColdFolder
from bargein.timeline.redis.keys import COLD, OUTBOXES, outbox_key, row_key
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.store import StoreUnavailable
from bargein.timeline.verification import checked_audit
from tests.timeline.appends import A, B, C, Notes, all_seqs, entry, running
from tests.timeline.cold_room import ColdRoom, moved, mover

LONG_S = 60.0
"""A bound for what ends at once where all is well."""


def folder_of(store: RedisStore) -> ColdFolder:
    assert store.cold is not None
    return store.cold


async def filled(room: ColdRoom, *names: SessionId) -> None:
    """Store and move events of these sessions, which nobody owns in the end."""
    async with running(store := room.store()):
        for name in names:
            await Notes().stored(store, name, 1, 5)
        assert await moved(store) == len(names)


async def test_an_erasure_that_wakes_up_late_leaves_a_session_that_was_opened_again(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(room, A)
    old, clear = room.named(A), cold_folder._clear
    asleep, wake, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(*arguments: Any) -> None:
        if asleep.is_set():
            return clear(*arguments)
        asleep.set()
        wake.wait(LONG_S)
        try:
            return clear(*arguments)
        finally:
            ended.set()

    async def erase(store: RedisStore) -> None:
        with suppress(StoreUnavailable):  # it has taken too long
            await store.erase(A)

    monkeypatch.setattr(cold_folder, "_clear", slow)
    async with running(one := room.store()), running(two := room.store()):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(erase, one)
            assert await trio.to_thread.run_sync(asleep.wait, LONG_S)
            await Notes().stored(two, A, 1, 3)
            (found,) = await mover(two).reads.rows([A])
            assert await mover(two).move(found)
            wake.set()
            assert await trio.to_thread.run_sync(ended.wait, LONG_S)
        assert await all_seqs(two, A) == [1, 2, 3]
        assert not old.exists()


async def test_what_the_row_names_and_what_is_newer_stays_when_older_files_go(
    room: ColdRoom,
) -> None:
    await filled(room, A)
    async with running(store := room.store()):
        first = room.named(A)
        await Notes().stored(store, A, 6, 6)
        assert await moved(store) == 1
        named = room.named(A)
        newer = first.with_name(first.name.replace(f"-{first.stem[-16:]}", f"-{'0' * 16}"))
        newer.write_bytes(first.read_bytes())
        at_s = time.time() + 1000
        os.utime(newer, (at_s + 1, at_s + 1))
        ask = store._writing.ask
        await folder_of(store).clear(ask, A, Remains(None, at_s))
        assert sorted(room.files(A)) == sorted([named, newer])
        room.redis.say("HDEL", row_key(A), "cold")
        await folder_of(store).clear(ask, A, Remains(None, at_s))
        assert room.files(A) == [newer]


async def test_a_session_that_is_moved_just_before_it_is_erased_leaves_no_file(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, looks = Changes._item, list[Path]()
    async with running(store := room.store()):
        await Notes().stored(store, A, 1, 5)

        async def late(*arguments: Any) -> Any:
            found = await look(*arguments)
            if not looks:
                assert await moved(store) == 1
                ahead_s = time.time() + 1000  # by the clock of another machine
                os.utime(room.named(A), (ahead_s, ahead_s))
            looks.extend(room.files(A))
            return found

        monkeypatch.setattr(Changes, "_item", late)
        assert await store.erase(A, (entry(A, 5, "session.erased"),))
        assert looks
        assert room.files(A) == []
        check = await checked_audit(store)
        assert (check.damage, check.reached.n) == (None, 1)


async def test_a_file_goes_from_the_folder_that_its_row_named_whoever_erases(
    room: ColdRoom,
) -> None:
    await filled(room, A)
    room.redis.say("DEL", COLD)  # as by a failover
    async with running(store := room.store()):
        assert folder_of(store).name != room.named(A).parent.parent.name
        assert await store.erase(A, (entry(A, 5, "session.erased"),))
        assert room.files(A) == []
        assert len(await store.audit_lines(0, limit=9)) == 1


async def test_an_item_of_older_code_is_delivered_and_takes_no_file(room: ColdRoom) -> None:
    await filled(room, A)
    older = Item.new(A, (entry(A, 5, "session.erased"),), ("ann", None))
    leave(room, older)
    async with running(store := room.store(is_server=False)):
        await store._chain.sweep()
        assert len(await store.audit_lines(0, limit=9)) == 1
        assert room.files(A) == [room.named(A)]


def leave(room: ColdRoom, item: Item) -> None:
    """Let an item be in its outbox, left there by a server that has gone."""
    room.redis.say("RPUSH", outbox_key(item.session_id), item.text)
    room.redis.say("HSET", OUTBOXES, item.session_id, "dead.1.ab")


async def test_a_directory_that_hangs_is_asked_once_a_sweep_and_the_rest_is_delivered(
    room: ColdRoom,
) -> None:
    asked: list[SessionId] = []

    async def hangs(session_id: SessionId, _: Remains) -> None:
        asked.append(session_id)
        raise StoreUnavailable("redis.cold_dir does not answer")

    async with running(store := room.store(is_server=False)):  # which sweeps by itself never
        clear, store._chain.clear = store._chain.clear, hangs
        for name in (A, B):
            gone = (entry(name, 1, "session.erased"),)
            leave(room, Item.new(name, gone, ("ann", None), Remains(None, time.time())))
        leave(room, Item.new(A, (entry(A, 1),)))
        leave(room, Item.new(C, (entry(C, 1),)))
        with pytest.raises(StoreUnavailable):
            await store._chain.sweep()
        assert len(asked) == 1
        assert len(await store.audit_lines(0, limit=9)) == 2
        store._chain.clear = clear
        await store._chain.sweep()
        assert len(await store.audit_lines(0, limit=9)) == 4
        assert room.redis.say("EXISTS", OUTBOXES) == b":0\r\n"


def test_an_item_reads_as_it_was_written() -> None:
    item = Item.new(A, (), ("ann", None), Remains.of(f"5 {'a' * 16} {'b' * 16}", 1.25))
    again = item_of(A, item.text.encode())
    assert (again, again.text) == (item, item.text)
