"""A live session of a team, on the virtual clock: its model answers each agent by a script."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias, cast

import msgspec
import trio
from attrs import define, field

from bargein.actors.allowance import Allowance
from bargein.actors.clock import SystemChance, SystemClock
from bargein.actors.limits import Limits
from bargein.actors.registry import Sessions, anybody, nothing_counted
from bargein.actors.session import Session
from bargein.agents.app import Agent, App, Apps
from bargein.agents.planning import Plan, Planning
from bargein.agents.stages import Pipeline
from bargein.memory.facts import Facts
from bargein.models.client import (
    Completion,
    Listener,
    Message,
    ModelError,
    ModelRequest,
    Text,
    ToolOutcome,
    ToolUse,
    Usage,
)
from bargein.protocol.codec import decode_event
from bargein.protocol.events import Event
from bargein.protocol.ids import NOTHING, CallId, Seq, SessionId
from bargein.timeline.memory import MemoryStore
from tests.actors.stage import Frame, Stage, Viewer
from tests.checker import broken_rules

LONG_S: Final = 3600.0
"""Of virtual time: an hour passes in no time."""

Take: TypeAlias = Callable[[ModelRequest, Listener], Awaitable[Completion]]
"""What the model does with one request."""

USAGE: Final = Usage(10, 2, estimated=False)


# --- what a model can do -----------------------------------------------------------


def says(*texts: str, after_s: float = 0.0, stop: str = "end_turn") -> Take:
    """Say *texts*, *after_s* seconds before each."""

    async def take(_: ModelRequest, listener: Listener) -> Completion:
        listener.started(10)
        for text in texts:
            await trio.sleep(after_s)
            listener.heard(text, 1)
            await listener.room()
        return Completion(stop, USAGE)

    return take


def call(tool: str, number: int = 1, /, **args: Any) -> ToolUse:
    return ToolUse(CallId(f"call_{number}"), tool, args)


def calls(*uses: ToolUse, text: str = "") -> Take:
    async def take(_: ModelRequest, listener: Listener) -> Completion:
        if text:
            listener.heard(text, 1)
        for use in uses:
            listener.tool_called(use)
        return Completion("tool_use", USAGE)

    return take


def fails(error: Exception | None = None, *, text: str = "", after_s: float = 0.0) -> Take:
    async def take(_: ModelRequest, listener: Listener) -> Completion:
        if text:
            listener.heard(text, 1)
        await trio.sleep(after_s)
        raise error or broken(began=bool(text))

    return take


def broken(*, began: bool = False) -> ModelError:
    return ModelError("The model failed.", retryable=True, began=began)


def hangs(text: str = "") -> Take:
    async def take(_: ModelRequest, listener: Listener) -> Completion:
        if text:
            listener.heard(text, 1)
        await trio.sleep_forever()

    return take


@define(eq=False)
class Cast:
    """A model that plays, for each agent, its takes in order; the last is repeated.

    Whom a request is for is told by its instructions: the first key that is in them.
    """

    takes: dict[str, list[Take]]
    requests: list[tuple[str, ModelRequest]] = field(factory=list[tuple[str, ModelRequest]])
    _asked: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def name(self) -> str:
        return "cast"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        key = next(key for key in self.takes if key in request.system)
        self.requests.append((key, request))
        self._asked.unpark_all()
        left = self.takes[key]
        take = left.pop(0) if len(left) > 1 else left[0]
        return await take(request, listener)

    def asked(self, key: str) -> list[ModelRequest]:
        return [request for asked, request in self.requests if asked == key]

    def order(self) -> list[str]:
        return [key for key, _ in self.requests]

    async def until_asked(self, key: str, times: int = 1) -> ModelRequest:
        with trio.fail_after(LONG_S):
            while len(self.asked(key)) < times:
                await self._asked.park()
        return self.asked(key)[times - 1]


# --- plans --------------------------------------------------------------------------

PLANNER: Final = "You plan how a team"
TITLER: Final = "a title of at most"
JUDGE: Final = "Decide whether"


def plan(*steps: str) -> Take:
    """Plan *steps*, each `agent` or `agent/group`."""
    drafted: list[dict[str, Any]] = []
    for number, step in enumerate(steps, 1):
        agent, _, group = step.partition("/")
        drafted.append({"title": f"T{number}", "agent": agent})
        if group:
            drafted[-1]["group"] = int(group)
    return says(msgspec.json.encode({"steps": drafted}).decode())


def team(*names: str, **more: Any) -> App:
    """An app of agents that are told their own names, and that plans every turn."""
    agents = tuple(Agent(name, f"I am {name}.") for name in names)
    return App("team", agents, planning=more.pop("planning", Planning("always")), **more)


def building(pipeline: Pipeline, *names: str, **more: Any) -> App:
    """An app that builds *pipeline*, whatever the plan."""

    def build(_: Plan) -> Pipeline:
        return pipeline

    return team(*names, build=build, **more)


def lone(*tools: Any, **more: Any) -> App:
    """An app of one agent that plans nothing."""
    return App("lone", (Agent("solo", "I am solo.", tools=tools, **more),))


# --- the session ---------------------------------------------------------------------


@define(eq=False)
class Room:
    """A session of an app, and one client in it."""

    stage: Stage
    model: Cast
    store: MemoryStore
    session: Session
    viewer: Viewer

    async def say(self, text: str = "Go", **fields: Any) -> str:
        """Say something; return the id of the turn that it begins, or belongs to."""
        reply = await self.ask("say", text=text, **fields)
        return reply["result"]["turn_id"]

    async def ask(self, kind: str, **fields: Any) -> Frame:
        return await self.stage.ask(self.session, self.viewer, kind, **fields)

    async def send(self, kind: str, **fields: Any) -> str:
        return await self.stage.send(self.session, self.viewer, kind, **fields)

    async def until(self, name: str, turn_id: str | None = None, **payload: Any) -> Frame:
        def wanted(frame: Frame) -> bool:
            told = frame.get("payload", {})
            return (
                frame["type"] == name
                and turn_id in (None, frame["turn_id"])
                and all(told.get(key) == value for key, value in payload.items())
            )

        return await self.viewer.until(wanted, LONG_S)

    async def done(self, turn_id: str = "turn_1") -> str:
        """Wait for the end of a turn; return how it ended."""
        await self.until("turn.trace", turn_id)
        return (await self.until("response.end", turn_id))["payload"]["status"]

    async def converse(self, text: str = "Go", **fields: Any) -> str:
        """Say something and wait for the end of its turn; return how it ended."""
        return await self.done(await self.say(text, **fields))

    async def interrupt(self, turn_id: str = "turn_1", **fields: Any) -> Frame:
        """Interrupt; return the ack."""
        await self.ask("interrupt", **fields)
        return await self.until("cancel.ack", turn_id)

    # --- what is on the timeline -----------------------------------------------------

    def events(self, turn_id: str | None = None) -> list[Event]:
        """Decode what was stored, of one turn or all."""
        return [e for e in stored(self.store, self.session.id) if turn_id in (None, e.turn_id)]

    def payloads(self, kind: type[Any], turn_id: str | None = None) -> list[Any]:
        return [e.payload for e in self.events(turn_id) if isinstance(e.payload, kind)]

    def types(self, turn_id: str = "turn_1", *kinds: str) -> list[str]:
        """The types of a turn's events, or those of *kinds* alone."""
        types = [event.type for event in self.events(turn_id)]
        return [name for name in types if name.startswith(kinds)] if kinds else types

    async def plan(self) -> list[str]:
        """The projection `plan`, as `id:state`."""
        view = (await self.ask("projection", name="plan"))["result"]
        return [f"{step['id']}:{step['state']}" for step in view["steps"]]

    def steps(self, turn_id: str = "turn_1") -> list[str]:
        """The states of the steps of a turn, as they are folded."""
        turn = self.session.state.turns[cast("Any", turn_id)]
        return [step.state for step in turn.steps]

    def text(self, turn_id: str = "turn_1") -> str:
        return self.session.state.turns[cast("Any", turn_id)].text


