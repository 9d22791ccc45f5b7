"""Events of the input loop: what the user did, until a turn is taken."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import frozen
from msgspec import UNSET, UnsetType

from bargein.protocol.ids import CommandId, TurnId, UtteranceId

HeardBy = Literal["server"]


@frozen(slots=False)
class SpeechStarted:
    """Voice activity began.

    Attributes:
        by: `server` where it heard that itself; else the client said so.
    """

    type: ClassVar[str] = "speech.start"
    utterance_id: UtteranceId
    by: HeardBy | UnsetType = UNSET


@frozen(slots=False)
class SpeechStopped:
    """Voice activity ended.

    Attributes:
        by: `server` where it heard that itself; else the client said so.
    """

    type: ClassVar[str] = "speech.stop"
    utterance_id: UtteranceId
    by: HeardBy | UnsetType = UNSET


@frozen(slots=False)
class AudioReceived:
    """A chunk of input audio: its size in bytes and SHA-256 digest, not its bytes."""

    type: ClassVar[str] = "audio.chunk"
    utterance_id: UtteranceId
    index: int
    bytes: int
    digest: str
    format: str | UnsetType = UNSET
    gap: bool | UnsetType = UNSET


@frozen(slots=False)
class AsrPartial:
    """A transcript in progress; a later revision replaces it.

    Attributes:
        by: `server` where a recogniser of the app's said it; else the client.
        aside: Whether it is no turn but an aside, an echo or noise; left out where it is as before.
    """

    type: ClassVar[str] = "asr.partial"
    utterance_id: UtteranceId
    revision: int
    text: str
    confidence: float | UnsetType = UNSET
    by: HeardBy | UnsetType = UNSET
    aside: bool | UnsetType = UNSET


@frozen(slots=False)
class AsrFinal:
    """The recogniser's last word on an utterance.

    Attributes:
        by: `server` where a recogniser of the app's said it; else the client.
        aside: Whether it is no turn but an aside, an echo or noise; left out where it is as before.
    """

    type: ClassVar[str] = "asr.final"
    utterance_id: UtteranceId
    revision: int
    text: str
    confidence: float | UnsetType = UNSET
    by: HeardBy | UnsetType = UNSET
    aside: bool | UnsetType = UNSET


@frozen(slots=False)
class SpokenInput:
    """Spoken words that a turn answers: the utterance, and which revision of it."""

    utterance_id: UtteranceId
    revision: int


@frozen(slots=False)
class InputText:
    """The user's typed words, as they came.

    Attributes:
        queued: The words wait for the running turn; their own has not begun.
        interrupted: The turn that these words cut short.
        continues: A failed turn that these words take up again, when their turn comes.
        steered: The running turn took the words in; they have no turn of their own.
        traceparent: The client's span that the turn is part of, as in W3C Trace Context.
        utterances: The transcripts that the words were put together from, where they were spoken.
    """

    type: ClassVar[str] = "input.text"
    text: str
    command_id: CommandId | None = None
    queued: bool | UnsetType = UNSET
    interrupted: TurnId | UnsetType = UNSET
    steered: bool | UnsetType = UNSET
    continues: TurnId | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    utterances: tuple[SpokenInput, ...] | UnsetType = UNSET


@frozen(slots=False)
class InputDropped:
    """Words that were acknowledged will not be answered.

    Attributes:
        continues: A pre-empted turn that does not go on; the event is then of no turn.
        utterances: Spoken words that were refused before they had a turn; then it is of none.
    """

    type: ClassVar[str] = "input.dropped"
    command_id: CommandId | None
    reason: str
    continues: TurnId | UnsetType = UNSET
    utterances: tuple[UtteranceId, ...] | UnsetType = UNSET


@frozen(slots=False)
class TurnStart:
    """The turn has the response slot.

    Attributes:
        input: The words that it answers.
        replaces: A cancelled turn that was rolled back for this one.
        continues: A failed or pre-empted turn that this one takes up again.
        utterances: The transcripts that `input` was put together from, where it was spoken.
        corrects: A turn whose words the recogniser revised; this one answers what was really said.
    """

    type: ClassVar[str] = "turn.start"
    input: str
    replaces: TurnId | UnsetType = UNSET
    continues: TurnId | UnsetType = UNSET
    utterances: tuple[SpokenInput, ...] | UnsetType = UNSET
    corrects: TurnId | UnsetType = UNSET


@frozen(slots=False)
class TurnEnd:
    """The user's words of this turn are final; everything after answers them.

    Attributes:
        by: What decided it.
        waited_ms: From the end of the words to the decision.
        details: What the decision weighed, where it weighed anything.
    """

    type: ClassVar[str] = "turn.end"
    by: Literal["text", "endpoint", "explicit", "timeout"]
    waited_ms: float = 0.0
    details: dict[str, Any] | UnsetType = UNSET
