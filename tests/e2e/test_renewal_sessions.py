"""Limits of sessions, changed while these are alive."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from bargein.gateway.settings import Limits
from bargein.protocol.ids import SessionId
from bargein.timeline.memory import MemoryStore
from tests.actors.test_retention import stored
from tests.e2e import stubborn
from tests.e2e.apps.obedient import vendor_obeys
from tests.e2e.apps.till import Till, propose, until
from tests.e2e.client import Client
from tests.e2e.harness import eventually, world
from tests.e2e.renewals import shows
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words
from tests.fakes.anthropic_answers import saying

SCRIPT = by_words({"Long": FOR_EVER}, BRIEF)
AGES_S = 600.0
"""Longer than any test may take: what ends sooner has ended for another reason."""

LONG_AGO_DAYS = 1000.0


async def speaking(client: Client) -> str:
    """Begin a turn that goes on, and return its id."""
    turn_id = (await client.say("Long"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return turn_id


@shows("queue_most")
async def test_a_session_takes_as_many_waiting_words_as_is_said_last():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await speaking(alice)
        for _ in range(2):
            assert (await alice.say("Hi", when_busy="queue")).type == "reply"
        await w.renew(queue_most=2)
        refused = await alice.say("Hi", when_busy="queue")
        assert refused["error"]["code"] == "busy"
        await w.renew(queue_most=3)
        assert (await alice.say("Hi", when_busy="queue")).type == "reply"
        assert (await w.attach()).hello["limits"]["queue_most"] == 3
        await alice.ask("interrupt", queue="drop")


@shows("grace_s")
async def test_a_turn_is_left_running_for_as_long_as_is_said_when_its_driver_leaves():
    async with world(SCRIPT, grace_s=AGES_S) as w:
        alice = await w.attach()
        watcher = await w.attach(alice.session_id, role="watch")
        turn_id = await speaking(alice)
        await w.renew(grace_s=0.05)
        await alice.leave()
        asked = await watcher.until("cancel.requested", turn_id=turn_id)
        assert asked.payload["by"] == "disconnected"


def hibernated() -> float:
    return REGISTRY.get_sample_value("bargein_sessions_hibernated_total") or 0.0


@shows("idle_s")
async def test_a_session_leaves_memory_as_soon_as_is_said_when_the_last_one_leaves():
    async with world(SCRIPT, idle_s=AGES_S, grace_s=0.0) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        before = hibernated()
        await w.renew(idle_s=0.05)
        await alice.leave()
        await eventually(lambda: hibernated() == before + 1)
        await (await w.back(alice)).converse("Hi")


@shows("drain_s")
async def test_a_drain_waits_for_turns_as_long_as_is_said_last():
    async with world(SCRIPT, drain_s=AGES_S) as w:
        alice = await w.attach()
        turn_id = await speaking(alice)
        await w.renew(drain_s=0.0)
        await w.edge.drain("the server stops", 1000)
        assert await alice.until_closed() == 4000
        asked = await alice.until("cancel.requested", turn_id=turn_id)
        assert asked.payload["by"] == "operator"


@shows("abandon_ms")
async def test_work_that_does_not_stop_is_abandoned_as_soon_as_is_said_when_its_turn_begins():
    async with world(SCRIPT, app=stubborn.app, abandon_ms=60_000) as w:
        alice = await w.attach()
        for abandon_ms, gone in ((60_000, False), (20, True)):
            await w.renew(abandon_ms=abandon_ms)
            turn_id = await speaking(alice)
            await alice.ask("interrupt")
            ack = await alice.until("cancel.ack", turn_id=turn_id)
            assert bool(ack.payload["abandoned"]) is gone


@shows("confirm_s")
async def test_a_proposal_expires_as_soon_as_is_said_when_it_is_made():
    async with world(vendor_obeys, app=Till().app(), confirm_s=AGES_S) as w:
        alice = await w.attach()
        lasts = await propose(alice, "pay")
        await w.renew(confirm_s=0.2)
        brief = await propose(alice, "pay")
        await until(alice, "expired", brief)
        assert alice.find("action.expired", action_id=lasts.payload["action_id"]) is None


@shows("retention_days")
async def test_sessions_that_are_older_than_is_said_now_go_soon():
    async with world(SCRIPT, retention_days=0) as w:
        assert isinstance(w.store, MemoryStore)
        old = SessionId("sess_of_old")
        await stored(w.store, old, LONG_AGO_DAYS)
        alice = await w.attach()
        await alice.converse("Hi")
        assert await w.store.row(old) is not None
        await w.renew(retention_days=2)
        await eventually(lambda: any(x["event"] == "sessions.erased" for x in w.logs))
        assert await w.store.row(old) is None
        assert await w.store.row(SessionId(alice.session_id)) is not None


def overruns(client: Client, turn_id: str) -> set[str]:
    """Return which budgets a turn has exceeded, as the session says."""
    told = [e.payload["data"] for e in client.events if e.type == "object"]
    return {value["budget"] for value in told if value["turn_id"] == turn_id}


@shows("budgets.first_token_ms", "budgets.turn_ms")
async def test_budgets_hold_for_the_turns_that_begin_from_then_on():
    slow = saying("Very ", "well.", first_s=0.05)
    async with world([slow]) as w:
        alice = await w.attach()
        running = (await alice.say("Hi"))["result"]["turn_id"]
        await w.renew(budgets={"first_token_ms": 1, "turn_ms": 1})
        await alice.until("turn.trace", turn_id=running)
        done = await alice.converse("Hi")
        assert overruns(alice, running) == set()
        assert overruns(alice, done) == {"first_token_ms", "turn_ms"}


@shows("budgets.cancel_ms")
async def test_the_budget_of_an_interrupt_is_that_of_the_beginning_of_its_turn():
    async with world(SCRIPT, app=stubborn.app) as w:
        alice = await w.attach()
        turn_id = await speaking(alice)
        await w.renew(budgets={"cancel_ms": 1})
        await alice.ask("interrupt")
        next_id = await speaking(alice)
        await alice.ask("interrupt")
        await alice.until("object", kind="budget.exceeded")
        assert overruns(alice, turn_id) == set()
        assert overruns(alice, next_id) == {"cancel_ms"}


async def test_what_a_session_has_asked_for_itself_is_not_renewed():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await alice.ask("configure", budgets={"turn_ms": 60_000})
        await w.renew(budgets={"turn_ms": 1})
        assert overruns(alice, await alice.converse("Hi")) == set()


@shows("limits.tail_events", "limits.tail_bytes")
@pytest.mark.parametrize("less", [{"tail_events": 1}, {"tail_bytes": 1024}])
async def test_of_sessions_that_come_into_memory_later_less_is_kept_there(
    less: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    reads: list[str] = []
    read = MemoryStore.read

    async def counted(self: MemoryStore, session_id: SessionId, *rest: Any, **how: Any) -> Any:
        reads.append(session_id)
        return await read(self, session_id, *rest, **how)

    monkeypatch.setattr(MemoryStore, "read", counted)
    async with world(SCRIPT, limits=Limits(lagging_events=1)) as w:
        before = await w.attach()
        await w.renew(limits=less)
        after = await w.attach()
        for client in (before, after):
            for _ in range(4):
                await client.converse("Hi")
            reads.clear()
            reader = await w.attach(client.session_id, role="watch")
            assert reader.find("session.opened") is not None
            assert (client.session_id in reads) is (client is after)
