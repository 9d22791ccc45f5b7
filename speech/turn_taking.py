"""Whose turn it is: when the user has finished, from voice, silence and what was said.

It is fed with events and times and has no clock of its own.  After each event, and when
`due_s` is reached, `decide` says whether the turn is over::

    words, voice silent    → over when the silence is as long as the words' shape asks for,
                             shorter or longer with the pauses that this speaker makes
    words, voice goes on   → over when nothing has changed for `timeout_s`
    the user says so       → over at once, or when the recogniser has caught up
"""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import define, field, frozen

from bargein.protocol.ids import TurnId, UtteranceId
from bargein.speech.meaning import ENGLISH, Vocabulary, same_words, shape_of
from bargein.speech.pacing import Pacing

EndedBy = Literal["endpoint", "explicit", "timeout"]

NORMAL_PAUSE_S: Final = 0.45
"""Within a turn, of a speaker for whom the delays are right as they are."""

LEAST_PACE: Final = 0.7
MOST_PACE: Final = 1.8

SHORTEST_PAUSE_S: Final = 0.12
"""What is shorter is a plosive, and no pause."""

CUT_OFF_S: Final = 1.2
"""Whoever speaks again so soon after the end of their turn had not finished it."""

LOST_VOICE_S: Final = 30.0
"""A voice that says nothing for so long is a client's that has gone, or a fan."""

MOST_TURN_CHARS: Final = 32 * 1024
"""As many as words that are typed may have."""

MOST_TURN_UTTERANCES: Final = 64

_LEARNS: Final = 0.35
_LEARNS_FROM_CUT: Final = 0.6
_FORGETS: Final = 0.05


@frozen
class Heard:
    """The latest words of one utterance."""

    utterance_id: UtteranceId
    revision: int
    text: str
    final: bool


@frozen
class EndOfTurn:
    """The user's turn is over.

    Attributes:
        by: What decided it.
        waited_ms: From the end of the words to the decision.
        text: The words of all utterances of the turn.
        heard: Which these were.
        details: What was weighed, for people.
        corrects: A turn whose words these are, as they were really said.
    """

    by: EndedBy
    waited_ms: float
    text: str
    heard: tuple[Heard, ...]
    details: dict[str, Any]
    corrects: TurnId | None = None


