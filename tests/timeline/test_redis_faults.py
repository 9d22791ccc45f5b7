"""Redis away, slow, restarted, failed over, cut off at any byte: nothing lost, nothing doubled."""

# pyright: reportPrivateUsage=false
# When the store has fallen ill, and when its outboxes are empty, is seen from inside.

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
import trio
import trio.testing

from bargein.protocol.ids import Seq
from bargein.timeline.audit import entry_of
from bargein.timeline.health import SOUND
from bargein.timeline.redis.keys import events_key, lease_key
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis.writer import MOST_HELD_EVENTS
from bargein.timeline.redis_address import Address
from bargein.timeline.store import SeqConflict, StoreUnavailable
from bargein.timeline.verification import checked_audit
from tests.scale import scaled
from tests.timeline.appends import A, B, C, Notes, all_seqs, entry, frame, new_session, running
from tests.timeline.redis_proxy import proxied
from tests.timeline.redis_server import RedisServer, redis_server

SAFE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
AT_ONCE = ("--repl-diskless-sync-delay", "0")
WELL_WITHIN_S = 10.0
LONG_S = 60.0


@pytest.fixture
def own(tmp_path: Path) -> Generator[RedisServer]:
    """Return a Redis for one test, which keeps on its disk all that it has acknowledged."""
    with redis_server(tmp_path / "own", *SAFE, *AT_ONCE) as server:
        yield server


def at(server: RedisServer) -> Address:
    return Address("127.0.0.1", server.port)


def is_sweeping(store: RedisStore) -> bool:
    return store._writer.rest.is_set() or store._care.is_sweeping


async def start(server: RedisServer) -> None:
    await trio.to_thread.run_sync(server.start)


# --- away ----------------------------------------------------------------------------------


async def test_what_comes_while_redis_restarts_is_held_back_and_then_stored(
    own: RedisServer,
) -> None:
    store, notes = RedisStore(at(own), hold_s=WELL_WITHIN_S), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        own.kill()
        notes.submit(store, A, 4, 5)
        notes.submit(store, B, 1)
        await store._ward.until(sound=False)
        assert notes.durable == [(A, 3)]
        await start(own)
        await notes.all_answered()
        await store.until_sound()
        assert notes.failed == []
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5]
        assert await all_seqs(store, B) == [1]
        row = await store.row(A)
        assert row is not None
        assert not row.epoch_changed  # all of it is there, and this process knows that


async def test_a_redis_that_stays_away_fails_what_waited_and_is_found_again(
    own: RedisServer,
) -> None:
    store, notes = RedisStore(at(own), hold_s=0.2), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        own.kill()
        began_s = trio.current_time()
        notes.submit(store, A, 4)
        notes.submit(store, A, 5)
        await notes.all_answered()
        assert 0.2 <= trio.current_time() - began_s < WELL_WITHIN_S
        assert [(name, seq) for name, seq, _ in notes.failed] == [(A, 4), (A, 5)]
        assert all(isinstance(error, StoreUnavailable) for _, _, error in notes.failed)
        assert store.health.condition == "read-only"
        with pytest.raises(StoreUnavailable):
            await store.row(A)
        await start(own)
        with trio.fail_after(WELL_WITHIN_S):
            await store.until_sound()
        row = await store.row(A)
        assert row is not None
        await notes.stored(store, A, row.last_seq + 1, row.last_seq + 1)
        assert await all_seqs(store, A) == [1, 2, 3, 4]
        assert store.health == SOUND


async def test_a_session_with_too_much_held_back_fails_before_its_time(own: RedisServer) -> None:
    store, notes = RedisStore(at(own), hold_s=LONG_S), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 1)
        await notes.stored(store, B, 1, 1)
        own.kill()
        await store._ward.until(sound=False)
        for seq in range(2, MOST_HELD_EVENTS + 3):
            notes.submit(store, A, seq)
        notes.submit(store, B, 2)
        while len(notes.failed) < MOST_HELD_EVENTS + 1:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert {name for name, _, _ in notes.failed} == {A}
        await start(own)
        await notes.all_answered()
        assert notes.durable[-1] == (B, 2)


