from __future__ import annotations

import pytest
import trio

from examples.bench.diary import Asked, Diary, Proposal
from examples.bench.figures import Cut, Lengths, Tally, Turn


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def diary(tally: Tally) -> Diary:
    return Diary(lambda: tally)


def begun(diary: Diary, turn_id: str, cutting: Cut | None = None) -> Turn:
    turn = Turn(trio.current_time(), barged_in=cutting is not None, cutting=cutting)
    diary.begun(Asked(turn, None), turn_id, trio.current_time())
    return turn


# --- success --------------------------------------------------------------------------


def test_an_interrupt_by_words_succeeds_with_its_answer_and_another_with_its_ack():
    assert Cut(10.0, by_words=True, acked_s=10.1).succeeded(11.0) is None
    assert Cut(10.0, by_words=True, acked_s=10.1, answered_s=11.9).succeeded(12.0) is True
    assert Cut(10.0, by_words=False, acked_s=10.1).succeeded(11.0) is True


def test_an_interrupt_fails_when_its_time_is_over():
    assert Cut(10.0, by_words=True).succeeded(11.9) is None
    assert Cut(10.0, by_words=True).succeeded(12.1) is False
    assert Cut(10.0, by_words=True, answered_s=12.1).succeeded(12.2) is False


def test_a_ghost_makes_an_interrupt_fail():
    assert Cut(10.0, acked_s=10.1, ghosts=1).succeeded(11.0) is False


async def test_an_interrupt_counts_once_however_often_it_is_repeated(diary: Diary, tally: Tally):
    turn = begun(diary, "t1")
    first = diary.cuts_in(turn, by_words=False)
    assert diary.cuts_in(turn, by_words=False) is first
    diary.acked(turn, 3, first.at_s + 0.1)
    assert (tally.interrupts, tally.judged(first.at_s + 1)) == (1, (1, 1))


async def test_words_that_are_cut_in_on_before_their_answer_are_judged_by_the_ack(
    diary: Diary, tally: Tally
):
    first = diary.cuts_in(begun(diary, "t1"), by_words=True)
    second = begun(diary, "t2", cutting=first)
    diary.acked(diary.turns["t1"], 0, first.at_s + 0.1)
    diary.cuts_in(second, by_words=True)
    assert first.succeeded(first.at_s + 1) is True


async def test_what_missed_its_turn_is_no_interrupt(diary: Diary, tally: Tally):
    turn = begun(diary, "t1")
    cut = diary.cuts_in(turn, by_words=False)
    diary.missed(Asked(None, turn))
    assert (tally.missed, tally.judged(cut.at_s + 9)) == (1, (0, 0))


async def test_a_flush_that_overtakes_its_turns_words_is_timed(diary: Diary, tally: Tally):
    turn = Turn(trio.current_time(), barged_in=False)
    cut = diary.cuts_in(turn, by_words=False)
    diary.flushed("t1", cut.at_s + 0.25)
    diary.begun(Asked(turn, None), "t1", cut.at_s + 0.5)
    assert list(tally.flush) == [pytest.approx(0.25)]


async def test_a_slow_readers_times_do_not_count_and_its_ghosts_do(tally: Tally):
    diary = Diary(lambda: tally, timed=False)
    turn = begun(diary, "t1")
    diary.cuts_in(turn, by_words=False)
    turn.requested = True
    diary.token("t1", 2, trio.current_time(), b"")
    diary.acked(turn, 2, trio.current_time())
    assert (tally.ghosts, list(tally.ack), tally.cuts) == (2, [], [])


# --- what cancelling saves ------------------------------------------------------------


def test_a_cancelled_turn_saves_what_it_is_short_of_the_usual_length():
    lengths = Lengths(completed=2, completed_tokens=300)
    lengths.cancelled.update({50: 2, 140: 1, 400: 1})
    assert lengths.saved == 100 + 100 + 10 + 0


def test_without_a_completed_answer_nothing_is_known_to_be_saved():
    lengths = Lengths()
    lengths.cancelled.update({50: 2})
    assert lengths.saved == 0


async def test_lengths_are_kept_agent_by_agent(diary: Diary, tally: Tally):
    for number, (agent, tokens) in enumerate([("poet", 10), ("clerk", 100)]):
        turn = begun(diary, f"t{number}")
        turn.agent = agent
        diary.token(f"t{number}", tokens, trio.current_time(), b"")
        diary.completed(turn, trio.current_time())
    cancelled = begun(diary, "t9")
    cancelled.agent = "poet"
    diary.acked(cancelled, 4, trio.current_time())
    assert sum(each.saved for each in tally.lengths.values()) == 6


# --- decisions ------------------------------------------------------------------------


async def test_what_was_done_without_a_yes_or_twice_is_counted(diary: Diary, tally: Tally):
    diary.allowed["a1"] = trio.current_time()
    diary.happened("a1", trio.current_time() + 0.5)
    assert (tally.unasked, list(tally.committed)) == (0, [pytest.approx(0.5, abs=0.1)])
    diary.happened("a1", trio.current_time())
    diary.happened("a2", trio.current_time())
    assert tally.unasked == 2


async def test_a_user_who_never_decides_is_not_asked(diary: Diary, tally: Tally):
    diary.proposed(Proposal("a1", "conf_1"))
    diary.proposals, asked = trio.open_memory_channel[Proposal](1)
    diary.proposed(Proposal("a2", "conf_2"))
    assert asked.receive_nowait() == Proposal("a2", "conf_2")
