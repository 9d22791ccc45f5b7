"""Events that have been moved from Redis into files: read, gone on with, erased, lost, damaged."""

# pyright: reportPrivateUsage=false
# What is cut off in the middle is cut off from inside.

from __future__ import annotations

import errno
import os
import time
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing

from bargein.protocol.ids import NodeId, Seq, SessionId
from bargein.timeline.redis import cold_file
from bargein.timeline.redis.cold import Cold, new_number
from bargein.timeline.redis.cold_mover import KEPT_S, Mover
from bargein.timeline.redis.keys import OUTBOXES, events_key, lease_key, row_key
from bargein.timeline.redis.link import LinkLost
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from bargein.timeline.store import (
    StoreError,
    StoreUnavailable,
    StoreUnsuitable,
    TimelineCorrupt,
)
from bargein.timeline.verification import checked_audit
from tests.timeline.appends import (
    A,
    B,
    C,
    Notes,
    all_seqs,
    entry,
    frame,
    running,
)
from tests.timeline.cold_room import ColdRoom, moved, mover
from tests.timeline.redis_proxy import proxied
from tests.timeline.redis_server import RedisServer, redis_server

WELL_WITHIN_S = 10.0

Done: TypeAlias = tuple[bool, bool]
Naming: TypeAlias = Callable[[], Awaitable[Done]]


async def failure_of(store: RedisStore) -> StoreError:
    """Run a store that can't be opened, and return why."""
    with pytest.RaisesGroup(StoreError, flatten_subgroups=True) as caught:
        async with running(store):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, StoreError)
    return error


async def corrupt_at(work: Callable[[], Awaitable[object]]) -> Seq:
    with pytest.raises(TimelineCorrupt) as caught:
        await work()
    assert caught.value.session_id == A
    return caught.value.seq


async def damage_in(store: RedisStore) -> Seq | None:
    """Return the first damaged event that reading finds, None where it is whole."""
    try:
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5]
    except TimelineCorrupt as error:
        return error.seq
    return None


def at_the_naming(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[Naming], Awaitable[Done]]
) -> None:
    """Let something happen between the file and the moment when Redis is to name it."""
    named = Mover._named

    async def late(*arguments: Any) -> Done:
        return await happens(lambda: named(*arguments))

    monkeypatch.setattr(Mover, "_named", late)


async def filled(room: ColdRoom, *names: SessionId, last: int = 5) -> Notes:
    """Store events of these sessions, which nobody owns in the end."""
    notes = Notes()
    async with running(store := room.store()):
        for name in names:
            await notes.stored(store, name, 1, last)
    return notes


# --- moved, and gone on with ---------------------------------------------------------------


async def test_what_was_moved_is_out_of_redis_and_read_back_from_any_place_on(
    room: ColdRoom,
) -> None:
    async with running(store := room.store()):
        notes = Notes()
        await notes.stored(store, A, 1, 40)
        before = await store.row(A)
        assert await moved(store) == 1
        assert (room.kept(A), len(room.files(A))) == (0, 1)
        assert await store.row(A) == before
        await notes.stored(store, A, 41, 60)
        assert room.kept(A) == 20
        for after in range(61):
            events = await store.read(A, Seq(after), limit=100, most_bytes=10**6)
            assert [event.seq for event in events] == list(range(after + 1, 61))
            assert [event.frame for event in events] == [frame(A, e.seq) for e in events]


@pytest.mark.parametrize("limit", [1, 3, 39, 40, 41])
async def test_pages_over_the_end_of_the_file_keep_their_limits(room: ColdRoom, limit: int) -> None:
    async with running(store := room.store()):
        notes = Notes()
        await notes.stored(store, A, 1, 40)
        await moved(store)
        await notes.stored(store, A, 41, 50)
        seqs: list[int] = []
        while page := await store.read(A, Seq(len(seqs)), limit=limit, most_bytes=10**6):
            assert len(page) == min(limit, 50 - len(seqs))
            seqs += [event.seq for event in page]
        assert seqs == list(range(1, 51))
        size = len(frame(A, 40))
        for room_bytes, count in ((0, 1), (size, 1), (2 * size, 2), (3 * size - 1, 2)):
            page = await store.read(A, Seq(38), limit=100, most_bytes=room_bytes)
            assert len(page) == count
        assert await store.read(A, Seq(0), limit=0, most_bytes=10**6) == []


