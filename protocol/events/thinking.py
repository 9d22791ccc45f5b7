"""Events of the thinking loop: plan, model, tools, recovery."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from attrs import frozen
from msgspec import UNSET, UnsetType

from bargein.protocol.ids import CallId

StepState = Literal["pending", "active", "done", "failed", "skipped", "cancelled"]
Effect = Literal["read", "idempotent", "side_effect"]


@frozen(slots=False)
class Step:
    """One item of a plan; neighbours with the same `group` are done at the same time."""

    id: str
    title: str
    agent: str
    state: StepState = "pending"
    group: int | UnsetType = UNSET


@frozen(slots=False)
class Usage:
    """Tokens as the vendor counts them; `estimated` where the stream did not finish."""

    input_tokens: int
    output_tokens: int
    estimated: bool | UnsetType = UNSET


@frozen(slots=False)
class PlanStart:
    """The planner was asked."""

    type: ClassVar[str] = "plan.start"


@frozen(slots=False)
class PlanReady:
    """There is a plan."""

    type: ClassVar[str] = "plan.ready"
    steps: tuple[Step, ...]


@frozen(slots=False)
class PlanStep:
    """A step of the plan changed its state."""

    type: ClassVar[str] = "plan.step"
    id: str
    state: StepState


@frozen(slots=False)
class GuardrailPassed:
    """The request may be answered."""

    type: ClassVar[str] = "guardrail.passed"
    name: str


@frozen(slots=False)
class GuardrailTripped:
    """The request is not answered, for this reason."""

    type: ClassVar[str] = "guardrail.tripped"
    name: str
    reason: str


@frozen(slots=False)
class StageStart:
    """A stage of the pipeline begins."""

    type: ClassVar[str] = "stage.start"
    stage: str
    agent: str


@frozen(slots=False)
class StageEnd:
    """A stage of the pipeline is over."""

    type: ClassVar[str] = "stage.end"
    stage: str
    agent: str
    status: Literal["ok", "failed", "skipped", "timeout"]


@frozen(slots=False)
class RetrieveStart:
    """Documents are being looked up."""

    type: ClassVar[str] = "retrieve.start"
    query: str


@frozen(slots=False)
class RetrieveResult:
    """Documents were found."""

    type: ClassVar[str] = "retrieve.result"
    sources: tuple[dict[str, Any], ...]


@frozen(slots=False)
class ModelStart:
    """A model was called."""

    type: ClassVar[str] = "model.start"
    model: str
    agent: str


@frozen(slots=False)
class ModelToken:
    """Text as it was generated; `n` counts the deltas that travel in this event."""

    type: ClassVar[str] = "model.token"
    text: str
    n: int = 1


@frozen(slots=False)
class ModelEnd:
    """The call of the model is over; `stop_reason` is the vendor's, or `cancelled`, `error`."""

    type: ClassVar[str] = "model.end"
    stop_reason: str
    usage: Usage
    agent: str | UnsetType = UNSET


@frozen(slots=False)
class ModelRetry:
    """The model will be called again after a wait; no text had been shown."""

    type: ClassVar[str] = "model.retry"
    attempt: int
    after_ms: float
    cause: str


@frozen(slots=False)
class ModelFallback:
    """Another model takes over."""

    type: ClassVar[str] = "model.fallback"
    from_: str
    to: str


@frozen(slots=False)
class ToolCall:
    """The model calls a tool; `title` is for people, where the app has one."""

    type: ClassVar[str] = "tool.call"
    call_id: CallId
    tool: str
    args: dict[str, Any]
    effect: Effect
    title: str | UnsetType = UNSET


@frozen(slots=False)
class ToolProgress:
    """A tool tells how far it is."""

    type: ClassVar[str] = "tool.progress"
    call_id: CallId
    text: str
    fraction: float | UnsetType = UNSET


@frozen(slots=False)
class ToolResult:
    """The one end of a tool call."""

    type: ClassVar[str] = "tool.result"
    call_id: CallId
    status: Literal["ok", "error", "cancelled", "timeout", "skipped", "proposed", "committing"]
    result: Any = None


@frozen(slots=False)
class RecoveryStart:
    """Something failed and is being healed."""

    type: ClassVar[str] = "recovery.start"
    kind: str
    attempt: int


@frozen(slots=False)
class RecoveryEnd:
    """The healing is over."""

    type: ClassVar[str] = "recovery.end"
    kind: str
    attempt: int
    outcome: str | UnsetType = UNSET


@frozen(slots=False)
class Object:
    """Structured content: citations, tables, anything that is no prose."""

    type: ClassVar[str] = "object"
    kind: str
    data: Any


@frozen(slots=False)
class Status:
    """A line for the user on what is going on."""

    type: ClassVar[str] = "status"
    text: str


@frozen(slots=False)
class MemorySaved:
    """A durable fact about the principal was kept."""

    type: ClassVar[str] = "memory.saved"
    key: str
