"""Servers that share model slots through one Redis: asked, granted, taken back, lost and found."""

# pyright: reportPrivateUsage=false
# That something was decided is seen from inside.

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs

from bargein.actors.slot_queue import WAITING_MOST, SlotTerms, Standing
from bargein.actors.slots import Claim, SlotsAway, Wish
from bargein.cluster import redis_slots as slots_module
from bargein.cluster import redis_slots_call as call_module
from bargein.cluster.letters import SlotsMoved
from bargein.cluster.redis_slots import RedisSlots
from bargein.cluster.redis_slots_call import LOADS, Ask
from bargein.gateway.settings_groups import Slots
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.keys import SLOTS
from bargein.timeline.redis_address import Address
from tests.cluster.slot_desk import Desk, Wire
from tests.cluster_faults.wire import Wire as Cable
from tests.scale import scaled
from tests.timeline.redis_server import RedisServer, redis_server

LATEST_S = 20.0
LEASE_S = 0.8
RENEW_S = 0.1
ANN = Standing("ann")
BOB = Standing("bob")
GOLD = Standing("midas", tier="gold", rank=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("slots")) as server:
        yield server


@pytest.fixture
def redis(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> RedisServer:
    """Return an empty Redis, and make all go faster."""
    server.say("FLUSHALL")
    faster(monkeypatch)
    return server


def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (slots_module, call_module):
        monkeypatch.setattr(module, "LEASE_S", LEASE_S)
    monkeypatch.setattr(slots_module, "RENEW_S", RENEW_S)


@define(eq=False)
class Turn:
    """One that wants a slot, and says what it was told."""

    claim: Claim = field(init=False)
    yields: bool = True
    stopped: trio.Event = field(factory=trio.Event, init=False)
    granted: trio.Event = field(factory=trio.Event, init=False)

    def stop(self) -> None:
        self.stopped.set()


@define(eq=False)
class Houses:
    """Several servers, and the letters between them.

    Attributes:
        loses: Says which letters are lost.
    """

    nursery: trio.Nursery
    slots: dict[NodeId, RedisSlots] = field(factory=dict[NodeId, RedisSlots])
    scopes: dict[NodeId, trio.CancelScope] = field(factory=dict[NodeId, trio.CancelScope])
    loses: Callable[[], bool] = lambda: False

    def tell(self, to: NodeId, letter: SlotsMoved) -> None:
        if not self.loses() and to in self.slots:
            self.slots[to].moved(letter)

    async def build(self, port: int, name: str, terms: SlotTerms) -> RedisSlots:
        node = NodeId(name)
        slots = RedisSlots(Address("127.0.0.1", port), node)
        slots.hold_to(terms)
        scope = self.scopes[node] = trio.CancelScope()

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await slots.run(self.tell, task_status=task_status)

        await self.nursery.start(run)
        self.slots[node] = slots
        return slots

    def ask(self, slots: RedisSlots, standing: Standing = ANN, **wish: bool) -> Turn:
        """Let a turn ask; its claim sets its event."""
        turn = Turn()
        insists = wish.get("insists", False)
        turn.claim = slots.ask(
            standing, Wish(yields=lambda: turn.yields, preempt=turn.stop, insists=insists)
        )

        async def wait() -> None:
            await turn.claim.until_granted()
            turn.granted.set()

        self.nursery.start_soon(wait)
        return turn


@asynccontextmanager
async def houses(
    port: int, *names: str, most: int | None = 1, **terms: float
) -> AsyncGenerator[tuple[Houses, list[RedisSlots]]]:
    with trio.fail_after(LATEST_S):
        async with trio.open_nursery() as nursery:
            all_ = Houses(nursery)
            asked = SlotTerms(most, **terms)  # pyright: ignore[reportArgumentType]
            yield all_, [await all_.build(port, name, asked) for name in names]
            nursery.cancel_scope.cancel()


async def settled(*every: RedisSlots) -> None:
    """Wait until servers have renewed twice: what they asked before is decided."""
    for slots in every:
        for _ in range(2):
            before_s = slots._outlook_s
            while slots._outlook_s == before_s:  # noqa: ASYNC110 - nobody announces it
                await trio.sleep(0.01)


def life_of(wire: Wire) -> str:
    """Return in which life Redis is, as servers of it see it."""
    return wire.ask("HGET", f"{SLOTS}:state", "life").decode()


def keys() -> list[str]:
    """Return where all of it is kept."""
    names = ("tickets", "running", "waiting", "shares", "counts")
    return [f"{SLOTS}:{name}" for name in names]


async def nobody_has_one(wire: Wire) -> None:
    with trio.fail_after(LATEST_S):
        while wire.ask("HLEN", f"{SLOTS}:tickets") != b":0":  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert wire.ask("HLEN", f"{SLOTS}:shares") == b":0"
    assert wire.ask("HLEN", f"{SLOTS}:counts") == b":0"


@pytest.fixture
def wire(redis: RedisServer) -> Generator[Wire]:
    wire = Wire(redis)
    try:
        yield wire
    finally:
        wire.close()


async def test_a_higher_tier_takes_the_slot_of_a_turn_of_another_server(
    redis: RedisServer, wire: Wire
) -> None:
    async with houses(redis.port, "a", "b") as (all_, (a, b)):
        plain = all_.ask(b)
        await plain.granted.wait()
        gold = all_.ask(a, GOLD)
        await plain.stopped.wait()
        assert not gold.granted.is_set()
        plain.claim.release()
        again = all_.ask(b)
        await gold.granted.wait()
        assert not again.granted.is_set()
        gold.claim.release()
        await again.granted.wait()
        again.claim.release()
        await nobody_has_one(wire)


async def test_of_all_that_wait_the_one_is_next_whose_principal_has_the_fewest_slots(
    redis: RedisServer,
) -> None:
    async with houses(redis.port, "a", "b", most=3) as (all_, (a, b)):
        held = [all_.ask(a) for _ in range(3)]
        for turn in held:
            await turn.granted.wait()
        more = all_.ask(a)
        await settled(a)
        other = all_.ask(b, BOB)
        await settled(b)
        held[0].claim.release()
        await other.granted.wait()
        assert not more.granted.is_set()


async def test_however_many_slots_a_dead_server_had_all_come_back_at_once(
    redis: RedisServer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "RENEW_S", LATEST_S)
    monkeypatch.setattr(call_module, "LEASE_S", LATEST_S)
    count = 150
    async with houses(redis.port, "a", most=count) as (all_, (a,)):
        while a._outlook is None:  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.01)
        dead = Desk(wire, SlotTerms(count), life_of(wire))
        said = dead.ask("dead", *(Ask(number, ANN, 0.0) for number in range(count)))
        while said.more:
            said = dead.call("dead", goes_on=True)
        assert dead.renew("dead", tuple(range(count))).missing == ()
        turns = [all_.ask(a, BOB) for _ in range(count)]
        a.lost(NodeId("dead"))
        for turn in turns:
            await turn.granted.wait()


