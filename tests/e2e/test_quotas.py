"""What a principal may use, as its clients notice it: over sockets, with tokens."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import trio

from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth
from bargein.gateway.settings_groups import Quotas
from bargein.timeline.memory import MemoryStore
from tests.e2e.client import DEADLINE_S, Client
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words
from tests.fakes.tokens import SECRET, SHARED
from tests.scale import scaled

SCRIPT = by_words({"Long": FOR_EVER}, BRIEF)
BY_SECRET = Auth(secret=Secret(SECRET))
ANN, BOB = SHARED.sign("ann"), SHARED.sign("bob")
FREELY: dict[str, Any] = {"new_sessions_per_minute_most": 1000}


def served(auth: Auth = BY_SECRET, tiers: Any = None, **quotas: int) -> dict[str, Any]:
    return {"auth": auth, "quotas": Quotas(**{**FREELY, **quotas}), "tiers": tiers or {}}


async def turned_away(w: World, token: str, session_id: str | None = None) -> str:
    """Connect, and return which quota that is refused for."""
    client = await w.dial(session_id, token=token)
    assert await client.until_closed() == 4002
    (refused,) = client.frames  # no `hello` before it
    w.clients.remove(client)
    assert refused["type"] == "error"
    assert refused["error"]["code"] == "quota_exceeded"
    return refused["error"]["param"]


async def let_in(w: World, token: str) -> Client:
    """Connect again and again until there is room."""
    with trio.fail_after(DEADLINE_S):
        while True:
            client = await w.dial(token=token)
            if (await client.until(lambda _: True)).type == "hello":
                await client.until("session.attached")
                return client
            w.clients.remove(client)


async def speaking(client: Client) -> str:
    """Begin a turn that goes on, and return its id."""
    turn_id = (await client.say("Long"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return turn_id


def refusals(answers: list[Any]) -> list[str]:
    return [a["error"]["param"] for a in answers if a.type == "error"]


# --- connections and sessions --------------------------------------------------------------------


async def test_the_ninth_connection_of_a_principal_is_sent_away_and_others_are_not():
    async with world(SCRIPT, **served()) as w:
        ann = await w.attach(token=ANN)
        here = [await w.attach(ann.session_id, token=ANN) for _ in range(7)]
        assert await turned_away(w, ANN, ann.session_id) == "connections"
        assert await turned_away(w, ANN) == "connections"
        await (await w.attach(token=BOB)).converse("Hi")
        await ann.converse("Hi")
        await here[0].leave()
        await eventually(lambda: w.edge.count == 8)
        await w.attach(ann.session_id, token=ANN)


async def test_the_seventeenth_live_session_is_refused_until_one_has_left_memory():
    async with world(SCRIPT, **served(connections_most=100), grace_s=0.05, idle_s=0.05) as w:
        clients = [await w.attach(token=ANN) for _ in range(16)]
        assert await turned_away(w, ANN) == "sessions"
        again = await w.attach(clients[3].session_id, token=ANN)  # it is live already
        await again.leave()
        await w.attach(token=BOB)
        await clients[0].leave()
        await let_in(w, ANN)


async def test_the_sixth_new_session_within_a_minute_is_refused_and_old_ones_are_not():
    async with world(SCRIPT, **served(new_sessions_per_minute_most=5)) as w:
        clients = [await w.attach(token=ANN) for _ in range(5)]
        assert await turned_away(w, ANN) == "new_sessions"
        await clients[0].leave()
        await (await w.back(clients[0], token=ANN)).converse("Hi")
        await w.attach(token=BOB)


async def test_a_closed_session_can_be_read_though_no_seat_is_left():
    async with world(SCRIPT, **served(sessions_most=1), idle_s=0.0) as w:
        first = await w.attach(token=ANN)
        await first.ask("close")
        assert await first.until_closed() == 4102
        await eventually(lambda: w.edge.count == 0)
        await let_in(w, ANN)
        reader = await w.dial(first.session_id, token=ANN)
        assert await reader.until_closed() == 4102
        assert reader.find("session.closed")


# --- turns ------------------------------------------------------------------------------------


async def test_a_fifth_turn_at_the_same_time_is_refused_until_one_is_over():
    async with world(SCRIPT, **served()) as w:
        clients = [await w.attach(token=ANN) for _ in range(5)]
        turns = [await speaking(client) for client in clients[:4]]
        refused = await clients[4].say("Hi")
        assert refusals([refused]) == ["turns"]
        assert refused["error"]["code"] == "quota_exceeded"
        assert refused["error"]["retryable"]
        await speaking(await w.attach(token=BOB))
        # Whoever has a turn may still say what comes next, now or later.
        assert (await clients[0].say("Hi"))["result"]["interrupted"] == turns[0]
        assert (await clients[1].say("Hi", when_busy="queue"))["result"]["outcome"] == "queued"
        await clients[0].until("turn.trace", turn_id="turn_2")
        await clients[4].converse("Hi", id=refused["command_id"])


async def test_of_many_who_begin_at_the_same_moment_no_more_than_four_do():
    async with world(SCRIPT, **served()) as w:
        clients = [await w.attach(token=ANN) for _ in range(8)]
        answers: list[Any] = []

        async def begin(client: Client) -> None:
            answers.append(await client.say("Long"))

        async with trio.open_nursery() as beginners:
            for client in clients:
                beginners.start_soon(begin, client)
        assert refusals(answers) == ["turns"] * 4
        for client in clients:
            await client.ask("interrupt")
        began = Counter("turn.start" in {e.type for e in client.events} for client in clients)
        assert began == {True: 4, False: 4}


# --- tokens -----------------------------------------------------------------------------------


async def test_tokens_that_are_used_up_refuse_words_and_stop_nothing():
    async with world(SCRIPT, **served(tokens_per_hour_most=20)) as w:
        ann, there = await w.attach(token=ANN), await w.attach(token=ANN)
        running = await speaking(there)
        while (answer := await ann.say("Hi")).type == "reply":
            await ann.until("turn.trace", turn_id=answer["result"]["turn_id"])
        assert refusals([answer]) == ["tokens"]
        turns = [e.turn_id for e in ann.events if e.type == "turn.start"]
        assert 1 <= len(turns) <= 5
        refused = await there.say("Now this")
        assert refusals([refused]) == ["tokens"]
        assert not [e for e in there.of_turn(running) if e.type == "cancel.requested"]
        assert (await there.ask("interrupt"))["result"]["turn_id"] == running
        await (await w.attach(token=BOB)).converse("Hi")


async def test_words_that_waited_are_dropped_when_the_tokens_are_used_up():
    async with world(SCRIPT, **served(tokens_per_hour_most=2)) as w:
        ann = await w.attach(token=ANN)
        await speaking(ann)
        for number in range(3):
            queued = await ann.say("Hi", when_busy="queue", id=f"q{number}")
            assert queued["result"]["outcome"] == "queued"
        await ann.ask("interrupt")
        for number in range(3):
            dropped = await ann.until("input.dropped", command_id=f"q{number}")
            assert dropped.payload["reason"] == "quota_exceeded"
        assert len([e for e in ann.events if e.type == "turn.start"]) == 1


# --- bytes ------------------------------------------------------------------------------------


async def test_a_full_timeline_can_be_read_and_takes_no_more_words(tmp_path: Path):
    async with world(SCRIPT, store=tmp_path / "t.sqlite3", **served(timeline_bytes=6000)) as w:
        ann = await w.attach(token=ANN)
        while (answer := await ann.say("Hi")).type == "reply":
            await ann.until("turn.trace", turn_id=answer["result"]["turn_id"])
        assert refusals([answer]) == ["timeline"]
        assert not answer["error"]["retryable"]
        assert refusals([await ann.ask("configure", on_disconnect="cancel")]) == ["timeline"]
        assert (await ann.ask("history", after=0, limit=5)).type == "reply"
        size_bytes = sum(len(stored.frame) for stored in await w.timeline(ann.session_id))
        assert 6000 <= size_bytes < 20_000
        await w.stop()
        await w.start()
        await ann.closed.wait()
        back = await w.back(ann, token=ANN)
        assert refusals([await back.say("Hi")]) == ["timeline"]
        await (await w.attach(token=ANN)).converse("Hi")


# --- whom they hold for --------------------------------------------------------------------------


async def test_a_tier_of_the_configuration_has_its_own_quotas():
    tiers = {"gold": {"connections_most": 3}, "tin": {"turns_most": 1}}
    async with world(SCRIPT, **served(tiers=tiers, connections_most=2)) as w:
        gold = SHARED.sign("midas", tier="gold")
        first = await w.attach(token=gold)
        assert first.hello["you"]["tier"] == "gold"
        for _ in range(2):
            await w.attach(first.session_id, token=gold)
        assert await turned_away(w, gold) == "connections"
        tin = SHARED.sign("tim", tier="tin")
        here, there = await w.attach(token=tin), await w.attach(token=tin)
        assert await turned_away(w, tin) == "connections"
        await speaking(here)
        assert refusals([await there.say("Hi")]) == ["turns"]


async def test_a_fresh_token_of_another_tier_counts_from_then_on():
    tiers = {"gold": {"turns_most": 2}}
    async with world(SCRIPT, **served(tiers=tiers, turns_most=1)) as w:
        here, there = await w.attach(token=ANN), await w.attach(token=ANN)
        await speaking(here)
        assert refusals([await there.say("Hi")]) == ["turns"]
        assert (await here.ask("auth", token=SHARED.sign("ann", tier="gold"))).type == "reply"
        await there.converse("Hi")


async def test_without_auth_everybody_is_served_whatever_the_quotas_say():
    async with world(SCRIPT, auth=Auth(), quotas=Quotas(connections_most=1, turns_most=1)) as w:
        clients = [await w.attach() for _ in range(scaled(200))]
        for client in clients:
            await speaking(client)


async def test_refusals_are_on_the_audit_once_and_never_name_a_token():
    async with world(SCRIPT, **served(connections_most=1)) as w:
        await w.attach(token=ANN)
        for _ in range(5):
            assert await turned_away(w, ANN) == "connections"
        store = w.store
        assert isinstance(store, MemoryStore)
        lines = [json.loads(line.text) for line in await store.audit_lines(0, limit=100)]
        refused = [line for line in lines if line["act"] == "quota.refused"]
        assert [(line["principal"], line["subject"]) for line in refused] == [
            ("ann", "connections")
        ]
        assert ANN not in repr(lines)
        logged = [line for line in w.logs if line["event"] == "quota.refused"]
        assert len(logged) == 1
