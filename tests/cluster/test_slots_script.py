"""Redis decides about model slots as one process does: any order of calls, beside the model."""

# pyright: reportPrivateUsage=false
# The model is of one process, in which nobody comes who has a slot already.

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bargein.actors.slot_queue import Moves, Place, SlotQueue, SlotTerms, Standing, Ticket
from bargein.cluster import redis_slots_call as call_module
from bargein.cluster.redis_slots import MOST_TOGETHER
from bargein.cluster.redis_slots_call import LOADS, Answer, Ask
from bargein.timeline.redis.keys import SLOTS
from tests.cluster.slot_desk import Desk, Wire, books_of
from tests.timeline.redis_server import RedisServer, redis_server

NODES: Final = ("a.1.x", "b.2.y", "c-3")
STANDINGS: Final = [
    Standing(principal, tenant, f"rank{rank}", rank, weight)
    for principal, tenant, weight in (("ann", None, 1), ("bob", "acme", 2), ("cid", "acme", 1))
    for rank in (0, 1, 2)
]
AGING_S: Final = 50.0
"""Long beside a test, so that ages are those that it draws."""

TERMS: Final = SlotTerms(2, aging_s=AGING_S, preempted_most=2)
US: Final = 1e6


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("slots")) as server:
        yield server


@pytest.fixture
def wire(server: RedisServer) -> Generator[Wire]:
    wire = Wire(server)
    try:
        wire.ask("FLUSHALL")
        for load in LOADS:
            wire.ask(*load)
        yield wire
    finally:
        wire.close()


