"""Time and chance as ports, so that a whole conversation can be replayed."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

import trio
from attrs import define, field

from bargein.protocol.ids import Epoch, SessionId


class Clock(Protocol):
    """Tells the time; deadlines and spans come from the monotonic one."""

    def now_s(self) -> float:
        """Return monotonic seconds, for spans and deadlines."""
        ...

    def utc_ms(self) -> int:
        """Return milliseconds since 1970 in UTC, for people; it may jump."""
        ...


class Chance(Protocol):
    """Makes the ids that nobody may guess."""

    def session_id(self) -> SessionId:
        """Return a new session id."""
        ...

    def epoch(self) -> Epoch:
        """Return the name of a new history."""
        ...


@define(eq=False)
class SystemClock:
    """The machine's clocks; the monotonic one is trio's, so that tests can turn it."""

    def now_s(self) -> float:
        """Return trio's time."""
        return trio.current_time()

    def utc_ms(self) -> int:
        """Return the wall clock's time."""
        return time.time_ns() // 1_000_000


@define(eq=False)
class SystemChance:
    """The operating system's randomness: 128 bits an id."""

    def session_id(self) -> SessionId:
        """Return a new session id."""
        return SessionId(f"sess_{secrets.token_hex(16)}")

    def epoch(self) -> Epoch:
        """Return the name of a new history."""
        return Epoch(secrets.token_hex(4))


@define(eq=False)
class Timestamps:
    """Event times of one session: UTC with milliseconds, never running backwards."""

    _clock: Clock
    _last_ms: int = 0
    _text: bytes = field(default=b"", init=False)

    def next(self) -> bytes:
        """Return the time of the next event, as it stands on the wire."""
        now_ms = self._clock.utc_ms()
        if now_ms > self._last_ms or not self._text:
            self._last_ms = max(now_ms, self._last_ms)
            self._text = _wire_text(self._last_ms)
        return self._text

    @classmethod
    def after(cls, clock: Clock, last: str) -> Timestamps:
        """Go on after the event whose `ts` is *last* ("" before the first)."""
        return cls(clock, utc_ms_of(last) if last else 0)


def utc_text(utc_ms: int) -> str:
    """Return *utc_ms* as ISO 8601 in UTC with milliseconds."""
    return f"{_second(utc_ms // 1000)}.{utc_ms % 1000:03d}Z"


@lru_cache(maxsize=2)
def _wire_text(utc_ms: int) -> bytes:
    # Remembered, because under load many sessions have events in the same millisecond.
    return utc_text(utc_ms).encode()


@lru_cache(maxsize=2)
def _second(utc_s: int) -> str:
    # Remembered, because it costs six times as much as the rest, and every event has a time.
    return f"{datetime.fromtimestamp(utc_s, tz=UTC):%Y-%m-%dT%H:%M:%S}"


def utc_ms_of(text: str) -> int:
    """Return the milliseconds since 1970 of an event's `ts`."""
    moment = datetime.fromisoformat(text)
    return round(moment.timestamp() * 1000)