async def test_a_redis_that_answers_late_gets_larger_groups(redis: RedisServer) -> None:
    async with proxied(redis.port) as proxy:
        store, notes = RedisStore(proxy.address), Notes()
        async with running(store):
            await notes.stored(store, A, 1, 1)
            before = store.groups_written
            proxy.hold_answers()
            notes.submit(store, A, 2)
            while store.groups_written == before:
                await trio.testing.wait_all_tasks_blocked(0.001)
            for seq in range(3, 103):
                notes.submit(store, A, seq)
                notes.submit(store, B, seq - 2)
            await trio.testing.wait_all_tasks_blocked()
            assert store.groups_written == before + 1
            proxy.answers.set()
            await notes.all_answered()
            assert store.groups_written == before + 2
            assert len(await all_seqs(store, A)) == 102
            assert len(await all_seqs(store, B)) == 100


async def test_a_redis_without_memory_refuses_and_goes_on_when_it_has_some(
    own: RedisServer,
) -> None:
    store, notes = RedisStore(at(own)), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        own.say("CONFIG", "SET", "maxmemory", "1")
        notes.submit(store, A, 4)
        await notes.all_answered()
        ((_, _, error),) = notes.failed
        assert isinstance(error, StoreUnavailable)
        assert "memory" in error.reason
        assert store.health.condition == "read-only"
        assert await all_seqs(store, A) == [1, 2, 3]
        row = await store.row(A)  # it can be looked at, and takes nothing yet
        assert row is not None
        assert row.last_seq == 3
        notes.submit(store, A, 4)
        notes.submit(store, B, 1, unsettled=True)
        await notes.all_answered()
        assert len(notes.failed) == 3
        assert await store.session_names() == [A]
        own.say("CONFIG", "SET", "maxmemory", "0")
        with trio.fail_after(WELL_WITHIN_S):
            await store.until_sound()
        await store.row(A)
        await notes.stored(store, A, 4, 4)


async def test_a_paused_redis_that_wakes_up_stores_nothing_twice(redis: RedisServer) -> None:
    store, notes = RedisStore(at(redis), hold_s=0.3), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        redis.pause()
        try:
            notes.submit(store, A, 4)
            await notes.all_answered()
            assert isinstance(notes.failed[0][2], StoreUnavailable)
        finally:
            redis.resume()
        await store.until_sound()
        row = await store.row(A)  # what was on its way is there by now, or never will be
        assert row is not None
        last = row.last_seq
        await notes.stored(store, A, last + 1, last + 3)
        assert await all_seqs(store, A) == list(range(1, last + 4))


async def test_scripts_that_redis_has_forgotten_are_loaded_again(redis: RedisServer) -> None:
    store, notes = RedisStore(at(redis)), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        redis.say("SCRIPT", "FLUSH")
        await notes.stored(store, A, 4, 6)
        redis.say("SCRIPT", "FLUSH")
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5, 6]


async def test_reads_that_were_given_up_take_no_answers_from_others(redis: RedisServer) -> None:
    async with proxied(redis.port) as proxy:
        store, notes = RedisStore(proxy.address), Notes()
        async with running(store):
            await notes.stored(store, A, 1, 3)
            await notes.stored(store, B, 1, 2)
            proxy.hold_answers()
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(all_seqs, store, A)
                    nursery.start_soon(store.row, A)
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
            proxy.answers.set()
            assert await all_seqs(store, B) == [1, 2]
            row = await store.row(B)
            assert row is not None
            assert row.session_id == B
            assert proxy.cuts == 0
            assert store.health == SOUND


# --- lost answers --------------------------------------------------------------------------


async def test_an_append_whose_answer_was_lost_is_found_and_not_doubled(
    redis: RedisServer,
) -> None:
    async with proxied(redis.port) as proxy:
        store, notes = RedisStore(proxy.address), Notes()
        async with running(store):
            await notes.stored(store, A, 1, 3)
            proxy.hold_answers()
            notes.submit(store, A, 4, 6)
            while redis.say("XLEN", events_key(A)) != b":6\r\n":
                await trio.lowlevel.checkpoint()
            proxy.cut()
            proxy.answers.set()
            await notes.all_answered()
            assert notes.failed == []
            assert notes.durable[-1] == (A, 6)
            assert await all_seqs(store, A) == [1, 2, 3, 4, 5, 6]


