"""What Redis has lost together with who wrote it is declared by whoever opens the session next."""

# pyright: reportPrivateUsage=false
# When a lease was renewed last is set from outside, as a pause of the process would.

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from bargein.actors.replayed import replayed
from bargein.protocol.codec import encode_event, session_prefix
from bargein.protocol.events import SessionTitled
from bargein.protocol.ids import Seq
from bargein.timeline.redis.lease import LEASE_S
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.store import SeqConflict, SessionRow, StoreUnavailable
from tests.timeline.appends import A, B, Notes
from tests.timeline.redis_server import RedisServer, redis_server
from tests.timeline.test_redis_owners import (
    FORGETFUL,
    failure,
    given_up,
    seem_dead,
    servers,
    taken_over,
    trust,
)


async def row_of(store: RedisStore) -> SessionRow:
    row = await store.row(A)
    assert row is not None
    return row


async def restarted(redis: RedisServer, *stores: RedisStore) -> None:
    """Bring Redis back as it was when it was last saved, and wait until everybody has found it."""
    redis.kill()
    await trio.to_thread.run_sync(redis.start)
    for store in stores:
        await store.row(B)


async def test_who_only_looked_at_what_a_later_owner_wrote_declares_what_is_lost_of_it(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "own", *FORGETFUL) as own:
        async with servers(own) as (one, two):
            await notes.stored(one, A, 1, 10)
            before = await row_of(one)
            await given_up(one)
            assert await two.owners.claim(A) is None
            assert (await row_of(two)).epoch == before.epoch
            await notes.stored(two, A, 11, 14)
            own.say("SAVE")
            await notes.stored(two, A, 15, 20)
            await given_up(two)
            assert (await row_of(one)).last_seq == 20  # nobody's: it knows now how to append
            await restarted(own, one)
            while await one.owners.claim(A) is not None:
                seem_dead(own, two)
                trust(one)
            row = await row_of(one)
            assert (row.last_seq, row.epoch_changed) == (14, True)
            assert row.epoch != before.epoch
            await notes.stored(one, A, 15, 15)


async def test_an_owner_that_was_away_appends_to_no_session_whose_next_owner_redis_has_forgotten(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "own", *FORGETFUL) as own:
        async with servers(own) as (one, two):
            await notes.stored(one, A, 1, 10)
            before = await row_of(one)
            own.say("SAVE")
            await taken_over(own, one, two)
            await notes.stored(two, A, 11, 14)
            assert one.lease._said_s is not None
            one.lease._said_s -= 2 * LEASE_S
            await restarted(own, one)
            assert await one.owners.hold(A) is None  # there is no trace of the other
            notes.submit(one, A, 11)  # it would fit
            assert isinstance(await failure(notes), SeqConflict)
            row = await row_of(one)
            assert (row.last_seq, row.epoch_changed) == (10, True)
            assert row.epoch != before.epoch
            await notes.stored(one, A, 11, 11)


async def test_an_owner_that_was_away_goes_on_where_no_other_server_is_listed(
    tmp_path: Path,
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "own", *FORGETFUL) as own:
        async with servers(own, 1) as (one,):
            await notes.stored(one, A, 1, 10)
            before = await row_of(one)
            own.say("SAVE")
            assert one.lease._said_s is not None
            one.lease._said_s -= 2 * LEASE_S
            await restarted(own, one)
            await notes.stored(one, A, 11, 11)
            assert (await row_of(one)).epoch == before.epoch


def events(first: int, last: int) -> tuple[bytes, ...]:
    """Make events that can be folded."""
    prefix, ts = session_prefix(A), b"2026-11-22T10:12:33.120Z"
    payload = SessionTitled("A title")
    return tuple(
        encode_event(prefix, Seq(seq), ts, None, None, payload) for seq in range(first, last + 1)
    )


@pytest.mark.parametrize("kept", [1, 5])
async def test_a_timeline_that_loses_its_end_while_it_is_read_is_not_taken_for_damaged(
    tmp_path: Path, kept: int
) -> None:
    notes = Notes()
    with redis_server(tmp_path / "own", *FORGETFUL) as own:
        async with servers(own) as (one, _):
            notes.submit(one, A, 1, kept, frames=events(1, kept))
            await notes.all_answered()
            own.say("SAVE")
            await notes.stored(one, A, kept + 1, 10)
            await restarted(own, one)
            with pytest.raises(StoreUnavailable):
                await replayed(one, A, Seq(10))
            row = await row_of(one)
            assert (row.last_seq, row.epoch_changed) == (kept, True)
