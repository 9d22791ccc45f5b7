"""Replicas that have to acknowledge, replicas that lag, and sentinels that promote one."""

# pyright: reportPrivateUsage=false
# When the store has fallen ill is seen from inside.

from __future__ import annotations

import socket
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from attrs import define

from bargein.timeline.health import SOUND
from bargein.timeline.redis.copies import TOO_FEW
from bargein.timeline.redis.keys import events_key
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address, Sentinel
from bargein.timeline.store import SeqConflict, StoreUnavailable
from tests.timeline.appends import A, B, Notes, all_seqs, entry, running
from tests.timeline.redis_proxy import proxied
from tests.timeline.redis_server import IN_MEMORY, RedisServer, free_port, redis_server

AT_ONCE = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
WELL_WITHIN_S = 10.0


@define
class Pair:
    primary: RedisServer
    replica: RedisServer

    def is_in_step(self) -> bool:
        return b"master_link_status:up" in self.replica.say("INFO", "replication")


@pytest.fixture
def pair(tmp_path: Path) -> Generator[Pair]:
    with redis_server(tmp_path / "primary", *IN_MEMORY, *AT_ONCE) as primary:
        follow = (*IN_MEMORY, *AT_ONCE, "--replicaof", "127.0.0.1", str(primary.port))
        with redis_server(tmp_path / "replica", *follow) as replica:
            yield Pair(primary, replica)


async def in_step(pair: Pair) -> None:
    with trio.fail_after(WELL_WITHIN_S):
        while not pair.is_in_step():
            await trio.testing.wait_all_tasks_blocked(0.005)


def at(server: RedisServer) -> Address:
    return Address("127.0.0.1", server.port)


async def test_what_is_announced_is_on_the_replica(pair: Pair) -> None:
    await in_step(pair)
    notes = Notes()
    async with running(store := RedisStore(at(pair.primary), replicas=1)):
        assert store.durability == "replicas:1"
        for seq in range(1, 51):
            notes.submit(store, A, seq, audit=(entry(A, seq),))
            await notes.all_answered()
            assert pair.replica.say("XLEN", events_key(A)) == b":%d\r\n" % seq
        assert notes.failed == []


async def test_a_replica_that_is_slow_delays_what_is_waited_for_and_nothing_else(
    pair: Pair,
) -> None:
    await in_step(pair)
    notes = Notes()
    async with running(store := RedisStore(at(pair.primary), replicas=1, hold_s=WELL_WITHIN_S)):
        await notes.stored(store, A, 1, 3)
        pair.replica.pause()
        try:
            notes.submit(store, A, 4, urgent=False)
            await notes.all_answered()  # nobody waits for it
            assert notes.durable[-1] == (A, 4)
            notes.submit(store, A, 5)
            await store._ward.until(sound=False)
            assert store.health.reason == TOO_FEW
            assert pair.primary.say("XLEN", events_key(A)) == b":5\r\n"
            assert notes.durable[-1] == (A, 4)  # held back, though it is there
        finally:
            pair.replica.resume()
        await notes.all_answered()
        assert (notes.durable[-1], notes.failed) == ((A, 5), [])
        await store.until_sound()
        await notes.stored(store, A, 6, 6)
        assert store.health == SOUND


async def test_without_its_replica_an_append_fails_in_time_and_the_session_goes_on_later(
    pair: Pair,
) -> None:
    await in_step(pair)
    notes = Notes()
    async with running(store := RedisStore(at(pair.primary), replicas=1, hold_s=2)):
        await notes.stored(store, A, 1, 3)
        pair.replica.kill()
        began_s = trio.current_time()
        notes.submit(store, A, 4)
        notes.submit(store, B, 1, urgent=False)
        await notes.all_answered()
        assert 2 <= trio.current_time() - began_s < WELL_WITHIN_S
        ((name, seq, error),) = notes.failed
        assert (name, seq) == (A, 4)
        assert isinstance(error, StoreUnavailable)
        assert not store.health.is_sound
        await trio.to_thread.run_sync(pair.replica.start)
        with trio.fail_after(WELL_WITHIN_S):
            await store.until_sound()
        row = await store.row(A)
        assert row is not None
        assert row.last_seq == 4  # it was on the primary, and counts from now on
        await notes.stored(store, A, 5, 5)
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5]