class BesideTheModel(RuleBasedStateMachine):
    """Every call is made of both; both say the same at every time."""

    wire: Wire

    @initialize()
    def begin(self) -> None:
        self.wire.ask("FLUSHDB")
        self.desk = Desk(self.wire, TERMS)
        self.queue = SlotQueue(TERMS)
        self.began: int | None = None
        self.tickets: dict[str, Ticket] = {}
        self.granted: set[str] = set()
        self.numbers = 0

    def now_s(self, answer: Answer) -> float:
        """Return when it was decided; the model is told the time that Redis took it to be."""
        self.began = answer.now if self.began is None else self.began
        return (answer.now - self.began) / US

    def same(
        self, answer: Answer, granted: tuple[Ticket, ...], stopped: tuple[Ticket, ...]
    ) -> None:
        assert [self.tickets[name] for name in answer.granted] == list(granted)
        assert [self.tickets[name] for name in answer.stopped] == list(stopped)
        assert self.granted.isdisjoint(answer.granted), "granted twice"
        self.granted.update(answer.granted)

    @rule(
        node=st.sampled_from(NODES),
        standing=st.sampled_from(STANDINGS),
        preempted=st.integers(0, 3),
        aged=st.integers(0, 3),
    )
    def ask(self, node: str, standing: Standing, preempted: int, aged: int) -> None:
        self.numbers += 1
        # Not at the edge of a rank: time goes on between the calls.
        waited_s = (aged + 0.1) * AGING_S
        answer = self.desk.ask(node, Ask(self.numbers, standing, waited_s, preempted))
        now_s = self.now_s(answer)
        ticket = Ticket(standing, now_s - waited_s, preempted)
        self.tickets[f"{node}/{self.numbers}"] = ticket
        moves = self.queue.ask(ticket, now_s)
        self.same(answer, moves.granted, moves.preempted)

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.tickets)))
        node, _, number = name.partition("/")
        answer = self.desk.back(node, int(number))
        moves = self.queue.give_back(self.tickets[name], self.now_s(answer))
        self.same(answer, moves.granted, moves.preempted)

    @rule(node=st.sampled_from(NODES))
    def renew(self, node: str) -> None:
        own = [(name, t) for name, t in self.tickets.items() if name.startswith(f"{node}/")]
        held = tuple(int(n.partition("/")[2]) for n, t in own if t.place == "running")
        waits = tuple(int(n.partition("/")[2]) for n, t in own if t.place == "waiting")
        answer = self.desk.renew(node, held, waits)
        assert answer.missing == ()
        # What is stopped is said again with each renewal.
        again = {n for n, t in own if t.place == "running" and t.stopped}
        moves = self.queue.hold_to(self.desk.terms, self.now_s(answer))
        fresh = evolve(answer, stopped=tuple(n for n in answer.stopped if n not in again))
        assert again <= set(answer.stopped)
        self.same(fresh, moves.granted, moves.preempted)
        assert answer.outlook is not None
        for standing in STANDINGS:
            told_s = answer.outlook.overload_s(standing, self.desk.terms)
            assert told_s == pytest.approx(self.queue.overload_s(standing, self.now_s(answer)))

    @rule(node=st.sampled_from(NODES))
    def new_life(self, node: str) -> None:
        """Nothing is decided while nodes say what they have; and then it is as it was."""
        self.desk.life += "+"
        own = [(int(n.partition("/")[2]), t) for n, t in self.tickets.items() if node in n]
        held = tuple(number for number, t in own if t.place == "running")
        waits = tuple(number for number, t in own if t.place == "waiting")
        again = {f"{node}/{number}" for number, t in own if t.place == "running" and t.stopped}
        answer = self.desk.renew(node, held, waits)
        assert (answer.granted, set(answer.stopped), answer.missing) == ((), again, ())
        self.wire.ask("HSET", f"{SLOTS}:state", "settled", 0)

    @rule(most=st.integers(1, 4), preempted_most=st.integers(0, 2), waiting_most=st.integers(1, 3))
    def other_terms(self, most: int, preempted_most: int, waiting_most: int) -> None:
        wait_s = waiting_most * 0.7
        self.desk.terms = SlotTerms(most, AGING_S, preempted_most, waiting_most, wait_s)
        self.queue.terms = self.desk.terms

    @rule(
        node=st.sampled_from(NODES),
        standing=st.sampled_from(STANDINGS),
        preempted=st.integers(0, 3),
        held_s=st.integers(0, 3),
    )
    def hold(self, node: str, standing: Standing, preempted: int, held_s: int) -> None:
        """A node has a slot that Redis does not know of, and says so: it is counted, not asked."""
        self.numbers += 1
        name = f"{node}/{self.numbers}"
        answer = self.desk.ask(node, Ask(self.numbers, standing, 0.1, preempted, float(held_s)))
        now_s = self.now_s(answer)
        ticket = self.tickets[name] = Ticket(standing, now_s - 0.1, preempted)
        moves = held(self.queue, ticket, now_s, held_s)
        self.granted.add(name)
        self.same(answer, moves.granted, moves.preempted)

    @precondition(lambda self: self.queue.running)
    @rule(data=st.data())
    def hold_again(self, data: st.DataObject) -> None:
        """What is told of it comes again, for an answer may have been lost; nothing else does."""
        name = data.draw(st.sampled_from(self.names("running")))
        node, _, number = name.partition("/")
        ticket = self.tickets[name]
        wish = Ask(int(number), ticket.standing, 0.1, ticket.preempted, 1.0)
        answer = self.desk.ask(node, wish)
        stopped = (name,) if ticket.stopped else ()
        assert (answer.granted, answer.stopped, answer.full) == ((name,), stopped, ())

    @precondition(lambda self: self.queue.waiting)
    @rule(data=st.data(), held_s=st.integers(0, 3))
    def hold_what_waits(self, data: st.DataObject, held_s: int) -> None:
        """Redis has gone back to when it waited: it has its slot all the same, and once."""
        name = data.draw(st.sampled_from(self.names("waiting")))
        node, _, number = name.partition("/")
        ticket = self.tickets[name]
        wish = Ask(int(number), ticket.standing, 0.1, ticket.preempted, float(held_s))
        answer = self.desk.ask(node, wish)
        now_s = self.now_s(answer)
        self.queue._grant(ticket, now_s - held_s)
        self.same(answer, (ticket,), ())

    @invariant()
    def who_has_a_slot_or_waits_is_who_does_so_in_the_model(self) -> None:
        if not hasattr(self, "desk"):
            return
        books = books_of(self.wire)
        assert books.are_in_order, books
        assert books.running == set(self.names("running"))
        assert books.waiting == set(self.names("waiting"))
        over = {name for name, ticket in self.tickets.items() if ticket.place == "over"}
        assert self.granted - over == books.running, "a slot that was not given back was lost"

    def names(self, place: Place) -> list[str]:
        return sorted(name for name, ticket in self.tickets.items() if ticket.place == place)


def held(queue: SlotQueue, ticket: Ticket, now_s: float, held_s: float) -> Moves:
    """Let the model know of a turn that has had a slot for so long."""
    queue._asked += 1
    ticket.number, ticket.place = queue._asked, "waiting"
    queue._waiting[ticket] = None
    queue._grant(ticket, now_s - held_s)
    return queue.hold_to(queue.terms, now_s)


