"""What turns hold stays theirs, whatever Redis forgets, and whoever is taken for dead.

Nodes here keep what a server keeps: what it has not asked for yet, what it has and waits for, and
what it has given back and heard no answer about.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

import pytest
from attrs import define, field
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

from bargein.actors.slot_queue import SlotTerms, Standing
from bargein.cluster import redis_slots_call as call_module
from bargein.cluster.redis_slots_call import LOADS, Answer, Ask
from bargein.timeline.redis.keys import SLOTS
from tests.cluster.slot_desk import Desk, Wire, books_of
from tests.timeline.redis_server import RedisServer, redis_server

NODES: Final = ("a.1.x", "b.2.y", "c-3")
OTHERS: Final = {node: tuple(other for other in NODES if other != node) for node in NODES}
STANDINGS: Final = [Standing(name, None, f"r{rank}", rank) for name in "uv" for rank in (0, 1)]
KEPT: Final = [
    f"{SLOTS}:{name}"
    for name in ("tickets", "running", "waiting", "shares", "state", "nodes", "counts", "holds")
]
ANY_NODE: Final = st.sampled_from(NODES)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("slots")) as server:
        yield server


@pytest.fixture
def wire(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Generator[Wire]:
    # No lease runs out, and no doubt is over, by itself: a machine may be slow.
    monkeypatch.setattr(call_module, "LEASE_S", 1000.0)
    wire = Wire(server)
    try:
        wire.ask("FLUSHALL")
        for load in LOADS:
            wire.ask(*load)
        yield wire
    finally:
        wire.close()


@define(eq=False)
class Turn:
    """What its node knows of it.

    Attributes:
        told: Redis may know of it.
        asked: An answer has said so; otherwise it is asked for again.
        has: It has its slot.
    """

    standing: Standing
    told: bool = False
    asked: bool = False
    has: bool = False


@define(eq=False)
class Node:
    """One server.

    Attributes:
        backs: What it has given back and heard no answer about.
        is_sure: Redis has all that it has: it has renewed since Redis may have forgotten.
    """

    name: str
    turns: dict[int, Turn] = field(factory=dict[int, Turn])
    backs: set[int] = field(factory=set[int])
    is_sure: bool = True

    def tickets(self, numbers: Sequence[int]) -> set[str]:
        return {f"{self.name}/{number}" for number in numbers}

    @property
    def held(self) -> set[str]:
        return self.tickets([number for number, turn in self.turns.items() if turn.has])

    @property
    def asks(self) -> tuple[Ask, ...]:
        return tuple(
            Ask(number, turn.standing, 0.0, held_s=1.0 if turn.has else None)
            for number, turn in self.turns.items()
            if not turn.asked
        )

    @property
    def lists(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        told = [(number, turn.has) for number, turn in self.turns.items() if turn.asked]
        return tuple(n for n, has in told if has), tuple(n for n, has in told if not has)


class UnderFaults(RuleBasedStateMachine):
    """Calls in any order, answers lost, nodes taken for dead, and a Redis that goes back."""

    wire: Wire
    most: int

    @initialize()
    def begin(self) -> None:
        self.wire.ask("FLUSHDB")
        self.desk = Desk(self.wire, SlotTerms(self.most))
        self.nodes = {name: Node(name) for name in NODES}
        self.numbers = 0
        self.is_doubtful = False
        for name in NODES:
            self.desk.renew(name, ())
        self.dumps = self.dumped()

    # --- what nodes do -----------------------------------------------------------------

    @rule(name=ANY_NODE, standing=st.sampled_from(STANDINGS), arrives=st.booleans())
    def ask(self, name: str, standing: Standing, arrives: bool) -> None:
        self.numbers += 1
        self.nodes[name].turns[self.numbers] = Turn(standing)
        self.tell(self.nodes[name], arrives=arrives)

    @rule(data=st.data(), arrives=st.booleans(), sent=st.booleans())
    def give_back(self, data: st.DataObject, arrives: bool, sent: bool) -> None:
        names = [name for name in NODES if self.nodes[name].turns]
        if names:
            node = self.nodes[data.draw(st.sampled_from(names))]
            number = data.draw(st.sampled_from(sorted(node.turns)))
            if node.turns.pop(number).told:
                node.backs.add(number)
            if sent:
                self.tell(node, arrives=arrives)

    @rule(name=ANY_NODE, arrives=st.booleans())
    def renew(self, name: str, arrives: bool) -> None:
        node = self.nodes[name]
        self.tell(node, arrives=arrives, renews=node.lists)
        if arrives:
            self.tell(node)  # what Redis did not know
            node.is_sure = True
            self.is_doubtful = self.is_doubtful and not self.settle()
            running = books_of(self.wire).running
            mine = {ticket for ticket in running if ticket.startswith(f"{name}/")}
            assert node.held == mine, "renewed, and yet lost, or kept though it was given back"

    @rule(name=ANY_NODE)
    def leave(self, name: str) -> None:
        node = self.nodes[name]
        node.turns.clear()
        node.backs.clear()
        self.tell(node, leaves=True)

    # --- what befalls them -------------------------------------------------------------

    @rule(name=ANY_NODE, data=st.data())
    def take_for_dead(self, name: str, data: st.DataObject) -> None:
        """It lives, and holds what it has; until it says so others may have as much."""
        witness = data.draw(st.sampled_from(OTHERS[name]))
        self.nodes[name].is_sure = False
        self.tell(self.nodes[witness], gone=(name,))

    @rule()
    def remember(self) -> None:
        self.dumps = self.dumped()

    @precondition(lambda self: not self.is_doubtful)
    @rule()
    def go_back(self) -> None:
        """Another Redis goes on from an older state."""
        for key, dump in self.dumps.items():
            self.wire.ask("DEL", key)
            if dump:
                self.wire.ask("RESTORE", key, 0, dump)
        self.desk.life += "+"
        self.is_doubtful = True
        for node in self.nodes.values():
            node.is_sure = False

    def dumped(self) -> dict[str, bytes]:
        return {key: self.wire.ask("DUMP", key) for key in KEPT}

    def settle(self) -> bool:
        """Let the time be over in which nodes say what they have, if all have; say whether."""
        if all(node.is_sure for node in self.nodes.values()):
            self.wire.ask("HSET", f"{SLOTS}:state", "settled", 0)
            return True
        return False

    # --- what is promised --------------------------------------------------------------

    def tell(self, node: Node, *, arrives: bool = True, **what: object) -> None:
        """Make one call, look whom it has given slots, and let the answer arrive or not."""
        asks, backs = node.asks, tuple(node.backs)
        before = books_of(self.wire).running
        answer = self.desk.call(node.name, asks=asks, backs=backs, **what)
        books = books_of(self.wire)
        told = node.tickets([wish.number for wish in asks if wish.held_s is not None])
        self.look_at(books.running - before - told, books.running)
        for wish in asks:
            node.turns[wish.number].told = True
        if arrives:
            for wish in asks:
                node.turns[wish.number].asked = True
            node.backs.clear()
            self.take_in(node, answer)

    def look_at(self, given: frozenset[str], running: frozenset[str]) -> None:
        if not given:
            return
        assert not self.is_doubtful, "given while it was not known who has one"
        held = {ticket for node in self.nodes.values() for ticket in node.held}
        assert given.isdisjoint(held), "given to who has one"
        sure = {t for node in self.nodes.values() if node.is_sure for t in node.held}
        assert len(running | sure) <= self.most, "more run than there are slots"

    def take_in(self, node: Node, answer: Answer) -> None:
        for ticket in answer.granted:
            name, _, number = ticket.rpartition("/")
            if (turn := self.nodes[name].turns.get(int(number))) is not None:
                turn.has = True
        for number in answer.missing:
            if number in node.turns:
                node.turns[number].asked = False

    @invariant()
    def what_is_held_is_not_lost(self) -> None:
        if not hasattr(self, "desk"):
            return
        books = books_of(self.wire)
        assert books.are_in_order, books
        for node in self.nodes.values():
            if node.is_sure:
                assert node.held <= books.running

    def teardown(self) -> None:
        """Let all go well again: everybody has a slot in the end, and then nobody has anything."""
        if not hasattr(self, "desk"):
            return
        for _ in range(self.numbers + 2):
            for name in NODES:
                self.renew(name, arrives=True)
            for node in self.nodes.values():
                for number in [number for number, turn in node.turns.items() if turn.has]:
                    del node.turns[number]
                    node.backs.add(number)
                self.tell(node)
        assert not any(node.turns for node in self.nodes.values()), "somebody never had a slot"
        books = books_of(self.wire)
        assert (books.kept, books.shared, books.counted) == (0, 0, 0)


@pytest.mark.parametrize("most", [1, 3])
def test_in_any_order_of_faults_what_is_held_is_neither_lost_nor_given_twice(
    wire: Wire, most: int
) -> None:
    class Here(UnderFaults):
        pass

    Here.wire, Here.most = wire, most
    run_state_machine_as_test(
        Here,
        settings=settings(max_examples=60, stateful_step_count=30, deadline=None, derandomize=True),
    )
