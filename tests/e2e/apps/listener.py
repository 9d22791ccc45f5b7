"""An app that hears with the detector of WebRTC, and whose recogniser knows what will be said.

It listens all the same: a word is understood when so much sound has come as it takes to say it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Final

from attrs import define, field

from bargein.agents.app import Agent, App
from bargein.agents.voice import Voice
from bargein.speech.ports import Sound, Transcript
from bargein.speech.vad import WebRtc

UTTERANCES: Final = ("Show me the funds in my portfolio.", "Stop.", "Only the cheap ones.")
"""In the order in which they are said, each followed by a silence."""

WORD_S: Final = 0.25


@define(eq=False)
class Scripted:
    """Understands the utterances above, one after the other."""

    _said: count[int] = field(factory=count, init=False)

    async def recognise(self, sound: Sound, hears: Callable[[Transcript], None]) -> Transcript:
        words = UTTERANCES[next(self._said) % len(UTTERANCES)].split()
        heard_s = 0.0
        while pcm := await sound.more():
            heard_s += len(pcm) / 2 / sound.rate_hz
            if known := words[: int(heard_s / WORD_S)]:
                hears(Transcript(" ".join(known).rstrip("."), 0.8))
        return Transcript(" ".join(words), 0.95)


app = App(
    "listener",
    (Agent("broker"),),
    voice=Voice(detector=WebRtc(), recogniser=Scripted()),
)
