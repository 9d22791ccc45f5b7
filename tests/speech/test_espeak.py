"""The speaker of the system: real sound where espeak-ng is installed, and plain words where not."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Sequence

import pytest
import trio
from attrs import define, field

from bargein.protocol.ids import ChunkId, SessionId, TurnId
from bargein.speech.espeak import Espeak, EspeakFailed
from bargein.speech.ports import Speech
from bargein.speech.vad import Ended, VoiceActivity, WebRtc, Went

SPEECH = Speech(SessionId("sess_1"), TurnId("turn_1"), ChunkId("chunk_1"), "Your fund has grown.")
installed = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not here")


@define
class Noted:
    """What a speaker tells."""

    begun: int = 0
    offsets_ms: list[float] = field(factory=list[float])
    asked: int = 0

    def started(self, words_ms: Sequence[float] = ()) -> None:
        self.begun += 1

    def reached(self, offset_ms: float) -> None:
        self.offsets_ms.append(offset_ms)

    async def flows(self) -> None:
        self.asked += 1


@define
class Sink:
    """Keeps the sound."""

    pcm: bytearray = field(factory=bytearray)
    rate_hz: int = 0

    async def take(self, speech: Speech, pcm: bytes, rate_hz: int) -> None:
        assert speech is SPEECH
        self.pcm += pcm
        self.rate_hz = rate_hz


def nowhere() -> Callable[[Speech, bytes, int], Awaitable[None]]:
    return Sink().take


@installed
async def test_it_says_a_chunk_at_the_pace_of_sound():
    sink, noted = Sink(), Noted()
    began_s = trio.current_time()
    with trio.fail_after(30):
        await Espeak(sink.take).say(SPEECH, noted)
    sound_s = len(sink.pcm) / 2 / sink.rate_hz
    assert 0.8 <= sound_s <= 4
    assert trio.current_time() - began_s >= sound_s - 0.05
    assert noted.begun == 1
    assert noted.offsets_ms == sorted(noted.offsets_ms)
    assert noted.offsets_ms[-1] == pytest.approx(1000 * sound_s, abs=1)
    assert noted.asked == -(-len(sink.pcm) // (int(sink.rate_hz * 0.02) * 2))


@installed
async def test_what_it_says_is_a_voice():
    sink = Sink()
    with trio.fail_after(30):
        await Espeak(sink.take).say(SPEECH, Noted())
    # Two samples of three: near enough to 16 kHz for a detector of voices.
    third = [sink.pcm[at : at + 2] for at in range(0, len(sink.pcm) - 5, 6)]
    also = [sink.pcm[at + 2 : at + 4] for at in range(0, len(sink.pcm) - 5, 6)]
    pcm = b"".join(bytes(a + b) for a, b in zip(third, also, strict=True)) + bytes(16_000)
    activity = VoiceActivity(WebRtc().listen(16_000), 16_000, 20)
    changes = [change for change in activity.feed(pcm) if not isinstance(change, Went)]
    assert len(changes) >= 2
    assert isinstance(changes[-1], Ended)


async def test_a_program_that_is_not_here_is_said_to_be_missing():
    noted = Noted()
    with pytest.raises(EspeakFailed, match="espeak-that-is-not-here"), trio.fail_after(30):
        await Espeak(nowhere(), program="espeak-that-is-not-here").say(SPEECH, noted)
    assert noted.begun == 0


async def test_a_program_that_makes_no_sound_has_failed():
    with pytest.raises(EspeakFailed, match="no sound"), trio.fail_after(30):
        await Espeak(nowhere(), program="true").say(SPEECH, Noted())
