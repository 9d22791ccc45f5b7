"""What words alone say of a turn: is it over, is it an aside, is it the agent's own voice.

Pure functions over a vocabulary.  The one here is English; another language brings its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, Literal
from unicodedata import normalize

from attrs import frozen

Shape = Literal[
    "nothing", "hesitation", "unfinished", "number", "open", "sentence", "question", "answer"
]
"""How far words look finished, from not at all to quite."""

LEAST_ECHO_WORDS: Final = 3
"""Fewer words that the agent has just said may be the user's choice among them."""

MOST_ASIDE_WORDS: Final = 4
MOST_ASIDE_CHARS: Final = 200

MOST_CHARS_WEIGHED: Final = 600
"""Of a turn's end, and of what is said over the agent: more says nothing new, and has its price."""

MOST_CHARS_COMPARED: Final = 4096
"""Longer transcripts say the same only if they are the same."""

_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019.-][^\W_]+)*")
_TRAILS_OFF: Final = ("...", "\u2026", "-", "\u2013", "\u2014")
_GOES_ON: Final = (",", ";", ":")
_LEAST_QUESTION_WORDS: Final = 3

_STOPS: Final = (
    r';!?\u2026\u00a1\u00bf"()\[\]{}\u2018\u201a-\u201f\u00ab\u00bb\u2039\u203a\u2010\u2012\u2014\u2015'
    r"\u3001\u3002\uff01\uff08\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\u3008-\u3011\uff61-\uff64\u30fb"
    r"\u060c\u061b\u061f\u06d4\u0964\u0965\u0589\u055c-\u055e\u1361-\u1367\u104a\u104b\u17d4-\u17d6"
)
"""What ends clauses or quotes, in the scripts that have such; a mark that is not here counts."""

_INVISIBLE: Final = re.compile(
    r"[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe0e\ufe0f\ufeff]"
)
_MINUS: Final = re.compile(r"(?<!\w)[-\u2013](?=[^\w\s]?\d)|(?<=\d )[-\u2013](?= \d)")
_PUNCTUATION: Final = re.compile(
    rf"[{_STOPS}]"
    r"|(?<!\w)['-]|['.-](?!\w)"  # within a word they are part of it
    r"|(?<!\w)\.(?!\d)|(?<=[.,;:!?])\."  # ".5" is a number, and "so...5" is not
    r"|(?<!\d)[,:\u2013]|[,:\u2013](?!\d)"
)
_SPACED: Final = re.compile(r" ?([^\w\s]) ?")


