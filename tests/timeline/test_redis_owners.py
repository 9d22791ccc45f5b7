"""Several servers on one Redis: who owns a session, and what becomes of those who did."""

# pyright: reportPrivateUsage=false
# How often Redis is asked is seen from inside.

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field

from bargein.protocol.ids import NodeId, Seq, SessionId
from bargein.timeline.audit import entry_of
from bargein.timeline.redis import known
from bargein.timeline.redis.chain import Item
from bargein.timeline.redis.keys import OUTBOXES, UNSETTLED, lease_key, outbox_key, row_key
from bargein.timeline.redis.link import Link, LinkLost
from bargein.timeline.redis.scripts import APPEND, Command
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from bargein.timeline.store import Append, SeqConflict, StoreError, StoreUnavailable, TakenOver
from bargein.timeline.verification import checked_audit
from tests.scale import scaled
from tests.timeline.appends import A, B, C, Notes, all_seqs, entry, new_session, running
from tests.timeline.redis_proxy import proxied
from tests.timeline.redis_server import RedisServer, redis_server

LATEST_S = 20.0

FORGETFUL = ("--save", "", "--appendonly", "no", "--dbfilename", "kept.rdb")


@asynccontextmanager
async def servers(redis: RedisServer, count: int = 2) -> AsyncGenerator[list[RedisStore]]:
    """Run servers that trust the leases of this Redis, however young it is."""
    stores = [RedisStore(Address("127.0.0.1", redis.port)) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        with trio.fail_after(LATEST_S):
            for store in stores:
                await nursery.start(store.run)
                trust(store)
            yield stores
        nursery.cancel_scope.cancel()


def trust(store: RedisStore) -> None:
    store.lease._sure_s = 0.0


def me(store: RedisStore) -> NodeId:
    return store.lease.me


def seem_dead(redis: RedisServer, store: RedisStore) -> None:
    """Let the lease of a server run out, as that of one that is paused, until it is renewed."""
    redis.say("DEL", lease_key(me(store)))


def column(redis: RedisServer, name: str, session_id: SessionId = A) -> str:
    return redis.say("HGET", row_key(session_id), name).split(b"\r\n")[1].decode()


async def failure(notes: Notes) -> StoreError:
    await notes.all_answered()
    return notes.failed[-1][2]


async def taken_over(redis: RedisServer, one: RedisStore, two: RedisStore) -> None:
    """Have A taken from a server that lives, and only seemed dead."""
    seem_dead(redis, one)
    assert await two.owners.claim(A) is None
    assert await two.row(A) is not None


# --- claims ----------------------------------------------------------------------------------


async def test_a_session_belongs_to_who_opened_it_until_that_gives_it_up(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 3)
        assert await two.owners.claim(A) == me(one)
        assert await one.owners.claim(A) is None
        assert column(redis, "fence") in {"", "0"}  # it was its own all the time
        one.owners.release(A)
        while await two.owners.claim(A) is not None:
            await trio.lowlevel.checkpoint()
        assert (column(redis, "owner"), column(redis, "fence")) == (me(two), "1")
        row = await two.row(A)
        assert row is not None
        assert row.last_seq == 3
        await notes.stored(two, A, 4, 5)
        assert await one.owners.claim(A) == me(two)


async def test_a_row_read_before_the_fence_was_raised_gives_no_lower_one_back(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis, 1) as (one,):
        await notes.stored(one, A, 1, 3)
        redis.say("HINCRBY", row_key(A), "fence", 1)  # as an earlier call whose answer was lost
        notes.submit(one, A, 4)
        assert isinstance(await failure(notes), SeqConflict)
        # The claim has the row with it. After the refusal the fence is raised once more.
        assert await one.owners.claim(A) is None
        row = await one.row(A)
        assert row is not None
        assert row.last_seq == 3
        await notes.stored(one, A, 4, 5)
        assert column(redis, "fence") == "2"


async def test_a_session_that_is_not_there_can_be_claimed_and_leaves_nothing(
    redis: RedisServer,
) -> None:
    async with servers(redis, 1) as (one,):
        for name in (A, SessionId("\ud800")):
            assert await one.owners.claim(name) is None
            one.owners.release(name)
        assert redis.say("EXISTS", row_key(A)) == b":0\r\n"


async def test_who_leaves_in_order_leaves_nothing_owned(redis: RedisServer) -> None:
    notes = Notes()
    async with running(one := RedisStore(Address("127.0.0.1", redis.port))):
        await notes.stored(one, A, 1, 3)
        await notes.stored(one, B, 1, 1)
        assert column(redis, "owner") == me(one)
    assert column(redis, "owner") == column(redis, "owner", B) == ""


async def test_the_owner_that_has_gone_is_followed_and_what_it_still_appends_is_refused(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 3)
        await taken_over(redis, one, two)
        notes.submit(one, A, 4)  # it fits, and nobody has appended since
        error = await failure(notes)
        assert isinstance(error, TakenOver)
        assert (error.owner, error.expected, error.found) == (me(two), 3, 3)
        assert me(two) in str(error)
        assert one.health.is_sound
        await notes.stored(two, A, 4, 5)

        assert await one.row(A) is not None  # to look at it gives it no way back
        notes.submit(one, A, 6)
        assert isinstance(await failure(notes), TakenOver)
        assert await all_seqs(one, A) == [1, 2, 3, 4, 5]

        assert await one.owners.claim(A) == me(two)
        two.owners.release(A)
        while await one.owners.claim(A) is not None:
            await trio.lowlevel.checkpoint()
        assert await one.row(A) is not None
        await notes.stored(one, A, 6, 6)


async def test_to_look_at_a_session_that_was_taken_over_unnoticed_gives_no_way_back(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 3)
        await taken_over(redis, one, two)
        assert await one.row(A) is not None
        notes.submit(one, A, 4)
        assert isinstance(await failure(notes), TakenOver)


async def test_while_leases_may_only_be_late_nobody_is_taken_for_dead(redis: RedisServer) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 3)
        seem_dead(redis, one)
        two.lease.doubt(60)
        assert await two.owners.claim(A) == me(one)
        trust(two)
        seem_dead(redis, one)
        assert await two.owners.claim(A) is None