async def test_a_slot_comes_although_every_letter_is_lost(redis: RedisServer) -> None:
    async with houses(redis.port, "a", "b") as (all_, (a, b)):
        all_.loses = lambda: True
        plain = all_.ask(b)
        await plain.granted.wait()
        gold = all_.ask(a, GOLD)
        await plain.stopped.wait()
        plain.claim.release()
        await gold.granted.wait()


async def test_a_turn_that_can_not_be_stopped_yet_is_stopped_as_soon_as_it_can(
    redis: RedisServer,
) -> None:
    async with houses(redis.port, "a", "b") as (all_, (a, b)):
        plain = all_.ask(b)
        plain.yields = False
        await plain.granted.wait()
        all_.ask(a, GOLD)
        await settled(a)
        await trio.sleep(3 * RENEW_S)
        assert not plain.stopped.is_set()
        plain.yields = True
        await plain.stopped.wait()


async def test_what_a_dead_server_had_comes_back_when_its_lease_has_run_out(
    redis: RedisServer, wire: Wire
) -> None:
    async with houses(redis.port, "a") as (all_, (a,)):
        await settled(a)
        dead = Desk(wire, SlotTerms(1), life_of(wire))
        assert dead.ask("dead", Ask(1, ANN, 0.0)).granted == ("dead/1",)
        died_s = trio.current_time()
        turn = all_.ask(a)
        await turn.granted.wait()
        assert trio.current_time() - died_s >= LEASE_S - 0.1


async def test_what_a_server_had_that_is_known_to_be_gone_comes_back_at_once(
    redis: RedisServer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "LEASE_S", LATEST_S)
    async with houses(redis.port, "a") as (all_, (a,)):
        await settled(a)
        Desk(wire, SlotTerms(1), life_of(wire)).ask("dead", Ask(1, ANN, 0.0))
        turn = all_.ask(a)
        await settled(a)
        assert not turn.granted.is_set()
        a.lost(NodeId("dead"))
        await turn.granted.wait()


