"""One utterance that is being understood, and the stream in which it was found."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import trio
from attrs import define, field

from bargein.actors.audience import Client
from bargein.protocol.ids import UtteranceId
from bargein.speech.sound import SAMPLE_BYTES
from bargein.speech.vad import VoiceActivity

MOST_AHEAD_S: Final = 10.0
"""Of sound that nobody has taken yet."""

_STEM_CHARS: Final = 40


@define(eq=False)
class SpokenSound:
    """The sound of an utterance on its way to the recogniser; bounded.

    Attributes:
        over: There is no more of it.
    """

    rate_hz: int
    over: trio.Event = field(factory=trio.Event, init=False)
    _is_dropped: bool = field(default=False, init=False)
    _waiting: bytearray = field(factory=bytearray, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    def put(self, pcm: bytes) -> bool:
        """Add sound, if anybody takes it; return False where too much waits already."""
        if self.over.is_set() or self._is_dropped:
            return True
        if len(self._waiting) + len(pcm) > self.rate_hz * SAMPLE_BYTES * MOST_AHEAD_S:
            return False
        self._waiting += pcm
        self._rouse()
        return True

    def end(self) -> None:
        """Note that there is no more of it."""
        self.over.set()
        self._rouse()

    def drop(self) -> None:
        """Let go of what nobody will take, and of what is still to come."""
        self._is_dropped = True
        self._waiting.clear()
        self._rouse()

    async def more(self) -> bytes:
        """Return what has come since; b"" at the end."""
        while len(self._waiting) < SAMPLE_BYTES and not (self.over.is_set() or self._is_dropped):
            await self._news.wait()
        whole = len(self._waiting) - len(self._waiting) % SAMPLE_BYTES
        taken = bytes(self._waiting[:whole])
        del self._waiting[:whole]
        await trio.lowlevel.checkpoint()
        return taken

    def _rouse(self) -> None:
        self._news.set()
        self._news = trio.Event()


@define(eq=False)
class Spoken:
    """An utterance that is being understood.

    Attributes:
        client: Who sends its sound.
        line_s: How long none may come.
        heard_s: When the latest came.
        scope: Of the recogniser's work.
        before: The words of the same utterance that stood before this sound, of an ear that was
            closed or of another process.
        text: The latest words.
        done: Nobody works on it any more.
        understood: Its recogniser has said its last word, or failed: nothing else counts.
    """

    utterance_id: UtteranceId
    rate_hz: int
    client: Client
    began_s: float
    line_s: float
    heard_s: float = field(init=False)
    sound: SpokenSound = field(init=False)
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    before: str = field(default="", init=False)
    text: str = field(default="", init=False)
    done: trio.Event = field(factory=trio.Event, init=False)
    understood: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.heard_s = self.began_s
        self.sound = SpokenSound(self.rate_hz)

    def all_of(self, text: str) -> str:
        """Return the words of the whole utterance, where *text* is what was just understood."""
        return f"{self.before} {text}".strip() if self.before else text


@define(eq=False)
class Stream:
    """Sound of one client in which voices are looked for.

    Attributes:
        activity: Finds them; None where that failed.
        spoken: The voice that is on.
    """

    rate_hz: int
    activity: VoiceActivity | None
    spoken: Spoken | None = field(default=None, init=False)


def utterance_in(stream: UtteranceId, index: int, nth: int) -> UtteranceId:
    """Return the name of the voice that began in a chunk, as the *nth* there.

    Chunks of a stream are counted on the timeline, so it is another for each, after a restart too.
    """
    stem = str(stream)
    if len(stem) > _STEM_CHARS:
        stem = f"{stem[: _STEM_CHARS - 9]}-{sha256(stem.encode()).hexdigest()[:8]}"
    return UtteranceId(f"{stem}.{index}.{nth}" if nth else f"{stem}.{index}")
