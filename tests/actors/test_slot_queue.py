"""Who gets a model slot next: tables, and any order of asking and giving back."""

from __future__ import annotations

from random import Random
from typing import Final

import pytest
from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bargein.actors.slot_queue import Moves, SlotQueue, SlotTerms, Standing, Ticket

ANN: Final = Standing("ann")
BOB: Final = Standing("bob")
GOLD: Final = Standing("midas", tier="gold", rank=1)
IRON: Final = Standing("rust", tier="iron", rank=-1)


@define(eq=False)
class Desk:
    """A queue with a clock, and names for tickets."""

    queue: SlotQueue
    now_s: float = 0.0
    tickets: dict[str, Ticket] = field(factory=dict[str, Ticket], init=False)

    def ask(self, name: str, standing: Standing = ANN, **more: object) -> Moves:
        ticket = Ticket(standing, self.now_s, **more)  # pyright: ignore[reportArgumentType]
        self.tickets[name] = ticket
        return self.queue.ask(ticket, self.now_s)

    def give_back(self, *names: str) -> Moves:
        moves = Moves()
        for name in names:
            moves = self.queue.give_back(self.tickets[name], self.now_s)
        return moves

    def names(self, tickets: tuple[Ticket, ...]) -> list[str]:
        return [name for ticket in tickets for name, t in self.tickets.items() if t is ticket]

    @property
    def running(self) -> list[str]:
        return self.names(self.queue.running)

    @property
    def waiting(self) -> list[str]:
        return self.names(self.queue.waiting)


def desk(most: int | None = 1, **terms: float) -> Desk:
    return Desk(SlotQueue(SlotTerms(most, **terms)))  # pyright: ignore[reportArgumentType]


# --- order ---------------------------------------------------------------------------------------


def test_without_a_limit_everybody_has_a_slot_at_once():
    here = desk(None)
    for number in range(50):
        assert here.ask(str(number)).granted
    assert len(here.running) == 50


def test_whoever_asks_first_of_equals_is_first():
    here = desk()
    for name, standing in (("a", ANN), ("b", BOB), ("c", ANN)):
        here.ask(name, standing)
    assert here.running == ["a"]
    assert here.names(here.give_back("a").granted) == ["b"]
    assert here.names(here.give_back("b").granted) == ["c"]


def test_a_higher_rank_goes_before_a_lower_one_that_came_earlier():
    here = desk(preempted_most=0)
    here.ask("a")
    here.ask("b", BOB)
    here.ask("g", GOLD)
    assert here.names(here.give_back("a").granted) == ["g"]
    assert here.names(here.give_back("g").granted) == ["b"]


def test_a_turn_that_waits_rises_by_a_rank_in_a_while():
    here = desk(aging_s=10.0, preempted_most=0)
    here.ask("a")
    here.ask("b", BOB)
    here.now_s = 9.9
    here.ask("g", GOLD)
    here.now_s = 10.1
    # It has the same rank by now, and has waited longer.
    assert here.names(here.give_back("a").granted) == ["b"]


def test_a_turn_that_goes_on_keeps_the_time_that_it_has_waited():
    here = desk()
    here.ask("a")
    here.now_s = 5.0
    here.ask("b", BOB)
    old = here.tickets["c"] = Ticket(Standing("cid"), since_s=1.0)
    here.queue.ask(old, here.now_s)
    assert here.names(here.give_back("a").granted) == ["c"]


def test_of_one_rank_those_are_next_who_have_the_fewest_turns_running():
    here = desk(3)
    for name in ("a1", "a2", "a3", "a4"):
        here.ask(name)
    here.ask("b1", BOB)
    assert here.names(here.give_back("a1").granted) == ["b1"]  # though a4 came first
    assert here.names(here.give_back("a2").granted) == ["a4"]


def test_tenants_share_before_their_principals_do():
    acme = [Standing(f"p{number}", "acme") for number in range(4)]
    lone = Standing("p0", "other")
    here = desk(3)
    for number, standing in enumerate(acme):
        here.ask(f"a{number}", standing)
    here.ask("o", lone)
    # p3 has nothing running, but its tenant has two; the other tenant has nothing.
    assert here.names(here.give_back("a0").granted) == ["o"]
    assert here.names(here.give_back("a1").granted) == ["a3"]


def test_a_principal_without_a_tenant_is_a_tenant_of_its_own():
    here = desk(2)
    here.ask("a1", ANN)
    here.ask("b1", BOB)
    here.ask("a2", ANN)
    here.ask("c1", Standing("cid"))
    assert here.names(here.give_back("b1").granted) == ["c1"]


