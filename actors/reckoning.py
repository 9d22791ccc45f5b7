"""What the events of a session come to: facts that are counted, for figures and for reports.

Pure: the same events give the same facts, on a live session as on one that is read from the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from attrs import define, field, frozen

from bargein.actors.budgets import QUEUES, WAITS
from bargein.actors.phases import FIRST_BYTE, SILENT, TOOL_SPAN
from bargein.actors.turn import PREEMPTED
from bargein.protocol.events import (
    CancelAck,
    CancelRequested,
    ModelEnd,
    ModelStart,
    ModelToken,
    Payload,
    ResponseEnd,
    ResponseStatus,
    ToolCall,
    ToolResult,
    TurnStart,
    TurnTrace,
    Usage,
)
from bargein.protocol.ids import CallId, TurnId
from bargein.protocol.turn_state import TurnState

Ending: TypeAlias = Literal["clean", "abandoned", "committing"]
"""How an interrupt went: all stopped; something did not in time; an action was left to finish."""

UNKNOWN: Final = "unknown"
"""Who asked for an interrupt whose beginning another process has written."""

_CAUSES: Final = frozenset({"say", "interrupt", "close", "rollback", "the server stops", PREEMPTED})
_BEGINNINGS: Final = {"on_disconnect": "disconnect"}


@frozen
class Interrupted:
    """How a turn was cut short.

    Attributes:
        by: Who did it, as in `cancel.requested`.
        cause: What with: one of a few words, and `other` for a client's own.
        ack_ms: Until everything had stopped.
        silent_ms: Until every connection had the `flush`; None where nobody measured that.
        delivered: Deltas that had reached a client.
    """

    by: str
    cause: str
    ending: Ending
    ack_ms: float
    silent_ms: float | None
    delivered: int


@frozen
class TurnOver:
    """A turn that has its last event.

    Attributes:
        agent: Who spoke; empty where nobody was asked.
        worked_ms: All of it, without waiting in a queue and without playing.
        first_words_ms: From the words to the first of the answer, without waiting in a queue.
        generated: Deltas of the model.
    """

    turn_id: TurnId
    agent: str
    status: ResponseStatus
    total_ms: float
    worked_ms: float
    first_words_ms: float | None
    generated: int
    interrupted: Interrupted | None

    @property
    def delivered(self) -> int:
        """How many deltas reached a client, or were there for it."""
        return self.generated if self.interrupted is None else self.interrupted.delivered


@frozen
class ModelAnswered:
    """A call of a model is over."""

    model: str
    stop_reason: str
    usage: Usage


@frozen
class ToolAnswered:
    """A call of a tool is over."""

    tool: str
    status: str


@frozen
class ToolTook:
    """How long a call of a tool took, as the trace of its turn has it: told when that is over."""

    tool: str
    status: str
    ms: float


@frozen
class Ghosts:
    """Deltas of a turn behind its `cancel.requested`: there must be none."""

    deltas: int


Fact: TypeAlias = TurnOver | ModelAnswered | ToolAnswered | ToolTook | Ghosts


@define(eq=False)
class _Open:
    """The turn whose events come at the moment."""

    turn_id: TurnId
    agent: str = ""
    generated: int = 0
    status: ResponseStatus = "failed"
    trace: TurnTrace | None = None
    cancelled: bool = False
    by: str = UNKNOWN
    cause: str = UNKNOWN
    models: list[ModelStart] = field(factory=list[ModelStart])
    tools: dict[CallId, str] = field(factory=dict[CallId, str])
    answered: dict[str, ToolAnswered] = field(factory=dict[str, ToolAnswered])


@define(eq=False)
class Reckoning:
    """Reads the events of one session, in order."""

    _turn: _Open | None = field(default=None, init=False)
    _last_cancelled: TurnId | None = field(default=None, init=False)

    def take_up(self, turn: TurnState | None) -> None:
        """Go on with a turn whose beginning was not read here."""
        if turn is not None:
            self._turn = _Open(turn.turn_id, generated=turn.deltas, cancelled=turn.cancelled)

    def take(self, turn_id: TurnId | None, payload: Payload) -> Iterator[Fact]:
        """Return what comes to an end with this event; of most, nothing."""
        if turn_id is None:
            return
        if isinstance(payload, TurnStart):
            self._turn = _Open(turn_id)
            return
        turn = self._turn
        if turn is not None and turn.turn_id == turn_id:
            yield from self._within(turn, payload)
        elif isinstance(payload, ModelToken) and turn_id == self._last_cancelled:
            yield Ghosts(payload.n)

    def _within(self, turn: _Open, payload: Payload) -> Iterator[Fact]:
        match payload:
            case ModelToken(n=deltas) if turn.cancelled:
                yield Ghosts(deltas)
            case ModelToken(n=deltas):
                turn.generated += deltas
            case ModelStart(agent=agent) as start:
                turn.agent = agent
                turn.models.append(start)
            case ModelEnd() as end:
                yield _answered(turn.models, end)
            case ToolCall(call_id=call_id, tool=tool):
                turn.tools[call_id] = tool
            case ToolResult(call_id=call_id, status=status):
                answered = ToolAnswered(turn.tools.pop(call_id, UNKNOWN), status)
                turn.answered[TOOL_SPAN + call_id] = answered
                yield answered
            case CancelRequested(by=by, cause=cause):
                turn.cancelled, turn.by, turn.cause = True, by, cause_of(cause)
            case ResponseEnd(status=status):
                turn.status = status
            case TurnTrace() as trace:
                turn.trace = trace
                yield from _took(turn.answered, trace)
                if not turn.cancelled:
                    yield self._over(turn, trace, None)
            case CancelAck() as ack if turn.trace is not None:
                # What the model had on the way counts too: it was paid for.
                turn.generated = max(turn.generated, ack.tokens.generated)
                yield self._over(turn, turn.trace, _interrupted(turn, turn.trace, ack))
            case _:
                pass

    def _over(self, turn: _Open, trace: TurnTrace, interrupted: Interrupted | None) -> TurnOver:
        self._turn = None
        if interrupted is not None:
            self._last_cancelled = turn.turn_id
        queued_ms = _sum_ms(trace, QUEUES)
        first = next((span.start_ms for span in trace.spans if span.name == FIRST_BYTE), None)
        return TurnOver(
            turn.turn_id,
            turn.agent,
            turn.status,
            trace.total_ms,
            max(0.0, trace.total_ms - _sum_ms(trace, WAITS)),
            None if first is None else max(0.0, first - queued_ms),
            turn.generated,
            interrupted,
        )


def cause_of(cause: str) -> str:
    """Return one of a few words for what an interrupt was caused by; clients may send any text."""
    if cause in _CAUSES:
        return cause
    return _BEGINNINGS.get(cause.partition(":")[0], "other")


def _sum_ms(trace: TurnTrace, names: tuple[str, ...]) -> float:
    return sum(span.ms for span in trace.spans if not span.parent and span.name in names)


def _took(answered: dict[str, ToolAnswered], trace: TurnTrace) -> Iterator[ToolTook]:
    for span in trace.spans:
        if (of := answered.get(span.name)) is not None:
            yield ToolTook(of.tool, of.status, span.ms)


def _answered(running: list[ModelStart], end: ModelEnd) -> ModelAnswered:
    # The first that began of those who asked; older timelines don't say who did.
    fits = (start for start in running if not end.agent or start.agent == end.agent)
    start = next(fits, None)
    if start is None:
        return ModelAnswered(UNKNOWN, end.stop_reason, end.usage)
    running.remove(start)
    return ModelAnswered(start.model, end.stop_reason, end.usage)


def _interrupted(turn: _Open, trace: TurnTrace, ack: CancelAck) -> Interrupted:
    silent = next((span.ms for span in trace.spans if span.name == SILENT), None)
    ending: Ending = "committing" if ack.still_committing else "clean"
    if ack.abandoned:
        ending = "abandoned"
    tokens = ack.tokens
    return Interrupted(turn.by, turn.cause, ending, ack.took_ms, silent, tokens.delivered)


@define(eq=False)
class Means:
    """The mean length of what each agent says, to tell what an interrupt has saved.

    Attributes:
        _most: Agents that are told apart; those beyond are one.
    """

    _most: int = 100
    _sums: dict[str, tuple[int, int]] = field(factory=dict[str, tuple[int, int]], init=False)

    def add(self, agent: str, deltas: int) -> None:
        """Count a completed answer."""
        if agent not in self._sums and len(self._sums) >= self._most:
            agent = ""
        total, count = self._sums.get(agent, (0, 0))
        self._sums[agent] = total + deltas, count + 1

    def saved(self, agent: str, generated: int) -> float:
        """Return by how much an answer of *generated* deltas is shorter than the mean."""
        total, count = self._sums.get(agent, self._sums.get("", (0, 0)))
        return max(0.0, total / count - generated) if count else 0.0
