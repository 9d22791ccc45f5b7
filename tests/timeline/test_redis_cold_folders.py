"""Which folder of the directory is that of this Redis, when Redis has lost it or has another."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from bargein.timeline.redis.cold_folder import ColdFolder
from bargein.timeline.redis.cold_mover import KEPT_S
from bargein.timeline.redis.keys import COLD
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.store import StoreUnavailable
from tests.timeline.appends import A, B, Notes, all_seqs, running
from tests.timeline.cold_room import ColdRoom, moved, mover

LONG_AGO_S = 10 * KEPT_S


def age(path: Path, by_s: float) -> None:
    """Let a file have been written *by_s* seconds before now."""
    at_s = time.time() - by_s
    os.utime(path, (at_s, at_s))


def folder_of(store: RedisStore) -> ColdFolder:
    assert store.cold is not None
    return store.cold


async def tidied(store: RedisStore) -> int:
    return sum([await mover(store).tidy() for _ in range(256)])


async def test_a_redis_that_is_emptied_under_a_running_server_gets_another_folder(
    room: ColdRoom,
) -> None:
    async with running(store := room.store()):
        await Notes().stored(store, A, 1, 5)
        await moved(store)
        old, before = room.named(A), folder_of(store).name
        age(old, LONG_AGO_S)
        room.redis.say("FLUSHALL")
        assert await moved(store) == 0
        assert folder_of(store).name != before
        assert await tidied(store) == 0
        await Notes().stored(store, B, 1, 3)
        assert await moved(store) == 1
        assert await all_seqs(store, B) == [1, 2, 3]
        assert room.named(B).is_relative_to(folder_of(store).path)
    assert old.exists()


async def test_a_redis_that_is_emptied_while_files_are_looked_at_loses_none(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = ColdFolder.old_files
    async with running(store := room.store()), running(other := room.store()):
        await Notes().stored(store, A, 1, 5)
        await moved(store)
        old = room.named(A)
        age(old, LONG_AGO_S)

        async def emptied(folder: ColdFolder, number: int, age_s: float) -> Any:
            found = await look(folder, number, age_s)
            if found:
                room.redis.say("FLUSHALL")
                await moved(other)  # another server is the first to see it
            return found

        monkeypatch.setattr(ColdFolder, "old_files", emptied)
        assert await tidied(store) == 0
        assert folder_of(store).name == folder_of(other).name
    assert old.exists()


async def test_servers_that_have_different_folders_come_to_have_one(room: ColdRoom) -> None:
    notes = Notes()
    async with running(one := room.store()):
        await notes.stored(one, A, 1, 5)
        await moved(one)
        room.redis.say("DEL", COLD)  # as by a failover
        async with running(two := room.store()):
            assert folder_of(one).name != folder_of(two).name
            await notes.stored(one, A, 6, 6)
            assert await moved(one) == 1
            assert folder_of(one).name == folder_of(two).name
            assert await all_seqs(two, A) == [1, 2, 3, 4, 5, 6]
            assert room.named(A).is_relative_to(folder_of(two).path)


async def test_a_folder_that_is_not_in_this_directory_stops_moves_and_tidying(
    room: ColdRoom,
) -> None:
    async with running(store := room.store()):
        await Notes().stored(store, A, 1, 5)
        before = folder_of(store).name
        room.redis.say("SET", COLD, "0123456789abcdef")
        with pytest.raises(StoreUnavailable):
            await moved(store)
        with pytest.raises(StoreUnavailable):
            await mover(store).tidy()
        assert (room.kept(A), room.files(A)) == (5, [])
        room.redis.say("SET", COLD, before)
        assert await moved(store) == 1


async def test_no_folder_is_left_where_redis_refuses_to_name_it(room: ColdRoom) -> None:
    async with running(store := room.store()):
        await Notes().stored(store, A, 1, 5)
        room.redis.say("DEL", COLD)
        room.redis.say("CONFIG", "SET", "min-replicas-to-write", "1")
        try:
            with pytest.raises(StoreUnavailable):
                await moved(store)
        finally:
            room.redis.say("CONFIG", "SET", "min-replicas-to-write", "0")
        assert [path.name for path in room.root.iterdir()] == [folder_of(store).name]
        assert room.kept(A) == 5
