"""A turn to consult for, on the virtual clock: a model that answers by script, and a page."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import trio
from attrs import define, field, frozen

from bargein.actors.clock import SystemClock
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import Noted, OutputMessage, Record
from bargein.actors.orchestrator import Orchestrator
from bargein.actors.turn import Ladder, Phases, Turn
from bargein.agents.app import Agent, App
from bargein.models.client import (
    Completion,
    Listener,
    Message,
    ModelError,
    ModelRequest,
    ToolUse,
    Usage,
)
from bargein.protocol.events import ModelEnd, ModelStart, Payload
from bargein.protocol.ids import NOTHING, CallId, TurnId

WORDS: Final = "Compare the two funds."
HISTORY: Final = (Message("user", "Hello."), Message("assistant", "Good morning."))

RESEARCHER: Final = Agent("researcher", "You look things up. You are thorough.")
WRITER: Final = Agent("writer", "You write\nwell.")
TEAM: Final = (RESEARCHER, WRITER)

PLAN: Final = (
    '{"steps": [{"title": "Look up both", "agent": "researcher"},'
    ' {"title": "Compare", "agent": "writer"}]}'
)


@frozen
class Answer:
    """What the model does with one request."""

    text: str = ""
    after_s: float = 0.3
    error: Exception | None = None
    stop: str = "end_turn"
    retries: int = 0
    estimated: bool = False
    calls_tool: bool = False


@define(eq=False)
class Call:
    request: ModelRequest
    began_s: float
    ended_s: float | None = None
    cancelled: bool = False


@define(eq=False)
class FakeModel:
    """Answers by what stands in the system prompt; the last answer is repeated."""

    scripts: dict[str, list[Answer]]
    calls: list[Call] = field(factory=list[Call])
    running: int = 0
    name: str = "fake"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        call = Call(request, trio.current_time())
        self.calls.append(call)
        script = next(script for key, script in self.scripts.items() if key in request.system)
        answer = script.pop(0) if len(script) > 1 else script[0]
        self.running += 1
        try:
            return await self._play(answer, listener)
        except trio.Cancelled:
            call.cancelled = True
            raise
        finally:
            self.running -= 1
            call.ended_s = trio.current_time()

    async def _play(self, answer: Answer, listener: Listener) -> Completion:
        for attempt in range(answer.retries):
            listener.retrying(attempt + 2, 0.1, "model_overloaded")
            await trio.sleep(0.1)
        listener.started(10)
        await trio.sleep(answer.after_s / 2)
        half = len(answer.text) // 2
        listener.heard(answer.text[:half], 1)
        await listener.room()
        await trio.sleep(answer.after_s / 2)
        if answer.error is not None:
            raise answer.error
        listener.heard(answer.text[half:], 1)
        if answer.calls_tool:
            listener.tool_called(ToolUse(CallId("call_1"), "look", {}))
        return Completion(answer.stop, Usage(10, 2, answer.estimated))

    def asked(self, key: str) -> list[ModelRequest]:
        return [call.request for call in self.calls if key in call.request.system]


@define(eq=False)
class Page:
    """The output loop of these tests: writes down what comes, with the same gate."""

    mailbox: Mailbox[OutputMessage]
    lines: list[tuple[float, Payload]] = field(factory=list[tuple[float, Payload]])
    outside: list[Payload] = field(factory=list[Payload])
    spoken: int = 0
    stuck: trio.Event | None = None
    scope: trio.CancelScope = field(factory=trio.CancelScope)

    async def run(self) -> None:
        with self.mailbox, self.scope:
            while batch := await self.mailbox.take():
                for message in batch:
                    if self.stuck is not None:
                        await self.stuck.wait()
                    self._write(message)

    def _write(self, message: OutputMessage) -> None:
        match message:
            case Noted(turn, drafts, then):
                if turn.interrupted:
                    return
            case Record(turn_id, drafts, then):
                assert turn_id is None
                self.outside.extend(draft for draft in drafts if not callable(draft))
            case _:
                self.spoken += 1
                return
        for draft in drafts:
            assert not callable(draft)
            self.lines.append((trio.current_time(), draft))
        if then is not None:
            then(NOTHING)

    @property
    def payloads(self) -> list[Payload]:
        return [payload for _, payload in self.lines]

    @property
    def types(self) -> list[str]:
        return [payload.type for payload in self.payloads]

    def told(self, kind: type[Any]) -> list[Any]:
        return [payload for payload in self.payloads if isinstance(payload, kind)]

    def at_s(self, kind: type[Any]) -> list[float]:
        return [round(at_s, 6) for at_s, payload in self.lines if isinstance(payload, kind)]


@define(eq=False)
class Stage:
    turn: Turn
    output: Address[OutputMessage]
    page: Page
    model: FakeModel

    def orchestrator(
        self,
        app: App,
        background: trio.Nursery,
        *,
        first: bool = False,
        history: tuple[Message, ...] = (),
    ) -> Orchestrator:
        return Orchestrator(
            self.turn, app, self.model, self.output, history, first=first, background=background
        )

    def interrupt(self) -> None:
        """Do what the slot does: shut the gate, then cancel."""
        turn = self.turn
        turn.ladder = Ladder(turn.id, "user", "say", trio.current_time(), NOTHING)
        turn.scope.cancel(reason="say")

    def models_are_accounted_for(self) -> bool:
        """Whether the turn's books say what its timeline says, and no model runs."""
        starts, ends = len(self.page.told(ModelStart)), len(self.page.told(ModelEnd))
        calls = self.turn.model_calls
        return (
            self.model.running == 0
            and len(calls) == starts
            and sum(call.ended for call in calls) == ends
        )


@asynccontextmanager
async def on_stage(
    scripts: dict[str, list[Answer]], words: str = WORDS, *, capacity: int = 64
) -> AsyncGenerator[Stage]:
    """Yield a turn; afterwards everything it started has ended."""
    output, mailbox = Mailbox[OutputMessage].open("output", capacity)
    turn = Turn(TurnId("turn_1"), words, Phases(SystemClock(), trio.current_time(), "input"))
    page = Page(mailbox)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(page.run)
        yield Stage(turn, output, page, FakeModel(scripts))
        output.close()


async def consulted(stage: Stage, app: App, **more: Any) -> tuple[Any, Orchestrator]:
    """Consult in the turn's scope; return when the title is there, too."""
    result: Any = None
    orchestrator: Orchestrator | None = None
    with stage.turn.scope:
        async with trio.open_nursery() as background:
            orchestrator = stage.orchestrator(app, background, **more)
            result = await orchestrator.consult()
    assert orchestrator is not None
    # What has been told is written before anybody looks.
    await trio.testing.wait_all_tasks_blocked()
    return result, orchestrator


def team(**more: Any) -> App:
    return App("team", TEAM, **more)


def retryable(*, began: bool = False) -> ModelError:
    return ModelError("The model failed.", retryable=True, began=began)


def answers(*texts: str) -> list[Answer]:
    return [Answer(text) for text in texts]


def models_of(requests: Sequence[ModelRequest]) -> list[str | None]:
    return [request.model for request in requests]
