"""A user whose way to the server breaks again and again, and who comes back each time."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import trio
from attrs import define, field

from tests.checker import check_client_log, overlap_differs
from tests.e2e.client import Client, Frame, path_of
from tests.e2e.evidence import check_merged
from tests.e2e.harness import World
from tests.e2e.test_resume import whole_frames
from tests.faults.frames import command
from tests.gateway.raw_client import RawClient, dial, request
from tests.network.proxy import Fault, Proxy

PATIENCE_S = 1.0
"""After this the user believes that nothing more comes."""

OFFERED = {"Sec_WebSocket_Protocol": "bargein.v1"}


@define(eq=False)
class Traveller:
    """What one user saw, over many connections, and a witness who was there all the time."""

    world: World
    proxy: Proxy
    witness: Client
    chance: random.Random
    seen: list[bytes] = field(factory=list[bytes])
    last_seq: int = 0
    outcomes: dict[str, str] = field(factory=dict[str, str])
    words: dict[str, str] = field(factory=dict[str, str])

    @property
    def session_id(self) -> str:
        return self.witness.session_id

    async def trip(self, number: int, fault: Fault) -> None:
        """Say something over a connection with *fault*, then come back and say it again."""
        command_id = f"trip{number}"
        words = f"{self.chance.choice(('Long', 'Brief'))} words of trip {number}"
        self.words[command_id] = words
        frames = await self.venture(fault, command_id, words)
        self.take(frames)
        first = _answer_in(frames, command_id)

        client = await self.world.attach(
            self.session_id, after=self.last_seq, epoch=self.witness.epoch
        )
        again = await client.say(words, id=command_id)
        assert again.type == "reply", again.text
        if first is not None:
            assert json.loads(first) == again.body
        if self.chance.random() < 0.5:
            await client.ask("interrupt")
        turn_id = again["result"]["turn_id"]
        await self.witness.until("turn.trace", turn_id=turn_id)
        await client.leave()
        self.take(frame.text.encode() for frame in client.frames)

    async def venture(self, fault: Fault, command_id: str, words: str) -> list[bytes]:
        """Resume through the fault and say something; return the frames that came whole."""
        self.proxy.plan(fault)
        client = await dial(self.proxy.port)
        upgraded = False
        try:
            with trio.move_on_after(PATIENCE_S), suppress(EOFError, trio.BrokenResourceError):
                query = {"after": self.last_seq, "epoch": self.witness.epoch}
                await client.send(request(path_of(self.session_id, query), **OFFERED))
                head = await client.read_head()
                assert head.startswith(b"HTTP/1.1 101 "), head
                upgraded = True
                await client.send(command(type="say", id=command_id, text=words))
                await _read_until_over(client)
        finally:
            await trio.aclose_forcefully(client.stream)
        return whole_frames(client) if upgraded else []

    def take(self, texts: Iterable[bytes]) -> None:
        """Note what came on one connection: it has to follow exactly what came before."""
        frames = list(texts)
        if not frames:
            return
        assert check_client_log(frames, cut=True) == []
        hello = json.loads(frames[0])
        assert hello["resumed"] is True
        assert hello["replay_from"] == self.last_seq + 1
        for text in frames:
            body: dict[str, Any] = json.loads(text)
            if "event_id" in body:
                assert body.get("first_seq", body["seq"]) == self.last_seq + 1
                self.last_seq = body["seq"]
                self.seen.append(text)

    async def check(self) -> None:
        """Hold all of it against the store and the witness: no gap, no double, nothing else."""
        stored = [event.frame for event in await self.world.timeline(self.session_id)]
        check_seen(self.seen, stored)
        witnessed = [frame.text for frame in self.witness.frames]
        assert overlap_differs(self.seen, witnessed) == []
        said = [json.loads(frame) for frame in stored]
        taken = [e["payload"] for e in said if e["type"] == "input.text"]
        assert {e["command_id"]: e["text"] for e in taken} == self.words
        assert len(taken) == len(self.words)


async def _read_until_over(client: RawClient) -> None:
    """Read until the connection or the answer ends."""
    async for more in client.stream:
        client.received += more
        if b'"turn.trace"' in more:
            return


def _answer_in(frames: Sequence[bytes], command_id: str) -> bytes | None:
    for text in frames:
        body = json.loads(text)
        if body["type"] in ("reply", "error") and body.get("command_id") == command_id:
            return text
    return None


def check_seen(seen: Sequence[bytes], stored: Sequence[bytes]) -> None:
    """Check that *seen* is the beginning of what is stored, each event once and in order."""
    expected = 1
    for place, text in enumerate(seen):
        frame = Frame(json.loads(text), text.decode(), 0.0, place)
        first = frame.body.get("first_seq", frame.seq)
        assert first == expected
        if "first_seq" in frame.body:
            check_merged(frame, stored[first - 1 : frame.seq])
        else:
            assert text == stored[frame.seq - 1]
        expected = frame.seq + 1
