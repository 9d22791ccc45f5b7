"""A live session with nothing around it: a store, a model on strings, clients in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio
from attrs import define, evolve, field

from bargein.actors.allowance import Allowance
from bargein.actors.clock import SystemChance, SystemClock
from bargein.actors.limits import Limits
from bargein.actors.registry import Sessions, nothing_counted
from bargein.actors.session import Session
from bargein.agents.app import Agent, App, Apps
from bargein.agents.voice import Voice
from bargein.models.client import Completion, Listener, ModelRequest, Usage
from bargein.protocol.codec import command_of
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Role
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import NOTHING, Seq
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore
from tests import contract

Frame = dict[str, Any]

PATIENCE_S: Final = 10.0
"""So that a test that hangs fails; tests on a virtual clock wait for longer things by name."""

AGENTS: Final = (Agent("first"), Agent("second"))


@define(eq=False)
class Viewer:
    """A client that takes everything at once."""

    timeline: Timeline
    role: Role = "drive"
    principal: str = "anonymous"
    seq: Seq = NOTHING
    tier: str = "standard"
    frames: list[Frame] = field(factory=list[Frame], init=False)
    closed: tuple[int, str] | None = field(default=None, init=False)
    most_acked: Seq | None = field(default=None, init=False)
    _due: list[tuple[Seq, Callable[[], None]]] = field(
        factory=list[tuple[Seq, Callable[[], None]]], init=False
    )
    _news: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def taken_seq(self) -> Seq:
        return self.seq if self.most_acked is None else min(self.seq, self.most_acked)

    def acknowledge(self, seq: Seq) -> bool:
        if seq <= self.seq:
            self.most_acked = max(seq, self.most_acked or seq)
        return seq <= self.seq

    def authenticate(self, token: str) -> Problem | None:
        return problem(ErrorCode.UNAUTHORIZED) if token != "fresh" else None  # noqa: S105

    def advance(self) -> None:
        for frame in self.timeline.visible_after(self.seq, 10_000) or ():
            self.seq = Seq(self.seq + 1)
            self._take(frame)
        for due in [due for due in self._due if due[0] <= self.seq]:
            self._due.remove(due)
            due[1]()

    def show(self, frame: bytes) -> None:
        self._take(frame)

    def show_first(self, frame: bytes) -> None:
        self._take(frame)

    def show_at(self, seq: Seq, frame: bytes) -> None:
        self._due.append((seq, lambda: self._take(frame)))
        self.advance()

    def end(self, code: int, reason: str) -> None:
        self.closed = self.closed or (int(code), reason)
        self._news.unpark_all()

    def end_at(self, seq: Seq, code: int, reason: str) -> None:
        self._due.append((seq, lambda: self.end(code, reason)))
        self.advance()

    def _take(self, frame: bytes) -> None:
        body = msgspec.json.decode(frame)
        contract.check_sent(body)
        self.frames.append(body)
        self._news.unpark_all()

    async def until(self, wanted: Callable[[Frame], object], within_s: float = PATIENCE_S) -> Frame:
        """Wait for the first frame, of all that ever came, that is *wanted*."""
        with trio.fail_after(within_s):
            while True:
                for frame in self.frames:
                    if wanted(frame):
                        return frame
                await self._news.park()

    async def event(self, name: str, **payload: Any) -> Frame:
        """Wait for an event of that type with at least that payload."""
        return await self.until(
            lambda frame: (
                frame["type"] == name
                and all(frame["payload"].get(key) == value for key, value in payload.items())
            )
        )

    async def until_closed(self) -> tuple[int, str]:
        """Wait until the connection is ended."""
        with trio.fail_after(PATIENCE_S):
            while self.closed is None:
                await self._news.park()
        return self.closed

    def types(self) -> list[str]:
        return [frame["type"] for frame in self.frames]


@define(eq=False)
class Line:
    """One call of the model, led by the test."""

    request: ModelRequest
    listener: Listener
    _over: trio.Event = field(factory=trio.Event, init=False)
    _outcome: Completion | BaseException | None = field(default=None, init=False)
    cancelled: bool = field(default=False, init=False)

    def says(self, text: str, deltas: int = 1) -> None:
        self.listener.heard(text, deltas)

    def ends(self, stop_reason: str = "end_turn", *, estimated: bool = False) -> None:
        self._outcome = Completion(stop_reason, Usage(3, 2, estimated))
        self._over.set()

    def fails(self, error: BaseException) -> None:
        self._outcome = error
        self._over.set()

    async def last(self) -> Completion:
        try:
            await self._over.wait()
        except trio.Cancelled:
            self.cancelled = True
            raise
        if isinstance(self._outcome, Completion):
            return self._outcome
        assert self._outcome is not None
        raise self._outcome


@define(eq=False)
class Puppet:
    """A model that says what the test lets it say."""

    lines: list[Line] = field(factory=list[Line], init=False)
    _called: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    @property
    def name(self) -> str:
        return "puppet"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        line = Line(request, listener)
        self.lines.append(line)
        self._called.unpark_all()
        return await line.last()

    async def line(self, number: int) -> Line:
        """Wait for the call of that number, from 0."""
        with trio.fail_after(PATIENCE_S):
            while len(self.lines) <= number:
                await self._called.park()
        return self.lines[number]


@define(eq=False)
class Stage:
    """What a test has in hand."""

    sessions: Sessions
    store: MemoryStore
    model: Puppet
    _asked: int = field(default=0, init=False)

    def open(self, principal: str = "anonymous") -> Session:
        """Open a new session."""
        return self.sessions.open(self.sessions.new_place(principal, None))

    async def attend(
        self, session: Session, *, role: Role = "drive", after: Seq = NOTHING
    ) -> Viewer:
        """Attach a client."""
        # What is not in memory any more is not read back: this client serves tests alone.
        if session.timeline.visible_after(after, 1) is None:
            after = session.timeline.durable
        viewer = Viewer(session.timeline, role, seq=after)
        session.attach(viewer)
        viewer.advance()
        await session.announce(viewer)
        await viewer.event("session.attached")
        return viewer

    async def send(self, session: Session, viewer: Viewer, kind: str, **fields: Any) -> str:
        """Send a command; return its id."""
        self._asked += 1
        fields.setdefault("id", f"c{self._asked}")
        body = {"type": kind, **fields}
        contract.check_command(msgspec.json.encode(body).decode())
        digest = msgspec.json.encode(body, order="sorted")
        await session.receive(command_of(body), digest, viewer)
        return fields["id"]

    async def ask(self, session: Session, viewer: Viewer, kind: str, **fields: Any) -> Frame:
        """Send a command and return its answer."""
        asked_before = sum(_answers(frame, fields.get("id")) for frame in viewer.frames)
        command_id = await self.send(session, viewer, kind, **fields)

        def is_new(_: Frame) -> bool:
            answers = sum(_answers(frame, command_id) for frame in viewer.frames)
            return answers > asked_before

        await viewer.until(is_new)
        return [frame for frame in viewer.frames if _answers(frame, command_id)][-1]


def _answers(frame: Frame, command_id: str | None) -> bool:
    known = command_id is not None and frame.get("command_id") == command_id
    return known and frame["type"] in ("reply", "error")


@asynccontextmanager
async def on_stage(
    *,
    limits: Limits | None = None,
    store: MemoryStore | None = None,
    agents: Sequence[Agent] = AGENTS,
    allowance: Callable[[str, str | None, Timeline], Allowance] = nothing_counted,
    voice: Voice | None = None,
) -> AsyncGenerator[Stage]:
    """Set up a stage, and clear it at the end."""
    kept = store or MemoryStore()
    model = Puppet()
    app = App("staged", tuple(evolve(agent) for agent in agents), voice=voice or Voice())
    clock, held_to = SystemClock(), limits or Limits()
    sessions = Sessions(kept, Apps(app), model, clock, SystemChance(), held_to, allowance=allowance)
    async with trio.open_nursery() as outer:
        await outer.start(kept.run)
        async with trio.open_nursery() as inner:
            await inner.start(sessions.run)
            yield Stage(sessions, kept, model)
            inner.cancel_scope.cancel()
        outer.cancel_scope.cancel()
