"""A spoken conversation with the real server, over a real socket."""

from __future__ import annotations

import math
import struct
import wave
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Final

import trio

from tests.e2e.client import Client
from tests.e2e.harness import world
from tests.e2e.scripts import assert_ladder, by_words
from tests.fakes.anthropic_answers import Hang, Say, doing, saying
from tests.scale import scaled

RATE_HZ: Final = 16_000
CHUNK_BYTES: Final = 3200
"""A tenth of a second."""

LONG = doing(Say("Let me look. "), Say("Your first fund has grown. "), Hang())


async def speak(client: Client, who: str, text: str) -> None:
    await client.ask("speech.start", utterance_id=who)
    await client.ask("asr.partial", utterance_id=who, revision=0, text=text)
    await client.ask("speech.stop", utterance_id=who)
    await client.ask("asr.final", utterance_id=who, revision=1, text=text)


async def spoken_turn(client: Client, who: str, text: str) -> str:
    """Say something, and wait until the answer to it is being spoken; return its turn."""
    await speak(client, who, text)
    start = await client.until("turn.start", input=text)
    await client.until("tts.chunk", turn_id=start.turn_id)
    assert start.turn_id is not None
    return start.turn_id


async def test_a_spoken_question_is_answered_in_chunks_and_cut_at_what_was_played():
    async with world(by_words({"List": LONG, "Only": saying("Here they are.")})) as w:
        alice, watcher = await w.attach(), None
        await alice.ask("configure", voice=True)
        watcher = await w.attach(alice.session_id, role="watch")
        turn_id = await spoken_turn(alice, "u1", "List my funds, please.")
        second = await alice.until("tts.chunk", text="Your first fund has grown.")
        played = {"turn_id": turn_id, "chunk_id": second.payload["chunk_id"]}
        words_ms = [100.0, 200.0, 300.0, 400.0, 500.0]
        await alice.ask("playback.start", **played, words_ms=words_ms)
        await alice.ask("playback.progress", **played, offset_ms=320.0)
        await alice.ask("speech.start", utterance_id="u2")
        for client in (alice, watcher):
            pause = await client.until("pause")
            assert pause["turn_id"] == turn_id
        words = "Only the cheap ones."
        await alice.ask("asr.partial", utterance_id="u2", revision=0, text=words)
        cancel = await alice.until("cancel.requested", turn_id=turn_id)
        assert cancel.payload["by"] == "speech"
        assert cancel.payload["in_flight"]["playing"] == second.payload["chunk_id"]
        frozen = await alice.until("cancel.stage", turn_id=turn_id, target="transcript")
        assert frozen.payload["heard"] == "Let me look. Your first fund"
        await alice.ask("speech.stop", utterance_id="u2")
        await alice.ask("asr.final", utterance_id="u2", revision=1, text=words)
        start = await alice.until("turn.start", input=words)
        await alice.until("turn.trace", turn_id=start.turn_id)
        assert_ladder(alice.of_turn(turn_id))


async def test_a_cough_costs_the_answer_nothing_but_a_pause():
    async with world(by_words({"List": LONG})) as w:
        alice = await w.attach()
        await alice.ask("configure", voice=True)
        turn_id = await spoken_turn(alice, "u1", "List my funds, please.")
        await alice.ask("speech.start", utterance_id="u2")
        await alice.ask("speech.stop", utterance_id="u2")
        unpause = await alice.until("unpause")
        assert unpause["turn_id"] == turn_id
        resumed = await alice.until("playback.resumed", turn_id=turn_id)
        assert resumed.payload["cause"] == "noise"
        assert resumed.payload["waited_ms"] < 1500
        assert not [frame for frame in alice.frames if frame.type in ("flush", "cancel.requested")]


async def test_a_client_that_comes_back_sees_what_was_said_and_what_was_spoken():
    async with world(by_words({"List": saying("Let me look. That is all.")})) as w:
        alice = await w.attach()
        await alice.ask("configure", voice=True)
        turn_id = await spoken_turn(alice, "u1", "List my funds, please.")
        await alice.until("turn.trace", turn_id=turn_id)
        again = await w.attach(alice.session_id, after=0)
        view = await again.ask("projection", name="transcript")
        (turn,) = view["result"]["turns"]
        assert turn["user"] == "List my funds, please."
        assert turn["utterances"] == [{"utterance_id": "u1", "revision": 1}]
        kinds = [frame.type for frame in again.frames if frame.is_event]
        assert [kinds.count(kind) for kind in ("asr.partial", "asr.final", "tts.chunk")] == [
            1,
            1,
            2,
        ]


def recorded(path: Path, seconds: float) -> bytes:
    """Write a wave file of a tone, and return its samples as they are read back."""
    count = int(RATE_HZ * seconds)
    tone = (int(9000 * math.sin(at * 440 * math.tau / RATE_HZ)) for at in range(count))
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        sound.writeframes(b"".join(struct.pack("<h", sample) for sample in tone))
    with wave.open(str(path), "rb") as sound:
        return sound.readframes(sound.getnframes())


async def test_the_sound_of_a_file_is_on_the_timeline_by_its_digests_alone(tmp_path: Path):
    samples = recorded(tmp_path / "tone.wav", 1.0)
    pieces = [samples[at : at + CHUNK_BYTES] for at in range(0, len(samples), CHUNK_BYTES)]
    async with world([]) as w:
        alice = await w.attach()
        for index, piece in enumerate(pieces):
            data = b64encode(piece).decode()
            sound = {"utterance_id": "u1", "format": "pcm16_16000", "data": data}
            await alice.ask("audio.chunk", index=index, **sound)
        bad = await alice.ask("audio.chunk", utterance_id="u1", index=10, format="pcm16", data="?")
        assert (bad["error"]["code"], bad["error"]["param"]) == ("invalid_command", "data")
        noted = [f.payload for f in alice.frames if f.type == "audio.chunk"]
        assert [chunk["digest"] for chunk in noted] == [sha256(p).hexdigest() for p in pieces]
        assert not any("gap" in chunk for chunk in noted)
        stored = b"".join(event.frame for event in await w.timeline(alice.session_id))
        assert b64encode(pieces[3][:30]) not in stored


async def test_a_pause_is_on_the_wire_as_soon_as_the_voice_is():
    async with world(by_words({"List": LONG})) as w:
        alice = await w.attach()
        await alice.ask("configure", voice=True)
        await spoken_turn(alice, "u1", "List my funds, please.")
        took_s: list[float] = []
        for number in range(scaled(100)):
            before = len(alice.frames)
            sent_s = trio.current_time()
            await alice.send("speech.start", utterance_id=f"v{number}")
            pause = await alice.until(lambda f, n=before: f.type == "pause" and f.place >= n)
            took_s.append(pause.at_s - sent_s)
            await alice.ask("speech.stop", utterance_id=f"v{number}")
            await alice.until(lambda f, n=before: f.type == "unpause" and f.place >= n)
        assert median(took_s) < 0.1
