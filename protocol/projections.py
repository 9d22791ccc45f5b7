"""Views computed from the fold: what `projection` answers with."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any, Final, Literal, TypeVar, assert_never, get_args

import msgspec
from attrs import evolve, frozen
from msgspec import UNSET, Meta, UnsetType

from bargein.protocol.actions import REVERTS, ActionState, ActionStatus
from bargein.protocol.commands import ProjectionName
from bargein.protocol.events import Effect, Span, SpokenInput, Step
from bargein.protocol.events.session import Config
from bargein.protocol.ids import ActionId, ConfirmationId, Seq, TurnId, UtteranceId
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState, TurnStatus
from bargein.protocol.utterances import Utterance

MOST_VIEW_BYTES: Final = 192 * 1024
"""Of what grows with the session; so a reply stays under 256 KiB."""

MOST_LATENCIES: Final = 200

MOST_UNANSWERED: Final = 8
MOST_UNANSWERED_BYTES: Final = 4096
"""Of each; who says so much at a time is not waited for any more."""

ShownState = Annotated[
    str,
    # Whether it is a deed or its undoing that is in doubt, `revert` and `confirm` say.
    Meta(
        extra_json_schema={
            "enum": [name for name in get_args(ActionStatus) if name != "revert_in_doubt"]
        }
    ),
]

_T = TypeVar("_T")
_encode: Final = msgspec.json.Encoder().encode


@frozen(slots=False)
class Exchange:
    """The user's words and the answer, as the user knows them.

    Attributes:
        assistant: What was said: of a cancelled answer what was heard of it, and of a spoken one
            nothing that was left unsaid.
        generated: All of such an answer, where it is more than that.
        cut: The texts are too long for a reply; this is how they begin.
        utterances: The transcripts that `user` was put together from, where it was spoken.
        corrects: The turn whose words these are, as they were really said.
    """

    turn_id: TurnId
    user: str
    assistant: str
    status: TurnStatus
    interrupted: bool
    rolled_back: bool = False
    generated: str | UnsetType = UNSET
    cut: bool | UnsetType = UNSET
    utterances: tuple[SpokenInput, ...] | UnsetType = UNSET
    corrects: TurnId | UnsetType = UNSET


@frozen(slots=False)
class Unanswered:
    """Words of the user that no turn answers yet, as the recogniser has them by now."""

    utterance_id: UtteranceId
    revision: int
    text: str
    final: bool


@frozen(slots=False)
class Transcript:
    """The conversation; `earlier` counts older turns that are left out.

    Attributes:
        unanswered: What the user is saying, the latest last; left out where there is nothing.
    """

    seq: Seq
    turns: tuple[Exchange, ...]
    earlier: int = 0
    title: str | None = None
    unanswered: tuple[Unanswered, ...] | UnsetType = UNSET


@frozen(slots=False)
class SessionView:
    """The session at a glance.

    Attributes:
        suspended: A turn that was pre-empted, and goes on when there is a model slot.
    """

    seq: Seq
    agent: str
    title: str | None
    state: Literal["idle", "answering", "closed"]
    turn_id: TurnId | None
    queued: tuple[TurnId, ...]
    connections: int
    config: Config
    turns: int
    opened_at: str
    suspended: TurnId | UnsetType = UNSET


@frozen(slots=False)
class TurnLatency:
    """Where the time of one turn went, in ms."""

    turn_id: TurnId
    status: TurnStatus
    total_ms: float
    spans: tuple[Span, ...]
    cancel_ms: float | None = None


@frozen(slots=False)
class Latency:
    """The latest turns, oldest first."""

    seq: Seq
    turns: tuple[TurnLatency, ...]


@frozen(slots=False)
class PlanView:
    """The current plan; empty where the app plans nothing."""

    seq: Seq
    turn_id: TurnId | None
    steps: tuple[Step, ...]


@frozen(slots=False)
class ActionView:
    """One action and the state that it is in.

    Attributes:
        state: As the latest event of the action says.
        args: What it is, or was, done with.
        by: Who confirmed or rejected it.
        reason: Why it was rejected.
        result: What it came to; of a reverted one, what the undoing came to.
    """

    action_id: ActionId
    action: str
    state: ShownState
    summary: str
    turn_id: TurnId
    confirmation_id: ConfirmationId
    effect: Effect
    args: dict[str, Any]
    expires_at: str
    by: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    result: Any = UNSET
    error: str | UnsetType = UNSET


@frozen(slots=False)
class Actions:
    """Every action of the session, oldest first; `earlier` counts older ones that are left out."""

    seq: Seq
    actions: tuple[ActionView, ...]
    earlier: int = 0


PROJECTIONS: Final[dict[str, type[Any]]] = {
    "transcript": Transcript,
    "plan": PlanView,
    "actions": Actions,
    "latency": Latency,
    "session": SessionView,
}


def project(state: SessionState, name: ProjectionName) -> Any:
    """Return the view called *name* of *state*."""
    match name:
        case "transcript":
            return transcript(state)
        case "session":
            return session(state)
        case "latency":
            return latency(state)
        case "plan":
            return plan(state)
        case "actions":
            return actions(state)
        case _:
            assert_never(name)


def transcript(state: SessionState) -> Transcript:
    """Return the conversation, cut at its old end to what a reply may hold."""
    turns = _newest(_exchange(turn) for turn in reversed(state.turns.values()))
    waiting = [known for known in state.utterances.values() if known.waits]
    unanswered = tuple(map(_unanswered, waiting[-MOST_UNANSWERED:])) or UNSET
    return Transcript(state.seq, turns, len(state.turns) - len(turns), state.title, unanswered)


def _unanswered(known: Utterance) -> Unanswered:
    text = _start_of(known.text, MOST_UNANSWERED_BYTES)
    return Unanswered(known.utterance_id, known.revision, text, known.final)


def _newest(values: Iterable[_T]) -> tuple[_T, ...]:
    """Return as many of *values*, newest first, as a reply may hold: oldest first."""
    kept: list[_T] = []
    size_bytes = 0
    for value in values:
        size_bytes += len(_encode(value)) + 1
        if size_bytes > MOST_VIEW_BYTES and kept:
            break
        kept.append(value)
    return tuple(reversed(kept))


def _exchange(turn: TurnState) -> Exchange:
    heard = turn.said
    is_cut = turn.cancelled or bool(turn.withheld)
    generated = turn.text if is_cut and heard != turn.text else UNSET
    exchange = Exchange(
        turn.turn_id,
        turn.words,
        heard,
        turn.status,
        turn.cancelled,
        turn.rolled_back,
        generated,
        utterances=turn.utterances or UNSET,
        corrects=turn.corrects or UNSET,
    )
    if len(_encode(exchange)) <= MOST_VIEW_BYTES:
        return exchange
    user = _start_of(turn.words, MOST_VIEW_BYTES // 4)
    assistant = _start_of(heard, MOST_VIEW_BYTES // 2)
    return evolve(exchange, user=user, assistant=assistant, generated=UNSET, cut=True)


def _start_of(text: str, most_bytes: int) -> str:
    # By its size in JSON, where one character may take six bytes.
    while len(_encode(text)) > most_bytes:
        text = text[: len(text) * 3 // 4]
    return text


def session(state: SessionState) -> SessionView:
    """Return the session at a glance."""
    phase = "closed" if state.closed else "answering" if state.open_turn else "idle"
    return SessionView(
        state.seq,
        state.agent,
        state.title,
        phase,
        state.open_turn,
        tuple(state.queue),
        state.connections,
        dict(state.config),
        len(state.turns),
        state.opened_at,
        state.suspended or UNSET,
    )


def plan(state: SessionState) -> PlanView:
    """Return the latest plan, with the state of each step."""
    steps = state.turns[state.planned].steps if state.planned is not None else ()
    return PlanView(state.seq, state.planned, steps)


def actions(state: SessionState) -> Actions:
    """Return every action, and what became of it."""
    known = state.actions.by_id
    views = _newest(_action(action) for action in reversed(known.values()))
    return Actions(state.seq, views, len(known) - len(views))


def _action(action: ActionState) -> ActionView:
    undone = action.status in REVERTS
    result = action.revert_result if undone else action.result
    return ActionView(
        action.action_id,
        action.action,
        action.shown_status,
        action.summary,
        action.turn_id,
        action.confirmation_id,
        action.effect,
        action.args,
        action.expires_at,
        UNSET if action.by is None else action.by,
        UNSET if action.reason is None else action.reason,
        UNSET if result is None else result,
        (action.revert_error if undone else action.error) or UNSET,
    )


def latency(state: SessionState) -> Latency:
    """Return the traces of the latest turns."""
    traces = (
        TurnLatency(turn.turn_id, turn.status, turn.total_ms, turn.spans, turn.cancel_took_ms)
        for turn in reversed(state.turns.values())
        if turn.total_ms is not None
    )
    return Latency(state.seq, _newest(islice(traces, MOST_LATENCIES)))