async def test_what_was_stored_before_the_wire_was_cut_is_waited_for_on_the_next_one(
    pair: Pair,
) -> None:
    await in_step(pair)
    notes = Notes()
    async with proxied(pair.primary.port) as proxy:
        store = RedisStore(proxy.address, replicas=1, hold_s=WELL_WITHIN_S)
        async with running(store):
            await notes.stored(store, A, 1, 3)
            pair.replica.pause()
            try:
                notes.submit(store, A, 4)
                while pair.primary.say("XLEN", events_key(A)) != b":4\r\n":
                    await trio.lowlevel.checkpoint()
                proxy.cut()
                await store._ward.until(sound=False)
                while not (store._writing.is_up and store.health.reason == TOO_FEW):
                    await trio.testing.wait_all_tasks_blocked(0.005)
                assert notes.durable[-1] == (A, 3)
            finally:
                pair.replica.resume()
            await notes.all_answered()
            assert (notes.durable[-1], notes.failed) == ((A, 4), [])


# --- sentinels ---------------------------------------------------------------------------------

NAME = "mymaster"


@contextmanager
def sentinel(directory: Path, watched: RedisServer) -> Generator[RedisServer]:
    """Run a sentinel that decides alone; what is returned can be asked, and is not started."""
    there = RedisServer(directory)
    directory.mkdir()
    settings = (
        f"port {there.port}",
        "bind 127.0.0.1",
        f"dir {directory}",
        f"sentinel monitor {NAME} 127.0.0.1 {watched.port} 1",
        f"sentinel down-after-milliseconds {NAME} 500",
        f"sentinel failover-timeout {NAME} 10000",
    )
    kept = directory / "sentinel.conf"
    kept.write_text("\n".join(settings) + "\n", encoding="utf-8")
    command = ["redis-server", str(kept), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield there
    finally:
        process.kill()
        process.wait()


def knows(there: RedisServer, *question: str) -> bytes:
    try:
        return there.say("SENTINEL", *question)
    except OSError:
        return b""


async def until_known(there: RedisServer, wanted: bytes, *question: str) -> None:
    with trio.fail_after(2 * WELL_WITHIN_S):
        while wanted not in knows(there, *question):
            await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.slow
async def test_a_failover_by_a_sentinel_is_followed_and_what_it_lost_is_declared(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with (
        redis_server(tmp_path / "primary", *IN_MEMORY, *AT_ONCE) as primary,
        redis_server(tmp_path / "replica", *IN_MEMORY, *AT_ONCE) as replica,
        sentinel(tmp_path / "sentinel", primary) as watcher,
    ):
        async with proxied(primary.port) as wire:  # between the two servers alone
            replica.say("REPLICAOF", "127.0.0.1", wire.port)
            await in_step(Pair(primary, replica))
            await until_known(watcher, str(replica.port).encode(), "REPLICAS", NAME)
            address = Address(
                "127.0.0.1",
                sentinels=(Sentinel("127.0.0.1", free_port()), Sentinel("127.0.0.1", watcher.port)),
                primary=NAME,
            )
            store = RedisStore(address, hold_s=WELL_WITHIN_S)
            async with running(store):
                for name in (A, B):
                    await notes.stored(store, name, 1, 3)
                before = await store.row(A)
                while replica.say("XLEN", events_key(B)) != b":3\r\n":
                    await trio.testing.wait_all_tasks_blocked(0.005)
                wire.hold_answers()  # the replica lags from here on
                await notes.stored(store, A, 4, 5)
                primary.kill()
                notes.submit(store, A, 6)
                notes.submit(store, B, 4)
                await notes.all_answered()
                assert notes.durable[-1] == (B, 4)
                ((name, seq, error),) = notes.failed
                assert (name, seq) == (A, 6)
                assert isinstance(error, SeqConflict)
                row = await store.row(A)
                assert row is not None
                assert before is not None
                assert (row.last_seq, row.epoch_changed) == (3, True)
                assert row.epoch != before.epoch
                other = await store.row(B)
                assert other is not None
                assert not other.epoch_changed  # it has lost nothing
                await notes.stored(store, A, 4, 4)
                assert replica.say("XLEN", events_key(A)) == b":4\r\n"


async def test_where_no_sentinel_answers_the_store_says_so() -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections, and says nothing
    with silent:
        ports = (free_port(), silent.getsockname()[1])
        sentinels = tuple(Sentinel("127.0.0.1", port) for port in ports)
        address = Address("127.0.0.1", sentinels=sentinels, primary=NAME)
        with pytest.RaisesGroup(StoreUnavailable, flatten_subgroups=True) as caught:
            async with running(RedisStore(address, open_s=2)):
                pass
    (error,) = caught.value.exceptions
    assert isinstance(error, StoreUnavailable)
    assert NAME in error.reason
