"""Who gets a model slot next: ranks, aging, fair shares and pre-emption, without a clock or a task.

A slot is given to the waiting turn of the highest rank.  A rank is that of a turn's tier, and rises
by one for each `aging_s` that it has waited, so whoever waits long enough is first.  Of the same
rank, those go first who have the fewest turns running for their weight: first among tenants, then
among principals; then whoever has waited longest.

Who finds no slot may take that of a turn of a lower tier: of those who wait, the highest tier
first, and then whoever has waited longest.  Such a slot is promised: when it comes back, it goes to
the one for whom it was taken, whoever else waits.  So a turn can be pre-empted only by a higher
tier, `preempted_most` times at most, and then it stays.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from attrs import define, field, frozen

HOLDS_MEASURED: Final = 64
"""How many of the last turns the mean time of a turn is taken of."""

WAITING_MOST: Final = 2000
"""Turns that may be let wait at most, whatever the terms: each slot's choice goes over all."""

UNMEASURED_S: Final = 1.0
"""How long a turn is taken to last before any is over."""


@frozen
class Standing:
    """How the owner of a turn stands among the others.

    Attributes:
        principal: Whose turn it is.
        tenant: Whose principal that is; None: a principal without one counts as its own.
        tier: What it is called in figures.
        rank: Higher goes first, and pre-empts what is lower.
        weight: How many running turns count as one.
    """

    principal: str = "anonymous"
    tenant: str | None = None
    tier: str = "standard"
    rank: int = 0
    weight: int = 1

    @property
    def pool(self) -> tuple[str, str | None]:
        """Return whose turns are counted together first."""
        return (self.principal, None) if self.tenant is None else ("", self.tenant)

    @property
    def owner(self) -> tuple[str, str | None]:
        """Return whose turns are counted together within that."""
        return self.principal, self.tenant


@frozen
class SlotTerms:
    """How slots are shared.

    Attributes:
        most: How many there are; None: as many as anybody wants.
        aging_s: A turn that waits rises by one rank in this time.
        preempted_most: How often a turn may be pre-empted, over all its continuations.
        waiting_most: How many turns may wait before one more of their rank.
        wait_s: How long a turn may be expected to wait.
    """

    most: int | None = None
    aging_s: float = 10.0
    preempted_most: int = 3
    waiting_most: int = 200
    wait_s: float = 60.0


Place: TypeAlias = Literal["nowhere", "waiting", "running", "over"]


def always() -> bool:
    """Let a turn be pre-empted at any time."""
    return True


@define(eq=False)
class Ticket:
    """One turn's claim to a slot.

    Attributes:
        since_s: When it began to wait; earlier by what the turns have waited that it continues.
        preempted: How often the turn was pre-empted before.
        yields: Whether it may be pre-empted now.
        place: Where it stands.
        asked_s: When it asked.
        granted_s: When it got its slot.
        stopped: It was told to give its slot back.
        heir: Who is promised its slot.
        donor: Whose slot it is promised.
    """

    standing: Standing
    since_s: float
    preempted: int = 0
    yields: Callable[[], bool] = always
    place: Place = field(default="nowhere", init=False)
    asked_s: float = field(default=0.0, init=False)
    granted_s: float = field(default=0.0, init=False)
    number: int = field(default=0, init=False)
    stopped: bool = field(default=False, init=False)
    heir: Ticket | None = field(default=None, init=False)
    donor: Ticket | None = field(default=None, init=False)


@frozen(eq=False)
class Moves:
    """What is to be done now: who has a slot, and who has to give one back."""

    granted: tuple[Ticket, ...] = ()
    preempted: tuple[Ticket, ...] = ()


