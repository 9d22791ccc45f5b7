"""What principals may use and how they are let in, changed while they are here."""

from __future__ import annotations

from typing import Any

import trio

from bargein.gateway.redaction import PII
from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth, Limits
from tests.e2e.client import Client
from tests.e2e.harness import World, eventually, world
from tests.e2e.renewals import shows
from tests.e2e.test_auth import BY_SECRET, SHUT, bearer, http
from tests.e2e.test_quotas import ANN, BOB, SCRIPT, let_in, refusals, served, speaking, turned_away
from tests.fakes.tokens import SECRET, SHARED, soon
from tests.gateway.raw_client import ask, request, status

MANY = 1000


@shows("quotas.connections_most", "quotas.sessions_most", "quotas.new_sessions_per_minute_most")
async def test_shares_of_connections_and_sessions_hold_for_who_is_here():
    names = {
        "connections_most": "connections",
        "sessions_most": "sessions",
        "new_sessions_per_minute_most": "new_sessions",
    }
    async with world(SCRIPT, **served(connections_most=MANY, sessions_most=MANY)) as w:
        ann = await w.attach(token=ANN)
        for setting, quota in names.items():
            await w.renew(quotas={setting: 1})
            assert await turned_away(w, ANN) == quota
            assert (await ann.ask("ping")).type == "reply"
            await w.renew(quotas={setting: MANY})
            await let_in(w, ANN)


@shows("quotas.turns_most", "quotas.tokens_per_hour_most", "quotas.timeline_bytes")
async def test_shares_of_work_hold_for_sessions_that_are_open():
    async with world(SCRIPT, **served()) as w:
        ann, there = await w.attach(token=ANN), await w.attach(token=ANN)
        await ann.converse("Hi")
        await speaking(there)
        for setting, quota, less in (
            ("turns_most", "turns", 1),
            ("tokens_per_hour_most", "tokens", 1),
            ("timeline_bytes", "timeline", 1024),
        ):
            usual = getattr(w.settings.quotas, setting)
            await w.renew(quotas={setting: less})
            assert refusals([await ann.say("Hi")]) == [quota]
            await w.renew(quotas={setting: usual})
            await ann.converse("Hi")
        assert (await there.ask("interrupt"))["result"]["interrupted"] is True


@shows("tiers")
async def test_a_tier_may_use_what_is_said_last_and_others_what_they_could():
    gold = SHARED.sign("gus", tier="gold")
    async with world(SCRIPT, **served(turns_most=1)) as w:

        async def second_turn(token: str) -> list[str]:
            one, other = [await w.attach(token=token) for _ in range(2)]
            await speaking(one)
            refused = refusals([await other.say("Long")])
            await one.ask("interrupt")
            await other.ask("interrupt")
            return refused

        assert await second_turn(gold) == ["turns"]
        await w.renew(tiers={"gold": {"turns_most": 2}})
        assert await second_turn(gold) == []
        assert await second_turn(BOB) == ["turns"]
        await w.renew(tiers={})
        assert await second_turn(gold) == ["turns"]


async def test_where_nobody_is_counted_quotas_that_change_count_nobody():
    async with world(SCRIPT) as w:
        await w.renew(quotas={"connections_most": 1, "sessions_most": 1})
        assert len([await w.attach() for _ in range(3)]) == 3


# --- tokens --------------------------------------------------------------------------------------


@shows("auth.issuer", "auth.audience", "auth.leeway_s")
async def test_a_token_is_held_to_what_is_asked_of_tokens_when_it_comes():
    async with world([], auth=BY_SECRET) as w:
        late = SHARED.sign("ann", exp=soon(-30))
        named = SHARED.sign("ann", iss="us", aud="here")
        ann = await w.attach(token=ANN)
        assert await knocks(w, late, named) == (101, 401)
        await w.renew(auth={"leeway_s": 0.0})
        assert await knocks(w, late, named) == (401, 401)
        await w.renew(auth={"audience": "here"})
        assert await knocks(w, named, ANN) == (101, 401)
        await w.renew(auth={"issuer": "them"})
        assert await knocks(w, named) == (401,)
        await w.renew(auth={"issuer": "us"})
        assert await knocks(w, named) == (101,)
        assert (await ann.ask("ping")).type == "reply"


async def knocks(w: World, *tokens: str) -> tuple[int, ...]:
    """Ask to be let in with each token; return the status of each answer."""
    statuses: list[int] = []
    for token in tokens:
        stream = await trio.open_tcp_stream("127.0.0.1", w.port)
        async with stream:
            await stream.send_all(request(**bearer(token)))
            statuses.append(status(bytes(await stream.receive_some())))
    return tuple(statuses)


@shows("auth.connection_s", "auth.look_s")
async def test_who_is_connected_may_stay_for_as_long_as_is_said_now():
    auth = Auth(Secret(SECRET), connection_s=600, look_s=2)
    async with world(SCRIPT, auth=auth) as w:
        ann = await w.attach(token=ANN)
        await w.renew(auth={"connection_s": 0.05, "look_s": 0.01})
        assert await ann.until_closed() == 4000  # at the look that was under way
        came_s = trio.current_time()
        back = await w.dial(ann.session_id, token=ANN, after=ann.last_seq, epoch=ann.epoch)
        assert await back.until_closed() == 4000
        assert trio.current_time() - came_s < 1.5
        await w.renew(auth={"connection_s": 600})
        await stays(await w.attach(token=ANN))


async def passed(for_s: float) -> None:
    """Wait until it is so much later."""
    until_s = trio.current_time() + for_s
    await eventually(lambda: trio.current_time() > until_s)


async def stays(client: Client) -> None:
    await passed(0.2)
    assert (await client.ask("ping")).type == "reply"


@shows("auth.failures_most", "auth.failures_window_s", "auth.shut_out_s")
async def test_an_address_is_shut_out_after_as_many_failures_as_is_said_and_for_as_long():
    async with world([], auth=BY_SECRET, **SHUT) as w:
        nonsense = bearer("nonsense")
        assert [await http(w, **nonsense) for _ in range(3)] == [401] * 3
        await w.renew(auth={"failures_most": 2, "failures_window_s": 0.01, "shut_out_s": 600})
        for _ in range(3):  # each is forgotten before the next
            await passed(0.05)
            assert await http(w, **nonsense) == 401
        await w.renew(auth={"failures_window_s": 600})
        assert [await http(w, **nonsense) for _ in range(2)] == [401, 429]  # and one of before
        answer = await ask(w.port, request(**nonsense))
        assert b"Retry-After: 600\r\n" in answer or b"Retry-After: 59" in answer


async def test_who_is_not_counted_from_then_on_is_not_shut_out():
    async with world([], auth=Auth(Secret(SECRET), failures_most=2), **SHUT) as w:
        assert await http(w, **bearer("nonsense")) == 401
        await w.renew(limits={"uncounted_networks": Limits().uncounted_networks})
        assert [await http(w, **bearer("nonsense")) for _ in range(4)] == [401] * 4


# --- logs ----------------------------------------------------------------------------------------


@shows("logs.pii")
async def test_what_people_say_stays_out_of_the_logs_from_then_on():
    async with world(SCRIPT) as w:
        line: dict[str, Any] = {"event": "turn.failed", f"{PII}words": "Hi"}
        hides = w.server.redaction.without_pii
        assert hides(None, "", line) == line
        await w.renew(logs={"pii": False})
        assert hides(None, "", line) == {"event": "turn.failed"}