def test_a_weight_lets_so_many_running_turns_count_as_one():
    heavy = evolve(BOB, weight=4)
    here = desk(5)
    for number in range(3):
        here.ask(f"h{number}", heavy)
    for number in range(2):
        here.ask(f"a{number}", ANN)
    here.ask("a2", ANN)
    here.ask("h3", heavy)
    # Two of heavy's turns and two of ann's run: a half against two.
    assert here.names(here.give_back("h0").granted) == ["h3"]


# --- pre-emption ----------------------------------------------------------------------------------


def test_who_finds_no_slot_takes_that_of_the_youngest_turn_of_the_lowest_tier():
    here = desk(4)
    here.ask("a", ANN)
    here.ask("i1", IRON)
    here.now_s = 1.0
    here.ask("i2", IRON)
    here.ask("b", BOB)
    assert here.names(here.ask("g", GOLD).preempted) == ["i2"]
    assert "g" not in here.running
    assert here.names(here.give_back("i2").granted) == ["g"]


def test_nobody_is_pre_empted_by_the_same_tier_or_while_a_slot_is_free():
    here = desk(2)
    here.ask("a", ANN)
    assert not here.ask("g1", GOLD).preempted
    assert here.names(here.ask("g2", GOLD).preempted) == ["a"]
    assert not here.ask("g3", GOLD).preempted
    assert not here.ask("b", BOB).preempted


@pytest.mark.parametrize("preempted", [3, 4])
def test_a_turn_that_was_pre_empted_so_often_stays(preempted: int):
    here = desk(preempted_most=3)
    here.ask("a", preempted=preempted)
    assert not here.ask("g", GOLD).preempted


def test_a_turn_that_may_not_yield_stays():
    here = desk(2)
    thinks = [True]
    here.ask("a", yields=lambda: False)
    here.now_s = -1.0
    here.ask("b", yields=lambda: thinks[0])
    assert here.names(here.ask("g", GOLD).preempted) == ["b"]
    here = desk()
    here.ask("a", yields=lambda: False)
    assert not here.ask("g", GOLD).preempted


def test_a_promised_slot_goes_to_whom_it_was_promised_whoever_has_waited_longer():
    here = desk(aging_s=1.0)
    here.ask("a", ANN)
    here.ask("b", BOB)
    here.now_s = 100.0
    assert here.names(here.ask("g", GOLD).preempted) == ["a"]
    assert here.names(here.give_back("a").granted) == ["g"]


def test_one_turn_makes_room_for_one_other():
    here = desk(1)
    here.ask("a")
    assert here.ask("g1", GOLD).preempted
    assert not here.ask("g2", GOLD).preempted


def test_a_slot_that_comes_back_anyway_is_promised_anew_before_another_turn_is_stopped():
    here = desk(2)
    here.ask("a")
    here.ask("b", BOB)
    assert here.names(here.ask("g1", GOLD).preempted) == ["b"]
    here.give_back("g1")
    assert not here.ask("g2", GOLD).preempted
    assert here.names(here.give_back("b").granted) == ["g2"]


def test_a_promise_is_void_when_whom_it_was_made_to_has_a_slot_or_has_gone():
    here = desk(2)
    here.ask("a", ANN)
    here.ask("b", BOB)
    here.ask("c", ANN)
    here.ask("g", GOLD)  # in the place of b
    assert here.names(here.give_back("a").granted) == ["g"]
    assert here.names(here.give_back("b").granted) == ["c"]

    here = desk()
    here.ask("a", ANN)
    here.ask("b", BOB)
    here.ask("g", GOLD)
    assert here.give_back("g").granted == ()
    assert here.names(here.give_back("a").granted) == ["b"]


def test_who_waits_longest_of_the_highest_tier_takes_the_slot_whoever_has_just_asked():
    here = desk(aging_s=10.0)
    here.ask("g1", GOLD)
    here.ask("s")
    here.now_s = 15.0
    here.ask("g2", GOLD)
    here.now_s = 30.0
    moves = here.give_back("g1")
    # It is first by its age, and g2 of a higher tier: what is begun is taken back at once.
    assert (here.names(moves.granted), here.names(moves.preempted)) == (["s"], ["s"])
    assert not here.ask("g3", GOLD).preempted
    assert here.names(here.give_back("s").granted) == ["g2"]


