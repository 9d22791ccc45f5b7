"""Commands: what a client may ask for, one frozen class for each type.

Commands are flat objects that a person can type.  `id` is optional and chosen
by the client.  Fields that a command does not know are ignored, except in
`configure`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

from attrs import frozen
from msgspec import UNSET, Meta, UnsetType

from bargein.protocol.ids import (
    ActionId,
    ChunkId,
    CommandId,
    ConfirmationId,
    TurnId,
    UtteranceId,
)

WhenBusy = Literal["interrupt", "queue", "steer", "reject", "rollback"]
OnDisconnect = Literal["grace", "cancel", "continue"]
ProjectionName = Literal["transcript", "plan", "actions", "latency", "session"]
Role = Literal["drive", "watch"]

# A bare `$` would let a newline pass; this is read alike by Python and by JSON Schema.
_NAME: Final = Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}(?!\n)$")
Name = Annotated[str, _NAME]
TurnName = Annotated[TurnId, _NAME]
CommandName = Annotated[CommandId, _NAME]
UtteranceName = Annotated[UtteranceId, _NAME]
ChunkName = Annotated[ChunkId, _NAME]
ConfirmationName = Annotated[ConfirmationId, _NAME]
ActionName = Annotated[ActionId, _NAME]
Count = Annotated[int, Meta(ge=0)]
Text = Annotated[str, Meta(max_length=32 * 1024)]
Milliseconds = Annotated[float, Meta(ge=0)]
Budget = Annotated[float, Meta(gt=0)]


@frozen(slots=False)
class Heard:
    """What of the turn was really played or shown, as the client knows it."""

    chunk_id: ChunkName | UnsetType = UNSET
    offset_ms: Milliseconds | UnsetType = UNSET
    chars: Count | UnsetType = UNSET


@frozen(slots=False)
class Budgets:
    """How long a turn should take at most, in ms; what took longer is told on the timeline.

    Attributes:
        first_token_ms: From the words to the first of the answer.
        turn_ms: From the words to the end of the work.
        cancel_ms: From an interrupt to its `cancel.ack`.
    """

    first_token_ms: Budget | None = None
    turn_ms: Budget | None = None
    cancel_ms: Budget | None = None


@frozen(slots=False)
class Say:
    """The user's words, a whole turn.

    Attributes:
        traceparent: The client's span that the turn is part of, as in W3C Trace Context.
    """

    type: ClassVar[str] = "say"
    text: Text = ""
    id: CommandName | None = None
    when_busy: WhenBusy = "interrupt"
    heard: Heard | None = None
    resume: Name | None = None
    traceparent: Text | None = None


@frozen(slots=False)
class Interrupt:
    """Stop the current turn; safe to send blind."""

    type: ClassVar[str] = "interrupt"
    id: CommandName | None = None
    turn_id: TurnName | None = None
    reason: Text | None = None
    heard: Heard | None = None
    queue: Literal["keep", "drop"] = "keep"


@frozen(slots=False)
class StartSpeech:
    """Voice activity began at the client."""

    type: ClassVar[str] = "speech.start"
    utterance_id: UtteranceName
    id: CommandName | None = None


@frozen(slots=False)
class StopSpeech:
    """Voice activity ended at the client."""

    type: ClassVar[str] = "speech.stop"
    utterance_id: UtteranceName
    id: CommandName | None = None


@frozen(slots=False)
class SendAudio:
    """A chunk of input audio, in base64."""

    type: ClassVar[str] = "audio.chunk"
    utterance_id: UtteranceName
    index: Count
    format: Name
    data: str
    id: CommandName | None = None


@frozen(slots=False)
class RevisePartial:
    """A transcript in progress."""

    type: ClassVar[str] = "asr.partial"
    utterance_id: UtteranceName
    revision: Count
    text: Text
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    id: CommandName | None = None


@frozen(slots=False)
class ReviseFinal:
    """The recogniser's last word on an utterance."""

    type: ClassVar[str] = "asr.final"
    utterance_id: UtteranceName
    revision: Count
    text: Text
    confidence: Annotated[float, Meta(ge=0, le=1)] | None = None
    id: CommandName | None = None


@frozen(slots=False)
class EndTurn:
    """The user says: my turn is over."""

    type: ClassVar[str] = "turn.end"
    utterance_id: UtteranceName | None = None
    id: CommandName | None = None