def stored(store: MemoryStore, session_id: SessionId) -> list[Event]:
    return [
        decode_event(event.frame) for event in store.shelf.events(session_id, NOTHING, 1_000_000)
    ]


def _given(allowance: Allowance, *_: object) -> Allowance:
    return allowance


@asynccontextmanager
async def room(
    app: App,
    takes: Mapping[str, Sequence[Take] | Take],
    *,
    limits: Limits | None = None,
    store: MemoryStore | None = None,
    session_id: SessionId | None = None,
    facts: Facts | None = None,
    may_commit: Callable[[str], bool] = anybody,
    allowance: Allowance | None = None,
) -> AsyncGenerator[Room]:
    """Open a session of *app*, or take up *session_id*; no rule is broken at the end."""
    kept = store or MemoryStore()
    model = Cast({key: [take] if callable(take) else list(take) for key, take in takes.items()})
    given = Apps(app), model, SystemClock(), SystemChance(), limits or Limits()
    sessions = Sessions(
        kept,
        *given,
        facts=facts,
        may_commit=may_commit,
        allowance=nothing_counted if allowance is None else partial(_given, allowance),
    )
    stage = Stage(sessions, kept, cast("Any", model))
    async with trio.open_nursery() as outer:
        await outer.start(kept.run)
        async with trio.open_nursery() as inner:
            await inner.start(sessions.run)
            seen = NOTHING
            if session_id is None:
                session = stage.open()
            else:
                seen = Seq(len(stored(kept, session_id)))  # what recovery writes comes after it
                await sessions.recover()
                session = await sessions.enter(session_id)
            viewer = await stage.attend(session, after=seen)
            yield Room(stage, model, kept, session, viewer)
            assert viewer.closed is None
            assert session.timeline.failure is None
            inner.cancel_scope.cancel()
        outer.cancel_scope.cancel()
    assert broken_rules(stored(kept, session.id), finished=False) == []


# --- what a request says --------------------------------------------------------------


def outcomes_in(message: Message) -> list[ToolOutcome]:
    assert not isinstance(message.content, str)
    return [block for block in message.content if isinstance(block, ToolOutcome)]


def texts_in(message: Message) -> list[str]:
    if isinstance(message.content, str):
        return [message.content]
    return [block.text for block in message.content if isinstance(block, Text)]


async def socket_that_breaks() -> None:
    """Wait as on a socket of one's own, whose end fails."""

    async def waits() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the connection was closed")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits)
        await trio.sleep_forever()
