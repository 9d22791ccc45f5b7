"""What a time has come to, from the timelines of all sessions: pure, and flat in memory.

Each session is read once, from its first event.  Of a turn a few numbers are kept, and nothing that
anybody said.
"""

from __future__ import annotations

from array import array
from collections import Counter
from datetime import datetime
from heapq import heappush, heappushpop
from math import ceil
from typing import Final

from attrs import define, field

from bargein.actors.reckoning import Ghosts, Means, ModelAnswered, Reckoning, ToolAnswered, TurnOver
from bargein.protocol.events import (
    ActionProposed,
    Event,
    Fault,
    GuardrailTripped,
    InputText,
    ModelFallback,
    ModelRetry,
    ModelToken,
    Payload,
    RecoveryEnd,
    SessionAttached,
    SessionClosed,
    SessionConfigured,
    SessionDetached,
    SessionOpened,
    TurnStart,
)
from bargein.protocol.ids import SessionId, TurnId

MOST_SLOW: Final = 10
"""Turns that are named for being slow."""

IN_TIME_MS: Final = 1000.0
"""An interrupt whose ack takes longer has not succeeded."""

STILL_THERE_S: Final = 600.0
"""Of a session whose newest event is younger, nobody says yet that it was left."""


def _floats() -> array[float]:
    return array("d")


@define(eq=False)
class Review:
    """Adds up sessions.  Lives as long as a report is made.

    Attributes:
        since: What ended before this does not count; UTC text, as in events.
        now: What is younger than `STILL_THERE_S` before this may still go on.
        damaged: Sessions that could not be read to their ends.
    """

    since: str
    now: str
    sessions: Counter[str] = field(factory=Counter[str])
    lengths_s: array[float] = field(factory=_floats)
    turns: Counter[str] = field(factory=Counter[str])
    first_words_ms: array[float] = field(factory=_floats)
    worked_ms: array[float] = field(factory=_floats)
    interrupts: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    endings: Counter[str] = field(factory=Counter[str])
    succeeded: int = 0
    ack_ms: array[float] = field(factory=_floats)
    silent_ms: array[float] = field(factory=_floats)
    ghosts: int = 0
    recoveries: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    retries: int = 0
    fallbacks: Counter[str] = field(factory=Counter[str])
    errors: Counter[str] = field(factory=Counter[str])
    left: Counter[str] = field(factory=Counter[str])
    guardrails: Counter[str] = field(factory=Counter[str])
    hand_overs: int = 0
    actions: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    models: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    vendor_tokens: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    tools: Counter[tuple[str, str]] = field(factory=Counter[tuple[str, str]])
    generated: int = 0
    delivered: int = 0
    slowest: list[tuple[float, str, str, str]] = field(factory=list[tuple[float, str, str, str]])
    damaged: list[str] = field(factory=list[str])
    _means: Means = field(factory=Means, init=False)
    _cut: Counter[tuple[str, int]] = field(factory=Counter[tuple[str, int]], init=False)

    @property
    def saved(self) -> int:
        """Tokens that interrupts have spared, by the means of this time."""
        cut = self._cut.items()
        return round(sum(self._means.saved(agent, said) * n for (agent, said), n in cut))

    def session(self, session_id: SessionId) -> SessionReading:
        """Return what reads one session."""
        return SessionReading(self, session_id)

    def add_turn(self, session_id: SessionId, turn: TurnOver, *, ghosts: int) -> None:
        """Count a turn that is over; *ghosts* of its tokens came behind its cancel."""
        self.turns[turn.status] += 1
        self.worked_ms.append(turn.worked_ms)
        if turn.first_words_ms is not None:
            self.first_words_ms.append(turn.first_words_ms)
        self.generated += turn.generated
        self.delivered += turn.delivered
        named = turn.worked_ms, session_id, turn.turn_id, turn.status
        if len(self.slowest) < MOST_SLOW:
            heappush(self.slowest, named)
        else:
            heappushpop(self.slowest, named)
        if turn.interrupted is None:
            if turn.status == "completed":
                self._means.add(turn.agent, turn.generated)
            return
        how = turn.interrupted
        self._cut[turn.agent, turn.generated] += 1
        self.interrupts[how.by, how.cause] += 1
        self.endings[how.ending] += 1
        self.ack_ms.append(how.ack_ms)
        if how.silent_ms is not None:
            self.silent_ms.append(how.silent_ms)
        if not ghosts and how.ending != "abandoned" and how.ack_ms <= IN_TIME_MS:
            self.succeeded += 1


