"""The voice example in Chromium: a microphone that plays a file, and a recogniser with a script."""

from __future__ import annotations

import json
import math
import struct
import wave
from pathlib import Path

import pytest

from tests.browser.driver import ROOT, driven, needs_browser
from tests.e2e.process import server_process
from tests.sdk.node import SDK, run
from tests.sdk.node import why_not as why_no_sdk

VOICE = ROOT / "examples" / "voice"
MOST_LINES = 250
DEADLINE_S = 600.0

RATE_HZ = 48_000
SILENCE_S = 2.6
BURST_S = 0.9
PITCH_HZ = 140
SYLLABLES_HZ = 5
HARMONICS = 18


def sample(at: int) -> float:
    """A hum in syllables: what a detector, and a browser that removes noise, take for a voice."""
    t_s = at / RATE_HZ
    pitch_hz = PITCH_HZ * (1 + 0.04 * math.sin(math.tau * 2.3 * t_s))
    voiced = sum(math.sin(math.tau * pitch_hz * n * t_s) / n for n in range(1, HARMONICS))
    syllable = 0.55 + 0.45 * math.sin(math.tau * SYLLABLES_HZ * t_s)
    return 0.35 * voiced * syllable


def record(path: Path) -> None:
    """Write silence and a voice; the browser plays it again and again."""
    silent = b"\0\0" * int(SILENCE_S * RATE_HZ)
    burst = range(int(BURST_S * RATE_HZ))
    voice = b"".join(struct.pack("<h", int(32767 * max(-1, min(1, sample(at))))) for at in burst)
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        sound.writeframes(silent + voice)


@pytest.mark.skipif(why_no_sdk() is not None, reason=why_no_sdk() or "")
async def test_the_page_fits_its_types():
    await run("node", SDK / "node_modules" / "typescript" / "bin" / "tsc", "-p", VOICE)


@pytest.mark.slow
@needs_browser
async def test_the_desk_is_talked_with_in_chromium(tmp_path: Path):
    sound = tmp_path / "voice.wav"
    record(sound)
    flags = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={sound}"]
    settings = {"BARGEIN_APP": f"{ROOT}/examples/voice.py:app", "BARGEIN_SCREENPLAY": ""}
    async with server_process(tmp_path, deadline_s=DEADLINE_S, **settings) as server:
        await driven("voice.test.mjs", server, {"CHROMIUM_FLAGS": json.dumps(flags)})


def test_the_parts_of_the_page_are_short():
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines())
        for path in (VOICE / "page").iterdir()
    }
    assert len(lengths) > 5
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}
