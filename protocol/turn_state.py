"""One turn of the fold: the user's words, the answer, and how far the user heard it."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any, Final, Literal, TypeAlias

from attrs import Factory, define, evolve, field, frozen

from bargein.protocol.events import (
    InFlight,
    ModelToken,
    PlanReady,
    PlanStep,
    PlaybackProgress,
    PlaybackStart,
    PlaybackStop,
    Span,
    SpokenInput,
    Step,
    ToolCall,
    ToolResult,
    TtsChunk,
)
from bargein.protocol.events.thinking import StepState
from bargein.protocol.heard import Chunks, Place, without
from bargein.protocol.ids import ActionId, CallId, CommandId, Seq, TurnId

TurnStatus = Literal["queued", "open", "completed", "cancelled", "failed", "refused", "dropped"]


_NOTHING_RAN: Final = InFlight(model=False)


@frozen
class Found:
    """What a tool has read for a turn."""

    call_id: CallId
    tool: str
    args: dict[str, Any]
    result: Any


OfPlayback: TypeAlias = TtsChunk | PlaybackStart | PlaybackProgress | PlaybackStop
"""What says how much of an answer is spoken or shown."""


@define(slots=True)
class TurnState:
    """One exchange: the user's words and what became of the answer.

    Attributes:
        waited: The words waited for another turn.
        cut_short: The turn that the words interrupted.
        steps: The plan, with the state of each step.
        results: What stages came to that did not speak to the user, by stage.
        steered: Words that the running turn took in.
        heard: What the user saw or heard of a cancelled answer; None: all of it.
        chars: Code points of the text so far.
        deltas: Deltas of the model so far.
        shown_chars: What the client last reported as played or shown.
        in_flight: What ran when the turn was cancelled.
        playing: The client said that it plays this turn, and not yet that it stopped.
        preempted: It was stopped for the model slot of a higher tier.
        preemptions: How often it was, it and those that it goes on from.
        stopped: The user wanted no more of its answer.
        given_up: It was pre-empted, and is not to go on.
        found: What its tools have read, for the turn that goes on from it.
        utterances: What was said aloud, where the words were.
        corrects: The turn whose words these are, as they were really said.
        voiced: It began while the session spoke: what it says is cut into chunks.
        chunks: What of the answer is spoken, and how far that is; None where nothing is.
        withheld: Which parts of the answer were left unsaid, though they were generated.
        over: The last event of the turn has been applied (commits apart).
        *_seq: Where the event stands that later ones of the turn are caused by.
    """

    turn_id: TurnId
    words: str
    status: TurnStatus
    command_id: CommandId | None = None
    waited: bool = False
    cut_short: TurnId | None = None
    traceparent: str | None = None
    replaces: TurnId | None = None
    continues: TurnId | None = None
    resume_token: str | None = None
    resumed: bool = False
    rolled_back: bool = False
    # Joined or not, it is the same text.
    parts: list[str] = field(factory=list[str], eq="".join)
    heard: str | None = None
    chars: int = 0
    deltas: int = 0
    shown_chars: int | None = None
    playing: bool = False
    models_running: int = 0
    running_calls: dict[CallId, Seq] = Factory(dict[CallId, Seq])
    steps: tuple[Step, ...] = ()
    results: dict[str, str] = Factory(dict[str, str])
    steered: list[str] = Factory(list[str])
    total_ms: float | None = None
    spans: tuple[Span, ...] = ()
    cancel_took_ms: float | None = None
    still_committing: tuple[ActionId, ...] = ()
    in_flight: InFlight = _NOTHING_RAN
    rungs: set[str] = Factory(set[str])
    preempted: bool = False
    preemptions: int = 0
    stopped: bool = False
    given_up: bool = False
    found: list[Found] = Factory(list["Found"])
    utterances: tuple[SpokenInput, ...] = ()
    corrects: TurnId | None = None
    voiced: bool = False
    chunks: Chunks | None = None
    withheld: tuple[Place, ...] = ()
    over: bool = False
    input_seq: Seq | None = None
    start_seq: Seq | None = None
    response_seq: Seq | None = None
    model_seq: Seq | None = None
    cancel_seq: Seq | None = None
    ack_seq: Seq | None = None
    response_ended: bool = False
    _reads: dict[CallId, Found] = Factory(dict[CallId, Found])
    _marks: list[Seq] = Factory(list[Seq])
    _chars_at: list[int] = Factory(list[int])
    _deltas_at: list[int] = Factory(list[int])

    @property
    def text(self) -> str:
        """All that was generated of the answer."""
        if len(self.parts) > 1:
            self.parts = ["".join(self.parts)]
        return self.parts[0] if self.parts else ""

    @property
    def said(self) -> str:
        """What the user had of the answer: what was heard of it, but for what was left unsaid."""
        heard = self.text if self.heard is None else self.heard
        return without(heard, self.withheld) if self.withheld else heard

    @property
    def model_running(self) -> bool:
        """Whether a call of a model has begun and not ended."""
        return self.models_running > 0

    @property
    def cancelled(self) -> bool:
        """Whether the gate is shut: `cancel.requested` has been applied."""
        return self.cancel_seq is not None

    def shown_at(self, seq: Seq) -> tuple[int, int]:
        """Return the code points and deltas of the answer in events up to *seq*."""
        index = bisect_right(self._marks, seq)
        return (self._chars_at[index - 1], self._deltas_at[index - 1]) if index else (0, 0)

    def add_token(self, seq: Seq, token: ModelToken) -> None:
        """Add text to the answer."""
        self.parts.append(token.text)
        self.chars += len(token.text)
        self.deltas += token.n
        self._marks.append(seq)
        self._chars_at.append(self.chars)
        self._deltas_at.append(self.deltas)

    def note_playback(self, payload: OfPlayback) -> None:
        """Note what is to be spoken, or what the client says that it plays or has played."""
        match payload:
            case TtsChunk():
                self.chunks = self.chunks or Chunks()
                self.chunks.add(payload)
            case PlaybackStart():
                self.playing = True
                start = None if self.chunks is None else self.chunks.begin(payload)
                if start is not None:
                    # Whoever plays a chunk has played what comes before it, and no more yet.
                    self.shown_chars = max(self.shown_chars or 0, start)
            case PlaybackProgress():
                self._note_shown(payload)
            case PlaybackStop():
                chunk_id = payload.chunk_id or None
                self.playing = self.chunks is not None and self.chunks.follows(chunk_id)
                self.rungs.add(PlaybackStop.type)
                self._note_shown(payload)

    def _note_shown(self, report: PlaybackProgress | PlaybackStop) -> None:
        # Nothing shown is a report too; none at all is something else.
        if isinstance(report.chars, int):
            self.shown_chars = report.chars
        elif self.chunks is not None:
            heard = self.chunks.heard(report.chunk_id or None, report.offset_ms or None)
            self.shown_chars = self.shown_chars if heard is None else heard

    def heard_chars(self, delivered_seq: Seq, reported: int | None) -> int:
        """Return how much of the answer the user can have seen or heard.

        What the client reported last (*reported* in the interrupting command,
        or before), but never more than what was delivered up to
        *delivered_seq*; all of that where it reported nothing.
        """
        delivered, _ = self.shown_at(delivered_seq)
        last = self.shown_chars if reported is None else reported
        return delivered if last is None else min(delivered, last)

    def begin_call(self, seq: Seq, call: ToolCall) -> None:
        """Note that a tool runs."""
        self.running_calls[call.call_id] = seq
        if call.effect == "read":
            self._reads[call.call_id] = Found(call.call_id, call.tool, call.args, None)

    def end_call(self, result: ToolResult) -> None:
        """Note that it has ended, and what it has read."""
        self.running_calls.pop(result.call_id, None)
        read = self._reads.pop(result.call_id, None)
        if read is not None and result.status == "ok":
            self.found.append(evolve(read, result=result.result))

    def take_plan(self, plan: PlanReady) -> None:
        """Begin with a plan."""
        self.steps = plan.steps

    def tick(self, change: PlanStep) -> None:
        """Change the state of one step."""
        self.steps = tuple(
            evolve(step, state=change.state) if step.id == change.id else step
            for step in self.steps
        )

    def close_steps(self) -> None:
        """Close what the end of the turn left open."""
        broke_off: StepState = "failed" if self.status == "failed" else "cancelled"
        left: dict[str, StepState] = {"active": broke_off, "pending": "skipped"}
        self.steps = tuple(
            evolve(step, state=left.get(step.state, step.state)) for step in self.steps
        )

    def forget_marks(self) -> None:
        """Let go of what only an open turn needs."""
        _ = self.text
        self._marks, self._chars_at, self._deltas_at = [], [], []
        self._reads = {}
