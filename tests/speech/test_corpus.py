"""Over many dialogues turns are ended, and interruptions told, better than by timers."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.speech import table
from tests.speech.contest import Decided, Ours, Score, Timer, contest, play
from tests.speech.corpus import SEED, SIZE, Dialogue, dialogues

OTHER_SEEDS = range(100, 104)


def scores_of(seed: int) -> dict[str, Score]:
    return {score.name: score for score in contest(dialogues(seed))}


def test_the_corpus_has_every_case_many_times():
    cases = Counter(dialogue.case for dialogue in dialogues())
    assert sum(cases.values()) == SIZE >= 200
    assert min(cases.values()) >= 10


def test_the_same_seed_says_the_same():
    assert dialogues() == dialogues()
    assert dialogues() != dialogues(SEED + 1)


@pytest.mark.parametrize("seed", [SEED, *OTHER_SEEDS])
def test_turns_are_ended_more_rightly_than_by_a_timer_that_is_as_fast(seed: int):
    scores = scores_of(seed)
    ours, fast = scores["bargein"], scores["a timer of 0.5 s"]
    assert ours.precision >= 0.93
    assert ours.recall >= 0.97
    assert ours.precision - fast.precision >= 0.2
    assert ours.gap_ms <= fast.gap_ms + 25


@pytest.mark.parametrize("seed", [SEED, *OTHER_SEEDS])
def test_they_are_ended_sooner_than_by_a_timer_that_is_nearly_as_right(seed: int):
    scores = scores_of(seed)
    ours, slow = scores["bargein"], scores["a timer of 1 s"]
    assert ours.precision > slow.precision + 0.08
    assert ours.gap_ms <= 0.65 * slow.gap_ms


@pytest.mark.parametrize("seed", [SEED, *OTHER_SEEDS])
def test_asides_and_noise_interrupt_seldom_and_words_seldom_don_t(seed: int):
    scores = scores_of(seed)
    ours, timer = scores["bargein"], scores["a timer of 0.7 s"]
    assert ours.false_interruptions <= 0.08
    assert ours.false_interruptions <= timer.false_interruptions / 5
    assert ours.missed_interruptions <= 0.1


@pytest.mark.parametrize("seed", [SEED, *OTHER_SEEDS])
def test_answers_begun_early_are_there_sooner_and_at_most_as_many_are_thrown_away(seed: int):
    ours = scores_of(seed)["bargein"]
    assert ours.early_gap_ms <= ours.gap_ms - 100
    assert ours.early_worst_gap_ms <= ours.worst_gap_ms
    assert 0 < ours.thrown_away <= 1


def test_an_end_that_is_too_early_and_one_that_never_comes_are_counted():
    score = Score("somebody")
    dialogue = Dialogue("made up", ends_s=[5.0, 9.0])
    score.count(dialogue, [Decided(4.0, "end"), Decided(5.5, "end")])
    assert (score.right, score.early, score.missed) == (1, 1, 1)
    assert score.gaps_s == [0.5]


def test_a_false_and_a_missed_interruption_are_counted():
    score = Score("somebody")
    score.count(Dialogue("an aside", over_s=1.0), [Decided(1.2, "interrupt")])
    score.count(Dialogue("words", interrupts_s=1.0, ends_s=[2.0]), [Decided(3.5, "interrupt")])
    assert (score.false_barges, score.missed_barges) == (1, 1)


def test_a_timer_cuts_off_whoever_pauses_and_we_do_not():
    paused = [dialogue for dialogue in dialogues() if dialogue.case == "a pause in a sentence"]
    cut = [len(play(dialogue, Timer("", 0.4))) for dialogue in paused]
    ours = [len(play(dialogue, Ours(""))) for dialogue in paused]
    assert all(turns == 2 for turns in cut)
    assert all(turns == 1 for turns in ours)


def test_the_page_shows_what_comes_out_today():
    page = table.PAGE.read_text(encoding="utf-8")
    assert table.generated(page) == page, "run `python -m tests.speech.table`"
    assert "| bargein |" in page