async def test_a_session_goes_on_behind_its_file_and_is_moved_whole_again(room: ColdRoom) -> None:
    notes = Notes()
    for visit in range(4):
        async with running(store := room.store()):
            await notes.stored(store, A, 10 * visit + 1, 10 * visit + 10)
            assert (room.kept(A), await moved(store), room.kept(A)) == (10, 1, 0)
            assert await moved(store) == 0  # there is nothing to move
            assert await all_seqs(store, A) == list(range(1, 10 * visit + 11))
    assert len(room.files(A)) == 4  # a failover may want one of the others for a while
    assert room.named(A) == room.files(A)[-1]


async def test_files_are_private_and_can_be_looked_into(room: ColdRoom) -> None:
    await filled(room, A)
    async with running(store := room.store()):
        await moved(store)
    path = room.named(A)
    assert [oct(p.stat().st_mode & 0o777) for p in (path, path.parent, path.parent.parent)] == [
        "0o600",
        "0o700",
        "0o700",
    ]
    assert cold_file.session_in(path) == A


async def test_what_is_unsettled_young_or_of_another_living_server_stays_where_it_is(
    room: ColdRoom,
) -> None:
    notes = Notes()
    other = room.store()
    async with running(other), running(store := room.store()):
        notes.submit(store, A, 1, 3, unsettled=True)
        await notes.all_answered()
        await notes.stored(other, B, 1, 3)
        assert await moved(store) == 0
        mover(other).now = lambda: 0.0
        assert await moved(other) == 0
        mover(other).now = mover(store).now
        assert await moved(other) == 1
        assert (room.kept(A), room.kept(B)) == (3, 0)


async def test_what_a_server_left_that_has_gone_is_moved_by_those_that_live(
    room: ColdRoom,
) -> None:
    await filled(room, A, B, C)
    for name in (A, B, C):
        room.redis.say("HSET", row_key(name), "owner", "dead.1.ab")
    async with running(one := room.store()), running(two := room.store()):
        counts = (await moved(one), await moved(two))
        assert sum(counts) == 3  # each has a share, which depends on their names
        room.redis.say("HDEL", row_key(A), "cold")
        room.redis.say("SET", lease_key(NodeId("dead.1.ab")), "{}", "PX", "60000")
        assert (await moved(one), await moved(two)) == (0, 0)


async def test_sessions_that_are_left_alone_are_moved_by_themselves(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bargein.timeline.redis.cold_mover.LEAST_LOOK_S", 0.01)
    await filled(room, A, B)
    async with running(room.store(after_s=0.0)):
        while room.kept(A) or room.kept(B):
            await trio.testing.wait_all_tasks_blocked(0.005)
    async with running(store := room.store()):
        assert [await all_seqs(store, name) for name in (A, B)] == [[1, 2, 3, 4, 5]] * 2


async def test_a_redis_without_memory_takes_no_event_and_lets_go_of_quiet_sessions(
    room: ColdRoom,
) -> None:
    notes = await filled(room, A)
    async with running(store := room.store()):
        room.redis.say("CONFIG", "SET", "maxmemory", "1")
        try:
            notes.submit(store, A, 6)
            await notes.all_answered()
            assert isinstance(notes.failed[-1][2], StoreUnavailable)
            assert await moved(store) == 1
        finally:
            room.redis.say("CONFIG", "SET", "maxmemory", "0")
        await store.until_sound()
        await store.row(A)
        await notes.stored(store, A, 6, 6)
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5, 6]


# --- only what is as it was read -----------------------------------------------------------


async def appended(room: ColdRoom, store: RedisStore) -> None:
    await Notes().stored(store, A, 6, 6)


