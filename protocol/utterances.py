"""What the user said aloud, as the fold knows it: utterances, and what became of each."""

from __future__ import annotations

from typing import Final

from attrs import define

from bargein.protocol.events import (
    AsrFinal,
    AsrPartial,
    AudioReceived,
    InputDropped,
    InputText,
    Payload,
    PlaybackResumed,
    SpeechStarted,
    SpeechStopped,
    SpokenInput,
    TurnStart,
)
from bargein.protocol.ids import Seq, TurnId, UtteranceId

NO_REVISION: Final = -1
"""Any revision that a recogniser sends is newer."""


@define(slots=True)
class Utterance:
    """One stretch of speech.

    Attributes:
        text: What the latest revision says.
        speaking: The voice is on, as far as the client said.
        silenced: The voice was on, and is over.
        next_index: Which chunk of audio comes next.
        words_seq: Where the latest transcript stands.
        turn_id: The turn that answers it; None while there is none.
        answered: The words that this turn answered, in the revision that it knew.
        aside: It was no turn: an aside, an echo, or noise.
        refused: It was to be a turn, and could not be taken.
    """

    utterance_id: UtteranceId
    text: str = ""
    revision: int = NO_REVISION
    final: bool = False
    speaking: bool = False
    silenced: bool = False
    next_index: int = 0
    words_seq: Seq | None = None
    turn_id: TurnId | None = None
    answered: str = ""
    aside: bool = False
    refused: bool = False

    @property
    def waits(self) -> bool:
        """Whether there are words that no turn answers."""
        is_over = self.turn_id is not None or self.aside or self.refused
        return bool(self.text.strip()) and not is_over


Utterances = dict[UtteranceId, Utterance]


def note_speech(
    utterances: Utterances,
    seq: Seq,
    payload: SpeechStarted | SpeechStopped | AudioReceived | AsrPartial | AsrFinal,
) -> None:
    """Take in an event of the input loop."""
    known = utterances.get(payload.utterance_id)
    if known is None:
        known = utterances[payload.utterance_id] = Utterance(payload.utterance_id)
    match payload:
        case SpeechStarted():
            known.speaking, known.silenced = True, False
        case SpeechStopped():
            known.speaking, known.silenced = False, True
        case AudioReceived():
            known.next_index = payload.index + 1
        case AsrPartial() | AsrFinal():
            known.text, known.revision = payload.text, payload.revision
            known.final = isinstance(payload, AsrFinal)
            known.words_seq = seq
            if isinstance(payload.aside, bool):
                known.aside = payload.aside


def note_answered(
    utterances: Utterances, turn_id: TurnId, words: str, said: tuple[SpokenInput, ...]
) -> None:
    """Take in that a turn answers what was *said*, now or when its time comes."""
    for spoken in said:
        if (known := utterances.get(spoken.utterance_id)) is not None:
            if spoken.revision == known.revision:
                known.answered = known.text
            elif len(said) == 1:
                known.answered = words  # it has been understood otherwise since
            known.turn_id, known.aside = turn_id, False


def note_asides(utterances: Utterances, payload: PlaybackResumed) -> None:
    """Take in what was no interruption."""
    for utterance_id in payload.utterances or ():
        if (known := utterances.get(utterance_id)) is not None:
            known.aside = True


def note_refused(utterances: Utterances, payload: InputDropped) -> None:
    """Take in what no turn will answer."""
    for utterance_id in payload.utterances or ():
        if (known := utterances.get(utterance_id)) is not None:
            known.refused = True


def words_seq(utterances: Utterances, start: TurnStart) -> Seq | None:
    """Return where the last of the transcripts stands that a turn answers."""
    spoken = (utterances.get(spoken.utterance_id) for spoken in start.utterances or ())
    return max((known.words_seq for known in spoken if known and known.words_seq), default=None)


OF_SPEECH: Final = frozenset(
    {
        SpeechStarted,
        SpeechStopped,
        AudioReceived,
        AsrPartial,
        AsrFinal,
        PlaybackResumed,
        InputDropped,
        InputText,
        TurnStart,
    }
)
"""Events that say something of utterances."""


def follow_speech(
    utterances: Utterances, seq: Seq, turn_id: TurnId | None, payload: Payload
) -> None:
    """Take in the event at *seq*, whatever it is."""
    match payload:
        case TurnStart() if turn_id is not None:
            note_answered(utterances, turn_id, payload.input, payload.utterances or ())
        case InputText() if turn_id is not None:
            note_answered(utterances, turn_id, payload.text, payload.utterances or ())
        case PlaybackResumed():
            note_asides(utterances, payload)
        case InputDropped():
            note_refused(utterances, payload)
        case SpeechStarted() | SpeechStopped() | AudioReceived() | AsrPartial() | AsrFinal():
            note_speech(utterances, seq, payload)
        case _:
            pass
