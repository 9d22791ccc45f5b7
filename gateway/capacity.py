"""Whether one more client fits into the process, and who has to go when memory is short."""

from __future__ import annotations

from collections.abc import Callable, Collection
from heapq import nsmallest
from http import HTTPStatus
from typing import Final, Protocol

import structlog
import trio
from attrs import define, evolve, field, frozen

from bargein.gateway.auth.identity import Denial
from bargein.gateway.connection import WireConnection
from bargein.gateway.counters import (
    IDLE_CLOSED,
    MEMORY_LIMIT,
    MEMORY_USED,
    SESSIONS_LIVE,
    TURNED_AWAY,
)
from bargein.gateway.handshake import Upgrade
from bargein.gateway.memory import allowed_bytes, resident_bytes
from bargein.gateway.request_head import Refusal
from bargein.protocol.codes import CloseCode
from bargein.protocol.ids import SessionId

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)

_SHORT: Final = 0.8
"""Of the limit: what is left is for those who are in, whose sessions still grow."""

_RELIEF: Final = 0.01
"""Of the idle ones, how many go at a time: what each gives back is seen before the next."""

_PAGES_OVER: Final = 200
"""Pages over the cap that are upgraded to be told so; they stay for two seconds at most."""

_REASONS: Final = {
    "connections": "too many connections",
    "sessions": "too many sessions",
    "memory": "memory is short",
}

_SENTENCES: Final = {
    "connections": "This server has as many connections as it takes; come back soon.",
    "sessions": "This server has as many sessions in memory as it takes; come back soon.",
    "memory": "This server is short of memory; come back soon.",
}


class LiveSessions(Protocol):
    """What has to be known of the sessions in memory."""

    @property
    def live(self) -> int:
        """How many there are."""
        ...

    def holds(self, session_id: SessionId) -> bool:
        """Say whether one is there."""
        ...


@frozen
class Caps:
    """What the process may hold.

    Attributes:
        memory_bytes: None for what the control group or the machine allows.
    """

    connections_most: int = 10_000
    sessions_most: int = 10_000
    memory_bytes: int | None = None


@define(eq=False)
class Capacity:
    """Count what the process holds against what it may.  Lives as long as the listener.

    A few more connections than the cap may be let in: those whose handshakes are under way.

    Attributes:
        short_of_memory: Whether more than 80 % of it was in use when it was last measured.
    """

    _caps: Caps
    _sessions: LiveSessions
    _connections: Callable[[], Collection[WireConnection]]
    _count: Callable[[], int]
    _used_bytes: Callable[[], int] = resident_bytes
    _every_s: float = 1.0
    short_of_memory: bool = field(default=False, init=False)
    _limit_bytes: int = field(init=False)
    _put_bytes: dict[WireConnection, int] = field(factory=dict[WireConnection, int], init=False)

    def __attrs_post_init__(self) -> None:
        self.hold_to(self._caps)

    def hold_to(self, caps: Caps) -> None:
        """Let the process hold so much from now on; those who are in stay."""
        self._caps = caps
        self._limit_bytes = caps.memory_bytes or allowed_bytes()
        MEMORY_LIMIT.set(self._limit_bytes)
        self._measure()

    def turn_away(self, upgrade: Upgrade) -> Upgrade | Refusal | None:
        """Turn away a client that does not fit; a page, which sees no status, with 4002."""
        reason = self._full_of(upgrade)
        if reason is None:
            return None
        TURNED_AWAY.labels(reason).inc()
        if upgrade.from_page and self._count() < self._caps.connections_most + _PAGES_OVER:
            return evolve(upgrade, caller=Denial(CloseCode.OVERLOADED, _REASONS[reason]))
        sentence = _SENTENCES[reason]
        return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence, (("Retry-After", "5"),))

    def _full_of(self, upgrade: Upgrade) -> str | None:
        if self._count() >= self._caps.connections_most:
            return "connections"
        if self._sessions.live >= self._caps.sessions_most and not (
            upgrade.session_id is not None and self._sessions.holds(SessionId(upgrade.session_id))
        ):
            return "sessions"
        return "memory" if self.short_of_memory else None

    async def keep(self) -> None:
        """Measure every second, and send idle clients away while memory is short.  Never returns.

        They come back when there is room, and lose nothing; their sessions leave memory meanwhile.
        """
        while True:
            await trio.sleep(self._every_s)
            self._measure()
            if self.short_of_memory:
                self._relieve()
            else:
                self._put_bytes.clear()

    def _measure(self) -> None:
        used_bytes = self._used_bytes()
        MEMORY_USED.set(used_bytes)
        SESSIONS_LIVE.set(self._sessions.live)
        was_short = self.short_of_memory
        self.short_of_memory = used_bytes > _SHORT * self._limit_bytes
        if self.short_of_memory != was_short:
            event = "memory.short" if self.short_of_memory else "memory.enough"
            _log.warning(event, used_bytes=used_bytes, limit_bytes=self._limit_bytes)

    def _relieve(self) -> None:
        """Close those who have sent nothing for longest, of all that were sent nothing either."""
        before = self._put_bytes
        self._put_bytes = {wire: wire.put_bytes for wire in self._connections() if wire.is_open}
        idle = [wire for wire, put in self._put_bytes.items() if before.get(wire) == put]
        going = nsmallest(
            max(1, int(len(idle) * _RELIEF)), idle, key=lambda wire: wire.last_message_s
        )
        for wire in going:
            IDLE_CLOSED.inc()
            wire.close_soon(CloseCode.OVERLOADED, "memory is short")