async def claimed(room: ColdRoom, store: RedisStore) -> None:
    room.redis.say("HSET", row_key(A), "owner", "other.1.ab", "token", "other.1.ab 1")


async def given_another_epoch(room: ColdRoom, store: RedisStore) -> None:
    room.redis.say("HSET", row_key(A), "epoch", "e2")


async def moved_by_another(room: ColdRoom, store: RedisStore) -> None:
    cold = Cold.new(Seq(5), store.cold.name if store.cold else "")
    room.redis.say("HSET", row_key(A), "cold", cold.text)


async def changed_at_its_end(room: ColdRoom, store: RedisStore) -> None:
    stream = f"bargein:{{{A}}}:events"
    room.redis.say("XDEL", stream, "5-0")
    room.redis.say("XSETID", stream, "4-0")
    room.redis.say("XADD", stream, "5-0", "f", "{}", "c", "0")


async def erased(room: ColdRoom, store: RedisStore) -> None:
    assert await store.erase(A)


@pytest.mark.parametrize(
    "change",
    [appended, claimed, given_another_epoch, moved_by_another, changed_at_its_end, erased],
)
async def test_redis_lets_go_of_nothing_that_has_changed_while_it_was_written(
    room: ColdRoom,
    change: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await filled(room, A)
    async with running(store := room.store()):
        (found,) = await mover(store).reads.rows([A])
        before = room.kept(A)

        async def late(named: Naming) -> Done:
            await change(room, store)
            return await named()

        at_the_naming(monkeypatch, late)
        assert await mover(store).move(found) is False
        left = {"appended": before + 1, "erased": 0}.get(change.__name__, before)
        assert room.kept(A) == left
        assert room.files(A) == []  # nobody will ever name it


async def test_what_came_while_it_was_read_is_not_left_out(room: ColdRoom) -> None:
    await filled(room, A)
    async with running(store := room.store()):
        (found,) = await mover(store).reads.rows([A])
        await Notes().stored(store, A, 6, 8)
        assert await mover(store).move(found) is False
        assert (room.kept(A), room.files(A)) == (8, [])


# --- cut off in the middle -----------------------------------------------------------------


async def test_a_file_that_no_row_came_to_name_is_harmless(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = await filled(room, A)
    async with running(store := room.store()):
        (found,) = await mover(store).reads.rows([A])

        async def never(_: Naming) -> Done:
            raise LinkLost("the server was killed here")

        with monkeypatch.context() as patched:
            at_the_naming(patched, never)
            with pytest.raises(LinkLost):
                await mover(store).move(found)
    assert (room.kept(A), len(room.files(A))) == (5, 1)
    async with running(store := room.store()):
        await notes.stored(store, A, 6, 7)
        assert await moved(store) == 1
        assert await all_seqs(store, A) == list(range(1, 8))


async def test_a_move_whose_answer_was_lost_is_done_once(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(room, A)
    async with proxied(room.redis.port) as proxy:
        room.port = proxy.port
        async with running(store := room.store()):
            (found,) = await mover(store).reads.rows([A])

            async def cut() -> None:
                while room.kept(A):
                    await trio.testing.wait_all_tasks_blocked(0.005)
                proxy.cut()
                proxy.answers.set()

            async def unheard(named: Naming) -> Done:
                proxy.hold_answers()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(cut)
                    return await named()

            at_the_naming(monkeypatch, unheard)
            with trio.fail_after(WELL_WITHIN_S):
                assert await mover(store).move(found) is True
            assert len(room.files(A)) == 1
            assert await all_seqs(store, A) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("step", ["begin", "add", "seal"])
async def test_a_disk_that_fails_moves_nothing_and_leaves_nothing(
    room: ColdRoom, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(room, A)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with running(store := room.store()):
        with monkeypatch.context() as patched:
            patched.setattr(cold_file.ColdDraft, step, full)
            assert await moved(store) == 0
        assert (room.kept(A), room.files(A)) == (5, [])
        assert await moved(store) == 1
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5]


async def test_a_file_that_is_not_on_the_disk_as_it_was_written_is_not_named(
    room: ColdRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(room, A)
    sync = cold_file.sync

    def flipping(path: Path) -> None:
        if path.is_file():
            path.write_bytes(path.read_bytes().replace("Grüße".encode(), b"Gr\x00\x00\x00e"))
        sync(path)

    async with running(store := room.store()):
        with monkeypatch.context() as patched:
            patched.setattr(cold_file, "sync", flipping)
            assert await moved(store) == 0
        assert (room.kept(A), room.files(A), room.cold(A)) == (5, [], None)


# --- lost by Redis -------------------------------------------------------------------------


async def test_a_move_that_a_failover_lost_is_harmless_and_made_again(room: ColdRoom) -> None:
    notes = await filled(room, A)
    async with running(store := room.store()):
        await moved(store)
        await notes.stored(store, A, 6, 9)
        before = snapshot(room, A)
        assert await moved(store) == 1
        restore(room, A, before)
        assert (room.kept(A), len(room.files(A))) == (4, 2)
        assert await all_seqs(store, A) == list(range(1, 10))
        await notes.stored(store, A, 10, 10)
        assert await moved(store) == 1
        assert await all_seqs(store, A) == list(range(1, 11))


async def test_a_file_with_more_than_a_failover_has_left_is_not_believed(room: ColdRoom) -> None:
    notes = await filled(room, A, last=3)
    before = snapshot(room, A)
    async with running(store := room.store()):
        assert await store.owners.claim(A) is None
        await notes.stored(store, A, 4, 6)
        assert await moved(store) == 1
        restore(room, A, before)
        first = await store.row(A)
        assert first is not None
        assert (first.last_seq, first.epoch_changed) == (3, True)  # what was shown is lost
        other = tuple(b'{"other":%d}' % seq for seq in (4, 5, 6))
        assert await store.owners.claim(A) is None
        await store.row(A)
        notes.submit(store, A, 4, 6, frames=other)
        await notes.all_answered()
        assert notes.durable[-1] == (A, 6)
        assert await moved(store) == 1
        events = await store.read(A, Seq(0), limit=10, most_bytes=10**6)
        assert [event.frame for event in events] == [*(frame(A, s) for s in (1, 2, 3)), *other]
        assert len(room.files(A)) == 2


@pytest.fixture
def replica(room: ColdRoom, tmp_path: Path) -> Generator[RedisServer]:
    """Return a Redis that has what that of the room has, as long as it follows it."""
    own = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
    with redis_server(tmp_path / "primary", *own) as primary:
        room.redis = primary
        follow = (*own, "--replicaof", "127.0.0.1", str(primary.port))
        with redis_server(tmp_path / "replica", *follow) as replica:
            yield replica


async def until_told(replica: RedisServer, *words: str, answer: bytes) -> None:
    with trio.fail_after(WELL_WITHIN_S):
        while replica.say(*words) != answer:
            await trio.testing.wait_all_tasks_blocked(0.005)


@pytest.mark.parametrize("lost", ["the move", "events behind it"])
async def test_whatever_a_replica_had_not_got_when_it_was_promoted_the_rest_is_whole(
    room: ColdRoom, replica: RedisServer, lost: str
) -> None:
    async with proxied(room.redis.port) as proxy:
        room.port = proxy.port
        async with running(store := room.store()):
            notes = Notes()
            await notes.stored(store, A, 1, 5)
            first = await store.row(A)
            assert first is not None
            if lost == "the move":
                await until_told(replica, "XLEN", events_key(A), answer=b":5\r\n")
                replica.say("REPLICAOF", "NO", "ONE")
                assert await moved(store) == 1
            else:
                assert await moved(store) == 1
                await until_told(replica, "HEXISTS", row_key(A), "cold", answer=b":1\r\n")
                replica.say("REPLICAOF", "NO", "ONE")
                await notes.stored(store, A, 6, 7)
            room.redis.kill()
            proxy.target, room.redis = replica.port, replica
            await store.until_sound()
            assert await store.owners.claim(A) is None
            row = await store.row(A)
            assert row is not None
            assert (row.last_seq, row.epoch_changed) == (5, lost != "the move")
            assert room.kept(A) == (5 if lost == "the move" else 0)
            assert await all_seqs(store, A) == [1, 2, 3, 4, 5]
            await notes.stored(store, A, 6, 9)
            assert await moved(store) == 1
            assert await all_seqs(store, A) == list(range(1, 10))
            assert (room.kept(A), room.named(A)) == (0, room.files(A)[-1])


# --- damaged, missing, the wrong place -----------------------------------------------------


async def test_a_missing_file_is_damage_and_nothing_is_written_over_it(room: ColdRoom) -> None:
    notes = await filled(room, A, B)
    async with running(store := room.store()):
        await moved(store)
        await notes.stored(store, A, 6, 7)
        path = room.named(A)
        aside = path.rename(path.with_suffix(".aside"))
        assert await corrupt_at(lambda: store.read(A, Seq(0), limit=9, most_bytes=999)) == 1
        assert await corrupt_at(lambda: store.read(A, Seq(3), limit=9, most_bytes=999)) == 4
        assert [e.seq for e in await store.read(A, Seq(5), limit=9, most_bytes=999)] == [6, 7]
        assert await all_seqs(store, B) == [1, 2, 3, 4, 5]
        assert await moved(store) == 0
        assert (room.kept(A), room.named(A)) == (2, path)
        aside.rename(path)
        assert await all_seqs(store, A) == list(range(1, 8))


async def test_any_damage_of_a_file_is_found_or_does_no_harm(room: ColdRoom) -> None:
    await filled(room, A)
    async with running(store := room.store()):
        await moved(store)
        path = room.named(A)
        sound = path.read_bytes()
        found = 0
        for place in range(0, len(sound), 59):  # the version is left alone: newer code's is none
            bad = bytearray(sound)
            bad[place] ^= 0x80
            path.write_bytes(bytes(bad))
            seq = await damage_in(store)
            assert seq is None or 1 <= seq <= 5
            found += seq is not None
        assert found > 5
        for place in (sound.index(frame(A, 4)), sound.index(frame(A, 4)) + 9):
            bad = bytearray(sound)
            bad[place] ^= 0x80
            path.write_bytes(bytes(bad))
            assert await corrupt_at(lambda: all_seqs(store, A)) == 4
        path.write_bytes(sound[: len(sound) // 2])
        await corrupt_at(lambda: all_seqs(store, A))
        path.write_bytes(b"")
        assert await corrupt_at(lambda: all_seqs(store, A)) == 1


async def test_the_file_of_another_session_or_another_time_is_damage(room: ColdRoom) -> None:
    notes = await filled(room, A, B)
    async with running(store := room.store()):
        await moved(store)
        path, first = room.named(A), room.named(A).read_bytes()
        path.write_bytes(room.named(B).read_bytes())
        assert await corrupt_at(lambda: all_seqs(store, A)) == 1
        path.write_bytes(first)
        await notes.stored(store, A, 6, 6)
        await moved(store)
        room.named(A).write_bytes(first)
        assert await corrupt_at(lambda: all_seqs(store, A)) == 1


async def test_a_row_that_names_no_file_as_it_should_is_damaged(room: ColdRoom) -> None:
    notes = await filled(room, A)
    async with running(store := room.store()):
        for bad in ("5", "x y z", f"6 {new_number()} {new_number()}"):
            room.redis.say("HSET", row_key(A), "cold", bad)
            assert await corrupt_at(lambda: store.row(A)) == 0
        room.redis.say("HSET", row_key(A), "cold", "5")
        assert await corrupt_at(lambda: all_seqs(store, A)) == 0
        room.redis.say("HSET", row_key(A), "cold", "gone")
        notes.submit(store, A, 6)
        await notes.all_answered()
        assert isinstance(notes.failed[-1][2], TimelineCorrupt)
        assert room.kept(A) == 5


async def test_a_directory_that_is_away_is_no_damage(room: ColdRoom) -> None:
    await filled(room, A, B)
    async with running(store := room.store()):
        await moved(store)
        aside = room.root.rename(room.root.with_name("aside"))
        with pytest.raises(StoreUnavailable):
            await all_seqs(store, A)
        aside.rename(room.root)
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5]


async def test_a_directory_that_is_missing_wrong_or_not_named_is_refused_at_the_start(
    room: ColdRoom, tmp_path: Path
) -> None:
    elsewhere = ColdRoom(room.redis, tmp_path / "elsewhere")
    assert isinstance(await failure_of(elsewhere.store()), StoreUnsuitable)
    await filled(room, A)
    elsewhere.root.mkdir()
    error = await failure_of(elsewhere.store())
    assert isinstance(error, StoreUnsuitable)
    assert "lacks the folder" in str(error)
    address = Address("127.0.0.1", room.redis.port)
    for is_server in (True, False):
        error = await failure_of(RedisStore(address, is_server=is_server))
        assert isinstance(error, StoreUnsuitable)
        assert "redis.cold_dir" in str(error)


async def test_a_redis_that_has_lost_everything_leaves_the_files_alone(room: ColdRoom) -> None:
    await filled(room, A)
    async with running(store := room.store()):
        await moved(store)
    old = room.named(A)
    room.redis.say("FLUSHALL")
    age(old, 10 * KEPT_S)
    async with running(store := room.store()):
        for _ in range(256):
            assert await mover(store).tidy() == 0
    assert old.exists()


async def test_servers_that_come_at_the_same_time_share_one_folder(room: ColdRoom) -> None:
    stores = [room.store() for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for store in stores:
            await nursery.start(store.run)
        folders = {store.cold.name for store in stores if store.cold}
        nursery.cancel_scope.cancel()
    (name,) = folders
    assert [path.name for path in room.root.iterdir()] == [name]


# --- erased --------------------------------------------------------------------------------


async def test_what_is_erased_is_gone_from_the_directory_too(room: ColdRoom) -> None:
    notes = await filled(room, A, B)
    async with running(store := room.store()):
        await moved(store)
        await notes.stored(store, A, 6, 6)
        await moved(store)
        assert (len(room.files(A)), len(room.files(B))) == (2, 1)
        assert await store.erase(A, (entry(A, 6, "session.erased"),))
        assert (room.files(A), len(room.files(B))) == ([], 1)
        assert await store.read(A, Seq(0), limit=9, most_bytes=999) == []
        assert await store.row(A) is None
    async with running(visitor := room.store(is_server=False, after_s=None)):
        assert await visitor.erase(B)
        assert not await visitor.erase(B)
    assert room.files(B) == []


async def test_an_erasure_that_was_cut_off_before_the_files_is_finished_by_whoever_is_there(
    room: ColdRoom,
) -> None:
    await filled(room, A)
    async with running(store := room.store()):
        await moved(store)
        aside = room.root.rename(room.root.with_name("aside"))
        with pytest.raises(StoreUnavailable):
            await store.erase(A, (entry(A, 5, "session.erased"),))
        assert await store.row(A) is None
        assert await store.audit_lines(0, limit=9) == []  # it can't be said yet
    aside.rename(room.root)
    assert len(room.files(A)) == 1
    async with running(store := room.store()):
        with trio.fail_after(WELL_WITHIN_S):
            while room.files(A) or room.redis.say("EXISTS", OUTBOXES) == b":1\r\n":
                await trio.testing.wait_all_tasks_blocked(0.005)
        check = await checked_audit(store)
        assert (check.damage, check.reached.n) == (None, 1)


async def test_files_that_cannot_be_erased_hold_up_no_other_session(room: ColdRoom) -> None:
    notes = await filled(room, A, B)
    async with running(store := room.store()):
        await moved(store)
        aside = room.root.rename(room.root.with_name("aside"))
        with pytest.raises(StoreUnavailable):
            await store.erase(A)
        store._chain.delivery = trio.Lock()  # that of a server which has just come
        notes.submit(store, B, 6, audit=(entry(B, 6),))
        await notes.all_answered()
        assert notes.durable[-1] == (B, 6)
        assert len(await store.audit_lines(0, limit=9)) == 1
        aside.rename(room.root)


async def test_who_was_told_of_no_directory_erases_nothing_of_which_files_would_stay(
    room: ColdRoom,
) -> None:
    bare = RedisStore(Address("127.0.0.1", room.redis.port))
    async with running(bare), running(store := room.store()):  # comes later, and knows of one
        await Notes().stored(store, A, 1, 5)
        assert await moved(store) == 1
        with pytest.raises(StoreUnavailable, match="cold_dir"):
            await bare.read(A, Seq(0), limit=9, most_bytes=999)
        with pytest.raises(StoreUnavailable, match="cold_dir"):
            await bare.erase(A)
        assert len(room.files(A)) == 1


# --- what no row names ---------------------------------------------------------------------


def age(path: Path, by_s: float) -> None:
    """Let a file have been written *by_s* seconds before now."""
    at_s = time.time() - by_s
    os.utime(path, (at_s, at_s))


async def tidied(store: RedisStore) -> int:
    return sum([await mover(store).tidy() for _ in range(256)])


async def test_a_file_is_kept_for_a_day_after_another_has_come_in_its_place(
    room: ColdRoom,
) -> None:
    notes = await filled(room, A)
    async with running(store := room.store()):
        await moved(store)
        await notes.stored(store, A, 6, 6)
        await moved(store)
        first, second = room.files(A)
        age(first, 3 * KEPT_S)
        assert await tidied(store) == 0
        age(second, 2 * KEPT_S)
        assert await tidied(store) == 1
        assert room.files(A) == [room.named(A)] == [second]
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5, 6]


async def test_a_file_that_a_failover_may_bring_back_is_never_tidied_for_being_newer(
    room: ColdRoom,
) -> None:
    notes = await filled(room, A)
    async with running(store := room.store()):
        await moved(store)
        await notes.stored(store, A, 6, 6)
        before = snapshot(room, A)
        await moved(store)
        restore(room, A, before)
        first, second = room.files(A)
        age(first, 3 * KEPT_S)
        age(second, 2 * KEPT_S)
        assert await tidied(store) == 0
        room.redis.say("HSET", row_key(A), "cold", "what is this")
        assert await tidied(store) == 0


async def test_what_crashes_have_left_is_tidied_after_a_day(room: ColdRoom) -> None:
    await filled(room, A, B)
    async with running(store := room.store()):
        await moved(store)
        part = room.named(B).with_name(room.named(B).name.replace(".sqlite3", "x.part"))
        part.write_bytes(b"half")
        left = room.named(A)
        copy = left.read_bytes()
        assert await store.erase(A)
        left.write_bytes(copy)  # by a move that was killed at this moment
        assert await tidied(store) == 0
        for path in (part, left, room.named(B)):
            age(path, KEPT_S + 60)
        assert await tidied(store) == 2
        assert (room.files(A), room.files(B)) == ([], [room.named(B)])


def snapshot(room: ColdRoom, session_id: SessionId) -> list[tuple[str, bytes]]:
    """Return all that Redis has of a session."""
    keys = [f"bargein:{{{session_id}}}:{part}" for part in ("row", "events")]
    return [(key, room.redis.say("DUMP", key)) for key in keys]


def restore(room: ColdRoom, session_id: SessionId, before: list[tuple[str, bytes]]) -> None:
    """Let Redis have what it had, as after a failover to a replica that lagged."""
    for key, dumped in before:
        room.redis.say("DEL", key)
        if not dumped.startswith(b"$-1"):
            room.redis.say("RESTORE", key, 0, dumped.split(b"\r\n", 1)[1].removesuffix(b"\r\n"))
