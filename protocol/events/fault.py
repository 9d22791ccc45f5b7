"""Events that explain a turn: what failed in it, and where its time went."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen
from msgspec import UNSET, UnsetType

from bargein.protocol.codes import ErrorCode

Layer = Literal["connection", "executor", "orchestrator", "pipeline"]


@frozen(slots=False)
class Recover:
    """How to go on after a fault: say with `resume`, what was done, when to come back."""

    resume_token: str | UnsetType = UNSET
    done: tuple[str, ...] | UnsetType = UNSET
    after_ms: float | UnsetType = UNSET


@frozen(slots=False)
class Fault:
    """A turn was hit; `message` tells a person what to do."""

    type: ClassVar[str] = "error"
    code: ErrorCode
    message: str
    retryable: bool
    layer: Layer
    recover: Recover


@frozen(slots=False)
class Span:
    """A part of a turn's time, in ms from its start; top-level ones follow each other."""

    name: str
    start_ms: float
    ms: float
    parent: str | UnsetType = UNSET


@frozen(slots=False)
class TurnTrace:
    """Where the time of a turn went: the spans without `parent` add up to the total."""

    type: ClassVar[str] = "turn.trace"
    spans: tuple[Span, ...]
    total_ms: float


@frozen(slots=False)
class TurnCheckpoint:
    """From here the turn can be taken up again."""

    type: ClassVar[str] = "turn.checkpoint"
    resume_token: str