def test_a_turn_that_could_not_yield_at_first_does_so_for_whom_it_made_wait():
    here = desk()
    thinks = [False]
    here.ask("a", yields=lambda: thinks[0])
    assert not here.ask("g1", GOLD).preempted
    thinks[0] = True
    here.now_s = 1.0
    assert here.names(here.ask("g2", GOLD).preempted) == ["a"]
    assert here.names(here.give_back("a").granted) == ["g1"]


def test_a_higher_tier_that_found_nothing_to_take_takes_what_is_given_to_a_lower_one():
    here = desk()
    here.ask("i", IRON)
    assert here.names(here.ask("a").preempted) == ["i"]
    assert not here.ask("g", GOLD).preempted
    moves = here.give_back("i")  # it was promised to a
    assert (here.names(moves.granted), here.names(moves.preempted)) == (["a"], ["a"])
    assert here.names(here.give_back("a").granted) == ["g"]


def test_nobody_is_stopped_while_more_turns_run_than_there_are_slots():
    here = desk(5)
    for number in range(5):
        here.ask(f"a{number}")
    assert not here.queue.hold_to(SlotTerms(3), 0.0).preempted
    assert not here.ask("g", GOLD).preempted
    assert here.queue.expected_wait_s(GOLD, 0.0) > 0.0
    assert not here.give_back("a0").preempted
    # Now as many run as may, and what is stopped makes room.
    assert here.names(here.give_back("a1").preempted) == ["a4"]
    assert here.names(here.give_back("a4").granted) == ["g"]


def test_other_terms_may_let_those_who_wait_take_a_slot():
    here = desk(preempted_most=0)
    here.ask("a")
    assert not here.ask("g", GOLD).preempted
    assert here.names(here.queue.hold_to(SlotTerms(1), 0.0).preempted) == ["a"]


# --- what is given back ---------------------------------------------------------------------------


def test_a_slot_is_given_back_once():
    here = desk()
    here.ask("a")
    here.ask("b")
    here.ask("c")
    assert here.names(here.give_back("a").granted) == ["b"]
    again = here.give_back("a")
    assert (again.granted, again.preempted) == ((), ())
    assert here.running == ["b"]


def test_who_waits_no_more_gets_nothing():
    here = desk()
    here.ask("a")
    here.ask("b")
    here.ask("c")
    here.give_back("b")
    assert here.names(here.give_back("a").granted) == ["c"]


def test_more_slots_are_given_out_at_once_and_fewer_take_none_away():
    here = desk(1)
    for name in "abcd":
        here.ask(name)
    assert here.names(here.queue.hold_to(SlotTerms(3), 0.0).granted) == ["b", "c"]
    assert here.queue.hold_to(SlotTerms(1), 0.0).granted == ()
    assert here.running == ["a", "b", "c"]
    assert here.give_back("a", "b").granted == ()
    assert here.names(here.give_back("c").granted) == ["d"]


# --- too many -------------------------------------------------------------------------------------


def measured(most: int, hold_s: float, **terms: float) -> Desk:
    """A desk whose turns have lasted so long, and whose slots are all taken."""
    here = desk(most, **terms)
    for number in range(10):
        here.ask(f"past{number}")
        here.now_s += hold_s
        here.give_back(f"past{number}")
    for number in range(most):
        here.ask(f"run{number}")
    return here


def test_a_wait_is_expected_as_long_as_turns_have_lasted():
    here = measured(2, 4.0)
    assert here.queue.expected_wait_s(ANN, here.now_s) == pytest.approx(2.0)
    here.ask("w1")
    here.ask("w2")
    assert here.queue.expected_wait_s(ANN, here.now_s) == pytest.approx(6.0)


def test_nobody_waits_where_a_slot_is_free_or_can_be_had():
    here = measured(2, 4.0)
    assert here.queue.expected_wait_s(GOLD, here.now_s) == 0.0
    here.give_back("run0")
    assert here.queue.expected_wait_s(ANN, here.now_s) == 0.0


def test_one_more_than_may_wait_is_too_many_for_as_long_as_it_takes_until_one_is_through():
    here = measured(2, 4.0, waiting_most=3)
    for number in range(3):
        assert here.queue.overload_s(ANN, here.now_s) is None
        here.ask(f"w{number}")
    assert here.queue.overload_s(ANN, here.now_s) == pytest.approx(2.0)
    here.give_back("run0")
    assert here.queue.overload_s(ANN, here.now_s) is None


