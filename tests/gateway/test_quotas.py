from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import trio
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from trio.testing import MockClock

from bargein.actors.allowance import Allowance, Unlimited
from bargein.actors.clock import SystemClock
from bargein.actors.slot_queue import SlotTerms, Standing
from bargein.actors.slots import LocalSlots, Wish
from bargein.gateway.account import HOUR_S, MINUTE_S, Share, Window
from bargein.gateway.auth.identity import Identity
from bargein.gateway.auth.trail import Trail
from bargein.gateway.quotas import Accounts
from bargein.protocol.frames import Problem
from bargein.protocol.ids import Epoch, SessionId
from bargein.timeline.audit import AuditEntry
from bargein.timeline.log import Timeline

ANN, BOB = Identity("ann", "acme"), Identity("bob", "acme")
RICH = Identity("ann", "acme", "gold")
SMALL = Share(
    connections_most=2,
    sessions_most=3,
    new_sessions_per_minute_most=100,
    turns_most=2,
    tokens_per_hour_most=1000,
    timeline_bytes=5000,
)
TIERS = {"gold": Share(connections_most=4)}

START_S = 1_234_567.8


@define(eq=False)
class Bank:
    """Accounts, and what the audit was told of them."""

    share: Share = SMALL
    audited: list[AuditEntry] = field(factory=list[AuditEntry])
    accounts: Accounts = field(init=False)
    _open: ExitStack = field(factory=ExitStack)

    def __attrs_post_init__(self) -> None:
        trail = Trail(self.audited.extend, SystemClock())
        self.accounts = Accounts(lambda tier: TIERS.get(tier, self.share), trail)

    def connect(self, who: Identity = ANN) -> Problem | None:
        return self._open.enter_context(self.accounts.connected(who))

    def seat(self, name: str, who: Identity = ANN, *, new: bool = False) -> Problem | None:
        return self._open.enter_context(self.accounts.seated(who, SessionId(name), new=new))

    def session(self, name: str = "sess_1", who: Identity = ANN) -> tuple[Allowance, Timeline]:
        store: Any = None
        timeline = Timeline(SessionId(name), Epoch("e0"), store)
        return self.accounts.allowance(who.principal, who.tenant, timeline), timeline

    def leave(self) -> None:
        self._open.close()


@contextmanager
def counted(quota: str, count: int) -> Generator[None]:
    def value() -> float:
        return REGISTRY.get_sample_value("bargein_quota_refused_total", {"quota": quota}) or 0

    before = value()
    yield
    assert value() - before == count


def used_up(refusal: Problem | None) -> str | None:
    """Return which quota a refusal names."""
    if refusal is None:
        return None
    assert refusal.code == "quota_exceeded"
    assert refusal.message.endswith(".")
    return refusal.param


# --- a window ----------------------------------------------------------------------------------

additions = st.lists(st.tuples(st.floats(0, 900), st.integers(1, 1000)), max_size=100)
grains = st.sampled_from([0.0, 60.0])


@given(additions, grains)
def test_a_window_is_never_below_the_truth_nor_far_above(
    added: list[tuple[float, int]], grain_s: float
):
    window, seen, now_s = Window(HOUR_S, grain_s), list[tuple[float, int]](), START_S
    for gap_s, amount in added:
        now_s += gap_s
        window.add(now_s, amount)
        seen.append((now_s, amount))
        exact = sum(n for at_s, n in seen if at_s > now_s - HOUR_S)
        loose = sum(n for at_s, n in seen if at_s > now_s - HOUR_S - grain_s - 1e-6)
        assert exact <= window.total(now_s) <= loose


@given(additions, grains, st.integers(1, 5000))
def test_after_the_wait_that_it_says_the_sum_is_below_and_not_before(
    added: list[tuple[float, int]], grain_s: float, most: int
):
    window, now_s = Window(HOUR_S, grain_s), START_S
    for gap_s, amount in added:
        now_s += gap_s
        window.add(now_s, amount)
    was_below = window.total(now_s) < most
    wait_s = window.wait_s(now_s, most)
    assert (wait_s == 0) == was_below
    if not was_below:
        assert window.total(now_s + wait_s - 1e-3) >= most
    assert window.total(now_s + wait_s + 1e-6) < most


def test_a_busy_hour_is_kept_in_few_parts():
    window = Window(HOUR_S, MINUTE_S)
    for second in range(10_000):
        window.add(START_S + second, 1)
        window.total(START_S + second)
    assert len(window._parts) <= 62  # pyright: ignore[reportPrivateUsage]


# --- connections and sessions --------------------------------------------------------------------