@define(eq=False)
class SessionReading:
    """Reads the events of one session, in order, into a review."""

    _review: Review
    _session_id: SessionId
    _reckoning: Reckoning = field(factory=Reckoning, init=False)
    _first_ts: str = field(default="", init=False)
    _last_ts: str = field(default="", init=False)
    _agent: str | None = field(default=None, init=False)
    _ghosts: int = field(default=0, init=False)
    _names: dict[str, str] = field(factory=dict[str, str], init=False)
    _turn: TurnId | None = field(default=None, init=False)
    _has_words: bool = field(default=False, init=False)
    _left_waiting: bool = field(default=False, init=False)
    _last: TurnOver | None = field(default=None, init=False)

    def take(self, event: Event) -> None:
        """Take the next event."""
        self._first_ts = self._first_ts or event.ts
        self._last_ts = event.ts
        counts = event.ts >= self._review.since
        payload = event.payload
        for fact in self._reckoning.take(event.turn_id, payload):
            match fact:
                case Ghosts(deltas=deltas):
                    self._ghosts += deltas
                    self._review.ghosts += deltas if counts else 0
                case TurnOver():
                    self._over(fact, counts=counts)
                case ModelAnswered() if counts:
                    self._answered(fact)
                case ToolAnswered(tool=tool, status=status) if counts:
                    self._review.tools[tool, status] += 1
                case _:
                    pass
        self._follow(event.turn_id, payload)
        if not isinstance(payload, ModelToken):
            self._name(payload, counts=counts)

    def end(self) -> None:
        """Take note that there are no more events."""
        review = self._review
        if self._last_ts < review.since:
            return
        review.sessions["active"] += 1
        review.lengths_s.append(_s_between(self._first_ts, self._last_ts))
        if _s_between(self._last_ts, review.now) >= STILL_THERE_S and (why := self._why_left()):
            review.left[why] += 1

    def _why_left(self) -> str | None:
        if self._left_waiting:
            return "left before the first words"
        last = self._last
        if last is None or self._turn is not None:
            return None
        if last.status == "failed":
            return "after a failed turn"
        return "after an interrupt" if last.status == "cancelled" else None

    def _over(self, turn: TurnOver, *, counts: bool) -> None:
        self._last, self._turn = turn, None
        if counts:
            self._review.add_turn(self._session_id, turn, ghosts=self._ghosts)
        self._ghosts = 0

    def _answered(self, call: ModelAnswered) -> None:
        self._review.models[call.model, call.stop_reason] += 1
        self._review.vendor_tokens[call.model, "input"] += call.usage.input_tokens
        self._review.vendor_tokens[call.model, "output"] += call.usage.output_tokens

    def _follow(self, turn_id: TurnId | None, payload: Payload) -> None:
        """Note who waits for what, to tell whether anybody came back."""
        match payload:
            case ModelToken():
                self._has_words = True
            case InputText():
                self._left_waiting, self._last = False, None
            case TurnStart():
                self._turn, self._has_words = turn_id, False
            case SessionDetached(connections=0):
                self._left_waiting = self._turn is not None and not self._has_words
            case SessionAttached():
                self._left_waiting = False
            case _:
                pass

    def _name(self, payload: Payload, *, counts: bool) -> None:
        """Count what says all by itself."""
        review = self._review
        match payload:
            case ActionProposed(action_id=action_id, action=action):
                self._names[action_id] = action
            case SessionOpened(agent=agent):
                self._agent = agent
            case SessionConfigured(config=config):
                agent = config.get("agent", self._agent)
                review.hand_overs += counts and agent != self._agent
                self._agent = agent
            case _:
                pass
        if not counts:
            return
        match payload:
            case SessionOpened():
                review.sessions["opened"] += 1
            case SessionClosed():
                review.sessions["closed"] += 1
            case ModelRetry():
                review.retries += 1
            case ModelFallback(to=to):
                review.fallbacks[to] += 1
            case RecoveryEnd(kind=kind, outcome=outcome):
                review.recoveries[kind, outcome or "unknown"] += 1
            case GuardrailTripped(name=name):
                review.guardrails[name] += 1
            case Fault(code=code):
                review.errors[code.value] += 1
            case _ if payload.type.startswith("action."):
                action = self._names.get(getattr(payload, "action_id", ""), "unknown")
                review.actions[action, payload.type.removeprefix("action.")] += 1
            case _:
                pass


def _s_between(earlier: str, later: str) -> float:
    span = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    return span.total_seconds()


def percentile(values: array[float], share: float) -> float | None:
    """Return the least of *values* that *share* of them do not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