@frozen(slots=False)
class StartPlayback:
    """The client begins to play or show the turn, or a chunk of it.

    Attributes:
        words_ms: When each word of the chunk will be over, in ms from the chunk's beginning.
    """

    type: ClassVar[str] = "playback.start"
    turn_id: TurnName
    chunk_id: ChunkName | None = None
    offset_ms: Milliseconds | None = None
    chars: Count | None = None
    words_ms: Annotated[tuple[Milliseconds, ...], Meta(max_length=256)] | None = None
    id: CommandName | None = None


@frozen(slots=False)
class ReportPlayback:
    """The client played or showed so much: the truth boundary."""

    type: ClassVar[str] = "playback.progress"
    turn_id: TurnName
    chunk_id: ChunkName | None = None
    offset_ms: Milliseconds | None = None
    chars: Count | None = None
    id: CommandName | None = None


@frozen(slots=False)
class StopPlayback:
    """The client stopped playing, at its end or before."""

    type: ClassVar[str] = "playback.stop"
    turn_id: TurnName
    chunk_id: ChunkName | None = None
    offset_ms: Milliseconds | None = None
    chars: Count | None = None
    id: CommandName | None = None


@frozen(slots=False)
class Confirm:
    """Allow a proposed action, or say that one in doubt has happened."""

    type: ClassVar[str] = "confirm"
    confirmation_id: ConfirmationName
    args: dict[str, Any] | None = None
    reason: Text | None = None
    id: CommandName | None = None


@frozen(slots=False)
class Reject:
    """Refuse a proposed action, or say that one in doubt has not happened."""

    type: ClassVar[str] = "reject"
    confirmation_id: ConfirmationName
    reason: Text | None = None
    id: CommandName | None = None


@frozen(slots=False)
class Revert:
    """Compensate a committed action."""

    type: ClassVar[str] = "revert"
    action_id: ActionName
    id: CommandName | None = None


@frozen(slots=False)
class Configure:
    """Change settings of the session; an unknown key is refused.

    Attributes:
        budgets: How long a turn should take at most; replaces all that were set before.
    """

    type: ClassVar[str] = "configure"
    id: CommandName | None = None
    voice: bool | None = None
    on_disconnect: OnDisconnect | None = None
    agent: Name | None = None
    budgets: Budgets | None = None


@frozen(slots=False)
class Ack:
    """Everything up to `seq` has been received."""

    type: ClassVar[str] = "ack"
    seq: Count
    id: CommandName | None = None


@frozen(slots=False)
class History:
    """A page of the timeline after `after`; `limit` is cut to 1000."""

    type: ClassVar[str] = "history"
    after: Count = 0
    limit: Annotated[int, Meta(ge=1)] = 1000
    id: CommandName | None = None


@frozen(slots=False)
class Project:
    """A view computed from the timeline."""

    type: ClassVar[str] = "projection"
    name: ProjectionName
    id: CommandName | None = None


@frozen(slots=False)
class Authenticate:
    """A fresh token for this connection, of the same principal."""

    type: ClassVar[str] = "auth"
    token: str
    id: CommandName | None = None


@frozen(slots=False)
class Ping:
    """For people, and for measuring."""

    type: ClassVar[str] = "ping"
    nonce: Annotated[str, Meta(max_length=256)] | int | None = None
    id: CommandName | None = None


@frozen(slots=False)
class Close:
    """End the session for good."""

    type: ClassVar[str] = "close"
    id: CommandName | None = None


Command: TypeAlias = (
    Say
    | Interrupt
    | StartSpeech
    | StopSpeech
    | SendAudio
    | RevisePartial
    | ReviseFinal
    | EndTurn
    | StartPlayback
    | ReportPlayback
    | StopPlayback
    | Confirm
    | Reject
    | Revert
    | Configure
    | Ack
    | History
    | Project
    | Authenticate
    | Ping
    | Close
)

COMMANDS: Final[dict[str, type[Command]]] = {command.type: command for command in get_args(Command)}

FOR_WATCHERS: Final = (Ping, Ack, Authenticate, History, Project)
"""What a client that only watches may send."""

ASKS: Final = (Interrupt, History, Project)
"""What is answered even without an `id`, because it asked for something."""
