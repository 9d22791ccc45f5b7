"""Tells words that commit to something from those that only fill the time until one can."""

from __future__ import annotations

import re
from typing import Final

from bargein.speech.meaning import words_of

_SPECIFIC: Final = re.compile(r"\d|%|[$\u20ac\u00a3\u00a5]")
_LONGEST_OPENING_WORDS: Final = 3

_NUMBER_WORDS: Final = frozenset(
    words_of(
        "two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty "
        "sixty seventy eighty ninety hundred thousand million billion percent dollars euros pounds "
        "january february april june july august september october november december monday "
        "tuesday wednesday thursday friday saturday sunday tomorrow yesterday noon midnight"
    )
)
_ASSERTS: Final = re.compile(
    r"\b(?:i(?:'ve| have)(?: just| already)? \w+(?:ed|t|nt|ne|nd|ld|de)\b"
    r"|(?:has|have) been|was|were"
    r"|(?:your|the|his|her|its|their|our) [\w' -]{1,60}? (?:is|are|has|have)"
    r"|there (?:is|are)|there's|it(?: is|'s)|they(?: are|'re)|you have|you've|done)\b",
    re.IGNORECASE,
)
_INTENDS: Final = re.compile(
    r"\b(?:let me|i'll|i will|i'm going to|i am going to|i'm (?:looking|checking|fetching)|"
    r"one moment|just a (?:moment|second)|bear with me|hold on|give me a)\b",
    re.IGNORECASE,
)


def is_claim(text: str) -> bool:
    """Whether *text* commits to facts: figures, dates, how things are, what has been done.

    A question, an acknowledgement or an intention ("Sure, let me look that up.") does not.
    """
    if _SPECIFIC.search(text):
        return True
    words = words_of(text)
    if any(word in _NUMBER_WORDS for word in words):
        return True
    if text.rstrip().endswith("?") or len(words) <= _LONGEST_OPENING_WORDS:
        return False
    return not _INTENDS.search(text) and bool(_ASSERTS.search(text))