async def test_a_claim_brings_the_row_with_it(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 3)
        one.owners.release(A)
        while column(redis, "owner"):
            await trio.lowlevel.checkpoint()
        asked: list[Sequence[Command]] = []
        ask = Link.ask

        async def count(link: Link, commands: Sequence[Command]) -> list[Any]:
            if link in {two._writing, two._reading}:
                asked.append(commands)
            return await ask(link, commands)

        monkeypatch.setattr(Link, "ask", count)
        assert await two.owners.claim(A) is None
        row = await two.row(A)
        assert row is not None
        assert row.last_seq == 3
        assert [commands for commands in asked if commands[0][0] != b"EVALSHA"] == []
        assert sum(len(commands) == 3 for commands in asked) == 1
        await notes.stored(two, A, 4, 4)
        row = await two.row(A)  # it was spared once
        assert row is not None
        assert row.last_seq == 4


async def test_a_claim_whose_answer_was_lost_is_done_once(redis: RedisServer) -> None:
    notes = Notes()
    async with running(one := RedisStore(Address("127.0.0.1", redis.port))):
        await notes.stored(one, A, 1, 3)
    async with proxied(redis.port) as proxy, trio.open_nursery() as nursery:
        two = RedisStore(proxy.address, hold_s=LATEST_S)
        async with running(two):
            proxy.hold_answers()
            claims: list[NodeId | None] = []

            async def claim() -> None:
                claims.append(await two.owners.claim(A))

            nursery.start_soon(claim)
            while column(redis, "owner") != me(two):
                await trio.lowlevel.checkpoint()
            proxy.cut()
            proxy.answers.set()
            while not claims:
                await trio.testing.wait_all_tasks_blocked(0.001)
            assert claims == [None]
            assert column(redis, "fence") == "1"
            await notes.stored(two, A, 4, 4)