def test_a_wait_that_would_be_too_long_is_refused_until_it_would_not():
    here = measured(1, 4.0, wait_s=10.0)
    here.ask("w1")
    assert here.queue.overload_s(ANN, here.now_s) is None  # 8 s
    here.ask("w2")
    assert here.queue.overload_s(ANN, here.now_s) == pytest.approx(2.0)


def test_those_who_wait_with_a_lower_rank_keep_nobody_out():
    here = measured(1, 4.0, waiting_most=2, preempted_most=0)
    here.ask("w1")
    here.ask("w2")
    assert here.queue.overload_s(ANN, here.now_s) is not None
    assert here.queue.overload_s(GOLD, here.now_s) is None
    here.now_s += 10.0  # they have risen to it by now
    assert here.queue.overload_s(GOLD, here.now_s) is not None


# --- whatever happens -----------------------------------------------------------------------------


STANDINGS: Final = [
    Standing(principal, tenant, f"rank{rank}", rank, weight)
    for principal, tenant, weight in (("ann", None, 1), ("bob", "acme", 2), ("cid", "acme", 1))
    for rank in (0, 1, 2)
]


class AnyOrder(RuleBasedStateMachine):
    """Turns ask, end, leave and are pre-empted in any order; time goes on; slots come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = SlotQueue(SlotTerms(2, aging_s=5.0, preempted_most=2))
        self.now_s = 0.0
        self.granted: set[Ticket] = set()
        self.stopped: set[Ticket] = set()
        self.over: set[Ticket] = set()

    def take(self, moves: Moves) -> None:
        for ticket in moves.granted:
            assert ticket not in self.granted, "granted twice"
            assert ticket not in self.over, "granted to one who has gone"
            self.granted.add(ticket)
        for ticket in moves.preempted:
            assert ticket in self.granted
            assert ticket not in self.over
            assert ticket not in self.stopped, "pre-empted twice"
            assert ticket.preempted < self.queue.terms.preempted_most
            assert ticket.heir is not None
            assert ticket.standing.rank < ticket.heir.standing.rank
            self.stopped.add(ticket)

    @rule(standing=st.sampled_from(STANDINGS), preempted=st.integers(0, 3))
    def ask(self, standing: Standing, preempted: int) -> None:
        self.take(self.queue.ask(Ticket(standing, self.now_s, preempted), self.now_s))

    @precondition(lambda self: self.queue.running)
    @rule(choice=st.randoms(use_true_random=False))
    def end(self, choice: Random) -> None:
        ticket = choice.choice(self.queue.running)
        self.over.add(ticket)
        self.take(self.queue.give_back(ticket, self.now_s))

    @precondition(lambda self: self.queue.waiting)
    @rule(choice=st.randoms(use_true_random=False))
    def leave(self, choice: Random) -> None:
        ticket = choice.choice(self.queue.waiting)
        self.over.add(ticket)
        self.take(self.queue.give_back(ticket, self.now_s))

    @precondition(lambda self: self.over)
    @rule()
    def again(self) -> None:
        assert self.queue.give_back(next(iter(self.over)), self.now_s).granted == ()

    @rule(by_s=st.sampled_from([0.0, 1.0, 30.0]))
    def wait(self, by_s: float) -> None:
        self.now_s += by_s

    @rule(most=st.sampled_from([1, 2, 4, None]))
    def tune(self, most: int | None) -> None:
        self.take(self.queue.hold_to(evolve(self.queue.terms, most=most), self.now_s))

    @invariant()
    def nobody_waits_while_a_slot_is_free(self) -> None:
        most = self.queue.terms.most
        if self.queue.waiting:
            assert most is not None
            assert len(self.queue.running) >= most

    @invariant()
    def no_slot_is_lost_or_given_twice(self) -> None:
        assert set(self.queue.running) == self.granted - self.over
        assert not set(self.queue.running) & set(self.queue.waiting)

    @invariant()
    def promises_are_mutual(self) -> None:
        for ticket in self.queue.running:
            assert ticket.heir is None or ticket.heir.donor is ticket
            assert ticket.heir is None or ticket.heir in self.queue.waiting
        for ticket in self.queue.waiting:
            assert ticket.donor is None or ticket.donor in self.queue.running

    @invariant()
    def who_could_take_a_slot_has_one_promised(self) -> None:
        terms = self.queue.terms
        if terms.most is None or len(self.queue.running) > terms.most:
            return
        victims = [
            ticket.standing.rank
            for ticket in self.queue.running
            if ticket.heir is None and (ticket.stopped or ticket.preempted < terms.preempted_most)
        ]
        for ticket in self.queue.waiting:
            if ticket.donor is None:
                assert not [rank for rank in victims if rank < ticket.standing.rank]


TestAnyOrder = AnyOrder.TestCase


def once_more(ticket: Ticket, now_s: float) -> Ticket:
    """Return what a turn asks with that goes on: as old as it has waited."""
    waited_s = ticket.granted_s - ticket.since_s
    return Ticket(ticket.standing, now_s - waited_s, ticket.preempted + 1)


@given(
    arrivals=st.lists(
        st.tuples(st.sampled_from([0, 1, 2]), st.sampled_from([0.0, 0.5, 1.0, 4.0])),
        min_size=1,
        max_size=60,
    ),
    most=st.integers(1, 3),
)
def test_every_turn_is_served_however_many_of_a_higher_rank_come(
    arrivals: list[tuple[int, float]], most: int
):
    """Each turn lasts 2 s; what is pre-empted asks again, as the server has it."""
    queue = SlotQueue(SlotTerms(most, aging_s=3.0, preempted_most=2))
    now_s, ends = 0.0, dict[Ticket, float]()
    done: list[Ticket] = []
    longest_s = 0.0

    def take(moves: Moves) -> None:
        nonlocal longest_s
        for ticket in moves.granted:
            ends[ticket] = now_s + 2.0
            longest_s = max(longest_s, now_s - ticket.asked_s)
        for ticket in moves.preempted:
            del ends[ticket]
            take(queue.give_back(ticket, now_s))
            take(queue.ask(once_more(ticket, now_s), now_s))

    def pass_until(until_s: float) -> None:
        nonlocal now_s
        while ends and min(ends.values()) <= until_s:
            ticket = min(ends, key=lambda one: ends[one])
            now_s = ends.pop(ticket)
            done.append(ticket)
            take(queue.give_back(ticket, now_s))
        now_s = until_s

    for rank, pause_s in arrivals:
        pass_until(now_s + pause_s)
        take(queue.ask(Ticket(Standing(f"p{rank}", rank=rank), now_s), now_s))
    pass_until(now_s + 10_000.0)
    assert len(done) == len(arrivals)
    assert not queue.waiting
    assert not queue.running


@given(
    low=st.lists(st.sampled_from([0.0, 0.5, 1.0, 4.0]), min_size=1, max_size=12),
    ranks=st.lists(st.sampled_from([1, 2]), min_size=1, max_size=6),
    most=st.integers(1, 3),
)
def test_a_turn_is_through_in_time_though_higher_ranks_come_without_end(
    low: list[float], ranks: list[int], most: int
):
    """Each of higher rank asks again as soon as it is through, so there are always as many."""
    aging_s, hold_s = 3.0, 2.0
    queue = SlotQueue(SlotTerms(most, aging_s=aging_s, preempted_most=2))
    now_s, ends = 0.0, dict[Ticket, float]()
    came: dict[str, float] = {}
    took_s: list[float] = []
    crowd = [*ranks, *ranks, *[2] * 2 * most]
    within_s = 3 * aging_s + 3 * hold_s * (len(crowd) + len(low) + 1)

    def take(moves: Moves) -> None:
        for ticket in moves.granted:
            ends[ticket] = now_s + hold_s
        for ticket in moves.preempted:
            del ends[ticket]
            take(queue.give_back(ticket, now_s))
            take(queue.ask(once_more(ticket, now_s), now_s))

    def ask(name: str, rank: int) -> None:
        take(queue.ask(Ticket(Standing(name, rank=rank), now_s), now_s))

    for number, rank in enumerate(crowd):
        ask(f"high{number}", rank)
    pauses = list(low)
    next_s = 0.0
    while len(took_s) < len(low) and now_s < 2 * within_s + sum(low):
        if pauses and next_s <= min(ends.values()):
            now_s = next_s
            name = f"low{len(came)}"
            came[name] = now_s
            next_s += pauses.pop()
            ask(name, 0)
            continue
        ticket = min(ends, key=lambda one: ends[one])
        now_s = ends.pop(ticket)
        standing = ticket.standing
        take(queue.give_back(ticket, now_s))
        if standing.rank:
            ask(standing.principal, standing.rank)
        else:
            took_s.append(now_s - came[standing.principal])
    assert len(took_s) == len(low)
    assert max(took_s) <= within_s
