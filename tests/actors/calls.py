"""Somebody on the line: a spoken session on the stage."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from attrs import define, field

from bargein.actors.session import Session
from bargein.agents.app import Agent
from bargein.agents.voice import Voice
from bargein.protocol.codec import decode_event
from bargein.protocol.events import Event
from bargein.protocol.ids import NOTHING
from bargein.protocol.state import fold
from tests.actors.stage import AGENTS, Frame, Stage, Viewer, on_stage
from tests.checker import broken_rules


@define(eq=False)
class Call:
    """A session with somebody on the line."""

    stage: Stage
    session: Session
    viewer: Viewer
    _revisions: dict[str, int] = field(factory=dict[str, int], init=False)

    async def send(self, kind: str, **fields: Any) -> None:
        reply = await self.ask(kind, **fields)
        assert reply["type"] == "reply"

    async def ask(self, kind: str, **fields: Any) -> Frame:
        return await self.stage.ask(self.session, self.viewer, kind, **fields)

    async def hear(self, who: str, text: str, *, final: bool = False, **fields: Any) -> None:
        revision = self._revisions[who] = self._revisions.get(who, -1) + 1
        kind = "asr.final" if final else "asr.partial"
        await self.send(kind, utterance_id=who, revision=revision, text=text, **fields)

    async def speak(self, who: str, text: str) -> None:
        """A whole utterance, as a good recogniser reports it."""
        await self.send("speech.start", utterance_id=who)
        await self.hear(who, text)
        await self.send("speech.stop", utterance_id=who)
        await self.hear(who, text, final=True)

    async def converse(self, who: str, text: str, said: str = "Your funds are these. ") -> str:
        """A turn whose answer goes on; return its id."""
        number = len(self.stage.model.lines)
        await self.speak(who, text)
        begun = await self.viewer.event("turn.start", input=text)
        line = await self.stage.model.line(number)
        line.says(said)
        await self.viewer.event("model.token", text=said)
        return begun["turn_id"]

    def of(self, *types: str) -> list[Frame]:
        return [frame for frame in self.viewer.frames if frame["type"] in types]

    def place(self, kind: str) -> int:
        return self.viewer.types().index(kind)

    def events(self) -> list[Event]:
        """Return the whole timeline."""
        frames = self.session.timeline.visible_after(NOTHING, 10_000)
        assert frames is not None
        return [decode_event(frame) for frame in frames]


@asynccontextmanager
async def on_the_line(
    *, voice: Voice | None = None, agents: Sequence[Agent] = AGENTS, held_to_rules: bool = True
) -> AsyncGenerator[Call]:
    """Open a session on a virtual clock, and hold its timeline against the rules at the end."""
    # A fixture that the test does not ask for by name is not used as a clock, and then every wait
    # takes its time, and every deadline of speech may pass while the machine is busy.
    assert isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock)
    async with on_stage(voice=voice, agents=agents) as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        call = Call(stage, session, viewer)
        yield call
        if held_to_rules:
            await session.until_stopped()
            events = call.events()
            assert broken_rules(events) == []
            assert fold(events) == session.state