async def test_one_connection_over_is_refused_and_one_that_goes_makes_room():
    bank = Bank()
    assert [used_up(bank.connect()) for _ in range(3)] == [None, None, "connections"]
    assert bank.connect(BOB) is None
    bank.leave()
    assert [used_up(bank.connect()) for _ in range(3)] == [None, None, "connections"]


async def test_a_tenant_has_principals_of_its_own():
    bank = Bank()
    others = Identity("ann", "umbrella")
    assert [used_up(bank.connect()) for _ in range(2)] == [None, None]
    assert [used_up(bank.connect(others)) for _ in range(2)] == [None, None]


async def test_a_tier_has_its_own_quotas_and_the_latest_token_says_which():
    bank = Bank()
    assert [used_up(bank.connect(RICH)) for _ in range(4)] == [None] * 4
    assert used_up(bank.connect(RICH)) == "connections"
    bank.leave()
    bank.accounts.renewed(ANN)
    assert [used_up(bank.connect()) for _ in range(3)] == [None, None, "connections"]


async def test_live_sessions_are_counted_once_however_many_look_at_them():
    bank = Bank()
    assert [bank.seat(f"sess_{number}") for number in (1, 2, 3, 1, 2, 3)] == [None] * 6
    assert used_up(bank.seat("sess_4")) == "sessions"
    assert bank.seat("sess_4", BOB) is None
    bank.leave()
    assert bank.seat("sess_4") is None


async def test_a_session_that_lives_on_without_connections_still_counts():
    bank = Bank()
    purses = [bank.session(f"sess_{number}")[0] for number in range(3)]
    assert used_up(bank.seat("sess_9")) == "sessions"
    assert bank.seat("sess_1") is None
    purses[0].close()
    assert bank.seat("sess_9") is None


async def test_new_sessions_are_so_many_a_minute_and_others_are_not_new(
    autojump_clock: trio.testing.MockClock,
):
    bank = Bank(Share(new_sessions_per_minute_most=5, sessions_most=100))
    for number in range(5):
        assert bank.seat(f"sess_{number}", new=True) is None
        await trio.sleep(6)
    refused = bank.seat("sess_6", new=True)
    assert used_up(refused) == "new_sessions"
    assert refused is not None
    assert "in 30 s" in refused.message
    assert bank.seat("sess_old") is None
    await trio.sleep(30)
    assert bank.seat("sess_6", new=True) is None
    assert used_up(bank.seat("sess_7", new=True)) == "new_sessions"


# --- turns, tokens, bytes ------------------------------------------------------------------------


async def test_turns_count_over_all_sessions_of_a_principal():
    bank = Bank()
    here, there, third = (bank.session(f"sess_{number}")[0] for number in range(3))
    for purse in (here, there):
        assert purse.refusal(begins_turn=True) is None
        purse.begin_turn()
    assert used_up(third.refusal(begins_turn=True)) == "turns"
    assert third.refusal(begins_turn=False) is None  # words for a turn that runs already
    assert third.takes_words
    assert bank.session("sess_b", BOB)[0].refusal(begins_turn=True) is None
    there.end_turn()
    assert third.refusal(begins_turn=True) is None


async def test_a_session_that_crashes_gives_its_turn_back():
    bank = Bank()
    here, there = bank.session("sess_1")[0], bank.session("sess_2")[0]
    here.begin_turn()
    there.begin_turn()
    here.close()
    assert there.refusal(begins_turn=True) is None


async def test_tokens_are_refused_when_an_hour_of_them_is_used(
    autojump_clock: trio.testing.MockClock,
):
    bank = Bank()
    here, there = bank.session("sess_1")[0], bank.session("sess_2")[0]
    here.spend(600)
    await trio.sleep(1800)
    assert there.refusal(begins_turn=True) is None
    there.spend(600)
    for purse in (here, there):
        assert not purse.takes_words
        assert used_up(purse.refusal(begins_turn=False)) == "tokens"
    refused = here.refusal(begins_turn=True)
    assert refused is not None
    assert refused.retryable
    assert "1,000 tokens" in refused.message
    assert "in 1860 s" in refused.message
    await trio.sleep(1859)
    assert not here.takes_words
    await trio.sleep(1)
    assert here.takes_words
    assert bank.session("sess_b", BOB)[0].takes_words


async def test_a_timeline_that_is_full_takes_nothing_more_and_waiting_does_not_help():
    bank = Bank()
    (full, timeline), (other, _) = bank.session("sess_1"), bank.session("sess_2")
    timeline.size_bytes = 4999
    assert full.refusal_to_grow() is None
    timeline.size_bytes = 5000
    assert used_up(full.refusal_to_grow()) == "timeline"
    refused = full.refusal(begins_turn=True)
    assert used_up(refused) == "timeline"
    assert refused is not None
    assert not refused.retryable
    assert other.refusal_to_grow() is None