async def test_what_another_writer_stored_meanwhile_is_not_taken_for_ones_own(
    redis: RedisServer,
) -> None:
    async with proxied(redis.port) as proxy:
        store, notes = RedisStore(proxy.address, hold_s=WELL_WITHIN_S), Notes()
        other, others = RedisStore(at(redis), is_server=False), Notes()
        async with running(store), running(other):
            await notes.stored(store, A, 1, 3)
            proxy.cut_after_bytes = 40  # the append is torn, and comes to nothing
            notes.submit(store, A, 4)
            others.submit(other, A, 4, frames=(b"somebody else's",))
            await others.all_answered()
            assert others.durable == [(A, 4)]
            await notes.all_answered()
            ((_, _, error),) = notes.failed
            assert isinstance(error, SeqConflict)
            assert (error.expected, error.found) == (3, 4)


async def _cut_at(redis: RedisServer, cut_after_bytes: int) -> bool:
    """Cut the wire at one byte of a group with all that a group can have; return if it was cut."""
    redis.say("FLUSHALL")
    async with proxied(redis.port) as proxy:
        store, notes = RedisStore(proxy.address, hold_s=WELL_WITHIN_S), Notes()
        async with running(store):
            await notes.stored(store, A, 1, 2)
            store.record_audit([entry(C, 1)])
            proxy.cut_after_bytes = cut_after_bytes
            notes.submit(store, A, 3, 4, audit=(entry(A, 3), entry(A, 4)), unsettled=True)
            notes.submit(store, B, 1, 2, audit=(entry(B, 1),), urgent=False)
            notes.submit(store, C, 1, opened=new_session(C, "eve"))
            await notes.all_answered()
            was_cut = proxy.cuts > 0
            assert notes.failed == []
            proxy.cut_after_bytes = None
            notes.submit(store, A, 5)
            await notes.all_answered()
            assert [await all_seqs(store, name) for name in (A, B, C)] == [
                [1, 2, 3, 4, 5],
                [1, 2],
                [1],
            ]
            assert await store.unsettled() == []
            assert await store.session_names() == [A, B, C]
            assert await store.session_ids_of("eve", None) == [C]
        async with running(again := RedisStore(at(redis))):
            while is_sweeping(again):  # what was cut off on its way is moved now
                await trio.testing.wait_all_tasks_blocked(0.001)
            assert (await checked_audit(again)).damage is None
            lines = [entry_of(line) for line in await again.audit_lines(0, limit=100)]
            told = sorted(f"{line.session_id} {line.seq}" for line in lines if line is not None)
            assert told == [f"{A} 3", f"{A} 4", f"{B} 1", f"{C} 1"]
            assert redis.say("SCARD", "bargein:{audit}:taken") in {b":0\r\n", b":1\r\n"}  # a note
            assert redis.say("EXISTS", "bargein:{index}:outboxes") == b":0\r\n"
    return was_cut


async def test_a_wire_cut_at_any_byte_loses_and_doubles_nothing(redis: RedisServer) -> None:
    cuts = 0
    for number in range(scaled(600)):
        cuts += await _cut_at(redis, 7 + number * 61 % 3000)
    assert cuts > scaled(600) // 2


async def test_a_server_that_dies_with_the_wire_leaves_events_and_lines_in_step(
    redis: RedisServer,
) -> None:
    outcomes: set[int] = set()
    for number in range(scaled(300)):
        redis.say("FLUSHALL")
        async with proxied(redis.port) as proxy:
            store, notes = RedisStore(proxy.address, hold_s=0.05, flush_s=0.1), Notes()
            async with running(store):
                await notes.stored(store, A, 1, 1)
                proxy.target = 1  # nobody is there to connect to again
                proxy.cut_after_bytes = 300 + number * 331 % 9000
                for seq in range(2, 5):
                    notes.submit(store, A, seq, audit=(entry(A, seq),), unsettled=True)
                    await trio.testing.wait_all_tasks_blocked(0.002)
                proxy.cut()
        redis.say("DEL", lease_key(store.lease.me))  # it has run out
        async with running(again := RedisStore(at(redis))):
            seqs = await all_seqs(again, A)
            acknowledged = max(seq for _, seq in notes.durable)
            assert len(seqs) >= acknowledged
            assert await again.unsettled() == ([A] if len(seqs) > 1 else [])
            while is_sweeping(again):
                await trio.testing.wait_all_tasks_blocked(0.001)
            lines = [entry_of(line) for line in await again.audit_lines(0, limit=100)]
            assert [line.seq for line in lines if line is not None] == seqs[1:]
            outcomes.add(len(seqs))
    assert outcomes >= {1, 4}