@define(eq=False)
class SlotQueue:
    """Gives out slots.  Whoever calls says when it is, and time must not run backwards."""

    terms: SlotTerms = field(factory=SlotTerms)
    _running: dict[Ticket, None] = field(factory=dict[Ticket, None], init=False)
    _waiting: dict[Ticket, None] = field(factory=dict[Ticket, None], init=False)
    _shares: Counter[tuple[str, str, str | None]] = field(
        factory=Counter[tuple[str, str, str | None]], init=False
    )
    _holds: deque[float] = field(factory=lambda: deque[float](maxlen=HOLDS_MEASURED), init=False)
    _asked: int = field(default=0, init=False)

    @property
    def running(self) -> tuple[Ticket, ...]:
        """Who has a slot."""
        return tuple(self._running)

    @property
    def waiting(self) -> tuple[Ticket, ...]:
        """Who waits for one."""
        return tuple(self._waiting)

    def ask(self, ticket: Ticket, now_s: float) -> Moves:
        """Let a new ticket wait, or give it a slot, or have one given back for it."""
        self._asked += 1
        ticket.number, ticket.asked_s, ticket.place = self._asked, now_s, "waiting"
        self._waiting[ticket] = None
        granted = self._give_out(now_s)
        return Moves(granted, self._take_for_waiting())

    def give_back(self, ticket: Ticket, now_s: float) -> Moves:
        """Take note that a ticket's turn is over, or waits no more; once is enough."""
        if ticket.place == "running":
            del self._running[ticket]
            self._count(ticket.standing, -1)
            self._holds.append(now_s - ticket.granted_s)
        elif ticket.place == "waiting":
            del self._waiting[ticket]
        else:
            return Moves()
        ticket.place = "over"
        heir = ticket.heir
        self._unpromise(ticket)
        inherited: tuple[Ticket, ...] = ()
        if heir is not None and self._free > 0:
            self._grant(heir, now_s)
            inherited = (heir,)
        granted = inherited + self._give_out(now_s)
        return Moves(granted, self._take_for_waiting())

    def hold_to(self, terms: SlotTerms, now_s: float) -> Moves:
        """Share slots in another way from now on; whoever has one keeps it."""
        self.terms = terms
        granted = self._give_out(now_s)
        return Moves(granted, self._take_for_waiting())

    def expected_wait_s(self, standing: Standing, now_s: float) -> float:
        """Return how long a new turn is likely to wait, by what turns have lasted."""
        if self._free > 0 or self._victim_of(standing) is not None:
            return 0.0
        return (self._ahead_of(standing, now_s) + 1) * self._step_s

    def overload_s(self, standing: Standing, now_s: float) -> float | None:
        """Return after how long a new turn would not be one too many; None if it is not now."""
        expected_s = self.expected_wait_s(standing, now_s)
        if not expected_s:
            return None
        over = self._ahead_of(standing, now_s) - self.terms.waiting_most + 1
        too_late_s = expected_s - self.terms.wait_s
        if over <= 0 and too_late_s <= 0:
            return None
        return max(over * self._step_s, too_late_s)

    # --------------------------------------------------------------------------------

    @property
    def _free(self) -> float:
        most = self.terms.most
        return float("inf") if most is None else most - len(self._running)

    @property
    def _step_s(self) -> float:
        """How long it takes until one of all slots comes back, in the mean."""
        mean_s = sum(self._holds) / len(self._holds) if self._holds else UNMEASURED_S
        return mean_s / (self.terms.most or 1)

    def _ahead_of(self, standing: Standing, now_s: float) -> int:
        return sum(self._rank(ticket, now_s) >= standing.rank for ticket in self._waiting)

    def _rank(self, ticket: Ticket, now_s: float) -> int:
        return ticket.standing.rank + int((now_s - ticket.since_s) / self.terms.aging_s)

    def _give_out(self, now_s: float) -> tuple[Ticket, ...]:
        granted: list[Ticket] = []

        def order(ticket: Ticket) -> tuple[float, ...]:
            standing, shares = ticket.standing, self._shares
            pool, owner = shares["pool", *standing.pool], shares["owner", *standing.owner]
            weight = standing.weight
            rank = self._rank(ticket, now_s)
            return -rank, pool / weight, owner / weight, ticket.since_s, ticket.number

        while self._waiting and self._free > 0:
            first = min(self._waiting, key=order)
            self._grant(first, now_s)
            granted.append(first)
        return tuple(granted)

    def _grant(self, ticket: Ticket, now_s: float) -> None:
        del self._waiting[ticket]
        self._running[ticket] = None
        ticket.place, ticket.granted_s = "running", now_s
        self._count(ticket.standing, 1)
        self._unpromise(ticket)

    def _unpromise(self, ticket: Ticket) -> None:
        if ticket.heir is not None:
            ticket.heir.donor = None
        if ticket.donor is not None:
            ticket.donor.heir = None
        ticket.heir = ticket.donor = None

    def _count(self, standing: Standing, by: int) -> None:
        for key in (("pool", *standing.pool), ("owner", *standing.owner)):
            self._shares[key] += by
            if not self._shares[key]:
                del self._shares[key]

    def _take_for_waiting(self) -> tuple[Ticket, ...]:
        """Promise slots of lower tiers to those who wait; return who is to be stopped for that."""
        if not self._waiting:
            return ()  # as mostly; and there may be many who run
        stopped: list[Ticket] = []

        def order(ticket: Ticket) -> tuple[float, ...]:
            return -ticket.standing.rank, ticket.since_s, ticket.number

        lowest = min((ticket.standing.rank for ticket in self._running), default=0)
        heirs = (t for t in self._waiting if t.donor is None and t.standing.rank > lowest)
        for heir in sorted(heirs, key=order):
            victim = self._victim_of(heir.standing)
            if victim is None:
                break  # for those after it there is none either
            victim.heir, heir.donor = heir, victim
            if not victim.stopped:
                victim.stopped = True
                stopped.append(victim)
        return tuple(stopped)

    def _victim_of(self, standing: Standing) -> Ticket | None:
        if self._free < 0:
            return None  # there are fewer slots by now: what it gave back would be nobody's
        lower = (
            ticket
            for ticket in self._running
            if ticket.standing.rank < standing.rank
            and ticket.heir is None
            and (ticket.stopped or self._may_be_stopped(ticket))
        )

        def order(ticket: Ticket) -> tuple[float, ...]:
            # Who is stopped already, and whose heir has gone, costs nobody anything.
            return not ticket.stopped, ticket.standing.rank, -ticket.granted_s, -ticket.number

        return min(lower, key=order, default=None)

    def _may_be_stopped(self, ticket: Ticket) -> bool:
        return ticket.preempted < self.terms.preempted_most and ticket.yields()
