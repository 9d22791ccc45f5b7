"""A turn's claim to a model slot that Redis shares out."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field

from bargein.actors.counters import PREEMPTIONS, SLOT_WAIT_SECONDS, SLOTS_IN_USE, SLOTS_WAITING
from bargein.actors.slot_queue import Standing
from bargein.actors.slots import SlotsAway, Wish
from bargein.cluster.redis_slots_call import Ask


@define(eq=False)
class SharedClaim:
    """One turn's claim, as its own process sees it; see `Claim`.

    Attributes:
        number: By which Redis and the other nodes name it.
        told: Redis may know of it.
        asked_s: When it was made.
    """

    number: int
    standing: Standing
    _wish: Wish
    _take_back: Callable[[SharedClaim], None]
    told: bool = field(default=False, init=False)
    asked_s: float = field(factory=trio.current_time, init=False)
    _granted_s: float | None = field(default=None, init=False)
    _is_lost: bool = field(default=False, init=False)
    _is_stopped: bool = field(default=False, init=False)
    _is_over: bool = field(default=False, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        SLOTS_WAITING.labels(self.standing.tier).inc()

    @property
    def waited_s(self) -> float:
        """How long it has waited, with what went before; the time that it ran does not count."""
        until_s = trio.current_time() if self._granted_s is None else self._granted_s
        return until_s - self.asked_s + self._wish.waited_s

    @property
    def place(self) -> tuple[int, float]:
        """Where it stands among those that Redis has put off: smaller goes first."""
        return -self.standing.rank, -self.waited_s

    @property
    def is_granted(self) -> bool:
        """Whether it has, or had, its slot."""
        return self._granted_s is not None

    async def until_granted(self) -> None:
        """Wait for the slot.

        Raises:
            SlotsAway: If nobody could say for long whose turn it is.
        """
        await self._news.wait()
        if self._granted_s is None:
            raise SlotsAway

    def release(self) -> None:
        """Give the slot back, or wait for it no more."""
        if self._is_over:
            return
        self._is_over = True
        if self.is_granted:
            SLOTS_IN_USE.dec()
        else:
            SLOTS_WAITING.labels(self.standing.tier).dec()
        self._take_back(self)

    def to_ask(self, now_s: float) -> Ask:
        """Return what Redis is told of it."""
        held_s = None if self._granted_s is None else now_s - self._granted_s
        return Ask(self.number, self.standing, self.waited_s, self._wish.preempted, held_s)

    def grant(self) -> None:
        """Let its turn go on; once is enough, and one that was given up stays so."""
        if self._is_over or self._is_lost or self.is_granted:
            return
        self._granted_s = trio.current_time()
        tier = self.standing.tier
        SLOTS_WAITING.labels(tier).dec()
        SLOTS_IN_USE.inc()
        SLOT_WAIT_SECONDS.labels(tier).observe(self._granted_s - self.asked_s)
        self._news.set()

    def lose(self) -> None:
        """Let its turn fail, if it waits and is not one that goes on."""
        if not (self._is_over or self.is_granted or self._wish.insists):
            self._is_lost = True
            self._news.set()

    def stop(self) -> bool:
        """Have its turn give the slot back; False if that can't be done now."""
        if self._is_over or self._is_stopped:
            return True
        if not self._wish.yields():
            return False
        self._is_stopped = True
        PREEMPTIONS.labels(self.standing.tier).inc()
        self._wish.preempt()
        return True
