"""A wave file is a conversation: through detector, recogniser, turn-taking and chunker, for real.

The server is a process of its own, the file is streamed over a real socket at the pace at which it
was spoken, the detector is WebRTC's; only the recogniser knows beforehand what will be said.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import trio
from attrs import define, field

from bargein.protocol.codec import decode_event
from tests.checker import broken_rules
from tests.e2e.apps import listener
from tests.e2e.client import Client, Frame
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.scripts import assert_ladder
from tests.project.tree import ROOT
from tests.speech.sounds import RATE_HZ, hush, sentences

CHUNK_MS: Final = 40
CHUNK_BYTES: Final = RATE_HZ * CHUNK_MS // 1000 * 2
STREAM: Final = "mic"

PLAY: Final = """\
model = "scripted"
pace_ms = 20
first_token_ms = 20

[[scenes]]
name = "narrowed"
when = 'cheap ones'
steps = [{ say = "Here they are. These two cost least." }]

[[scenes]]
name = "funds"
when = '^Show me'
steps = [{ say = "Sure, here they are. %s" }]
""" % " ".join(f"The fund number {n} has grown." for n in range(1, 200))  # noqa: UP031


@define(eq=False)
class Microphone:
    """Streams sound as it is spoken, in chunks of forty milliseconds."""

    client: Client
    sent: list[bytes] = field(factory=list[bytes], init=False)
    _due_s: float = field(factory=trio.current_time, init=False)

    async def send(self, pcm: bytes) -> None:
        self._due_s = max(self._due_s, trio.current_time())
        for at in range(0, len(pcm), CHUNK_BYTES):
            piece = pcm[at : at + CHUNK_BYTES]
            await trio.sleep_until(self._due_s)
            self._due_s += len(piece) / 2 / RATE_HZ
            sound = {"format": "pcm16_16000", "data": b64encode(piece).decode()}
            await self.client.send(
                "audio.chunk", utterance_id=STREAM, index=len(self.sent), **sound
            )
            self.sent.append(piece)

    async def until(self, wanted: str, pcm: bytes) -> tuple[Frame, float]:
        """Send *pcm* until such a frame has come; return it, and after how much sound it came."""
        before, came_s, since = len(self.sent), 0.0, len(self.client.frames)
        for at in range(0, len(pcm), CHUNK_BYTES):
            await self.send(pcm[at : at + CHUNK_BYTES])
            found = self.client.find(wanted, since)
            if found is not None:
                came_s = (len(self.sent) - before) * CHUNK_MS / 1000
                return found, came_s
        return await self.client.until(wanted, since=since), len(pcm) / 2 / RATE_HZ


@asynccontextmanager
async def listening(directory: Path) -> AsyncGenerator[ServerProcess]:
    (directory / "listener.toml").write_text(PLAY, encoding="utf-8")
    async with server_process(
        directory,
        BARGEIN_APP=f"{listener.__file__}:app",
        BARGEIN_SCREENPLAY=str(directory / "listener.toml"),
        PYTHONPATH=str(ROOT),
    ) as server:
        yield server


async def test_a_wave_file_is_heard_answered_in_chunks_and_interrupts_by_its_second_sentence(
    tmp_path: Path,
):
    question, barge_in = sentences()
    async with listening(tmp_path) as server:
        alice = await server.attach()
        await alice.ask("configure", voice=True)
        microphone = Microphone(alice)

        await microphone.send(hush(0.4) + question)
        start = await alice.until("turn.start")
        assert start.payload["input"] == listener.UTTERANCES[0]
        end = await alice.until("turn.end", turn_id=start.turn_id)
        assert end.payload["by"] == "endpoint"
        assert 300 <= end.payload["waited_ms"] <= 1500
        chunk = await alice.until("tts.chunk", text="The fund number 1 has grown.")
        assert chunk.turn_id == start.turn_id
        chunk_id = chunk.payload["chunk_id"]
        await alice.ask("playback.start", turn_id=start.turn_id, chunk_id=chunk_id)

        pause, sound_s = await microphone.until("pause", barge_in)
        assert pause["turn_id"] == start.turn_id
        assert sound_s <= 0.3  # the detector needs 80 ms of voice, and chunks are of 40
        left = barge_in[int(sound_s * RATE_HZ) * 2 :]
        await microphone.send(left + hush(1.0, 2))
        cancel = await alice.until("cancel.requested", turn_id=start.turn_id)
        assert (cancel.payload["by"], cancel.payload["cause"]) == ("speech", "command")
        assert pause.place < cancel.place
        await alice.until("flush", turn_id=start.turn_id)
        second = await alice.until("turn.start", input="Stop. Only the cheap ones.")
        await alice.until("tts.chunk", turn_id=second.turn_id, text="These two cost least.")
        await alice.until("turn.trace", turn_id=second.turn_id)

        assert_ladder(alice.of_turn(start.turn_id or ""))
        heard = [f for f in alice.events if f.type in ("speech.start", "speech.stop", "asr.final")]
        assert [f.type for f in heard] == ["speech.start", "speech.stop", "asr.final"] * 3
        assert all(f.payload["by"] == "server" for f in heard)
        await alice.until("audio.chunk", index=len(microphone.sent) - 1)
        noted = [f.payload["digest"] for f in alice.events if f.type == "audio.chunk"]
        assert noted == [sha256(piece).hexdigest() for piece in microphone.sent]
        timeline = await server.whole(alice.session_id)
        assert broken_rules([decode_event(frame) for frame in timeline]) == []


async def test_a_room_in_which_nobody_speaks_begins_no_turn_and_pauses_nothing(tmp_path: Path):
    async with listening(tmp_path) as server:
        alice = await server.attach()
        await alice.ask("configure", voice=True)
        await alice.ask("say", text="Show me everything.")
        await alice.until("tts.chunk")
        await Microphone(alice).send(hush(1.5, 3))
        reply = await alice.ask("ping")
        assert reply.type in ("pong", "reply")
        assert not [f for f in alice.frames if f.type in ("pause", "speech.start")]
