"""A client by hand, whose own turn is running while it sends what it should not."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field

from tests.e2e.client import Client
from tests.e2e.harness import World
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words, words
from tests.fakes.anthropic_answers import saying
from tests.faults.frames import command
from tests.gateway.raw_client import (
    CLOSE,
    DEADLINE_S,
    PING,
    PONG,
    TEXT,
    RawClient,
    frame,
    opened,
)

NEIGHBOURS_WORDS = words(40)
NEIGHBOURS_ANSWER = saying(*NEIGHBOURS_WORDS, interval_s=0.004)
SCRIPT = by_words({"Neighbour": NEIGHBOURS_ANSWER, "Long": FOR_EVER}, BRIEF)


@define(eq=False)
class Offender:
    """A client by hand.

    Attributes:
        events: What came of the timeline.
        frames: All that came, as it came.
    """

    raw: RawClient
    events: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    frames: list[str] = field(factory=list[str])

    @property
    def session_id(self) -> str:
        return self.events[0]["session_id"]

    async def next(self) -> dict[str, Any] | int:
        """Return the next frame that is no event, or the code of the close."""
        while True:
            body = await self._message()
            if isinstance(body, int) or "event_id" not in body:
                return body

    async def until_event(self, type_: str) -> dict[str, Any]:
        with trio.fail_after(DEADLINE_S):
            while not (found := [event for event in self.events if event["type"] == type_]):
                body = await self._message()
                assert not isinstance(body, int), body
        return found[0]

    async def _message(self) -> dict[str, Any] | int:
        """Return the next message, or the code of the close; it answers pings on the way."""
        while True:
            try:
                opcode, payload = await self.raw.read_frame()
            except (EOFError, trio.BrokenResourceError):
                return 1006
            if opcode == CLOSE:
                self.frames.append(payload[2:].decode())
                return int.from_bytes(payload[:2])
            if opcode == PING:
                await self.raw.send(frame(PONG, payload))
            elif opcode != PONG:
                return self._noted(opcode, payload)

    def _noted(self, opcode: int, payload: bytes) -> dict[str, Any]:
        assert opcode == TEXT
        self.frames.append(payload.decode())
        body: dict[str, Any] = json.loads(payload)
        if "event_id" in body:
            self.events.append(body)
        return body

    async def is_well(self) -> None:
        """Check that nothing else was said, that the connection is open and its turn runs."""
        await self.raw.send(command(type="ping", id="alive", nonce="n"))
        answers = [await self.next(), await self.next()]
        kinds = {answer["type"] if isinstance(answer, dict) else answer for answer in answers}
        assert kinds == {"pong", "reply"}, answers
        assert "cancel.requested" not in {event["type"] for event in self.events}

    async def has_a_strike(self) -> bool:
        """Say whether it has one, where two close the connection: it gets another."""
        await self.raw.send(command(type="fly"))
        answer = await self.next()
        assert isinstance(answer, dict)
        assert answer["error"]["code"] == "unknown_command"
        await self.raw.send(command(type="ping", id="last"))
        while isinstance(answer := await self.next(), dict):
            if answer["type"] == "reply" and answer["command_id"] == "last":
                return False
        assert answer == 4101
        return True


@asynccontextmanager
async def offender(w: World, *, strict: bool = True, **headers: Any) -> AsyncGenerator[Offender]:
    """Attach a client by hand, and let it begin a turn that doesn't end by itself."""
    offered: dict[str, Any] = {"Sec_WebSocket_Protocol": "bargein.v1"} if strict else {}
    async with opened(w.port, **offered, **headers) as raw:
        client = Offender(raw)
        await raw.send(command(type="say", text="Long story"))
        await client.until_event("model.token")
        yield client


async def neighbour(w: World, **query: Any) -> tuple[Client, str]:
    """Attach somebody whose turn runs while others misbehave."""
    client = await w.attach(**query)
    turn_id = (await client.say("Neighbour's turn"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return client, turn_id


async def undisturbed(client: Client, turn_id: str) -> None:
    """Check that a neighbour's turn was as if nothing had happened."""
    await client.until("turn.trace", turn_id=turn_id)
    assert client.answer_of(turn_id) == "".join(NEIGHBOURS_WORDS)
    assert {frame.type for frame in client.frames} >= {"hello", "live", "response.end"}
    assert client.find("error") is None
