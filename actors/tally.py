"""Counts what a session does, from its events and when they are stored: see `/metrics`.

Whoever does a thing does not count it.  One follower of each timeline reads what has become durable
and adds it up; of a token it costs an addition, and no event is decoded for it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar

from attrs import define, field
from prometheus_client import Counter, Histogram

from bargein.actors import counters
from bargein.actors.reckoning import (
    Fact,
    Ghosts,
    Interrupted,
    Means,
    ModelAnswered,
    Reckoning,
    ToolAnswered,
    ToolTook,
    TurnOver,
)
from bargein.protocol.actions import PROPOSED
from bargein.protocol.events import (
    ActionConfirmed,
    ActionExpired,
    ActionProposed,
    ActionRejected,
    Fault,
    GuardrailTripped,
    ModelFallback,
    ModelRetry,
    ModelToken,
    Payload,
    SessionClosed,
    SessionOpened,
)
from bargein.protocol.ids import ActionId, Seq, TurnId
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline

Metric = TypeVar("Metric", Counter, Histogram)

MOST_NAMES: Final = 100
"""Tools, models, agents that are told apart in the figures, of each kind."""

OTHER: Final = "other"

_STOPS: Final = frozenset(
    {"end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal", "cancelled", "error"}
)


@define(eq=False)
class Names:
    """Lets so many names through; each further one is `other`: a label must not grow for ever."""

    _most: int = MOST_NAMES
    _known: set[str] = field(factory=set[str], init=False)

    def of(self, name: str) -> str:
        """Return *name*, or what stands for all that are too many."""
        if name not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(name)
        return name


_COUNTED: Final = frozenset(
    {SessionOpened, SessionClosed, ModelRetry, ModelFallback, GuardrailTripped, Fault}
)
"""What says something all by itself, beside actions."""

_TOOLS: Final = Names()
_MODELS: Final = Names()
_GUARDRAILS: Final = Names()
_MEANS: Final = Means()


@define(eq=False)
class Tally:
    """Follows one timeline, and counts.  Lives as long as the session's one writer."""

    _timeline: Timeline
    _reckoning: Reckoning = field(factory=Reckoning, init=False)
    _noted: list[tuple[Seq, TurnId | None, Payload]] = field(
        factory=list[tuple[Seq, "TurnId | None", Payload]], init=False
    )
    _deltas: int = field(default=0, init=False)
    _speaking: TurnId | None = field(default=None, init=False)
    _proposed: set[ActionId] | None = field(default=None, init=False)
    _shown: int = field(default=0, init=False)
    _is_live: bool = field(default=False, init=False)

    @classmethod
    def of(cls, timeline: Timeline, state: SessionState) -> Tally:
        """Return what counts from here on; *state* is what has been before."""
        tally = cls(timeline)
        if state.seq:
            tally._go_on(state)
        timeline.follow(tally)
        return tally

    def _go_on(self, state: SessionState) -> None:
        if state.open_turn is not None:
            self._reckoning.take_up(state.turns.get(state.open_turn))
        waiting = {action.action_id for action in state.actions.awaiting(PROPOSED)}
        self._proposed = waiting or None
        counters.SESSIONS_REVIVED.inc()

    def spoke(self, turn_id: TurnId | None, deltas: int) -> None:
        """Take note of words, which are many."""
        self._deltas += deltas
        self._speaking = turn_id

    def note(self, seq: Seq, turn_id: TurnId | None, payload: Payload) -> None:
        """Take note of any other event; it counts when it is durable."""
        if self._deltas:
            # In their place among the others, so that what follows a cancel is seen to.
            self._noted.append((Seq(seq - 1), self._speaking, ModelToken("", self._deltas)))
            self._deltas = 0
        self._noted.append((seq, turn_id, payload))

    def advance(self) -> None:
        """Count what has become durable."""
        noted = self._noted
        if not noted:
            return
        durable = self._timeline.durable
        done = 0
        for seq, turn_id, payload in noted:
            if seq > durable:
                break
            done += 1
            for fact in self._reckoning.take(turn_id, payload):
                _count_fact(fact)
            if type(payload) in _COUNTED:
                _count(payload)
            elif payload.type.startswith("action."):
                _count(payload)
                self._follow(payload)
        del noted[:done]

    def begin(self) -> None:
        """Show what waits in this session among what waits in all of them."""
        self._is_live = True
        self._show()

    def end(self, *, crashed: bool, closed: bool) -> None:
        """Show it no more: the session leaves memory."""
        self._is_live = False
        self._show()
        self._timeline.unfollow(self)
        if crashed:
            counters.SESSIONS_CRASHED.inc()
        elif not closed:
            counters.SESSIONS_HIBERNATED.inc()

    def _follow(self, payload: Payload) -> None:
        match payload:
            case ActionProposed(action_id=action_id):
                self._proposed = {*(self._proposed or ()), action_id}
            case ActionConfirmed() | ActionRejected() | ActionExpired():
                self._proposed = (self._proposed or set()) - {payload.action_id} or None
            case _:
                return
        self._show()

    def _show(self) -> None:
        now = len(self._proposed or ()) if self._is_live else 0
        if now != self._shown:
            counters.PROPOSALS_OPEN.inc(now - self._shown)
            self._shown = now