# --- lost history --------------------------------------------------------------------------


async def test_a_redis_that_came_back_empty_has_no_sessions_and_takes_no_append(
    tmp_path: Path,
) -> None:
    with redis_server(tmp_path / "forgetful") as server:
        store, notes = RedisStore(at(server)), Notes()
        async with running(store):
            await notes.stored(store, A, 1, 3)
            server.kill()
            await start(server)
            notes.submit(store, A, 4)
            await notes.all_answered()
            ((_, _, error),) = notes.failed
            assert isinstance(error, SeqConflict)
            assert (error.expected, error.found) == (3, 0)
            assert await store.row(A) is None
            await notes.stored(store, B, 1, 2)


async def test_a_tail_that_a_failover_lost_changes_the_epoch_of_its_session_alone(
    tmp_path: Path, own: RedisServer
) -> None:
    follow = ("--save", "", "--appendonly", "no", "--replicaof", "127.0.0.1", str(own.port))
    with redis_server(tmp_path / "replica", *follow) as replica:
        async with proxied(own.port) as proxy:
            store, notes = RedisStore(proxy.address), Notes()
            async with running(store):
                for name in (A, B):
                    await notes.stored(store, name, 1, 3)
                while replica.say("XLEN", events_key(B)) != b":3\r\n":
                    await trio.testing.wait_all_tasks_blocked(0.005)
                replica.say("REPLICAOF", "NO", "ONE")  # it has got no more
                await notes.stored(store, A, 4, 5)
                before = await store.row(A)
                own.kill()
                proxy.target = replica.port
                notes.submit(store, A, 6)
                await notes.all_answered()
                assert isinstance(notes.failed[0][2], SeqConflict)

                row = await store.row(A)
                assert row is not None
                assert before is not None
                assert (row.last_seq, row.epoch_changed) == (3, True)
                assert row.epoch != before.epoch
                assert await store.row(A) == row  # once for each loss
                await notes.stored(store, A, 4, 4)

                other = await store.row(B)
                assert other is not None
                assert not other.epoch_changed
                await notes.stored(store, B, 4, 4)


async def test_after_a_restart_of_both_nobody_knows_what_was_lost_and_the_epoch_changes(
    own: RedisServer,
) -> None:
    notes = Notes()
    async with running(store := RedisStore(at(own))):
        await notes.stored(store, A, 1, 3)
        before = await store.row(A)
    async with running(store := RedisStore(at(own))):
        assert await store.row(A) == before  # of this process alone: Redis has lived on
    own.kill()
    await start(own)
    async with running(visitor := RedisStore(at(own), is_server=False)):
        assert await visitor.row(A) == before  # who only looks declares nothing
    async with running(store := RedisStore(at(own))):
        after = await store.row(A)
        assert before is not None
        assert after is not None
        assert (after.epoch_changed, after.last_seq) == (True, 3)
        assert after.epoch != before.epoch
        await notes.stored(store, A, 4, 4)
        assert await all_seqs(store, A) == [1, 2, 3, 4]


async def test_a_redis_killed_again_and_again_keeps_all_that_it_acknowledged(
    own: RedisServer,
) -> None:
    store, notes = RedisStore(at(own), hold_s=WELL_WITHIN_S), Notes()
    async with running(store):
        notes.submit(store, A, 1)
        last = 1
        for _ in range(scaled(50)):
            for _ in range(20):
                last += 1
                notes.submit(store, A, last)
                await trio.lowlevel.checkpoint()
            own.kill()
            await start(own)
        await notes.all_answered()
        assert notes.failed == []
        assert notes.durable == [(A, seq) for seq in range(1, last + 1)]
        events = await store.read(A, Seq(0), limit=10**6, most_bytes=2**30)
        assert [event.frame for event in events] == [frame(A, seq) for seq in range(1, last + 1)]
