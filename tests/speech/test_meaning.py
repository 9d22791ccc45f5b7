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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fly to Boston!", "fly to boston"),
        ("Well, what is it?", "well what is it"),
        ("Wait - I mean Boston", "wait, I mean Boston\u2026"),
        ("Wait \u2014 I mean \u201cBoston\u201d", "wait i mean boston"),
        ("don\u2019t", "Don't"),
        ("50 $", "50$"),
        ("Is it 50 %?", "is it 50%"),
        ("C ++", "c++"),
        ("at \u22125 \u00b0C", "at -5\u00b0c"),
        ("1990\u20132000", "1990\u20132000."),
        ("Caf\u00e9", "cafe\u0301"),
        ("STRASSE", "stra\u00dfe"),
        ("\u0928\u092e\u0938\u094d\u0924\u0947\u0964", "\u0928\u092e\u0938\u094d\u0924\u0947"),
        ("\u4f60\u597d\uff0c\u6ce2\u58eb\u987f\u3002", "\u4f60\u597d \u6ce2\u58eb\u987f"),
        ("\u0645\u0631\u062d\u0628\u0627\u061f", "\u200f\u0645\u0631\u062d\u0628\u0627"),
        ("I \u2764\ufe0f it", "I \u2764 it."),
        ("Good \U0001f44d", "good\U0001f44d!"),
    ],
)
def test_transcripts_that_are_only_written_otherwise_say_the_same(one: str, other: str):
    assert meaning.same_words(one, other)
    assert meaning.same_words(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Fly to Boston", "Fly to Austin"),
        ("Pay 50 $", "Pay 50 \u20ac"),
        ("Pay 50 $", "Pay 50"),
        ("I write C++", "I write C#"),
        ("I write C++", "I write C"),
        ("It is -5", "It is 5"),
        ("It is -$5", "It is $5"),
        ("It is -.5", "It is .5"),
        ("It is .5", "It is 5"),
        ("It is 1,5", "It is 15"),
        ("It is 1,5", "It is 1 5"),
        ("It is 5 - 3", "It is 5 3"),
        ("At 10:30", "At 10 30"),
        ("3/4", "3 4"),
        ("50 %", "50"),
        ("#1", "1"),
        ("Ask @ann", "Ask ann"),
        ("5 + 3", "5 * 3"),
        ("5 < 3", "5 > 3"),
        ("no where", "nowhere"),
        ("Good \U0001f44d", "Good \U0001f44e"),
        ("\U0001f44d", ""),
        ("r\u00e9sum\u00e9", "resume"),
        ("\u0915\u093f", "\u0915\u0940"),  # Hindi: ki, and kii; the vowels are Mc
        ("\u0915\u0941", "\u0915\u0942"),  # ku, and kuu; Mn
        ("\u0e21\u0e32", "\u0e21\u0e49\u0e32"),  # Thai: to come, and a horse; a tone is Mn
        ("\u0e44\u0e21\u0e48", "\u0e44\u0e21\u0e49"),  # not, and wood
        (
            "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
            "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        ),  # flags of England and of Scotland
    ],
)
def test_transcripts_that_differ_in_more_do_not(one: str, other: str):
    assert not meaning.same_words(one, other)
    assert not meaning.same_words(other, one)
