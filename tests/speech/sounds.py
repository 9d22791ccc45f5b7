"""Sound for the tests: two sentences of a synthesiser, and noise that is made here.

`two_sentences.wav` is ours: espeak-ng 1.51 (voice en-us, 150 words a minute) says `QUESTION`,
half a second of faint noise follows, and then `BARGE_IN`; 16 kHz, one channel, signed 16 bits.
Where espeak-ng is installed, `python -m tests.speech.sounds` writes it again.
"""

from __future__ import annotations

import io
import math
import random
import subprocess
import wave
from array import array
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("two_sentences.wav")
QUESTION: Final = "Show me the funds in my portfolio."
BARGE_IN: Final = "Stop. Only the cheap ones."
RATE_HZ: Final = 16_000
BETWEEN_S: Final = 0.5

_TAPS: Final = 24


def sentences() -> tuple[bytes, bytes]:
    """Return the samples of the two sentences, each with the noise behind it."""
    with wave.open(str(FILE), "rb") as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (RATE_HZ, 1, 2)
        pcm = sound.readframes(sound.getnframes())
    (cut,) = (at for at in range(0, len(pcm) - 4, 2) if pcm[at : at + 4] == _MARK)
    return pcm[:cut], pcm[cut + 4 :]


def hush(seconds: float, seed: int = 1, rate_hz: int = RATE_HZ, loud: int = 12) -> bytes:
    """Return the faint noise of a room."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    return array(
        "h", [chance.randint(-loud, loud) for _ in range(int(rate_hz * seconds))]
    ).tobytes()


def tone(seconds: float, rate_hz: int = RATE_HZ, pitch_hz: float = 440.0) -> bytes:
    """Return a whistle."""
    count = int(rate_hz * seconds)
    samples = [int(9000 * math.sin(at * pitch_hz * math.tau / rate_hz)) for at in range(count)]
    return array("h", samples).tobytes()


def click(seconds: float, rate_hz: int = RATE_HZ) -> bytes:
    """Return a knock on the desk: loud, and gone at once."""
    chance = random.Random(2)  # noqa: S311 - the same each time
    count = int(rate_hz * seconds)
    samples = [int(chance.uniform(-20_000, 20_000) * math.exp(-at / 60)) for at in range(count)]
    return array("h", samples).tobytes()


_MARK: Final = array("h", [32_767, -32_768]).tobytes()
"""Between the sentences: two samples that no voice has."""


def _spoken(text: str) -> bytes:
    command = ["espeak-ng", "-v", "en-us", "-s", "150", "--stdout", text]
    said = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(said)) as sound:
        samples = array("h", sound.readframes(sound.getnframes()))
        return _resampled(samples, sound.getframerate()).tobytes()


def _resampled(samples: array[int], rate_hz: int) -> array[int]:
    cut = 0.95 * RATE_HZ / rate_hz
    out = array("h")
    for number in range(len(samples) * RATE_HZ // rate_hz):
        at = number * rate_hz / RATE_HZ
        total = 0.0
        for place in range(max(0, int(at) - _TAPS), min(len(samples), int(at) + _TAPS)):
            off = at - place
            weight = math.sin(math.pi * cut * off) / (math.pi * off) if off else cut
            total += samples[place] * weight * (0.5 + 0.5 * math.cos(math.pi * off / (_TAPS + 1)))
        out.append(max(-32_000, min(32_000, round(total))))
    return out


if __name__ == "__main__":
    with wave.open(str(FILE), "wb") as written:
        written.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        quiet = hush(BETWEEN_S)
        written.writeframes(_spoken(QUESTION) + quiet + _MARK + _spoken(BARGE_IN) + quiet)
