"""When a voice begins and ends in a stream of sound, from a judgement of each short frame.

A single frame says little: a plosive is silent, a door is loud.  So a voice begins when `starts`
of the last `among` frames were voiced, with what was heard shortly before; and it ends when no
frame was for `hangover_ms`::

    frames    . . v . v v v v . v v . . . . . . . . . .
    voice           └─began──────┘└──hangover──┘ended
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias

from attrs import Attribute, define, field, frozen

from bargein.speech.sound import SAMPLE_BYTES

Mode = Literal[0, 1, 2, 3]
FrameMs = Literal[10, 20, 30]


class DetectorMissing(ImportError):
    """The package of the voice detector is not here; install `bargein[voice]`."""

    def __init__(self) -> None:
        super().__init__("webrtcvad is not installed; install bargein[voice]")


def _at_least(least: float) -> Callable[[object, Attribute[Any], float], None]:
    def check(_: object, attribute: Attribute[Any], value: float) -> None:
        if value < least:
            raise ValueError(f"{attribute.name} has to be {least:g} or more, and is {value!r}")

    return check


@frozen(kw_only=True)
class Activity:
    """How many frames make a voice.

    Attributes:
        starts: So many voiced frames begin it,
        among: of so many.
        hangover_ms: Silence that ends it; turn-taking counts from where the silence began.
        lead_ms: Sound before its beginning that belongs to it: the first consonant.
        most_ms: A voice that goes on for longer is cut, and another begins.

    Raises:
        ValueError: A bound is not positive, or `starts` is more than `among`.
    """

    starts: int = field(default=4, validator=_at_least(1))
    among: int = field(default=6, validator=_at_least(1))
    hangover_ms: float = field(default=240.0, validator=_at_least(10))
    lead_ms: float = field(default=300.0, validator=_at_least(0))
    most_ms: float = field(default=30_000.0, validator=_at_least(1000))

    def __attrs_post_init__(self) -> None:
        if self.starts > self.among:
            raise ValueError("starts is more than among")


@frozen
class Began:
    """A voice began."""


@frozen
class Went:
    """Sound of a voice that is on."""

    pcm: bytes


@frozen
class Ended:
    """The voice fell silent.

    Attributes:
        silent_ms: How long ago that was in the sound; 0 where it was cut for its length.
    """

    silent_ms: float


Change: TypeAlias = Began | Went | Ended


@define(eq=False)
class VoiceActivity:
    """Finds the voices in one stream.  Lives as long as the stream; never waits.

    Attributes:
        _judge: Says of a frame whether it is voiced.
        _rest: The beginning of a frame.
        _lead: The latest frames of a silence.
        _recent: Which of the latest frames were voiced.
        _silent: How many frames since a voiced one.
        _frames: How many the voice has.
        is_on: Whether a voice is on.
    """

    _judge: Callable[[bytes], bool]
    _rate_hz: int
    _frame_ms: int
    _bounds: Activity = field(factory=Activity)
    is_on: bool = field(default=False, init=False)
    _rest: bytes = field(default=b"", init=False)
    _lead: deque[bytes] = field(init=False)
    _recent: deque[bool] = field(init=False)
    _silent: int = field(default=0, init=False)
    _frames: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        # What makes a voice begin is a part of it, however short the lead is.
        led = int(self._bounds.lead_ms // self._frame_ms)
        self._lead = deque(maxlen=led + self._bounds.among)
        self._recent = deque(maxlen=self._bounds.among)

    def feed(self, pcm: bytes) -> list[Change]:
        """Take in more of the stream, as it comes; return what it changes, in order."""
        changes: list[Change] = []
        for frame in self._frames_of(pcm):
            for change in self._judged(frame):
                last = changes[-1] if changes else None
                if isinstance(change, Went) and isinstance(last, Went):
                    changes[-1] = Went(last.pcm + change.pcm)
                else:
                    changes.append(change)
        return changes

    def end(self) -> None:
        """Note that nobody sends any more: a voice that was on is over, as whoever calls knows."""
        self._fall_silent()
        self._rest = b""

    def _frames_of(self, pcm: bytes) -> Iterator[bytes]:
        size = self._rate_hz * self._frame_ms // 1000 * SAMPLE_BYTES
        sound = self._rest + pcm
        whole = len(sound) - len(sound) % size
        self._rest = sound[whole:]
        for at in range(0, whole, size):
            yield sound[at : at + size]

    def _judged(self, frame: bytes) -> Iterator[Change]:
        voiced = self._judge(frame)
        if not self.is_on:
            self._recent.append(voiced)
            self._lead.append(frame)
            if sum(self._recent) >= self._bounds.starts:
                self.is_on, self._silent, self._frames = True, 0, 0
                yield Began()
                yield Went(b"".join(self._lead))
                self._lead.clear()
            return
        yield Went(frame)
        self._frames += 1
        self._silent = 0 if voiced else self._silent + 1
        silent_ms = self._silent * self._frame_ms
        if silent_ms >= self._bounds.hangover_ms:
            self._fall_silent()
            yield Ended(silent_ms)
        elif self._frames * self._frame_ms >= self._bounds.most_ms:
            self._fall_silent()
            yield Ended(0.0)

    def _fall_silent(self) -> None:
        self.is_on = False
        self._recent.clear()
        self._lead.clear()


@frozen
class WebRtc:
    """The voice detector of WebRTC: 2 µs for each frame, for any language.

    Attributes:
        mode: How much it takes for noise, from 0 to 3.

    Raises:
        DetectorMissing: `listen` does, where the extra `voice` is not installed.
    """

    mode: Mode = 2
    frame_ms: FrameMs = 20

    def listen(self, rate_hz: int) -> Callable[[bytes], bool]:
        """Return who judges one stream."""
        vad = _vad(self.mode)

        def is_voiced(frame: bytes) -> bool:
            return bool(vad.is_speech(frame, rate_hz))

        return is_voiced


def _vad(mode: Mode) -> Any:
    try:
        module: Any = import_module(MODULE)
    except ImportError as error:
        raise DetectorMissing from error
    return module.Vad(mode)


MODULE: Final = "webrtcvad"
"""Imported where it is first needed: it is an extra."""
