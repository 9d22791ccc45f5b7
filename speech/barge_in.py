"""Speech over the agent: is it an interruption, or only a listener's aside, noise, an echo?

One object for each stretch of such speech.  The agent is paused when it begins; then::

    a word that stops ("wait"), or two that say something  → interrupts, at once
    one word that says something                           → interrupts, a moment later
    "mhm", "right"; the agent's own words; no words at all → resumes, after a short silence,
                                                             or `decide_s` at the latest

Who was resumed is still listened to: words that come later interrupt all the same.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from attrs import define, evolve, field, frozen

from bargein.protocol.ids import UtteranceId
from bargein.speech.meaning import (
    ENGLISH,
    LEAST_ECHO_WORDS,
    MOST_CHARS_WEIGHED,
    Vocabulary,
    begins_aside,
    commands_in,
    content_of,
    echoes,
    is_aside,
)
from bargein.speech.pacing import Pacing
from bargein.speech.turn_taking import Heard

Why = Literal["backchannel", "noise", "echo"]

DOUBTFUL: Final = 0.35
"""Words of less confidence that are not final are taken for noise."""

_ENOUGH_WORDS: Final = 2

MOST_UTTERANCES: Final = 8
"""In one stretch of speech; of the earlier ones it is known that they did not interrupt."""


@frozen
class Interrupts:
    """The user wants the turn.

    Attributes:
        cause: `command` for a word that stops, `words` for others.
        waited_ms: From the first sound to the decision.
    """

    cause: Literal["command", "words"]
    waited_ms: float


@frozen
class Resumes:
    """It was no interruption; the agent goes on where it stopped."""

    cause: Why
    waited_ms: float


Verdict: TypeAlias = Interrupts | Resumes


@define(eq=False)
class BargeIn:
    """Decides one stretch of speech over the agent.

    Attributes:
        _said: What the agent has said so far, to tell an echo and an answer.
        resumed: It was decided once that this is no interruption.
    """

    _began_s: float
    _said: str = ""
    _pacing: Pacing = field(factory=Pacing)
    _vocabulary: Vocabulary = ENGLISH
    resumed: bool = field(default=False, init=False)
    _voices: set[UtteranceId] = field(factory=set[UtteranceId], init=False)
    _heard: dict[UtteranceId, tuple[Heard, float | None]] = field(
        factory=dict[UtteranceId, "tuple[Heard, float | None]"], init=False
    )
    _unworded: dict[UtteranceId, None] = field(factory=dict[UtteranceId, None], init=False)
    _silent_s: float | None = field(default=None, init=False)
    _one_word_s: float | None = field(default=None, init=False)

    def started(self, utterance_id: UtteranceId) -> None:
        """Take in that a voice began."""
        self._voices.add(utterance_id)
        self._silent_s = None
        if utterance_id not in self._heard:
            self._unworded[utterance_id] = None
            if len(self._unworded) > MOST_UTTERANCES:
                del self._unworded[next(iter(self._unworded))]

    def stopped(self, utterance_id: UtteranceId, now_s: float) -> None:
        """Take in that a voice fell silent."""
        self._voices.discard(utterance_id)
        if not self._voices:
            self._silent_s = now_s

    def revised(self, heard: Heard, confidence: float | None, now_s: float) -> None:
        """Take in words; the beginning of an utterance says what it is."""
        heard = evolve(heard, text=heard.text[:MOST_CHARS_WEIGHED])
        self._heard[heard.utterance_id] = (heard, confidence)
        self._unworded.pop(heard.utterance_id, None)
        if len(self._heard) > MOST_UTTERANCES:
            del self._heard[next(iter(self._heard))]
        if self._silent_s is None and not self._voices:
            self._silent_s = now_s  # nobody reports voices here
        one_word = len(self._content()) == 1
        if one_word and self._one_word_s is None:
            self._one_word_s = now_s
        elif not one_word:
            self._one_word_s = None

    @property
    def utterances(self) -> tuple[UtteranceId, ...]:
        """Whose words or voices were heard."""
        return tuple(dict.fromkeys((*self._heard, *self._voices)))

    @property
    def voices(self) -> tuple[UtteranceId, ...]:
        """Who speaks now."""
        return tuple(self._voices)

    @property
    def unworded(self) -> tuple[UtteranceId, ...]:
        """Whose voice was heard, and no words of it: they may still come."""
        return tuple(self._unworded)

    @property
    def asides(self) -> tuple[UtteranceId, ...]:
        """Whose words say nothing by now, or who has said none."""
        return tuple(
            utterance_id
            for utterance_id in self.utterances
            if utterance_id not in self._heard or self.says_nothing(*self._heard[utterance_id])
        )

    def says_nothing(self, heard: Heard, confidence: float | None) -> bool:
        """Whether these words alone are an aside, an echo or noise, as far as they go."""
        if self._is_doubtful(heard, confidence) or self._is_echo(heard):
            return True
        text = heard.text[:MOST_CHARS_WEIGHED]
        if commands_in(text, self._vocabulary):
            return False
        return not self._content_of(text, is_final=heard.final)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it can still interrupt: resumed, silent, and with final words of all.

        A cough never has any; it ends with the turn, or with others who speak.
        """
        return self.resumed and not (self._voices or self._unworded) and self._is_final

    def covers(self, utterance_id: UtteranceId) -> bool:
        """Whether what is said now belongs to this stretch; it may be another's beginning.

        After it was resumed and fell silent, others that speak are to be heard anew.
        """
        if self.is_over:
            return False
        known = utterance_id in self._heard or utterance_id in self._unworded
        return not self.resumed or bool(self._voices) or known

    @property
    def due_s(self) -> float | None:
        """When `decide` has something to say, if nothing else happens; None: never."""
        if self._is_clear:
            return self._began_s
        if self._one_word_s is not None:
            return self._one_word_s + self._pacing.one_word_s
        if self.resumed:
            return None
        latest_s = self._began_s + self._pacing.decide_s
        if self._silent_s is None:
            return latest_s
        return min(latest_s, self._silent_s + self._pacing.silence_s)

    def decide(self, now_s: float) -> Verdict | None:
        """Say what it is, as far as that is known at *now_s*; None: wait until `due_s`."""
        due_s = self.due_s
        if due_s is None or now_s < due_s:
            return None
        waited_ms = round((now_s - self._began_s) * 1000, 1)
        if self._is_clear or self._one_word_s is not None:
            cause = "command" if commands_in(self._text(), self._vocabulary) else "words"
            return Interrupts(cause, waited_ms)
        self.resumed = True
        return Resumes(self._why(), waited_ms)

    @property
    def _is_clear(self) -> bool:
        if commands_in(self._text(), self._vocabulary):
            return True
        content = self._content()
        return len(content) >= _ENOUGH_WORDS or (len(content) == 1 and self._is_final)

    def _content(self) -> tuple[str, ...]:
        return self._content_of(self._text(), is_final=self._is_final)

    def _content_of(self, text: str, *, is_final: bool) -> tuple[str, ...]:
        if self._answers_a_question and text.strip():
            return tuple(text.split())
        content = content_of(text, self._vocabulary)
        begun = not is_final and begins_aside(content, self._vocabulary)
        return () if begun else content

    @property
    def _answers_a_question(self) -> bool:
        return self._said.rstrip().endswith("?")

    def _text(self) -> str:
        return " ".join(
            heard.text
            for heard, confidence in self._heard.values()
            if not (self._is_doubtful(heard, confidence) or self._is_echo(heard))
        )

    def _is_echo(self, heard: Heard) -> bool:
        # The beginning of an echo is one, until it goes on otherwise or is final.
        short = heard.final or commands_in(heard.text, self._vocabulary)
        least = LEAST_ECHO_WORDS if short else 1
        return echoes(heard.text, self._said, least_words=least)

    @property
    def _is_final(self) -> bool:
        return all(heard.final for heard, _ in self._heard.values())

    @staticmethod
    def _is_doubtful(heard: Heard, confidence: float | None) -> bool:
        return confidence is not None and confidence < DOUBTFUL and not heard.final

    def _why(self) -> Why:
        if is_aside(self._text(), self._vocabulary):
            return "backchannel"
        heard = any(echoes(heard.text, self._said) for heard, _ in self._heard.values())
        return "echo" if heard else "noise"
