"""How long turn-taking waits: bounds that an app may set, in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import Attribute, field, frozen

from bargein.speech.meaning import Shape


class PacingInvalid(ValueError):
    """The bounds contradict each other; mend what `reason` names.

    Attributes:
        reason: Which bound is wrong, and why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _positive(_: object, attribute: Attribute[Any], value: float) -> None:
    if not value > 0:
        raise PacingInvalid(f"{attribute.name} has to be more than 0, and is {value!r}")


def _bound(default_s: float) -> Any:
    return field(default=default_s, validator=_positive)


@frozen(kw_only=True)
class Pacing:
    """The bounds of turn-taking; seconds.

    Attributes:
        question_s: Silence after a question, or a short answer, until the turn is over.
        sentence_s: The same after a finished sentence.
        open_s: After words that may be finished.
        number_s: After a number, which may go on.
        unfinished_s: After a clause that is not finished.
        hesitation_s: After a word of hesitation.
        least_s: Less is never waited, however fast the speaker is.
        most_s: More is never waited once the voice is silent and the words are final.
        unfinal_s: Waited beyond that for the recogniser's final words.
        timeout_s: Nothing changed for so long, though the voice is said to go on.
        last_words_s: Waited for final words when the user has said that the turn is over.
        decide_s: Speech over the agent is decided after this at the latest.
        silence_s: Silence after which a voice without words was noise, or an aside was one.
        one_word_s: How long one word may become an aside before it interrupts.

    Raises:
        PacingInvalid: A bound is not positive, or `least_s` is more than `most_s`.
    """

    question_s: float = _bound(0.25)
    sentence_s: float = _bound(0.3)
    open_s: float = _bound(0.65)
    number_s: float = _bound(1.0)
    unfinished_s: float = _bound(1.4)
    hesitation_s: float = _bound(1.8)
    least_s: float = _bound(0.15)
    most_s: float = _bound(2.5)
    unfinal_s: float = _bound(0.4)
    timeout_s: float = _bound(3.0)
    last_words_s: float = _bound(0.3)
    decide_s: float = _bound(1.0)
    silence_s: float = _bound(0.35)
    one_word_s: float = _bound(0.25)

    def __attrs_post_init__(self) -> None:
        if self.least_s > self.most_s:
            raise PacingInvalid("least_s is more than most_s")

    def delay_s(self, shape: Shape) -> float:
        """Return how long silence lasts after words of this shape, for an average speaker."""
        return getattr(self, _DELAYS[shape])


_DELAYS: Final[Mapping[Shape, str]] = {
    "question": "question_s",
    "answer": "question_s",
    "sentence": "sentence_s",
    "open": "open_s",
    "number": "number_s",
    "unfinished": "unfinished_s",
    "hesitation": "hesitation_s",
    "nothing": "timeout_s",
}
