"""What an answer is cut into for speech, however it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.speech.chunking import MOST_CHARS, Chunking, Piece
from bargein.speech.commitment import is_claim

CORPUS: dict[str, list[str]] = {
    "Sure. Let me look.": ["Sure.", "Let me look."],
    "Really? Yes! Of course.": ["Really?", "Yes!", "Of course."],
    "It is worth $1,234.50 now. Good.": ["It is worth $1,234.50 now.", "Good."],
    "It grew 3.5 percent. It fell .5 later.": ["It grew 3.5 percent.", "It fell .5 later."],
    "Dr. Smith and Mr. A. B. Jones met.": ["Dr. Smith and Mr. A. B. Jones met."],
    "Some, e.g. stocks, i.e. loans, fell.": ["Some, e.g. stocks,", "i.e. loans, fell."],
    "We meet at 3 p.m. tomorrow. Bye.": ["We meet at 3 p.m. tomorrow.", "Bye."],
    "We meet at 3 p.m. Then we go.": ["We meet at 3 p.m.", "Then we go."],
    "It was sold on Nov. 21, 2026. Done.": ["It was sold on Nov. 21, 2026.", "Done."],
    "No. I don't. See no. 5 there.": ["No.", "I don't.", "See no. 5 there."],
    "So do I. You too.": ["So do I.", "You too."],
    'He said "Stop." Then he left.': ['He said "Stop."', "Then he left."],
    "Wait\u2026 It is here.": ["Wait\u2026", "It is here."],
    "First part\n\nSecond part": ["First part", "Second part"],
    "Two things:\n1. Apples cost 2.50.\n2. Pears.": [
        "Two things:",
        "1. Apples cost 2.50.",
        "2. Pears.",
    ],
    "Well, in that case I would like to look at it again, if you do not mind.": [
        "Well, in that case I would like to look at it again,",
        "if you do not mind.",
    ],
    "On November 21, 2026, the board met in a room that was too small for it.": [
        "On November 21, 2026,",
        "the board met in a room that was too small for it.",
    ],
    "Acme Inc. rose. Acme Inc. and others fell.": ["Acme Inc. rose.", "Acme Inc. and others fell."],
    "It cost 1,000,000 euros, roughly, in the year of the great flood.": [
        "It cost 1,000,000 euros,",
        "roughly, in the year of the great flood.",
    ],
    "**Bold.** Then *soft*.": ["**Bold.**", "Then *soft*."],
    "": [],
    " \n ... \n": [],
}


def chunks(text: str, step: int) -> list[Piece]:
    chunking = Chunking()
    pieces = [
        piece for at in range(0, len(text), step) for piece in chunking.feed(text[at : at + step])
    ]
    return pieces + chunking.flush()


@pytest.mark.parametrize("step", [1, 4, 1000])
@pytest.mark.parametrize("text", CORPUS)
def test_an_answer_is_cut_where_a_person_would_breathe(text: str, step: int):
    assert [piece.text for piece in chunks(text, step)] == CORPUS[text]


def test_a_sentence_is_out_as_soon_as_it_is_finished():
    chunking = Chunking()
    assert chunking.feed("Let me look") == []
    assert chunking.feed(". ") == [Piece("Let me look.", 0, 12)]


def test_a_sentence_without_end_is_cut_between_words_and_not_in_a_number():
    text = ("word " * 43) + "costs $12 and " + "word " * 60
    pieces = chunks(text, 3)
    assert all(len(piece.text) <= MOST_CHARS for piece in pieces)
    assert len(pieces) > 1
    assert not any(piece.text.endswith("$12") for piece in pieces)


@given(
    st.text(alphabet=st.sampled_from("aB1.,!? \n-$\u2026\u2014'\""), max_size=400),
    st.integers(1, 50),
)
def test_nothing_is_lost_and_each_chunk_says_where_it_stands(text: str, step: int):
    end = 0
    spoken = ""
    for piece in chunks(text, step):
        assert not any(char.isalnum() for char in text[end : piece.start])
        assert text[piece.start : piece.end] == piece.text
        end = piece.end
        spoken += piece.text
    assert [c for c in spoken if c.isalnum()] == [c for c in text if c.isalnum()]


@pytest.mark.parametrize(
    "text",
    [
        "Sure, let me look that up for you.",
        "One moment.",
        "Of course!",
        "I'll check your account now.",
        "Which fund do you mean?",
        "Happy to help with that.",
        "Hello there.",
    ],
)
def test_what_only_fills_the_time_is_no_claim(text: str):
    assert not is_claim(text)


@pytest.mark.parametrize(
    "text",
    [
        "Your balance is lower than before.",
        "It costs 12 euros.",
        "That is three percent.",
        "It's due on Monday.",
        "There are several of them.",
        "I've booked the table for you.",
        "The order has been shipped.",
    ],
)
def test_figures_dates_and_how_things_are_are_claims(text: str):
    assert is_claim(text)
