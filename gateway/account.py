"""What one principal may use, and how much of it is used."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator
from contextlib import contextmanager
from math import ceil
from typing import Final, Literal, Protocol, TypeAlias

from attrs import define, field, frozen

from bargein.gateway.auth.identity import Identity
from bargein.protocol.codes import ErrorCode
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import SessionId

QuotaName: TypeAlias = Literal[
    "connections", "sessions", "new_sessions", "turns", "tokens", "timeline"
]
"""What can be used up, as it stands in `error.param`."""

MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0

USUAL: Final = "standard"
"""What the tiers without a table of their own are called in figures."""

_NOTED_EVERY_S: Final = 60.0
"""Refusals of a kind are on the audit once in this time, or they would fill it."""


@frozen
class Share:
    """What one principal may use, over all its sessions.

    Attributes:
        tier: What its tier is called in figures.
        rank: Whose turns get model slots first.
        weight: How many of its turns count as one where the rank is the same.
    """

    connections_most: int = 8
    sessions_most: int = 16
    new_sessions_per_minute_most: int = 5
    turns_most: int = 4
    tokens_per_hour_most: int = 200_000
    timeline_bytes: int = 64 * 1024 * 1024
    rank: int = 0
    weight: int = 1
    tier: str = USUAL


@define(eq=False)
class Window:
    """A sum over the last *span_s* seconds, in parts of *grain_s*; never less than the truth.

    It has no clock: whoever calls says when it is, and time must not run backwards.
    """

    _span_s: float
    _grain_s: float = 0.0
    _parts: deque[tuple[float, int]] = field(factory=deque[tuple[float, int]], init=False)
    _sum: int = field(default=0, init=False)

    def add(self, now_s: float, amount: int = 1) -> None:
        """Count *amount* from now on for as long as the span."""
        if self._parts and now_s < self._parts[-1][0] + self._grain_s:
            since_s, before = self._parts.pop()
            self._parts.append((since_s, before + amount))
        else:
            self._parts.append((now_s, amount))
        self._sum += amount

    def total(self, now_s: float) -> int:
        """Return the sum as of now."""
        while self._parts and self._over_at_s(self._parts[0]) <= now_s:
            self._sum -= self._parts.popleft()[1]
        return self._sum

    def wait_s(self, now_s: float, most: int) -> float:
        """Return after how long the sum is below *most* if nothing is added; 0 if it is."""
        left = self.total(now_s)
        wait_s = 0.0
        for part in self._parts:
            if left < most:
                break
            left -= part[1]
            wait_s = self._over_at_s(part) - now_s
        return wait_s

    def _over_at_s(self, part: tuple[float, int]) -> float:
        return part[0] + self._grain_s + self._span_s


@frozen
class Shortage:
    """Why something is refused: all that there was of a quota is used.

    Attributes:
        quota: Which one.
        message: What a person can do about it.
        retryable: Whether time alone may help.
    """

    quota: QuotaName
    message: str
    retryable: bool = True

    @property
    def problem(self) -> Problem:
        """Return what the client is told."""
        code = ErrorCode.QUOTA_EXCEEDED
        return problem(code, self.message, param=self.quota, retryable=self.retryable)


class Held(Protocol):
    """A session in memory."""

    @property
    def session_id(self) -> SessionId:
        """Which one."""
        ...


@define(eq=False)
class Account:
    """What one principal uses now and has used lately.

    Attributes:
        identity: As its latest token says it.
        share: What it may use.
        connections: How many it has.
        live: Its sessions in memory.
        turns: How many run.
        opened: Its new sessions of the last minute.
        spent: The tokens of the last hour.
    """

    identity: Identity
    share: Share
    connections: int = field(default=0, init=False)
    live: set[Held] = field(factory=set[Held], init=False)
    turns: int = field(default=0, init=False)
    opened: Window = field(factory=lambda: Window(MINUTE_S), init=False)
    spent: Window = field(factory=lambda: Window(HOUR_S, MINUTE_S), init=False)
    _visits: Counter[SessionId] = field(factory=Counter[SessionId], init=False)
    _noted_at_s: dict[QuotaName, float] = field(factory=dict[QuotaName, float], init=False)

    def is_idle(self, now_s: float) -> bool:
        """Say whether there is nothing to remember."""
        used = self.connections or self.live or self._visits or self.turns
        return not (used or self.opened.total(now_s) or self.spent.total(now_s))

    def short_of_seats(self, session_id: SessionId, now_s: float, *, new: bool) -> Shortage | None:
        """Return why no such session may be brought into memory."""
        share = self.share
        live = {held.session_id for held in self.live} | self._visits.keys()
        if session_id in live:
            return None
        if len(live) >= share.sessions_most:
            said = f"You have {len(live)} sessions in use, and may have {share.sessions_most}"
            return Shortage("sessions", f"{said}; close one, or leave it for a minute.")
        most = share.new_sessions_per_minute_most
        if new and (wait_s := self.opened.wait_s(now_s, most)):
            again = f"open the next one in {ceil(wait_s)} s"
            return Shortage("new_sessions", f"You may open {most} sessions a minute; {again}.")
        return None

    @contextmanager
    def seat(self, session_id: SessionId) -> Generator[None]:
        """Count a session for as long as the block runs, be it in memory already or not."""
        self._visits[session_id] += 1
        try:
            yield
        finally:
            self._visits[session_id] -= 1
            if not self._visits[session_id]:
                del self._visits[session_id]

    def short_of_connections(self) -> Shortage | None:
        """Return why there is no connection more."""
        most = self.share.connections_most
        if self.connections < most:
            return None
        return Shortage("connections", f"You may have {most} connections, and have; close one.")

    def short_of_tokens(self, now_s: float) -> Shortage | None:
        """Return why no model is asked for more."""
        most = self.share.tokens_per_hour_most
        if not (wait_s := self.spent.wait_s(now_s, most)):
            return None
        again = f"there are some again in {ceil(wait_s)} s"
        return Shortage("tokens", f"You have used the {most:,} tokens of an hour; {again}.")

    def short_of_turns(self) -> Shortage | None:
        """Return why no turn begins."""
        most = self.share.turns_most
        if self.turns < most:
            return None
        said = f"You have {self.turns} turns running, and may have {most}"
        return Shortage("turns", f"{said}; wait for one, or interrupt it.")

    def is_to_be_noted(self, quota: QuotaName, now_s: float) -> bool:
        """Say whether a refusal goes onto the audit: the first of a while does."""
        noted_at_s = self._noted_at_s.get(quota)
        if noted_at_s is not None and now_s < noted_at_s + _NOTED_EVERY_S:
            return False
        self._noted_at_s[quota] = now_s
        return True