async def test_a_server_that_stood_still_is_counted_again_when_it_goes_on(
    redis: RedisServer, wire: Wire
) -> None:
    async with houses(redis.port, "a") as (all_, (a,)):
        await settled(a)
        still = Desk(wire, SlotTerms(1), life_of(wire))
        still.ask("still", Ask(1, ANN, 0.0))
        turn = all_.ask(a)
        await turn.granted.wait()
        # It wakes up, and still has its turn: two run where there is one slot.
        assert still.renew("still", (1,)).missing == (1,)
        assert still.ask("still", Ask(1, ANN, 0.0, 0, held_s=9.0)).missing == ()
        assert wire.ask("ZCARD", f"{SLOTS}:running") == b":2"
        more = all_.ask(a)
        turn.claim.release()
        await settled(a)
        assert not more.granted.is_set()
        still.back("still", 1)
        await more.granted.wait()


async def test_a_server_that_was_cut_off_itself_takes_nobody_for_dead(
    redis: RedisServer, wire: Wire
) -> None:
    desk = Desk(wire, SlotTerms(1), "life")
    for script in LOADS:
        wire.ask(*script)
    desk.ask("one", Ask(1, ANN, 0.0))
    desk.ask("two", Ask(1, BOB, 0.0))
    await trio.sleep(LEASE_S + 0.05)
    # Redis was away from both of them, and `two` is the first to be back.
    assert desk.renew("two", (), (1,)).granted == ()
    answer = desk.renew("one", (1,))
    assert (answer.missing, answer.granted) == ((), ())


async def test_what_redis_has_forgotten_is_filled_again_before_anybody_gets_a_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster(monkeypatch)
    with redis_server(tmp_path / "forgetful") as own:
        async with houses(own.port, "a", "b", most=2) as (all_, (a, b)):
            held = [all_.ask(a), all_.ask(b)]
            for turn in held:
                await turn.granted.wait()
            waits = all_.ask(b, BOB)
            await settled(b)
            own.kill()
            later = all_.ask(a)
            await trio.to_thread.run_sync(own.start)
            await settled(a, b)
            await trio.sleep(2 * LEASE_S)
            assert not waits.granted.is_set()
            assert not later.granted.is_set()
            held[0].claim.release()
            await waits.granted.wait()
            held[1].claim.release()
            await later.granted.wait()


async def test_a_failover_to_an_older_state_gives_no_slot_twice_and_keeps_none(
    redis: RedisServer, wire: Wire
) -> None:
    async with houses(redis.port, "a", "b", most=1) as (all_, (a, b)):
        turn, waits = all_.ask(a), None
        await turn.granted.wait()
        before = {key: wire.ask("DUMP", key) for key in keys()}
        turn.claim.release()
        other = all_.ask(b, BOB)
        await other.granted.wait()
        # The state comes back in which `turn` has the slot, and `other` is unknown.
        for key, dump in before.items():
            wire.ask("DEL", key)
            if dump:
                wire.ask("RESTORE", key, 0, dump)
        wire.ask("HSET", f"{SLOTS}:state", "life", "that of the server before")
        waits = all_.ask(a)
        await settled(a, b)
        assert not waits.granted.is_set()
        other.claim.release()
        await waits.granted.wait()
        waits.claim.release()
        await nobody_has_one(wire)


async def test_while_redis_is_away_turns_wait_for_so_long_and_can_be_stopped_at_once(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots_module, "AWAY_S", 0.5)
    async with trio.open_nursery() as cables:
        cable = Cable(redis.port)
        await cables.start(cable.run)
        async with houses(cable.port, "a", most=2) as (all_, (a,)):
            await settled(a)  # on a busy machine it takes long to connect
            assert a.refusal(ANN) is None
            cable.fall_silent()
            turn, left = a.ask(ANN, Wish()), a.ask(ANN, Wish())
            goes_on = all_.ask(a, BOB, insists=True)
            with trio.move_on_after(0.05) as scope:
                await left.until_granted()
            assert scope.cancelled_caught
            left.release()
            with pytest.raises(SlotsAway):
                await turn.until_granted()
            turn.release()
            refusal = a.refusal(ANN)
            assert refusal is not None
            assert refusal.code == "overloaded"
            assert refusal.retry_after_ms == 1000
            assert "can't give out places" in refusal.message
            assert not goes_on.granted.is_set()
            cable.mend()
            await goes_on.granted.wait()
            await settled(a)
            assert a.refusal(ANN) is None
        cables.cancel_scope.cancel()


async def test_that_slots_are_away_and_back_is_logged_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faster(monkeypatch)
    with redis_server(tmp_path / "away") as own:
        async with houses(own.port, "a") as (_, (a,)):
            await settled(a)
            with capture_logs() as lines:
                own.kill()
                while not a._is_away:  # noqa: ASYNC110 - nobody announces it
                    await trio.sleep(0.01)
                await trio.sleep(0.3)  # it is tried again meanwhile
                await trio.to_thread.run_sync(own.start)
                await settled(a)
    said = [line["event"] for line in lines if line["event"] in ("slots.away", "slots.back")]
    assert said == ["slots.away", "slots.back"]


