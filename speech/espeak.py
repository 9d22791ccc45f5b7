"""A speaker that runs offline: espeak-ng of the system's packages, at the pace of sound.

It sounds like the machine that it is, in a hundred languages, and needs no model.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import field, frozen

from bargein.speech.ports import Playback, Speech

SYNTHESIS_S: Final = 10.0
"""It takes a few milliseconds for a sentence; a program that hangs is ended."""

FRAME_S: Final = 0.02
REPORT_EACH: Final = 5
"""Frames between two reports."""


class EspeakFailed(RuntimeError):
    """The synthesiser did not speak; see whether espeak-ng is installed, and knows the voice.

    Attributes:
        reason: What it said.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"espeak-ng failed: {reason}")
        self.reason = reason


@frozen
class Espeak:
    """Says chunks with `espeak-ng`, and sends the sound where the app wants it.

    Attributes:
        sink: Takes a fiftieth of a second at a time, as signed 16 bits, with its samples for
            each second; it may wait.
        voice: As espeak-ng names it.
        words_per_minute: How fast it speaks.
        program: What is run.
    """

    sink: Callable[[Speech, bytes, int], Awaitable[None]] = field(repr=False)
    voice: str = "en-us"
    words_per_minute: int = 170
    program: str = "espeak-ng"

    async def say(self, speech: Speech, playback: Playback) -> None:
        """Say one chunk at its own pace; return when the last of it has been sent.

        Raises:
            EspeakFailed: Nothing was said.
        """
        pcm, rate_hz = await self._synthesise(speech.text)
        frame_bytes = int(rate_hz * FRAME_S) * 2
        playback.started()
        due_s = trio.current_time()
        for number, at in enumerate(range(0, len(pcm), frame_bytes)):
            await playback.flows()
            due_s = max(due_s, trio.current_time() - FRAME_S)  # it held meanwhile
            await trio.sleep_until(due_s)
            await self.sink(speech, pcm[at : at + frame_bytes], rate_hz)
            due_s += FRAME_S
            if number % REPORT_EACH == 0:
                playback.reached(1000 * at / 2 / rate_hz)
        await trio.sleep_until(due_s)
        playback.reached(1000 * len(pcm) / 2 / rate_hz)

    async def _synthesise(self, text: str) -> tuple[bytes, int]:
        pace = str(self.words_per_minute)
        command = [self.program, "-v", self.voice, "-s", pace, "--stdin", "--stdout"]
        try:
            with trio.fail_after(SYNTHESIS_S):
                done = await trio.run_process(
                    command,
                    stdin=text.encode(),
                    capture_stdout=True,
                    capture_stderr=True,
                    check=False,
                )
        except (OSError, trio.TooSlowError) as error:
            raise EspeakFailed(str(error) or "too slow") from error
        if done.returncode != 0 or not done.stdout:
            raise EspeakFailed(done.stderr.decode(errors="replace").strip() or "no sound")
        try:
            with wave.open(io.BytesIO(done.stdout)) as sound:
                return sound.readframes(sound.getnframes()), sound.getframerate()
        except (wave.Error, EOFError) as error:
            raise EspeakFailed("no wave file") from error