async def test_a_session_that_is_claimed_again_while_it_is_given_up_stays_ours(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with proxied(redis.port) as proxy:
        one = RedisStore(proxy.address, hold_s=LATEST_S)
        async with running(one):
            await notes.stored(one, A, 1, 3)
            proxy.hold_answers()
            one.owners.release(A)
            while column(redis, "owner"):
                await trio.lowlevel.checkpoint()
            proxy.cut()
            proxy.answers.set()
            assert await one.owners.claim(A) is None
            await one.owners.flush()
            assert column(redis, "owner") == me(one)
            fence = column(redis, "fence")
            assert int(fence) >= 1
            one.owners.release(A)
            assert await one.owners.claim(A) is None  # before it was said
            assert column(redis, "fence") == fence
            await notes.stored(one, A, 4, 4)


async def test_a_takeover_that_a_failover_has_lost_holds_again_with_the_next_append(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 3)
        await taken_over(redis, one, two)
        redis.say("HSET", row_key(A), "owner", me(one), "fence", 0)
        await notes.stored(two, A, 4, 4)
        assert (column(redis, "owner"), column(redis, "fence")) == (me(two), "1")
        notes.submit(one, A, 5)
        assert isinstance(await failure(notes), TakenOver)


# --- what others look after ------------------------------------------------------------------


async def test_a_former_owner_takes_no_session_off_the_list_of_those_to_recover(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        notes.submit(one, A, 1, unsettled=True)
        notes.submit(one, A, 2, unsettled=False)
        await notes.all_answered()  # it comes off the list with the next group
        await taken_over(redis, one, two)
        notes.submit(two, A, 3, unsettled=True)
        await notes.all_answered()
        await notes.stored(one, B, 1, 2)
        await notes.stored(one, B, 3, 3)
        assert await one.unsettled() == [A]
        notes.submit(two, A, 4, unsettled=False)
        await notes.all_answered()
        await notes.stored(two, B, 4, 4)
        assert redis.say("ZCARD", UNSETTLED) == b":0\r\n"


async def test_a_session_that_comes_back_is_listed_again_as_one_to_recover(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        notes.submit(one, A, 1, unsettled=True)
        await notes.all_answered()
        await taken_over(redis, one, two)
        notes.submit(two, A, 2, unsettled=False)
        await notes.all_answered()
        await notes.stored(two, B, 1, 1)
        assert redis.say("ZCARD", UNSETTLED) == b":0\r\n"
        await taken_over(redis, two, one)
        notes.submit(one, A, 3, unsettled=True)
        await notes.all_answered()
        assert await two.unsettled() == [A]


async def test_lines_of_many_servers_are_in_the_audit_once_each(redis: RedisServer) -> None:
    rounds = max(10, scaled(100))
    names = [SessionId(f"sess_{number}") for number in range(3)]
    async with servers(redis, 3) as stores:
        sweeping = True

        async def sweep(store: RedisStore) -> None:
            while sweeping:
                store._writer.rest.set()
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            noted = [Notes() for _ in stores]
            for store in stores:
                nursery.start_soon(sweep, store)
            for seq in range(1, rounds + 1):
                for store, name, notes in zip(stores, names, noted, strict=True):
                    notes.submit(store, name, seq, audit=(entry(name, seq),))
                    store.record_audit([entry(name, seq, "client.let_in")])
                for notes in noted:
                    await notes.all_answered()
                    assert notes.failed == []
            sweeping = False
    async with servers(redis, 1) as (last,):
        while last._writer.rest.is_set() or last._care.is_sweeping:
            await trio.testing.wait_all_tasks_blocked(0.001)
        checked = await checked_audit(last)
        assert checked.damage is None
        lines = [entry_of(line) for line in await last.audit_lines(0, limit=10**6)]
        told = sorted((line.act, line.session_id, line.seq) for line in lines if line is not None)
        acts = ("action.proposed", "client.let_in")
        assert told == [
            (act, n, seq) for act in acts for n in names for seq in range(1, rounds + 1)
        ]


async def test_what_a_restart_has_lost_is_for_the_owner_to_know_and_else_for_who_follows_it(
    tmp_path: Path,
) -> None:
    notes = Notes()
    safe = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
    with redis_server(tmp_path / "own", *safe) as own:
        async with servers(own) as (one, two):
            await notes.stored(one, A, 1, 3)
            before = await one.row(A)
            own.kill()
            await trio.to_thread.run_sync(own.start)
            await notes.stored(one, A, 4, 4)
            for store in (two, one):
                row = await store.row(A)
                assert row is not None
                assert before is not None
                assert row.epoch == before.epoch  # its owner knows that it has lost nothing
            await notes.stored(one, A, 5, 5)
            own.kill()
            await trio.to_thread.run_sync(own.start)
            await two.row(B)  # it has found Redis again
            seem_dead(own, one)
            trust(two)
            while await two.owners.claim(A) is not None:
                seem_dead(own, one)
                trust(two)
            row = await two.row(A)
            assert row is not None
            assert row.epoch_changed  # nobody knows what the former one had seen acknowledged
            assert row.last_seq == 5
            await notes.stored(two, A, 6, 6)
            notes.submit(one, A, 6)
            assert isinstance(await failure(notes), TakenOver)


# --- what a failover or a former owner can't undo ---------------------------------------------


async def given_up(store: RedisStore, session_id: SessionId = A) -> None:
    store.owners.release(session_id)
    await store.owners.flush()


async def test_who_owned_a_session_once_declares_what_its_later_owner_has_lost(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "own", *FORGETFUL) as own:
        async with servers(own) as (one, two):
            await notes.stored(one, A, 1, 10)
            before = await one.row(A)
            assert before is not None
            await given_up(one)
            assert await two.owners.claim(A) is None
            assert await two.row(A) is not None
            await notes.stored(two, A, 11, 14)
            own.say("SAVE")
            await notes.stored(two, A, 15, 20)  # acknowledged, and shown
            await given_up(two)
            own.kill()
            await trio.to_thread.run_sync(own.start)
            await one.row(B)  # it has found Redis again
            seem_dead(own, two)
            trust(one)
            while await one.owners.claim(A) is not None:
                seem_dead(own, two)
                trust(one)
            row = await one.row(A)
            assert row is not None
            assert row.last_seq == 14
            assert row.epoch_changed
            assert row.epoch != before.epoch


async def test_of_two_owners_that_were_given_one_fence_around_a_failover_the_later_one_appends(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "own", *FORGETFUL) as own:
        async with servers(own) as (one, two):
            await notes.stored(one, A, 1, 10)
            await given_up(one)
            own.say("SAVE")
            assert await two.owners.claim(A) is None
            assert await two.row(A) is not None
            await notes.stored(two, A, 11, 12)
            own.kill()
            await trio.to_thread.run_sync(own.start)
            await one.row(B)
            await two.row(B)
            trust(one)
            assert await one.owners.claim(A) is None
            assert one._known.grant(A).fence == two._known.grant(A).fence
            assert await one.row(A) is not None
            await notes.stored(one, A, 11, 12)
            await given_up(one)  # nobody is named any more
            notes.submit(two, A, 13)
            assert isinstance(await failure(notes), SeqConflict)
            assert await all_seqs(two, A) == list(range(1, 13))


async def test_a_claim_that_a_restart_has_lost_holds_again_unless_somebody_has_claimed_since(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "own", *FORGETFUL) as own:
        async with servers(own) as (one, two):
            for name in (A, B):
                await notes.stored(one, name, 1, 3)
                await given_up(one, name)
            own.say("SAVE")
            for name in (A, B):
                assert await two.owners.claim(name) is None
                assert await two.row(name) is not None
            own.kill()
            await trio.to_thread.run_sync(own.start)
            await two.row(C)
            await notes.stored(two, A, 4, 4)
            assert (column(own, "owner"), column(own, "fence")) == (me(two), "1")
            await one.row(C)
            assert await one.owners.claim(B) is None
            notes.submit(two, B, 4)
            assert isinstance(await failure(notes), TakenOver)
            await notes.stored(two, A, 5, 5)


async def test_a_session_that_others_had_and_gave_back_is_not_held_and_takes_no_append(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 10)
        assert await one.owners.hold(A) is None
        await taken_over(redis, one, two)
        await notes.stored(two, A, 11, 13)
        await given_up(two)
        assert column(redis, "owner") == ""
        assert await one.owners.hold(A) == me(two)
        notes.submit(one, A, 14)  # it would fit
        assert isinstance(await failure(notes), TakenOver)
        assert column(redis, "owner") == ""
        one.owners.release(A)  # as with what leaves memory
        assert await one.owners.claim(A) is None
        row = await one.row(A)
        assert row is not None
        assert row.last_seq == 13
        await notes.stored(one, A, 14, 14)
        assert await one.owners.hold(A) is None


async def test_what_is_owned_is_never_forgotten_and_the_rest_is_bounded(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "MOST_KNOWN", 20)
    notes = Notes()
    async with servers(redis, 1) as (one,):
        await notes.stored(one, A, 1, 3)
        await given_up(one)
        assert await one.owners.claim(A) is None
        for number in range(30):
            name = SessionId(f"sess_{number}")
            await notes.stored(one, name, 1, 1)
            await given_up(one, name)
        await notes.stored(one, A, 4, 4)
        assert len(one._known._let_in) == 20
        assert one._known.owned == (A,)
        assert len(one._known._acknowledged) <= 21


async def test_who_lacks_the_right_to_look_at_leases_takes_nobody_for_dead(tmp_path: Path) -> None:
    notes = Notes()
    with redis_server(tmp_path / "acl") as own:
        async with servers(own) as (one, two):
            await notes.stored(one, A, 1, 3)
            own.say("ACL", "SETUSER", "default", "-exists")
            with pytest.raises(StoreUnavailable):
                await two.owners.claim(A)
            assert column(own, "owner") == me(one)


async def test_of_two_sweeps_of_one_outbox_the_later_adds_no_line_though_it_looked_early(
    redis: RedisServer,
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 1)
        item = Item.new(A, (entry(A, 1),))
        redis.say("HSET", OUTBOXES, A, "dead.1.x")
        redis.say("RPUSH", outbox_key(A), item.text)
        others, ask = one._chain.ask, two._chain.ask
        early: list[Any] = []

        async def look_before_it_goes(commands: Sequence[Command]) -> list[Any]:
            if first and not early and commands and commands[0][0] == b"LREM":
                early.extend(await ask(first))
            return await others(commands)

        first: list[Command] = []

        async def split(commands: Sequence[Command]) -> list[Any]:
            # What lies in two slots may be answered at two moments.
            names = [name for name, *_ in commands]
            if first or b"LPOS" not in names:
                return await ask(commands)
            place = max(names.index(b"LPOS"), names.index(b"SMISMEMBER"))
            first.extend(commands[:place])
            await one._chain.deliver([item], "dead.1.x")
            assert early
            return early + await ask(commands[place:])

        one._chain.ask = look_before_it_goes
        two._chain.ask = split
        await two._chain.deliver([item], "dead.1.x")
        assert len(await one.audit_lines(0, limit=10)) == 1


async def test_an_outbox_that_was_swept_while_it_was_empty_is_listed_when_it_is_filled(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    async with servers(redis) as (one, two):
        await notes.stored(one, A, 1, 1)
        ask, filled = Link.ask, list[bytes]()

        async def paused(link: Link, commands: Sequence[Command]) -> list[Any]:
            is_filling = link is one._writing and any(c[1:2] == (APPEND.digest,) for c in commands)
            if is_filling:
                # Listed by now: it pauses, and the other takes what is empty off the list.
                assert redis.say("HEXISTS", OUTBOXES, A) == b":1\r\n"
                redis.say("HDEL", OUTBOXES, A)
            answers = await ask(link, commands)
            if is_filling:
                filled.append(redis.say("HGET", OUTBOXES, A))
                raise LinkLost("a test: nobody delivers what is in it")
            return answers

        with monkeypatch.context() as patch:
            patch.setattr(Link, "ask", paused)
            notes.submit(one, A, 2, audit=(entry(A, 2),))
            with trio.fail_after(LATEST_S):
                while not filled:
                    await trio.testing.wait_all_tasks_blocked(0.001)
        assert me(one).encode() in filled[0]
        await notes.all_answered()
        assert [line.n for line in await two.audit_lines(0, limit=10)] == [1]


# --- any interleaving ------------------------------------------------------------------------


@define(eq=False)
class Actor:
    """One server's idea of a session: it appends what follows on what it has read."""

    store: RedisStore
    spells: int = 0
    last: int | None = None
    landed: list[tuple[int, bytes]] = field(factory=list[tuple[int, bytes]])
    refused: list[bytes] = field(factory=list[bytes])

    async def enter(self) -> None:
        if self.last is None and await self.store.owners.claim(A) is None:
            row = await self.store.row(A)
            assert row is not None
            self.spells, self.last = self.spells + 1, row.last_seq

    def append(self) -> None:
        if self.last is None:
            return
        self.last += 1
        spell, seq = self.spells, self.last
        frame = f"{me(self.store)} {spell} {seq}".encode()

        def on_durable(_: Seq) -> None:
            self.landed.append((seq, frame))

        def on_failed(error: StoreError) -> None:
            assert isinstance(error, SeqConflict)
            self.refused.append(frame)
            if self.spells == spell:
                self.last = None

        self.store.submit(
            Append(
                session_id=A,
                first_seq=Seq(seq),
                frames=(frame,),
                urgent=True,
                unsettled=False,
                on_durable=on_durable,
                on_failed=on_failed,
            )
        )

    def leave(self) -> None:
        if self.last is not None:
            self.last = None
            self.store.owners.release(A)


async def act(actor: Actor, others: list[Actor], redis: RedisServer, random: Random) -> None:
    for _ in range(30):
        what = random.random()
        if what < 0.35:
            await actor.enter()
        elif what < 0.8:
            actor.append()
        elif what < 0.87:
            actor.leave()
        elif what < 0.93:
            await actor.store.row(A)
        else:
            seem_dead(redis, random.choice(others).store)
        for _ in range(random.randrange(4)):
            await trio.lowlevel.checkpoint()
        trust(actor.store)


async def test_whoever_claims_and_appends_when_no_two_owners_mix_their_events(
    redis: RedisServer,
) -> None:
    takeovers = refusals = 0
    for seed in range(max(20, scaled(300))):
        redis.say("FLUSHALL")
        async with servers(redis, 3) as stores:
            notes = Notes()
            notes.submit(stores[0], A, 1, opened=new_session(A), frames=(b"first",))
            await notes.all_answered()
            stores[0].owners.release(A)
            actors = [Actor(store) for store in stores]
            async with trio.open_nursery() as nursery:
                for number, actor in enumerate(actors):
                    random = Random(f"{seed} {number}")  # noqa: S311 - a seeded test
                    nursery.start_soon(act, actor, actors, redis, random)
        async with servers(redis, 1) as (reader,):
            page = await reader.read(A, Seq(0), limit=10_000, most_bytes=2**30)
        kept = {event.seq: event.frame for event in page}
        assert len(page) == 1 + sum(len(actor.landed) for actor in actors)
        for actor in actors:
            for seq, frame in actor.landed:
                assert kept[Seq(seq)] == frame
            assert not set(actor.refused) & set(kept.values())
        spells = [event.frame.rpartition(b" ")[0] for event in page]
        changes = [now for before, now in pairwise(spells) if now != before]
        assert len(changes) == len(set(changes)), f"seed {seed}: an owner came back"
        takeovers += len(changes)
        refusals += sum(len(actor.refused) for actor in actors)
    assert takeovers > 40
    assert refusals > 10
