"""Timeline events: the facts of a session, one frozen class for each type.

A payload class says its wire name in `type`.  `Payload` is the closed union of
all of them, `PAYLOADS` the registry from wire name to class.  A type that this
version does not know (a newer one wrote it) is read as `Unknown`, so that a
new type breaks no reader.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, get_args

from attrs import field, frozen

from bargein.protocol.events.action import (
    ActionCommitted,
    ActionCommitting,
    ActionConfirmed,
    ActionExpired,
    ActionFailed,
    ActionInDoubt,
    ActionProposed,
    ActionRejected,
    ActionReverted,
    ActionRevertFailed,
    ActionReverting,
)
from bargein.protocol.events.cancellation import (
    CancelAck,
    CancelledBy,
    CancelRequested,
    CancelStage,
    InFlight,
    StageOutcome,
    TokenCount,
)
from bargein.protocol.events.fault import (
    Fault,
    Recover,
    Span,
    TurnCheckpoint,
    TurnTrace,
)
from bargein.protocol.events.input import (
    AsrFinal,
    AsrPartial,
    AudioReceived,
    HeardBy,
    InputDropped,
    InputText,
    SpeechStarted,
    SpeechStopped,
    SpokenInput,
    TurnEnd,
    TurnStart,
)
from bargein.protocol.events.output import (
    PlaybackPaused,
    PlaybackProgress,
    PlaybackResumed,
    PlaybackStart,
    PlaybackStop,
    ResponseEnd,
    ResponseStart,
    ResponseStatus,
    TtsChunk,
)
from bargein.protocol.events.session import (
    SessionAttached,
    SessionClosed,
    SessionConfigured,
    SessionDetached,
    SessionOpened,
    SessionTitled,
)
from bargein.protocol.events.thinking import (
    Effect,
    GuardrailPassed,
    GuardrailTripped,
    MemorySaved,
    ModelEnd,
    ModelFallback,
    ModelRetry,
    ModelStart,
    ModelToken,
    Object,
    PlanReady,
    PlanStart,
    PlanStep,
    RecoveryEnd,
    RecoveryStart,
    RetrieveResult,
    RetrieveStart,
    StageEnd,
    StageStart,
    Status,
    Step,
    ToolCall,
    ToolProgress,
    ToolResult,
    Usage,
)
from bargein.protocol.ids import EventId, Seq, SessionId, TurnId

__all__ = [
    "PAYLOADS",
    "ActionCommitted",
    "ActionCommitting",
    "ActionConfirmed",
    "ActionExpired",
    "ActionFailed",
    "ActionInDoubt",
    "ActionProposed",
    "ActionRejected",
    "ActionRevertFailed",
    "ActionReverted",
    "ActionReverting",
    "AsrFinal",
    "AsrPartial",
    "AudioReceived",
    "CancelAck",
    "CancelRequested",
    "CancelStage",
    "CancelledBy",
    "Effect",
    "Event",
    "Fault",
    "GuardrailPassed",
    "GuardrailTripped",
    "HeardBy",
    "InFlight",
    "InputDropped",
    "InputText",
    "KnownPayload",
    "MemorySaved",
    "ModelEnd",
    "ModelFallback",
    "ModelRetry",
    "ModelStart",
    "ModelToken",
    "Object",
    "Payload",
    "PlanReady",
    "PlanStart",
    "PlanStep",
    "PlaybackPaused",
    "PlaybackProgress",
    "PlaybackResumed",
    "PlaybackStart",
    "PlaybackStop",
    "Recover",
    "RecoveryEnd",
    "RecoveryStart",
    "ResponseEnd",
    "ResponseStart",
    "ResponseStatus",
    "RetrieveResult",
    "RetrieveStart",
    "SessionAttached",
    "SessionClosed",
    "SessionConfigured",
    "SessionDetached",
    "SessionOpened",
    "SessionTitled",
    "Span",
    "SpeechStarted",
    "SpeechStopped",
    "SpokenInput",
    "StageEnd",
    "StageOutcome",
    "StageStart",
    "Status",
    "Step",
    "TokenCount",
    "ToolCall",
    "ToolProgress",
    "ToolResult",
    "TtsChunk",
    "TurnCheckpoint",
    "TurnEnd",
    "TurnStart",
    "TurnTrace",
    "Unknown",
    "Usage",
]


@frozen(slots=False)
class Unknown:
    """The payload of a type that this version does not know."""

    type: str
    fields: dict[str, Any]


KnownPayload: TypeAlias = (
    SessionOpened
    | SessionAttached
    | SessionDetached
    | SessionConfigured
    | SessionTitled
    | SessionClosed
    | SpeechStarted
    | SpeechStopped
    | AudioReceived
    | AsrPartial
    | AsrFinal
    | InputText
    | InputDropped
    | TurnStart
    | TurnEnd
    | PlanStart
    | PlanReady
    | PlanStep
    | GuardrailPassed
    | GuardrailTripped
    | StageStart
    | StageEnd
    | RetrieveStart
    | RetrieveResult
    | ModelStart
    | ModelToken
    | ModelEnd
    | ModelRetry
    | ModelFallback
    | ToolCall
    | ToolProgress
    | ToolResult
    | RecoveryStart
    | RecoveryEnd
    | Object
    | Status
    | MemorySaved
    | TtsChunk
    | PlaybackStart
    | PlaybackProgress
    | PlaybackPaused
    | PlaybackResumed
    | PlaybackStop
    | ResponseStart
    | ResponseEnd
    | CancelRequested
    | CancelStage
    | CancelAck
    | ActionProposed
    | ActionConfirmed
    | ActionRejected
    | ActionExpired
    | ActionCommitting
    | ActionCommitted
    | ActionFailed
    | ActionInDoubt
    | ActionReverting
    | ActionReverted
    | ActionRevertFailed
    | Fault
    | TurnTrace
    | TurnCheckpoint
)

Payload: TypeAlias = KnownPayload | Unknown

PAYLOADS: Final[dict[str, type[KnownPayload]]] = {
    payload.type: payload for payload in get_args(KnownPayload)
}


@frozen
class Event:
    """One fact of a session, in its place.

    Attributes:
        seq: From 1, without gaps; the order of everything.
        ts: UTC, ISO 8601 with milliseconds; never runs backwards, decides nothing.
        turn_id: None outside a turn.
        parent_event_id: The event that caused this one; None for roots.
    """

    session_id: SessionId
    seq: Seq
    event_id: EventId
    ts: str
    turn_id: TurnId | None
    parent_event_id: EventId | None
    payload: Payload = field()

    @property
    def type(self) -> str:
        """The wire name of the payload's type."""
        return self.payload.type
