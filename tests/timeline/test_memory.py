"""What a simulator gets from the memory store: slow and failing commits, power cuts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from bargein.protocol.ids import SessionId
from bargein.timeline import outcomes
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.store import Append, SeqConflict, StoreUnavailable
from tests.timeline.appends import A, B, Notes, all_seqs, running


async def test_a_slow_commit_takes_its_time_and_gathers_the_next_group(
    autojump_clock: trio.testing.MockClock,
) -> None:
    sizes: list[int] = []

    async def slow(group: Sequence[Append]) -> None:
        sizes.append(len(group))
        await trio.sleep(2)

    store, notes = MemoryStore(before_commit=slow), Notes()
    async with running(store):
        started_s = trio.current_time()
        notes.submit(store, A, 1)
        await trio.testing.wait_all_tasks_blocked()
        for seq in range(2, 12):
            notes.submit(store, A, seq)
        assert notes.durable == []
        await notes.all_answered()
        assert trio.current_time() - started_s == pytest.approx(4)
    assert sizes == [1, 10]
    assert autojump_clock.autojump_threshold == 0


async def test_a_failing_commit_fails_its_group_and_what_follows_until_reopened() -> None:
    failures = [StoreUnavailable("the disk is full")]

    async def failing(_group: Sequence[Append]) -> None:
        await trio.lowlevel.checkpoint()
        if failures:
            raise failures.pop()

    store, notes = MemoryStore(before_commit=failing), Notes()
    async with running(store):
        notes.submit(store, A, 1, 3)
        await notes.all_answered()
        notes.submit(store, A, 4)
        await notes.all_answered()
        assert [str(error) for _, _, error in notes.failed] == [
            "the store is unavailable: the disk is full"
        ] * 2
        assert await store.row(A) is None
        await notes.stored(store, A, 1, 3)


async def test_what_waits_behind_a_refused_append_stays_out_even_if_reopened_meanwhile() -> None:
    gates = [trio.Event(), trio.Event()]

    async def slow(group: Sequence[Append]) -> None:
        await gates[0 if group[0].first_seq == 2 else 1].wait()

    store, notes = MemoryStore(before_commit=slow), Notes()
    async with running(store):
        notes.submit(store, A, 2)  # never opened
        await trio.testing.wait_all_tasks_blocked()
        notes.submit(store, A, 1)  # would fit, but is in the next group
        gates[0].set()
        await trio.testing.wait_all_tasks_blocked()
        assert await store.row(A) is None
        gates[1].set()
        await notes.all_answered()
        assert [(seq, type(error)) for _, seq, error in notes.failed] == [
            (2, SeqConflict),
            (1, SeqConflict),
        ]


@pytest.mark.parametrize("keep", range(7))
async def test_a_power_cut_keeps_a_prefix_of_what_was_in_flight_and_calls_nobody(keep: int) -> None:
    async def never(_group: Sequence[Append]) -> None:
        await trio.sleep_forever()

    shelf, notes = Shelf(), Notes()
    store = MemoryStore(shelf, never)
    async with running(store):
        for session_id, seq in ((A, 1), (B, 1), (A, 2), (A, 9), (A, 3), (B, 2)):
            notes.submit(store, session_id, seq)
        store.crash(keep=keep)
        notes.submit(store, A, 3)  # `finally` blocks of a dead process run on
    assert notes.durable == []
    assert notes.failed == []

    again = MemoryStore(shelf)
    kept = {A: [0, 1, 1, 2, 2, 2, 2][keep], B: [0, 0, 1, 1, 1, 1, 2][keep]}
    async with running(again):
        for session_id, last in kept.items():
            assert await all_seqs(again, session_id) == list(range(1, last + 1))


async def test_a_commit_under_way_at_the_power_cut_does_not_happen() -> None:
    gate = trio.Event()

    async def slow(_group: Sequence[Append]) -> None:
        await gate.wait()

    shelf, notes = Shelf(), Notes()
    store = MemoryStore(shelf, slow)
    async with running(store):
        notes.submit(store, A, 1)
        await trio.testing.wait_all_tasks_blocked()
        store.crash()
        gate.set()
        await trio.testing.wait_all_tasks_blocked()
    assert shelf.rows() == []
    assert notes.durable == []


async def test_refused_sessions_are_remembered_up_to_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcomes, "MOST_REFUSED", 3)
    refusals = outcomes.Refusals()
    error = StoreUnavailable("the disk is full")
    names = [SessionId(f"sess_{n}") for n in range(5)]
    for name in names:
        refusals.add(name, error)
    assert [refusals.of(name) for name in names] == [None, None, error, error, error]


def test_nothing_in_memory_survives_its_process() -> None:
    async def main() -> None:
        assert MemoryStore().durability == "none"

    trio.run(main)
