"""A live server over sockets: whatever is sent, it answers from the registry, and lives."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import trio
from attrs import define, evolve, field

from bargein.protocol.codec import decode_event
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import COMMANDS
from bargein.testing import Timeline
from bargein.testing.model import model_of
from tests.e2e.harness import FREE_LIMITS, World, world
from tests.fuzz.grammar import command
from tests.fuzz.mutation import bytes_like, text_of, value_like
from tests.fuzz.rounds import expect, rounds, shown
from tests.gateway.raw_client import (
    BINARY,
    CLOSE,
    CONT,
    DEADLINE_S,
    PING,
    PONG,
    TEXT,
    RawClient,
    frame,
    opened,
)
from tests.testing.restaurant import HOST, Book

LIMITS = evolve(FREE_LIMITS, strikes_most=1_000_000)
CLOSES = {1000, 1002, 1006, 1007, 1009, *CloseCode}
TELL_TALES = ("Traceback", 'File "', ".py", "msgspec", "sqlite", "/home", "site-packages")


@define(eq=False)
class Prober:
    """One connection: sends bad frames, and looks at each answer."""

    raw: RawClient
    seen: Counter[str]
    session_id: str = field(default="", init=False)

    async def send(self, drawn: Random) -> bytes:
        """Send one frame, more or less wrong, and return what was sent."""
        body: Any = command(drawn)
        for _ in range(drawn.choice((0, 0, 1, 1, 3))):
            body = value_like(drawn, body)
        text = text_of(drawn, body)
        if drawn.random() < 0.25:
            text = bytes_like(drawn, text)
        sent = frame(TEXT, text)
        match drawn.randrange(40):
            case 0:
                sent = frame(BINARY, text)
            case 1:
                half = len(text) // 2
                sent = frame(TEXT, text[:half], fin=False) + frame(CONT, text[half:])
            case 2:
                sent = frame(TEXT, b"x" * drawn.choice((65_000, 66_000, 250_000)))
            case 3:
                sent = frame(PING, text[:100])
            case _:
                pass
        await self.raw.send(sent)
        return sent

    async def is_well(self, number: int) -> bool:
        """Ask for a pong, and look at all that comes before it; return whether it is still open."""
        nonce = f"well{number}"
        await self.raw.send(frame(TEXT, json.dumps({"type": "ping", "nonce": nonce}).encode()))
        with trio.fail_after(DEADLINE_S):
            while True:
                try:
                    opcode, payload = await self.raw.read_frame()
                except (EOFError, trio.BrokenResourceError):
                    self.seen["cut"] += 1
                    return False
                if opcode == CLOSE:
                    code = int.from_bytes(payload[:2])
                    assert code in CLOSES
                    assert code != 1011, payload
                    self.seen[f"closed {code}"] += 1
                    return False
                if opcode == TEXT and self.look(payload, nonce):
                    return True
                assert opcode in (TEXT, PING, PONG)

    def look(self, payload: bytes, nonce: str) -> bool:
        """Look at one frame; return whether it is the pong."""
        body = json.loads(payload)
        kind = body["type"]
        if "event_id" not in body and kind == "error":
            told = body["error"]
            assert told["code"] in set(ErrorCode)
            assert told["code"] != ErrorCode.INTERNAL
            assert told["message"]
            # What a client sent may be quoted; what it did not send is looked for.
            assert not any(mark in told["message"] for mark in TELL_TALES), told
            self.seen[f"error {told['code']}"] += 1
        elif "event_id" not in body:
            self.seen[kind] += 1
        if kind == "hello":
            self.session_id = body["session_id"]
        return kind == "pong" and body["nonce"] == nonce


@asynccontextmanager
async def live(tmp_path: Path) -> AsyncGenerator[World]:
    app = evolve(Book().app(), client=model_of(HOST))
    store = tmp_path / "timelines.sqlite3"
    async with world([], app=app, store=store, limits=LIMITS, deadline_s=3600) as there:
        yield there


async def test_whatever_is_sent_is_answered_from_the_registry(tmp_path: Path):
    seen: Counter[str] = Counter()
    async with live(tmp_path) as there:
        for number, drawn in rounds("live", least=100):
            session_id = await one_visit(there, number, drawn, seen)
            stored = [decode_event(each.frame) for each in await there.timeline(session_id)]
            timeline = Timeline.of_events(stored)
            with shown(number, timeline.facts[-20:]):
                assert timeline.broken() == []
        # Somebody else is served as ever.
        guest = await there.attach()
        await guest.converse("hello")
        await guest.leave()
    codes = {name.removeprefix("error ") for name in seen if name.startswith("error ")}
    wanted = {"invalid_json", "invalid_command", "unknown_command", "not_utf8", "stale"}
    expect(codes >= wanted, seen)
    expect(codes >= {"binary_not_supported", "frame_too_large", "not_found"}, seen)
    expect(seen["reply"] > len(COMMANDS), seen)


async def one_visit(there: World, number: int, drawn: Random, seen: Counter[str]) -> str:
    """Send thirty frames in a session of one's own, look at what comes, and name the session."""
    protocol = "bargein.v1" if drawn.random() < 0.9 else None
    async with opened(there.port, Sec_WebSocket_Protocol=protocol) as raw:
        prober = Prober(raw, seen)
        sent: list[bytes] = []
        with shown(number, sent):
            for step in range(30):
                sent.append((await prober.send(drawn))[:500])
                if drawn.random() < 0.5 and not await prober.is_well(step):
                    return prober.session_id
            await prober.is_well(30)
    return prober.session_id
