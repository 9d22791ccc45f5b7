"""What words alone say of a turn."""

from __future__ import annotations

import pytest

from bargein.speech import meaning


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("", "nothing"),
        ("...", "nothing"),
        ("What is my balance", "question"),
        ("My balance?", "question"),
        ("What is it for?", "question"),
        ("Show me the funds.", "sentence"),
        ("Show me the funds", "open"),
        ("Show me the", "unfinished"),
        ("I want to.", "unfinished"),
        ("First the funds,", "unfinished"),
        ("Show me, um", "hesitation"),
        ("I would like\u2026", "hesitation"),
        ("Let me see", "hesitation"),
        ("Yes.", "answer"),
        ("thank you", "answer"),
        ("It is five five", "number"),
        ("My number is 555", "number"),
    ],
)
def test_words_look_as_finished_as_they_are(text: str, shape: str):
    assert meaning.shape_of(text) == shape


@pytest.mark.parametrize("text", ["mhm", "Right.", "uh-huh, yeah", "I see", "OK, got it", "Um"])
def test_a_listeners_aside_is_one(text: str):
    assert meaning.is_aside(text)


@pytest.mark.parametrize(
    "text", ["", "right but why", "no", "wait", "Boston", "yes yes yes yes yes"]
)
def test_what_says_something_is_no_aside(text: str):
    assert not meaning.is_aside(text)


def test_what_says_something_is_left_of_words():
    assert meaning.content_of("Um, right, but Boston") == ("but", "boston")


def test_a_command_stands_at_the_beginning_hesitations_apart():
    assert meaning.commands_in("Um, wait a moment")
    assert meaning.commands_in("No")
    assert not meaning.commands_in("I can wait")


def test_the_agents_own_words_are_an_echo_and_a_choice_among_them_is_not():
    said = "You can fly to Boston, or to Denver. Which one?"
    assert meaning.echoes("fly to boston", said)
    assert not meaning.echoes("to Denver", said)
    assert not meaning.echoes("fly to denver", said)


def test_transcripts_are_compared_by_their_words():
    assert meaning.same_words("Fly to Boston!", "fly to boston")
    assert not meaning.same_words("Fly to Boston", "Fly to Austin")