async def test_more_slots_are_given_out_at_once_and_without_a_limit_nobody_is_asked(
    redis: RedisServer, wire: Wire
) -> None:
    async with houses(redis.port, "a") as (all_, (a,)):
        turns = [all_.ask(a) for _ in range(4)]
        await turns[0].granted.wait()
        a.hold_to(SlotTerms(2))
        await turns[1].granted.wait()
        await settled(a)
        assert not turns[2].granted.is_set()
        a.hold_to(SlotTerms(None))
        for turn in turns:
            await turn.granted.wait()
        await nobody_has_one(wire)
        # Those that run are counted again.
        a.hold_to(SlotTerms(4))
        more = all_.ask(a)
        await settled(a)
        assert not more.granted.is_set()
        turns[3].claim.release()
        await more.granted.wait()


async def test_words_beyond_what_may_wait_are_refused_wherever_the_others_wait(
    redis: RedisServer,
) -> None:
    async with houses(redis.port, "a", "b", waiting_most=2) as (all_, (a, b)):
        await settled(a, b)
        for _ in range(3):
            assert b.refusal(ANN) is None
            all_.ask(b)
        assert b.refusal(ANN) is not None  # it need not ask to know its own
        await settled(a, b)
        refusal = a.refusal(ANN)
        assert refusal is not None
        assert refusal.param == "model_slots"
        assert a.refusal(GOLD) is None


async def test_words_that_redis_has_no_room_for_count_and_all_are_served_in_their_order(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "WAITING_MOST", 2)
    monkeypatch.setattr(call_module, "LEASE_S", LATEST_S)
    async with houses(redis.port, "a", "b", waiting_most=4, wait_s=1e4) as (all_, (a, b)):
        await settled(a, b)
        first = all_.ask(a)
        await first.granted.wait()
        turns: list[Turn] = []
        for _ in range(5):
            turns.append(all_.ask(a))
            await settled(a)
        assert len(a._put_off) == 3
        assert a.refusal(ANN) is not None
        later = [all_.ask(b) for _ in range(3)]
        first.claim.release()
        for turn in (*turns, *later):
            await turn.granted.wait()
            assert sum(other.granted.is_set() for other in later) <= (turn in later)
            turn.claim.release()
            if turn in later:
                later.remove(turn)


def test_no_more_turns_may_be_let_wait_than_redis_keeps() -> None:
    assert Slots(waiting_most=WAITING_MOST).waiting_most == WAITING_MOST
    with pytest.raises(ValueError, match="waiting_most"):
        Slots(waiting_most=WAITING_MOST + 1)


async def test_a_server_that_ends_gives_back_what_it_has(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_module, "LEASE_S", LATEST_S)
    async with houses(redis.port, "a", "b", most=1) as (all_, (a, b)):
        turn = all_.ask(a)
        await turn.granted.wait()
        waits = all_.ask(b)
        all_.scopes[NodeId("a")].cancel()
        await waits.granted.wait()


async def test_in_any_crowd_no_more_run_than_may_and_everybody_gets_a_slot(
    redis: RedisServer, wire: Wire
) -> None:
    chance, most, rounds = Random(7), 3, scaled(300)  # noqa: S311
    running = 0
    seen: list[int] = []

    async def attempt(slots: RedisSlots, who: Standing, wish: Wish, patience_s: float) -> bool:
        """Want a slot for a while, and use it; say whether there was one."""
        nonlocal running
        claim = slots.ask(who, wish)
        try:
            with trio.move_on_after(patience_s):
                await claim.until_granted()
            if not claim.is_granted:
                return False
            running += 1
            seen.append(running)
            await trio.sleep(chance.uniform(0, 0.02))
            return True
        finally:
            running -= claim.is_granted
            claim.release()

    async def live(slots: RedisSlots, number: int) -> None:
        who = GOLD if number % 5 == 0 else Standing(f"u{number % 3}")
        put_off, done = 0, False
        while not done:
            with trio.CancelScope() as scope:
                wish = Wish(0.0, put_off, preempt=scope.cancel)
                done = await attempt(slots, who, wish, chance.choice((0.0, 0.01, 5.0)))
            put_off += scope.cancelled_caught

    async with houses(redis.port, "a", "b", "c", most=most, aging_s=0.2) as (all_, every):
        all_.loses = lambda: chance.random() < 0.2
        async with trio.open_nursery() as crowd:
            for number in range(rounds):
                crowd.start_soon(live, every[number % 3], number)
                await trio.sleep(chance.uniform(0, 0.01))
        assert len(seen) >= rounds
        assert max(seen) == most
        await nobody_has_one(wire)