@define(eq=False)
class TurnTaking:
    """Decides when the user has finished.  Lives as long as the session is spoken to.

    Attributes:
        _typical_pause_s: How long this speaker's pauses within a turn are.
        _quiet_s: Since when it is silent; None while somebody speaks.
        _changed_s: When something was last heard.
    """

    _pacing: Pacing = field(factory=Pacing)
    _vocabulary: Vocabulary = ENGLISH
    _typical_pause_s: float = field(default=NORMAL_PAUSE_S, init=False)
    _heard: dict[UtteranceId, Heard] = field(factory=dict[UtteranceId, Heard], init=False)
    _voices: set[UtteranceId] = field(factory=set[UtteranceId], init=False)
    _quiet_s: float | None = field(default=None, init=False)
    _changed_s: float | None = field(default=None, init=False)
    _began_s: float | None = field(default=None, init=False)
    _asked_s: float | None = field(default=None, init=False)
    _completeness: float | None = field(default=None, init=False)
    _ended_quiet_s: float | None = field(default=None, init=False)
    _ended_s: float | None = field(default=None, init=False)

    @property
    def pace(self) -> float:
        """How slow the speaker is: 1 is average; delays are multiplied by it."""
        return min(MOST_PACE, max(LEAST_PACE, self._typical_pause_s / NORMAL_PAUSE_S))

    @property
    def text(self) -> str:
        """The words of the turn so far."""
        return " ".join(said for heard in self._heard.values() if (said := heard.text.strip()))

    @property
    def heard(self) -> tuple[Heard, ...]:
        """The latest words of each utterance of the turn so far."""
        return tuple(self._heard.values())

    def takes(self, utterance_id: UtteranceId, text: str = "") -> bool:
        """Whether one turn still has room for these words, or for a voice without any."""
        if utterance_id not in self._heard and utterance_id not in self._voices:
            known = self._heard.keys() | self._voices
            if len(known) >= MOST_TURN_UTTERANCES:
                return False
        others = (len(h.text) for h in self._heard.values() if h.utterance_id != utterance_id)
        return len(text) + sum(others) <= MOST_TURN_CHARS

    @property
    def has_floor(self) -> bool:
        """Whether the user speaks, or has spoken and not been answered."""
        return bool(self._heard or self._voices)

    @property
    def is_silent(self) -> bool:
        """Whether nobody speaks, as far as is known."""
        return not self._voices

    @property
    def is_stated(self) -> bool:
        """Whether there are words of which the user has said that they end the turn."""
        return self._asked_s is not None and bool(self.text)

    def holds_floor(self, now_s: float) -> bool:
        """Whether others wait for the user: not for long where a voice never becomes words."""
        if self._heard or not self._voices or self._began_s is None:
            return self.has_floor
        return now_s < self._began_s + self._pacing.timeout_s

    # --- what happens ---------------------------------------------------------------

    def started(self, utterance_id: UtteranceId, now_s: float) -> None:
        """Take in that a voice began."""
        self._resumed(now_s)
        self._voices.add(utterance_id)
        self._began_s = now_s
        self._asked_s = None
        self._quiet_s = None
        self._changed_s = now_s

    def stopped(self, utterance_id: UtteranceId, now_s: float) -> None:
        """Take in that a voice fell silent."""
        self._voices.discard(utterance_id)
        if not self._voices:
            self._quiet_s = now_s
        self._changed_s = now_s

    def revised(self, heard: Heard, now_s: float) -> None:
        """Take in words; they replace what was known of their utterance."""
        known = self._heard.get(heard.utterance_id)
        is_new = known is None or not same_words(known.text, heard.text)
        self._heard[heard.utterance_id] = heard
        if is_new:
            self._completeness = None
            if not self._voices and known is None and heard.utterance_id not in self._voices:
                self._quiet_s = self._quiet_s if self._quiet_s is not None else now_s
            elif not self._voices and self._told_by_words_alone(now_s):
                self._resumed(now_s)
                self._quiet_s = now_s
        if is_new or heard.final:
            self._changed_s = now_s

    def _told_by_words_alone(self, now_s: float) -> bool:
        # Words that come long after the voice fell silent were spoken since.
        return self._quiet_s is not None and now_s - self._quiet_s > self._pacing.unfinal_s

    def weighed(self, completeness: float) -> None:
        """Take in how complete the present words are, from 0 to 1, as somebody else judges it."""
        self._completeness = min(1.0, max(0.0, completeness))

    def end_asked(self, now_s: float) -> None:
        """Take in that the user says: my turn is over; saying so again changes nothing."""
        if self._asked_s is None:
            self._asked_s = now_s

    def left_out(self, utterance_id: UtteranceId) -> None:
        """Forget an utterance that is no part of a turn: an aside, or noise."""
        self._heard.pop(utterance_id, None)
        self._voices.discard(utterance_id)
        if not self.has_floor:
            self._forget()

    def _resumed(self, now_s: float) -> None:
        """Learn from a pause that was none of the end."""
        if self._heard and self._quiet_s is not None:
            self._learn(now_s - self._quiet_s, _LEARNS)
        elif self._ended_s is not None and self._ended_quiet_s is not None:
            if now_s - self._ended_s < CUT_OFF_S:
                self._learn(now_s - self._ended_quiet_s, _LEARNS_FROM_CUT)
            self._ended_s = None

    def _learn(self, pause_s: float, weight: float) -> None:
        if SHORTEST_PAUSE_S <= pause_s <= self._pacing.most_s:
            self._typical_pause_s += weight * (pause_s - self._typical_pause_s)

    # --- the decision ----------------------------------------------------------------

    @property
    def due_s(self) -> float | None:
        """When `decide` has something to say, if nothing else happens; None: never."""
        if not self.has_floor or self._changed_s is None:
            return None
        if self._asked_s is not None:
            settled = all(heard.final for heard in self._heard.values()) and bool(self._heard)
            wait_s = self._pacing.last_words_s if self._heard else self._pacing.timeout_s
            return self._asked_s if settled else self._asked_s + wait_s
        if self._voices or self._quiet_s is None:
            patience_s = self._pacing.timeout_s
            if self._heard and self._is_final:
                # A final transcript of a voice that nobody said has stopped.
                patience_s = min(patience_s, 1.0 + self.delay_s)
            return self._changed_s + patience_s
        return self._quiet_s + self.delay_s + (0.0 if self._is_final else self._pacing.unfinal_s)

    @property
    def _is_final(self) -> bool:
        return all(heard.final for heard in self._heard.values())

    @property
    def delay_s(self) -> float:
        """How long the silence after the present words has to be."""
        pacing = self._pacing
        wanted_s = pacing.delay_s(shape_of(self.text, self._vocabulary))
        if self._completeness is not None and self._heard:
            span_s = pacing.unfinished_s - pacing.question_s
            wanted_s = (wanted_s + pacing.unfinished_s - self._completeness * span_s) / 2
        return min(pacing.most_s, max(pacing.least_s, wanted_s * self.pace))

    def decide(self, now_s: float) -> EndOfTurn | None:
        """Say whether the turn is over at *now_s*; what never became words is forgotten."""
        due_s = self.due_s
        if due_s is None or now_s < due_s:
            return None
        if not self.text:
            self._heard.clear()
            lost = self._began_s is not None and now_s - self._began_s >= LOST_VOICE_S
            if self._asked_s is not None or not self._voices or lost:
                self._forget()
            else:
                self._changed_s = now_s  # a voice without words goes on
            return None
        ended = self._ended(now_s)
        self._typical_pause_s += _FORGETS * (NORMAL_PAUSE_S - self._typical_pause_s)
        quiet_s = self._quiet_s if self._quiet_s is not None else now_s
        self._forget()
        self._ended_s, self._ended_quiet_s = now_s, quiet_s
        return ended

    def _ended(self, now_s: float) -> EndOfTurn:
        by: EndedBy = "endpoint"
        since_s = self._quiet_s
        if self._asked_s is not None:
            by = "explicit"
        elif self._voices or since_s is None:
            by, since_s = "timeout", self._changed_s
        waited_s = now_s - since_s if since_s is not None else 0.0
        details: dict[str, Any] = {
            "shape": shape_of(self.text, self._vocabulary),
            "delay_ms": round(self.delay_s * 1000, 1),
            "pace": round(self.pace, 2),
            "final": self._is_final,
        }
        if self._completeness is not None:
            details["completeness"] = self._completeness
        heard = tuple(heard for heard in self._heard.values() if heard.text.strip())
        return EndOfTurn(by, round(max(0.0, waited_s) * 1000, 1), self.text, heard, details)

    def _forget(self) -> None:
        self._heard.clear()
        self._voices.clear()
        self._quiet_s = self._changed_s = self._asked_s = self._completeness = None