@frozen
class Vocabulary:
    """The words of one language that say something about turns, in lower case.

    Attributes:
        asides: What a listener says without wanting the turn; phrases of one to three words.
        hesitations: What a speaker says who has not finished.
        connectives: Words with which no clause ends.
        commands: Words that stop the agent, wherever they stand at the beginning.
        questions: Words with which a question begins.
        answers: Short words that are a whole turn.
        digits: Number words, for those who dictate.
    """

    asides: frozenset[str]
    hesitations: frozenset[str]
    connectives: frozenset[str]
    commands: frozenset[str]
    questions: frozenset[str]
    answers: frozenset[str]
    digits: frozenset[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH: Final = Vocabulary(
    asides=_words(
        "mhm mm mmm mm-hmm mmhmm hm hmm uh-huh uhhuh yeah yep yup yes right ok okay sure great "
        "cool nice really wow ah oh aha exactly alright totally true good fine interesting"
    )
    | {
        "i see",
        "got it",
        "of course",
        "makes sense",
        "go on",
        "all right",
        "no way",
        "sounds good",
    },
    hesitations=_words("um uh erm er ehm uhm hmm hm well so like")
    | {"let me see", "let me think", "you know", "i mean", "kind of", "sort of"},
    connectives=_words(
        "and or but because if when while that which who whose the a an my your his her our their "
        "its this these to of for in on at with from by about than as into between is are was were "
        "am be been i we they he she i'm i'd i'll we'd want would could should can will need maybe "
        "also then except unless until before after not very really just only please"
    ),
    commands=_words("stop wait hold no nope actually cancel pause sorry quiet enough"),
    questions=_words(
        "what when where who whose which why how is are was were do does did can could will would "
        "should may have has shall"
    ),
    answers=_words("yes no yeah nope yep okay ok sure thanks please correct stop cancel exactly")
    | {"thank you", "that's all", "that's it", "of course", "go ahead", "never mind"},
    digits=_words(
        "zero oh one two three four five six seven eight nine ten eleven twelve twenty thirty "
        "forty fifty hundred double triple"
    ),
)


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of *text* in lower case, without punctuation."""
    return tuple(word.lower().replace("\u2019", "'") for word in _WORD.findall(text))


def same_words(one: str, other: str) -> bool:
    """Whether two transcripts say the same; case, stops and spaces around marks do not matter.

    Whatever else differs may be what matters: a sign of a number, a currency, an emoji, an accent.
    """
    if one == other or max(len(one), len(other)) > MOST_CHARS_COMPARED:
        return one == other
    return _said_in(one) == _said_in(other)


def shape_of(text: str, vocabulary: Vocabulary = ENGLISH) -> Shape:
    """Return how finished *text* looks."""
    text = text.rstrip()[-MOST_CHARS_WEIGHED:]
    words = words_of(text)
    if not words:
        return "nothing"
    if text.endswith("?"):
        return "question"
    ends = {words[-1], " ".join(words[-2:]), " ".join(words[-3:])}
    if text.endswith(_TRAILS_OFF) or ends & vocabulary.hesitations:
        return "hesitation"
    phrase = " ".join(words)
    if phrase in vocabulary.answers:
        return "answer"
    if text.endswith(_GOES_ON) or words[-1] in vocabulary.connectives:
        return "unfinished"
    if words[-1].isdigit() or words[-1] in vocabulary.digits:
        return "number"
    if words[0] in vocabulary.questions and len(words) >= _LEAST_QUESTION_WORDS:
        return "question"
    return "sentence" if text.endswith((".", "!")) else "open"


def is_aside(text: str, vocabulary: Vocabulary = ENGLISH) -> bool:
    """Whether *text* is what a listener says who does not want the turn."""
    words = words_of(text) if len(text) <= MOST_ASIDE_CHARS else ()
    if len(words) > MOST_ASIDE_WORDS:
        return False
    return bool(words) and not _without_phrases(words, vocabulary.asides | vocabulary.hesitations)


def content_of(text: str, vocabulary: Vocabulary = ENGLISH) -> tuple[str, ...]:
    """Return the words of *text* that say something: no asides, no hesitations."""
    return _without_phrases(words_of(text), vocabulary.asides | vocabulary.hesitations)


def commands_in(text: str, vocabulary: Vocabulary = ENGLISH) -> bool:
    """Whether *text* begins with a word that stops whoever speaks."""
    words = tuple(word for word in words_of(text) if word not in vocabulary.hesitations)
    return bool(words) and words[0] in vocabulary.commands


def begins_aside(words: Sequence[str], vocabulary: Vocabulary = ENGLISH) -> bool:
    """Whether *words* may become an aside with the next one: "got", "I"."""
    begun = " ".join(words) + " "
    return any(aside.startswith(begun) for aside in vocabulary.asides)


def echoes(text: str, said: str, *, least_words: int = LEAST_ECHO_WORDS) -> bool:
    """Whether *text* is a run of the words in *said*: the agent hears itself."""
    words, spoken = words_of(text), words_of(said)
    size = len(words)
    if size < least_words:
        return False
    return any(spoken[at : at + size] == words for at in range(len(spoken) - size + 1))


def _said_in(text: str) -> str:
    folded = normalize("NFC", normalize("NFC", text).casefold()).replace("\u2019", "'")
    signed = _MINUS.sub("\u2212", " ".join(_INVISIBLE.sub("", folded).split()))
    words = " ".join(_PUNCTUATION.sub(" ", signed).split())
    # "50 $" is "50$"; a combining mark is no letter to `re`, and its word stays whole.
    return _SPACED.sub(r"\1", words)


def _without_phrases(words: Sequence[str], phrases: Collection[str]) -> tuple[str, ...]:
    left: list[str] = []
    at = 0
    while at < len(words):
        size = next((n for n in (3, 2, 1) if " ".join(words[at : at + n]) in phrases), 0)
        if not size:
            left.append(words[at])
        at += size or 1
    return tuple(left)
