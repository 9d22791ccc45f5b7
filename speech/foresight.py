"""When an answer is worth beginning before the turn is over, and when it is thrown away.

It is fed with the words of the turn so far and with times, and has no clock of its own::

    words that may be a turn, silent, unchanged for `stable_s`  → begin to answer them
    other words, or the voice goes on and more is said          → throw that away
    the turn is over with the same words                        → the answer is there
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from attrs import Attribute, define, field, frozen

from bargein.speech.meaning import ENGLISH, Shape, Vocabulary, same_words, shape_of

MAY_BE_TURNS: Final[frozenset[Shape]] = frozenset({"question", "answer", "sentence", "open"})
"""Who is in the middle of a number, or of a clause, goes on most of the time."""


def _positive(_: object, attribute: Attribute[Any], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} has to be more than 0, and is {value!r}")


@frozen(kw_only=True)
class Foresight:
    """How early an answer is begun.

    Attributes:
        stable_s: Words are answered that have not changed for so long, in silence.
        most: So many answers may be begun for one turn; all but one are thrown away.

    Raises:
        ValueError: A bound is not positive.
    """

    stable_s: float = field(default=0.1, validator=_positive)
    most: int = field(default=3, validator=_positive)


@frozen
class Begin:
    """Begin to answer these words, instead of any others."""

    words: str


@frozen
class Drop:
    """Throw away what was begun."""


Step: TypeAlias = Begin | Drop


@define(eq=False)
class Foreseeing:
    """Decides for one session.  Lives as long as it is spoken to.

    Attributes:
        _words: Of the turn so far.
        _since_s: Since when they stand, in silence; None while somebody speaks.
        _begun: The words whose answer was begun.
        _tries: How many were, in this turn.
    """

    _foresight: Foresight
    _vocabulary: Vocabulary = ENGLISH
    _words: str = field(default="", init=False)
    _since_s: float | None = field(default=None, init=False)
    _begun: str | None = field(default=None, init=False)
    _tries: int = field(default=0, init=False)

    def said(self, words: str, now_s: float, *, silent: bool) -> None:
        """Take in the words of the turn so far, and whether nobody speaks."""
        if not same_words(words, self._words):
            self._since_s = None
        self._words = words
        if not silent or not words.strip():
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now_s

    def ended(self) -> None:
        """Take in that the turn was taken: what was begun is its answer, or is thrown away."""
        self._words, self._since_s, self._begun, self._tries = "", None, None, 0

    @property
    def due_s(self) -> float | None:
        """When `decide` has something to say, if nothing else happens; None: never."""
        if self._since_s is None or self._begun is not None or self._tries >= self._foresight.most:
            return None
        if shape_of(self._words, self._vocabulary) not in MAY_BE_TURNS:
            return None
        return self._since_s + self._foresight.stable_s

    def decide(self, now_s: float) -> Step | None:
        """Say what is to be done at *now_s*; None: nothing, until `due_s`."""
        dropped = self._begun is not None and not same_words(self._begun, self._words)
        if dropped:
            self._begun = None
            if not self._words.strip():
                self._tries = 0
        due_s = self.due_s
        if due_s is not None and due_s <= now_s:
            self._begun = self._words
            self._tries += 1
            return Begin(self._words)
        return Drop() if dropped else None
