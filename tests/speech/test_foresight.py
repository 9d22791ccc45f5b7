"""When an answer is begun before the turn is over, and when it is thrown away."""

from __future__ import annotations

import pytest

from bargein.speech.foresight import Begin, Drop, Foreseeing, Foresight

STABLE = Foresight(stable_s=0.2, most=2)


def listening(*said: tuple[float, str]) -> Foreseeing:
    foreseeing = Foreseeing(STABLE)
    for at_s, words in said:
        foreseeing.said(words, at_s, silent=True)
    return foreseeing


def test_words_are_answered_when_they_have_stood_in_silence():
    foreseeing = listening((1.0, "Show me the funds"))
    assert foreseeing.due_s == 1.2
    assert foreseeing.decide(1.1) is None
    assert foreseeing.decide(1.2) == Begin("Show me the funds")
    assert foreseeing.due_s is None
    assert foreseeing.decide(9.0) is None


def test_other_words_begin_the_wait_again():
    foreseeing = listening((1.0, "Show me"), (1.1, "Show me the funds"))
    assert foreseeing.due_s == pytest.approx(1.3)


def test_the_same_words_written_otherwise_do_not():
    foreseeing = listening((1.0, "show me the funds"), (1.1, "Show me the funds."))
    assert foreseeing.due_s == 1.2
    assert foreseeing.decide(1.2) == Begin("Show me the funds.")
    foreseeing.said("Show me, the funds!", 1.3, silent=True)
    assert foreseeing.decide(1.3) is None


def test_nothing_is_begun_while_somebody_speaks():
    foreseeing = Foreseeing(STABLE)
    foreseeing.said("Show me the funds", 1.0, silent=False)
    assert foreseeing.due_s is None
    foreseeing.said("Show me the funds", 2.0, silent=True)
    assert foreseeing.due_s == 2.2


@pytest.mark.parametrize("words", ["", "Show me the", "Show me, um", "My number is 555"])
def test_words_that_will_go_on_are_not_answered(words: str):
    assert listening((1.0, words)).due_s is None


def test_other_words_throw_away_what_was_begun_and_may_begin_another():
    foreseeing = listening((1.0, "Show me the funds"))
    foreseeing.decide(1.2)
    foreseeing.said("Show me the bonds", 1.3, silent=True)
    assert foreseeing.decide(1.3) == Drop()
    assert foreseeing.decide(1.4) is None
    assert foreseeing.decide(1.5) == Begin("Show me the bonds")


def test_so_many_are_begun_for_one_turn():
    foreseeing = listening((1.0, "Show me the funds"))
    foreseeing.decide(1.2)
    foreseeing.said("Show me the bonds", 2.0, silent=True)
    assert foreseeing.decide(3.0) == Begin("Show me the bonds")
    foreseeing.said("Show me the notes", 4.0, silent=True)
    assert foreseeing.decide(9.0) == Drop()
    assert foreseeing.due_s is None
    foreseeing.ended()
    foreseeing.said("Show me the notes", 10.0, silent=True)
    assert foreseeing.due_s == 10.2


def test_words_that_turn_out_to_be_none_throw_it_away():
    foreseeing = listening((1.0, "Show me the funds"))
    foreseeing.decide(1.2)
    foreseeing.said("", 1.3, silent=True)
    assert foreseeing.decide(1.3) == Drop()


def test_the_end_of_the_turn_throws_nothing_away():
    foreseeing = listening((1.0, "Show me the funds"))
    foreseeing.decide(1.2)
    foreseeing.ended()
    foreseeing.said("", 1.3, silent=True)
    assert foreseeing.decide(1.3) is None


@pytest.mark.parametrize("bounds", [{"stable_s": 0.0}, {"most": 0}])
def test_bounds_that_make_no_sense_are_refused(bounds: dict[str, float]):
    with pytest.raises(ValueError, match="more than 0"):
        Foresight(**bounds)  # pyright: ignore[reportArgumentType]
