"""The ports to whoever hears, understands and speaks: an app's own, or none.

Without them a client reports voices, words and playback itself.  With them the server does, of
the sound that a client sends; what comes of it is on the timeline as if a client had said it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

from bargein.protocol.ids import ChunkId, SessionId, TurnId


@frozen
class Transcript:
    """What was understood of an utterance so far; a later one replaces it.

    Attributes:
        text: All of its words, from the beginning.
        confidence: From 0 to 1, where the recogniser knows.
    """

    text: str
    confidence: float | None = None


class VoiceDetector(Protocol):
    """Tells voices from other sound."""

    @property
    def frame_ms(self) -> int:
        """How much sound it judges at a time; ms."""
        ...

    def listen(self, rate_hz: int) -> Callable[[bytes], bool]:
        """Return who judges one stream of sound, frame by frame.

        It is called in the loop of all sessions, with whole frames of signed 16 bits,
        little-endian, one channel: it must neither wait nor take longer than a frame's hundredth.
        What it raises makes the server deaf to this stream, and says so.
        """
        ...


class Sound(Protocol):
    """One utterance, as it is spoken."""

    @property
    def rate_hz(self) -> int:
        """Samples for each second."""
        ...

    async def more(self) -> bytes:
        """Return what has come since: signed 16 bits, little-endian, one channel; b"" at the end.

        Wait while there is nothing.  Ten seconds are kept for whoever doesn't ask.
        """
        ...


class Recogniser(Protocol):
    """Understands speech."""

    async def recognise(self, sound: Sound, hears: Callable[[Transcript], None]) -> Transcript:
        """Return the words of *sound* when it is over, and tell *hears* of what comes before.

        One call for each utterance; several may run at a time.  It has five seconds after the
        end of the sound.  Cancelling it has to close whatever it holds.  What it raises ends this
        utterance: the words so far stand, and the client is told.
        """
        ...


@frozen
class Speech:
    """A chunk of an answer that is to be said now."""

    session_id: SessionId
    turn_id: TurnId
    chunk_id: ChunkId
    text: str


class Playback(Protocol):
    """Whom a speaker tells of what is really heard: the truth boundary of an answer."""

    def started(self, words_ms: Sequence[float] = ()) -> None:
        """Note that the chunk begins to sound, and when each of its words is over, if known."""
        ...

    def reached(self, offset_ms: float) -> None:
        """Note how much of the chunk has sounded; ten times a second is often enough."""
        ...

    async def flows(self) -> None:
        """Wait while the sound has to hold, because the user speaks; mostly it returns at once."""
        ...


class Speaker(Protocol):
    """Says an answer aloud, where the sound of a session goes."""

    async def say(self, speech: Speech, playback: Playback) -> None:
        """Say one chunk, and return when it has been heard.

        Chunks of a session come one after the other.  Ask `playback.flows` before each bit of
        sound.  Cancelled, it has to be silent at once: the answer was interrupted.  Who reports
        nothing for 30 s is taken for gone.
        """
        ...
