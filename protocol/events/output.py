"""Events of the output loop: what was said, and what of it was heard."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen
from msgspec import UNSET, UnsetType

from bargein.protocol.ids import ChunkId, UtteranceId

ResponseStatus = Literal["completed", "cancelled", "failed", "refused"]


@frozen(slots=False)
class TtsChunk:
    """Text that is to be spoken; a `claim` has its support on the timeline.

    Attributes:
        start: Where it begins in the turn's text, in code points.
        end: Where it ends there.
        protected: Speech does not interrupt it; an `interrupt` does.
    """

    type: ClassVar[str] = "tts.chunk"
    chunk_id: ChunkId
    text: str
    commitment: Literal["preface", "claim"]
    start: int | UnsetType = UNSET
    end: int | UnsetType = UNSET
    protected: bool | UnsetType = UNSET


@frozen(slots=False)
class PlaybackStart:
    """The client began to play or show the turn, or a chunk of it.

    Attributes:
        words_ms: When each word of the chunk is over, in ms from the chunk's beginning.
    """

    type: ClassVar[str] = "playback.start"
    chunk_id: ChunkId | UnsetType = UNSET
    words_ms: tuple[float, ...] | UnsetType = UNSET


@frozen(slots=False)
class PlaybackProgress:
    """The client played or showed so much: code points of the text, ms of the chunk."""

    type: ClassVar[str] = "playback.progress"
    chars: int | UnsetType = UNSET
    chunk_id: ChunkId | UnsetType = UNSET
    offset_ms: float | UnsetType = UNSET


@frozen(slots=False)
class PlaybackPaused:
    """Output holds, because the user may be interrupting."""

    type: ClassVar[str] = "playback.paused"
    cause: str


@frozen(slots=False)
class PlaybackResumed:
    """Output goes on: it was no interruption.

    Attributes:
        utterances: What was heard, and is not answered.
        waited_ms: From the first sound to the decision.
    """

    type: ClassVar[str] = "playback.resumed"
    cause: str
    utterances: tuple[UtteranceId, ...] | UnsetType = UNSET
    waited_ms: float | UnsetType = UNSET


@frozen(slots=False)
class PlaybackStop:
    """Playing or showing ended here: by the client, or by a cancel."""

    type: ClassVar[str] = "playback.stop"
    by: Literal["client", "cancel", "timeout"]
    chars: int | UnsetType = UNSET
    chunk_id: ChunkId | UnsetType = UNSET
    offset_ms: float | UnsetType = UNSET


@frozen(slots=False)
class ResponseStart:
    """Work on the answer begins."""

    type: ClassVar[str] = "response.start"


@frozen(slots=False)
class ResponseEnd:
    """The answer is over; `text` is all that was generated of it."""

    type: ClassVar[str] = "response.end"
    status: ResponseStatus
    text: str
