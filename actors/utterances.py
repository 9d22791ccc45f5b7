"""What the input loop knows of utterances: the fold's view, and what is on its way there."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256

from attrs import define, field
from msgspec import UNSET

from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import SendAudio
from bargein.protocol.events import AudioReceived, InputDropped
from bargein.protocol.ids import NOTHING, UtteranceId
from bargein.protocol.state import SessionState
from bargein.protocol.utterances import NO_REVISION
from bargein.speech.barge_in import BargeIn
from bargein.speech.meaning import Vocabulary, is_aside, same_words
from bargein.speech.turn_taking import EndOfTurn, Heard


@define(eq=False)
class KnownUtterance:
    """One utterance, as of the last report that was taken.

    Attributes:
        taken: A turn answers it, or is about to, or could not.
        answered: The words that it answers.
        aside: The words that were no turn; None where they are one, or may be.
        marked: The timeline says of its words that they are none.
        passed: The speech over the agent that it was no part of a turn in, before it had words: it
            knows what the agent had said.
    """

    revision: int = NO_REVISION
    text: str = ""
    speaking: bool = False
    silenced: bool = False
    next_index: int = 0
    taken: bool = False
    answered: str = ""
    aside: str | None = None
    marked: bool = False
    passed: BargeIn | None = None

    @property
    def was_left_out(self) -> bool:
        """Whether it was no turn, so far."""
        return self.aside is not None or self.passed is not None

    @property
    def is_known(self) -> bool:
        """Whether anything was ever heard of it."""
        heard = self.speaking or self.silenced or self.next_index > 0
        return heard or self.revision > NO_REVISION

    def leave_out(self, speech: BargeIn | None) -> None:
        """Note that it is no turn; without words that is still to be seen."""
        if self.text.strip():
            self.aside = self.text
        elif self.passed is None:
            self.passed = speech

    def is_aside(self, heard: Heard, confidence: float | None, vocabulary: Vocabulary) -> bool:
        """Whether the words are still what it was when it was no turn."""
        text = heard.text
        if self.passed is not None:
            return self.passed.says_nothing(heard, confidence)
        if self.aside is None:
            return False
        return is_aside(text, vocabulary) or same_words(text, self.aside)


@define(eq=False)
class KnownUtterances:
    """The latest utterances of a session; older ones are read from its fold."""

    _state: SessionState
    _latest: dict[UtteranceId, KnownUtterance] = field(
        factory=dict[UtteranceId, KnownUtterance], init=False
    )

    def of(self, utterance_id: UtteranceId) -> KnownUtterance:
        """Return what is known of an utterance, which may be nothing."""
        known = self._latest.pop(utterance_id, None) or self._folded(utterance_id)
        self._latest[utterance_id] = known
        return known

    def _folded(self, utterance_id: UtteranceId) -> KnownUtterance:
        stored = self._state.utterances.get(utterance_id)
        if stored is None:
            return KnownUtterance()
        return KnownUtterance(
            stored.revision,
            stored.text,
            stored.speaking,
            stored.silenced,
            stored.next_index,
            stored.turn_id is not None or stored.refused,
            stored.answered,
            stored.text if stored.aside else None,
            stored.aside,
        )

    def forget(self, most: int) -> None:
        """Keep only the latest *most*: the others are on the timeline by now."""
        while len(self._latest) > most:
            del self._latest[next(iter(self._latest))]


def waiting_words(state: SessionState) -> tuple[Heard, ...]:
    """Return the words that were said since the latest turn began, and have none."""
    latest = state.turns.get(state.latest_started) if state.latest_started else None
    since = NOTHING if latest is None or latest.start_seq is None else latest.start_seq
    return tuple(
        Heard(known.utterance_id, known.revision, known.text, known.final)
        for known in state.utterances.values()
        if known.waits and (known.words_seq or NOTHING) > since
    )


def refused_words(spoken: EndOfTurn | None, code: ErrorCode) -> InputDropped | None:
    """Return the event of spoken words that can't be taken; None where they have a turn, or none.

    Without it a restart would answer what the user was told to be refused.
    """
    if spoken is None or spoken.corrects is not None:
        return None
    utterances = tuple(heard.utterance_id for heard in spoken.heard)
    return InputDropped(None, code.value, utterances=utterances)


def audio_event(command: SendAudio, *, gap: bool) -> AudioReceived:
    """Return the event of a chunk: what it was, and not its bytes."""
    sound = b64decode(command.data)
    digest = sha256(sound).hexdigest()
    missing = True if gap else UNSET
    return AudioReceived(
        command.utterance_id, command.index, len(sound), digest, command.format, missing
    )