def _count(payload: Payload) -> None:
    """Count an event that says all by itself."""
    match payload:
        case SessionOpened():
            counters.SESSIONS_OPENED.inc()
        case SessionClosed():
            counters.SESSIONS_CLOSED.inc()
        case ModelRetry():
            counters.MODEL_RETRIES.inc()
        case ModelFallback(to=to):
            counters.MODEL_FALLBACKS.labels(_MODELS.of(to)).inc()
        case GuardrailTripped(name=name):
            counters.GUARDRAILS_TRIPPED.labels(_GUARDRAILS.of(name)).inc()
        case Fault(code=code):
            counters.FAULTS.labels(code.value).inc()
        case _ if payload.type.startswith("action."):
            counters.ACTIONS.labels(payload.type.removeprefix("action.")).inc()
        case _:
            pass


@lru_cache(maxsize=1024)
def _labelled(metric: Metric, *labels: str) -> Metric:
    # Remembered, because to look one up takes a lock, and a turn has seven.
    return metric.labels(*labels)


def _count_fact(fact: Fact) -> None:
    """Count what several events say together."""
    match fact:
        case TurnOver():
            _count_turn(fact)
        case ModelAnswered(model=model, stop_reason=stop_reason, usage=usage):
            name = _MODELS.of(model)
            outcome = stop_reason if stop_reason in _STOPS else OTHER
            _labelled(counters.MODEL_CALLS, name, outcome).inc()
            _labelled(counters.MODEL_TOKENS, name, "input").inc(usage.input_tokens)
            _labelled(counters.MODEL_TOKENS, name, "output").inc(usage.output_tokens)
        case ToolAnswered(tool=tool, status=status):
            _labelled(counters.TOOL_RESULTS, _TOOLS.of(tool), status).inc()
        case ToolTook(tool=tool, status=status, ms=ms):
            _labelled(counters.TOOL_SECONDS, _TOOLS.of(tool), status).observe(ms / 1000)
        case Ghosts(deltas=deltas):
            counters.GHOST_TOKENS.inc(deltas)


def _count_turn(turn: TurnOver) -> None:
    _labelled(counters.TURNS, turn.status).inc()
    _labelled(counters.TURN_SECONDS, turn.status).observe(turn.worked_ms / 1000)
    if turn.first_words_ms is not None:
        counters.FIRST_TOKEN_SECONDS.observe(turn.first_words_ms / 1000)
    counters.TOKENS_GENERATED.inc(turn.generated)
    counters.TOKENS_DELIVERED.inc(turn.delivered)
    if turn.interrupted is not None:
        counters.TOKENS_SAVED.inc(_MEANS.saved(turn.agent, turn.generated))
        _count_interrupt(turn.interrupted)
    elif turn.status == "completed":
        _MEANS.add(turn.agent, turn.generated)


def _count_interrupt(interrupted: Interrupted) -> None:
    labels = interrupted.by, interrupted.cause, interrupted.ending
    _labelled(counters.INTERRUPTS, *labels).inc()
    counters.ACK_SECONDS.observe(interrupted.ack_ms / 1000)
    if interrupted.silent_ms is not None:
        counters.FLUSH_SECONDS.observe(interrupted.silent_ms / 1000)
