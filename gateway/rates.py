"""How fast one connection may send, and what becomes of one that sends faster."""

from __future__ import annotations

from math import ceil
from typing import Final, Literal, TypeAlias

from attrs import define, field, frozen

from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import (
    Ack,
    Command,
    Confirm,
    Interrupt,
    Reject,
    ReportPlayback,
    ReviseFinal,
    RevisePartial,
    SendAudio,
    StartPlayback,
    StopPlayback,
)
from bargein.protocol.frames import Problem, problem

Stream: TypeAlias = Literal["commands", "speech", "interrupts"]
"""What has a rate of its own."""

SPEECH: Final = (
    SendAudio,
    RevisePartial,
    ReviseFinal,
    StartPlayback,
    ReportPlayback,
    StopPlayback,
    Ack,
)
"""What a program sends by itself all the time: sound, transcripts, what was played or received."""

URGENT: Final = (Interrupt, Confirm, Reject)
"""What must not wait because something else was sent too often."""

FORGIVEN_MOST: Final = 3
"""Refusals within a minute that are no strikes yet."""

FORGIVEN_WINDOW_S: Final = 60.0

_CLOSE_S: Final = 1e-6
"""Times that are as close as this are the same: who waits as long as it was told is not early."""


@frozen
class Rates:
    """What a connection may send: so many a second in the long run, so many at once."""

    commands_per_s: int = 20
    commands_burst: int = 60
    speech_per_s: int = 100
    speech_burst: int = 200
    interrupts_per_s: int = 10


@define(eq=False)
class Bucket:
    """Lets *burst* through at once, and *per_s* a second in the long run.

    It has no clock: whoever calls says when it is, and time must not run backwards.
    """

    _per_s: float
    _burst: int
    _full_at_s: float = field(default=float("-inf"), init=False)

    def hold_to(self, per_s: float, burst: int, now_s: float) -> None:
        """Let as many through from now on; what has been taken stays taken, as a count."""
        taken = max(0.0, self._full_at_s - now_s) * self._per_s
        self._per_s, self._burst = per_s, burst
        self._full_at_s = now_s + min(taken, burst) / per_s

    def take(self, now_s: float) -> float:
        """Let one through and return 0; or return for how long there is no room, in seconds."""
        full_at_s = max(self._full_at_s, now_s)
        wait_s = full_at_s - (self._burst - 1) / self._per_s - now_s
        if wait_s > _CLOSE_S:
            return wait_s
        self._full_at_s = full_at_s + 1 / self._per_s
        return 0.0


@define(eq=False)
class Strikes:
    """What happened lately, and should not happen often.

    Attributes:
        most: So many within `window_s` are too many.
    """

    most: int
    window_s: float
    _at_s: list[float] = field(factory=list[float], init=False)

    def add(self, now_s: float) -> bool:
        """Count one; say whether that was one too many."""
        self._at_s.append(now_s)
        while self._at_s[0] <= now_s - self.window_s or len(self._at_s) > self.most:
            self._at_s.pop(0)
        return len(self._at_s) >= self.most


@frozen
class Slowed:
    """Why a command has to wait.

    Attributes:
        stream: Which rate it is over.
        strike: Whether it came after so many others that it is a strike.
    """

    stream: Stream
    problem: Problem
    strike: bool


@define(eq=False)
class Throttle:
    """Holds what one connection sends against its rates.  Lives as long as the connection."""

    _rates: Rates
    _buckets: dict[Stream, Bucket] = field(init=False)
    _refused: Strikes = field(init=False)

    def __attrs_post_init__(self) -> None:
        rates = self._rates
        self._buckets = {
            "commands": Bucket(rates.commands_per_s, rates.commands_burst),
            "speech": Bucket(rates.speech_per_s, rates.speech_burst),
            "interrupts": Bucket(rates.interrupts_per_s, rates.interrupts_per_s),
        }
        self._refused = Strikes(FORGIVEN_MOST + 1, FORGIVEN_WINDOW_S)

    def hold_to(self, rates: Rates, now_s: float) -> None:
        """Hold what comes from now on to these rates, which mostly are what they were."""
        if rates is self._rates:
            return
        self._rates = rates
        buckets = self._buckets
        buckets["commands"].hold_to(rates.commands_per_s, rates.commands_burst, now_s)
        buckets["speech"].hold_to(rates.speech_per_s, rates.speech_burst, now_s)
        buckets["interrupts"].hold_to(rates.interrupts_per_s, rates.interrupts_per_s, now_s)

    def slow(self, command: Command | None, now_s: float, *, stops: bool = False) -> Slowed | None:
        """Count a command; return why it has to wait, None if it need not.

        Args:
            command: None for a line of a person that is no command, such as `/help`.
            now_s: On a clock that never runs backwards, in seconds.
            stops: It would stop a turn that nobody has stopped: such a one never waits.
        """
        stream = stream_of(command)
        wait_s = self._buckets[stream].take(now_s)
        if not wait_s or stops:
            return None
        # Sending too many interrupts is a sign of need, and harms nobody.
        strike = not isinstance(command, Interrupt) and self._refused.add(now_s)
        return Slowed(stream, _too_many(stream, wait_s), strike)


def stream_of(command: Command | None) -> Stream:
    """Return whose rate a command counts against."""
    if isinstance(command, URGENT):
        return "interrupts"
    return "speech" if isinstance(command, SPEECH) else "commands"


def _too_many(stream: Stream, wait_s: float) -> Problem:
    seconds = ceil(wait_s * 100) / 100  # not a moment early
    message = f"Too many {stream} in a short time; send this again in {seconds:g} s."
    return problem(ErrorCode.RATE_LIMITED, message)
