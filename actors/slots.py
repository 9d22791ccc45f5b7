"""Model slots: the port to whoever shares them out, and the answer where one process is alone."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Final, Protocol

import trio
from attrs import define, field, frozen

from bargein.actors.counters import (
    PREEMPTIONS,
    SLOT_WAIT_SECONDS,
    SLOTS_IN_USE,
    SLOTS_MOST,
    SLOTS_WAITING,
)
from bargein.actors.slot_queue import Moves, SlotQueue, SlotTerms, Standing, Ticket, always
from bargein.protocol.codes import ErrorCode
from bargein.protocol.frames import Problem, problem

LEAST_RETRY_S: Final = 0.1
"""Nobody is told to come back sooner: the answer itself is on its way for some of that."""


def _ignore() -> None:
    pass


class SlotsAway(Exception):
    """Nobody could say for long who has a slot: fail the turn, so that it can be said again."""

    def __init__(self) -> None:
        super().__init__("The server can't give out places at models now; try again soon.")


@frozen(eq=False)
class Wish:
    """What a turn wants of the slots.

    Attributes:
        waited_s: How long the turns have waited from which it goes on.
        preempted: How often it was pre-empted before.
        yields: Says whether it may be pre-empted now.  Must not wait, and must not raise.
        preempt: Stops it, so that its slot comes back soon.  The same holds.
        insists: It waits as long as it takes, also where nobody can say when it is its turn.
    """

    waited_s: float = 0.0
    preempted: int = 0
    yields: Callable[[], bool] = always
    preempt: Callable[[], None] = _ignore
    insists: bool = False


class Claim(Protocol):
    """One turn's claim to a slot, from the moment that it asks until it gives it back."""

    @property
    def waited_s(self) -> float:
        """How long it has waited, with what went before; the time that it ran does not count."""
        ...

    @property
    def is_granted(self) -> bool:
        """Whether it has, or had, its slot."""
        ...

    async def until_granted(self) -> None:
        """Wait for the slot; who is cancelled here still has to `release`.

        Raises:
            SlotsAway: If it can't be had, and the wish does not insist; `release`, too.
        """
        ...

    def release(self) -> None:
        """Give the slot back, or wait for it no more.  Never waits; twice is once."""
        ...


class Slots(Protocol):
    """Shares out model slots.  Lives as long as the process."""

    def refusal(self, standing: Standing) -> Problem | None:
        """Return why a new turn would be one too many, and when it would not; None if it is not."""
        ...

    def ask(self, standing: Standing, wish: Wish) -> Claim:
        """Ask for a slot; it may be granted before this returns."""
        ...


@frozen(eq=False)
class Granted:
    """The claim of a turn that needs no slot."""

    waited_s: float = 0.0
    is_granted: bool = True

    async def until_granted(self) -> None:
        """Wait for nothing."""

    def release(self) -> None:
        """Give nothing back."""


@frozen(eq=False)
class FreeSlots:
    """Slots of which there are as many as anybody wants, and which nobody counts."""

    def refusal(self, standing: Standing) -> Problem | None:
        """Refuse nothing."""

    def ask(self, standing: Standing, wish: Wish) -> Claim:
        """Grant it."""
        del standing, wish
        return GRANTED


GRANTED: Final = Granted()
FREE: Final = FreeSlots()


def overloaded(after_s: float) -> Problem:
    """Return what somebody is told whose turn would be one too many for *after_s*."""
    said = f"More turns wait for a model than the server takes; try again in {ceil(after_s)} s."
    return _overloaded(said, after_s)


def slots_away(after_s: float) -> Problem:
    """Return what somebody is told while nobody can say who has a slot."""
    said = f"The server can't give out places at models now; try again in {ceil(after_s)} s."
    return _overloaded(said, after_s)


def _overloaded(said: str, after_s: float) -> Problem:
    after_ms = ceil(max(after_s, LEAST_RETRY_S) * 1000)
    return problem(ErrorCode.OVERLOADED, said, param="model_slots", retry_after_ms=after_ms)


@define(eq=False)
class _LocalClaim:
    """A claim to a slot of this process."""

    _slots: LocalSlots
    _preempt: Callable[[], None]
    ticket: Ticket
    granted: trio.Event = field(factory=trio.Event, init=False)

    @property
    def waited_s(self) -> float:
        """How long it has waited, with what went before; the time that it ran does not count."""
        until_s = self.ticket.granted_s if self.is_granted else trio.current_time()
        return until_s - self.ticket.since_s

    @property
    def is_granted(self) -> bool:
        """Whether it has, or had, its slot."""
        return self.granted.is_set()

    async def until_granted(self) -> None:
        """Wait for the slot."""
        await self.granted.wait()

    def release(self) -> None:
        """Give the slot back, or wait for it no more."""
        self._slots.take_back(self)

    def stop(self) -> None:
        """Have its turn give the slot back."""
        self._preempt()


@define(eq=False)
class LocalSlots:
    """The slots of a process that serves alone.  Lives as long as that."""

    _terms: SlotTerms = field(factory=SlotTerms)
    _queue: SlotQueue = field(init=False)
    _claims: dict[Ticket, _LocalClaim] = field(factory=dict[Ticket, "_LocalClaim"], init=False)

    def __attrs_post_init__(self) -> None:
        self._queue = SlotQueue(self._terms)
        SLOTS_MOST.set(self._terms.most or 0)

    def hold_to(self, terms: SlotTerms) -> None:
        """Share slots in another way from now on; whoever has one keeps it."""
        SLOTS_MOST.set(terms.most or 0)
        self._enact(self._queue.hold_to(terms, trio.current_time()))

    def refusal(self, standing: Standing) -> Problem | None:
        """Return why a new turn would be one too many; None if it is not."""
        after_s = self._queue.overload_s(standing, trio.current_time())
        return None if after_s is None else overloaded(after_s)

    def ask(self, standing: Standing, wish: Wish) -> Claim:
        """Ask for a slot; it may be granted before this returns."""
        now_s = trio.current_time()
        ticket = Ticket(standing, now_s - wish.waited_s, wish.preempted, wish.yields)
        claim = self._claims[ticket] = _LocalClaim(self, wish.preempt, ticket)
        SLOTS_WAITING.labels(standing.tier).inc()
        self._enact(self._queue.ask(ticket, now_s))
        return claim

    def take_back(self, claim: _LocalClaim) -> None:
        """Take note that a turn needs its slot no more; once is enough."""
        ticket = claim.ticket
        if self._claims.pop(ticket, None) is None:
            return
        if claim.is_granted:
            SLOTS_IN_USE.dec()
        else:
            SLOTS_WAITING.labels(ticket.standing.tier).dec()
        self._enact(self._queue.give_back(ticket, trio.current_time()))

    def _enact(self, moves: Moves) -> None:
        for ticket in moves.granted:
            tier = ticket.standing.tier
            SLOTS_WAITING.labels(tier).dec()
            SLOTS_IN_USE.inc()
            SLOT_WAIT_SECONDS.labels(tier).observe(ticket.granted_s - ticket.asked_s)
            self._claims[ticket].granted.set()
        for ticket in moves.preempted:
            PREEMPTIONS.labels(ticket.standing.tier).inc()
            self._claims[ticket].stop()