# --- who is told, and what is forgotten ----------------------------------------------------------


async def test_every_refusal_is_counted_and_the_first_in_a_minute_is_on_the_audit(
    autojump_clock: trio.testing.MockClock,
):
    bank = Bank()
    with counted("connections", 100), counted("sessions", 1):
        for _ in range(102):
            bank.connect()
        for number in range(4):
            bank.seat(f"sess_{number}")
    assert [(entry.act, entry.subject) for entry in bank.audited] == [
        ("quota.refused", "connections"),
        ("quota.refused", "sessions"),
    ]
    assert {(entry.principal, entry.tenant) for entry in bank.audited} == {("ann", "acme")}
    assert bank.audited[1].session_id == "sess_3"
    await trio.sleep(60)
    bank.connect()
    assert len(bank.audited) == 3


async def test_without_quotas_nobody_is_counted():
    accounts = Accounts()
    with ExitStack() as open_:
        for number in range(100):
            assert open_.enter_context(accounts.connected(ANN)) is None
            seat = accounts.seated(ANN, SessionId(f"sess_{number}"), new=True)
            assert open_.enter_context(seat) is None
    store: Any = None
    timeline = Timeline(SessionId("sess_1"), Epoch("e0"), store, size_bytes=2**40)
    allowance = accounts.allowance("ann", None, timeline)
    assert isinstance(allowance, Unlimited)
    allowance.spend(10**9)
    for _ in range(100):
        allowance.begin_turn()
    assert allowance.takes_words
    assert allowance.refusal(begins_turn=True) is None
    assert allowance.refusal_to_grow() is None


async def test_who_uses_nothing_is_forgotten_and_who_does_is_not():
    bank = Bank()
    spender = bank.session("sess_1", BOB)[0]
    spender.spend(1000)
    spender.close()
    bank.connect(ANN)
    for number in range(5000):
        with bank.accounts.connected(Identity(f"guest {number}")):
            pass
    known = bank.accounts._accounts  # pyright: ignore[reportPrivateUsage]
    assert len(known) <= 1000
    assert {ANN.owner, BOB.owner} <= known.keys()
    assert not bank.session("sess_2", BOB)[0].takes_words


# --- model slots ----------------------------------------------------------------------------------


def test_a_session_has_the_rank_of_its_principals_latest_token():
    bank = Bank(Share(rank=1, weight=2))
    allowance = bank.session()[0]
    assert allowance.standing == Standing("ann", "acme", "standard", 1, 2)
    bank.accounts.renewed(RICH)
    assert allowance.standing == Standing("ann", "acme", "standard", 0, 1)
    assert bank.session("sess_2", BOB)[0].standing.rank == 1


async def test_all_sessions_have_the_same_slots_whether_they_are_counted_or_not():
    slots = LocalSlots(SlotTerms(1))
    for accounts in (Accounts(None, None, slots), Accounts(lambda _: SMALL, None, slots)):
        store: Any = None
        timeline = Timeline(SessionId("sess_1"), Epoch("e0"), store)
        assert accounts.allowance("ann", None, timeline).slots is slots


async def test_who_has_a_slot_and_who_waits_is_counted_by_tier(autojump_clock: MockClock):
    def value(name: str, tier: str | None = None) -> float:
        labels = {} if tier is None else {"tier": tier}
        return REGISTRY.get_sample_value(f"bargein_{name}", labels) or 0

    slots = LocalSlots(SlotTerms(1))
    stopped: list[str] = []
    before = value("preemptions_total", "tin"), value("model_slots_in_use")
    waited = value("model_slot_wait_seconds_sum", "lead")
    tin = slots.ask(Standing("a", tier="tin"), Wish(preempt=lambda: stopped.append("tin")))
    lead = slots.ask(Standing("b", tier="lead"), Wish())
    assert value("model_slots") == 1
    assert value("model_slots_in_use") == before[1] + 1
    assert value("model_slots_waiting", "lead") == 1
    gold = slots.ask(Standing("c", tier="gold", rank=1), Wish())
    assert stopped == ["tin"]
    assert value("preemptions_total", "tin") == before[0] + 1
    tin.release()
    tin.release()
    assert gold.is_granted
    await trio.sleep(2.0)
    gold.release()
    await lead.until_granted()
    assert value("model_slot_wait_seconds_sum", "lead") - waited == pytest.approx(2.0)
    assert value("model_slots_waiting", "lead") == 0
    lead.release()
    assert value("model_slots_in_use") == before[1]