def test_any_order_of_calls_is_decided_as_in_one_process(wire: Wire) -> None:
    class Here(BesideTheModel):
        pass

    Here.wire = wire
    run_state_machine_as_test(
        Here, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


def gold(name: str = "midas") -> Standing:
    return Standing(name, tier="gold", rank=1)


def other_life(desk: Desk) -> None:
    """Let the desk find a Redis that was started anew."""
    desk.life += ", and another"


def settle(wire: Wire) -> None:
    """Let the time be over in which nodes say what they have."""
    wire.ask("HSET", f"{SLOTS}:state", "settled", 0)


@pytest.mark.parametrize("most", [40, 5])
def test_while_it_is_not_known_who_has_a_slot_nobody_is_stopped_for_a_higher_tier(
    wire: Wire, most: int
) -> None:
    desk = Desk(wire, SlotTerms(most))
    for number in range(1, 6):
        assert desk.ask("a", Ask(number, Standing(f"u{number}"), 0.0)).granted
    other_life(desk)
    assert desk.renew("a", (1, 2, 3, 4, 5)).missing == ()
    for _ in range(2):
        said = desk.call("b", asks=(Ask(1, gold(), 0.0),), renews=((), ()))
        assert (said.granted, said.stopped) == ((), ())
    # One that ends makes no room for it yet, and nobody else has to end for that.
    said = desk.back("a", 1)
    assert (said.granted, said.stopped) == ((), ())
    settle(wire)
    said = desk.renew("b", (), (1,))
    assert (said.granted, said.stopped) == (("b/1",), ())


def crowd(
    node: str, first: int, count: int, who: str, held_s: float | None = None
) -> Generator[tuple[Ask, ...]]:
    """Return the wishes of so many principals, as one node makes them in several calls."""
    numbers = range(first, first + count)
    for start in range(0, count, MOST_TOGETHER):
        some = numbers[start : start + MOST_TOGETHER]
        yield tuple(Ask(n, Standing(f"{node} {who} {n}"), 0.0, held_s=held_s) for n in some)


def test_one_call_gives_out_few_of_many_slots_and_says_that_there_are_more(wire: Wire) -> None:
    slots, waiting = 300, 400
    desk = Desk(wire, SlotTerms(slots))
    for asks in crowd("dead", 1, slots, "has", held_s=1.0):
        desk.ask("dead", *asks)
    for asks in crowd("b", 1, waiting, "wants"):
        assert desk.ask("b", *asks).granted == ()
    said = desk.call("b", gone=("dead",))
    given: list[str] = list(said.granted)
    while said.more:
        assert len(said.granted) == MOST_TOGETHER
        # Who is to have one of those is nobody's who asks now.
        said = desk.call("b", goes_on=True)
        given += said.granted
    assert given == [f"b/{number}" for number in range(1, slots + 1)]


def test_of_a_server_that_is_taken_for_dead_nobody_is_given_a_slot_in_that_call(
    wire: Wire,
) -> None:
    desk = Desk(wire, SlotTerms(1))
    assert desk.ask("a", Ask(1, Standing("ann"), 0.0)).granted == ("a/1",)
    assert desk.ask("a", Ask(2, gold(), 0.0)).stopped == ("a/1",)
    assert desk.ask("b", Ask(1, Standing("bob"), 0.0)).granted == ()
    # The heir of its slot is its own; it lives, and would take the slot that has gone to another.
    assert desk.call("c", gone=("a",)).granted == ("b/1",)


def test_one_call_stops_few_of_many_turns_and_says_that_there_are_more(wire: Wire) -> None:
    slots = 150
    desk = Desk(wire, SlotTerms(slots, preempted_most=0))
    for asks in crowd("a", 1, slots, "has"):
        desk.ask("a", *asks)
    golden = [Ask(number, gold(), 0.0) for number in range(1, slots + 1)]
    for start in range(0, slots, MOST_TOGETHER):
        assert desk.ask("b", *golden[start : start + MOST_TOGETHER]).stopped == ()
    desk.terms = SlotTerms(slots)
    said = desk.renew("b", (), tuple(range(1, slots + 1)))
    stopped = list(said.stopped)
    while said.more:
        assert len(said.stopped) == MOST_TOGETHER
        said = desk.call("b", goes_on=True)
        stopped += said.stopped
    assert len(stopped) == slots
    assert set(stopped) == {f"a/{number}" for number in range(1, slots + 1)}
    # Those that are to be stopped are no work for the next call.
    assert not desk.renew("a", tuple(range(1, slots + 1))).more


def test_who_was_put_off_comes_in_before_those_who_ask_later(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "WAITING_MOST", 2)
    desk = Desk(wire, SlotTerms(1, preempted_most=0))
    ann = [Ask(number, Standing("ann"), 0.0) for number in range(5)]
    bob = [Ask(number, Standing("bob"), 0.0) for number in range(3)]
    waiting = Ask(4, Standing("ann"), 0.2)  # it has waited since it was put off
    assert desk.ask("a", *ann[1:]).full == (4,)
    desk.back("a", 1)  # so there is room for one
    assert desk.ask("b", bob[1]).full == (1,)
    assert desk.ask("b", Ask(9, gold(), 0.0)).full == ()
    desk.back("b", 9)
    assert desk.ask("a", waiting).full == ()
    # The same for whoever is the next; but not for one who does not want to come in any more.
    assert desk.ask("b", bob[2]).full == (2,)
    desk.back("a", 2)
    assert desk.ask("a", ann[0]).full == (0,)
    desk.back("b", 2)
    assert desk.ask("a", ann[0]).full == ()
