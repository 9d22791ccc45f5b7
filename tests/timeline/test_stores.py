"""What every store promises, shown on each of them."""

from __future__ import annotations

import pytest
import trio

from bargein.protocol.ids import Epoch, Seq, SessionId
from bargein.timeline.store import (
    Append,
    NewSession,
    SeqConflict,
    SessionRow,
    Stored,
    StoreError,
    StoreUnavailable,
)
from tests.timeline.appends import (
    OPENED_AT,
    A,
    B,
    C,
    Notes,
    Opener,
    all_seqs,
    frame,
    new_session,
    running,
)


async def test_what_was_appended_is_read_back_byte_for_byte(opened: Opener) -> None:
    store, notes = opened(), Notes()
    frames = (b'{"seq":1}', b"\x00\xff not even text", "Grüße 🎈".encode())
    async with running(store):
        notes.submit(store, A, 1, 3, frames=frames)
        await notes.all_answered()
        found = await store.read(A, Seq(0), limit=10, most_bytes=1000)
    assert found == [Stored(Seq(n), data) for n, data in enumerate(frames, 1)]
    assert notes.durable == [(A, 3)]


async def test_a_row_tells_what_the_session_was_opened_with(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        notes.submit(store, A, 1, 2, opened=NewSession(A, "ann", "acme", Epoch("e1"), OPENED_AT))
        await notes.all_answered()
        assert await store.row(A) == SessionRow(
            session_id=A,
            principal="ann",
            tenant="acme",
            epoch=Epoch("e1"),
            epoch_changed=False,
            last_seq=Seq(2),
            closed=False,
            unsettled=False,
            opened_at=OPENED_AT,
        )


async def test_a_missing_session_has_no_row_and_no_events(opened: Opener) -> None:
    store = opened()
    async with running(store):
        for missing in (A, SessionId("\ud800"), SessionId("' OR 1=1 --")):
            assert await store.row(missing) is None
            assert await store.read(missing, Seq(0), limit=10, most_bytes=1000) == []


async def test_flags_follow_the_last_append_and_closed_stays(opened: Opener) -> None:
    store, notes = opened(), Notes()
    flags: list[tuple[bool, bool]] = []
    async with running(store):
        for seq, (unsettled, closed) in enumerate(
            [(True, False), (False, False), (True, True), (False, False)], 1
        ):
            notes.submit(store, A, seq, unsettled=unsettled, closed=closed)
            await notes.all_answered()
            row = await store.row(A)
            assert row is not None
            flags.append((row.unsettled, row.closed))
    assert flags == [(True, False), (False, False), (True, True), (False, True)]


async def test_unsettled_lists_exactly_the_sessions_to_recover(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        assert await store.unsettled() == []
        notes.submit(store, A, 1, unsettled=True)
        notes.submit(store, B, 1, unsettled=False)
        notes.submit(store, C, 1, unsettled=True)
        await notes.all_answered()
        assert await store.unsettled() == [A, C]
        notes.submit(store, A, 2, unsettled=False)
        await notes.all_answered()
        assert await store.unsettled() == [C]


async def test_sessions_of_a_principal_are_theirs_alone_newest_first(opened: Opener) -> None:
    store, notes = opened(), Notes()
    names = [SessionId(f"sess_{n}") for n in range(6)]
    owners = [("ann", None), ("bob", None), ("ann", "acme"), ("ann", None), ("ann", None)]
    async with running(store):
        for name, (principal, tenant) in zip(names, owners, strict=False):
            notes.submit(store, name, 1, opened=new_session(name, principal, tenant))
        await notes.all_answered()

        async def mine(principal: str, tenant: str | None, limit: int = 10) -> list[SessionId]:
            rows = await store.sessions_of(principal, tenant, limit=limit)
            return [row.session_id for row in rows]

        assert await mine("ann", None) == [names[4], names[3], names[0]]
        assert await mine("ann", None, limit=2) == [names[4], names[3]]
        assert await mine("ann", "acme") == [names[2]]
        assert await mine("bob", "acme") == []


async def test_a_page_ends_at_its_limit_and_the_next_goes_on(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 10)
        pages: list[list[int]] = []
        after = Seq(0)
        while page := await store.read(A, after, limit=4, most_bytes=10**6):
            pages.append([event.seq for event in page])
            after = page[-1].seq
    assert pages == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


async def test_a_page_holds_at_most_its_bytes_but_at_least_one_event(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        notes.submit(store, A, 1, 4, frames=(b"x" * 10, b"x" * 10, b"x" * 99, b"x"))
        await notes.all_answered()

        async def sizes(after: int, most_bytes: int) -> list[int]:
            page = await store.read(A, Seq(after), limit=10, most_bytes=most_bytes)
            return [len(event.frame) for event in page]

        assert await sizes(0, 20) == [10, 10]
        assert await sizes(0, 19) == [10]
        assert await sizes(0, 0) == [10]
        assert await sizes(2, 50) == [99]
        assert await sizes(2, 100) == [99, 1]
        assert await sizes(4, 100) == []


async def test_appends_of_a_session_become_durable_in_the_order_submitted(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        for seq in range(1, 301):
            notes.submit(store, A, seq, urgent=seq % 7 == 0)
            notes.submit(store, B, seq, urgent=False)
            if seq % 10 == 0:
                await trio.lowlevel.checkpoint()
        await notes.all_answered()
        for session_id in (A, B):
            durable = [seq for name, seq in notes.durable if name == session_id]
            assert durable == list(range(1, 301))
            assert await all_seqs(store, session_id) == list(range(1, 301))


async def test_what_is_announced_as_durable_can_be_read(opened: Opener) -> None:
    store = opened()
    durable_order: list[int] = []
    async with running(store), trio.open_nursery() as readers:

        async def read_back(seq: Seq) -> None:
            assert seq in await all_seqs(store, A)
            durable_order.append(seq)

        def on_failed(error: StoreError) -> None:
            raise error

        for seq in range(1, 31):
            store.submit(
                Append(
                    session_id=A,
                    first_seq=Seq(seq),
                    frames=(frame(A, seq),),
                    urgent=True,
                    unsettled=False,
                    opened=new_session(A) if seq == 1 else None,
                    on_durable=lambda seq: readers.start_soon(read_back, seq),
                    on_failed=on_failed,
                )
            )
        while len(durable_order) < 30:
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("first", [1, 2, 3, 5, 99], ids=lambda first: f"first={first}")
async def test_a_gap_or_a_double_is_refused_and_nothing_of_it_stored(
    opened: Opener, first: int
) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        notes.submit(store, A, first, first + 1)
        await notes.all_answered()
        ((_, _, error),) = notes.failed
        assert isinstance(error, SeqConflict)
        assert (error.session_id, error.expected, error.found) == (A, first - 1, 3)
        assert await all_seqs(store, A) == [1, 2, 3]


async def test_an_append_to_a_session_that_was_never_opened_is_refused(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        notes.submit(store, A, 2)
        notes.submit(store, B, 2, opened=new_session(B))
        await notes.all_answered()
        assert [error.args for _, _, error in notes.failed] == [
            (f"{name}: expected to append after seq 1, found seq 0",) for name in (A, B)
        ]
        assert await store.row(A) is None
        assert await store.row(B) is None


async def test_after_a_refused_append_later_ones_fail_too_until_reopened(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        # Seq 5 leaves one out; seq 4 behind it would fit, and must not get in.
        for seq in (5, 4):
            notes.submit(store, A, seq)
        await notes.all_answered()
        notes.submit(store, A, 4)
        notes.submit(store, B, 1)
        await notes.all_answered()
        assert [(name, seq) for name, seq, _ in notes.failed] == [(A, 5), (A, 4), (A, 4)]
        assert notes.durable[-1] == (B, 1)

        row = await store.row(A)
        assert row is not None
        assert row.last_seq == 3
        await notes.stored(store, A, 4, 6)
        assert await all_seqs(store, A) == [1, 2, 3, 4, 5, 6]


async def test_a_conflict_of_one_session_does_not_touch_the_others_in_its_group(
    opened: Opener,
) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        await notes.stored(store, A, 1, 3)
        for name in (B, A, C):
            notes.submit(store, name, 1, urgent=False)
        await notes.all_answered()
        assert [name for name, _, _ in notes.failed] == [A]
        assert notes.durable[1:] == [(B, 1), (C, 1)]
        assert [await all_seqs(store, name) for name in (A, B, C)] == [[1, 2, 3], [1], [1]]


async def test_what_is_pending_is_flushed_when_the_store_is_cancelled(opened: Opener) -> None:
    notes, store = Notes(), opened()
    async with running(store) as scope:
        for seq in range(1, 101):
            notes.submit(store, A, seq, urgent=False)
        scope.cancel()
    assert notes.durable == [(A, seq) for seq in range(1, 101)]
    again = opened()
    async with running(again):
        assert await all_seqs(again, A) == list(range(1, 101))


async def test_a_reopened_store_sees_everything_and_goes_on(opened: Opener) -> None:
    notes = Notes()
    for visit in range(3):
        store = opened()
        async with running(store):
            if visit:
                row = await store.row(A)
                assert row is not None
                assert row.last_seq == visit * 5
                assert row.unsettled
            notes.submit(store, A, visit * 5 + 1, visit * 5 + 5, unsettled=True)
            await notes.all_answered()
            assert await all_seqs(store, A) == list(range(1, visit * 5 + 6))
            assert await store.unsettled() == [A]


async def test_a_closed_store_refuses_appends_instead_of_losing_them(opened: Opener) -> None:
    store, notes = opened(), Notes()
    async with running(store):
        pass
    notes.submit(store, A, 1)
    assert not notes.failed
    await notes.all_answered()
    ((_, _, error),) = notes.failed
    assert isinstance(error, StoreUnavailable)


async def test_what_is_submitted_before_the_store_runs_is_written_when_it_does(
    opened: Opener,
) -> None:
    store, notes = opened(), Notes()
    notes.submit(store, A, 1, 2)
    async with running(store):
        await notes.all_answered()
        assert await all_seqs(store, A) == [1, 2]


async def test_a_raising_callback_stops_neither_the_store_nor_the_other_sessions(
    opened: Opener,
) -> None:
    store, notes = opened(), Notes()

    def raising(what: object) -> None:
        raise RuntimeError(what)

    async with running(store):
        for seq in (1, 9):  # stored, and refused
            store.submit(
                Append(
                    session_id=A,
                    first_seq=Seq(seq),
                    frames=(frame(A, seq),),
                    urgent=False,
                    unsettled=False,
                    opened=new_session(A) if seq == 1 else None,
                    on_durable=raising,
                    on_failed=raising,
                )
            )
        await notes.stored(store, B, 1, 1)
        await notes.stored(store, B, 2, 2)
        assert await all_seqs(store, A) == [1]


async def test_a_callback_may_submit_the_next_append(opened: Opener) -> None:
    store = opened()
    done = trio.Event()

    def refused(error: StoreError) -> None:
        raise error

    def append(seq: int) -> None:
        store.submit(
            Append(
                session_id=A,
                first_seq=Seq(seq),
                frames=(frame(A, seq),),
                urgent=seq % 2 == 0,
                unsettled=False,
                opened=new_session(A) if seq == 1 else None,
                on_durable=lambda last: append(last + 1) if last < 20 else done.set(),
                on_failed=refused,
            )
        )

    async with running(store):
        append(1)
        await done.wait()
        assert await all_seqs(store, A) == list(range(1, 21))


def test_an_append_without_frames_is_the_callers_mistake(opened: Opener) -> None:
    append = Append(
        session_id=A,
        first_seq=Seq(1),
        frames=(),
        urgent=False,
        unsettled=False,
        on_durable=print,
        on_failed=print,
    )

    async def main() -> None:
        with pytest.raises(ValueError, match="at least one frame"):
            opened().submit(append)

    trio.run(main)


def test_a_session_cannot_be_opened_under_a_name_that_no_store_can_keep() -> None:
    with pytest.raises(UnicodeEncodeError):
        new_session(A, principal="\ud800")
