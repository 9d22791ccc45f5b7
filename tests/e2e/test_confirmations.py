"""Who decides, and when: two clients at one instant, watchers, typed lines."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth
from bargein.timeline.memory import MemoryStore
from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.apps.till import (
    Till,
    ask,
    committed,
    kinds,
    payload_of,
    propose,
    refused,
    states,
    until,
)
from tests.e2e.client import DEADLINE_S, Client, Frame
from tests.e2e.harness import World, eventually, world
from tests.fakes.tokens import SECRET, SHARED, soon
from tests.scale import scaled

RACES = scaled(1000)
A_TURN = 20
"""So many proposals come from one turn."""


# --- two at the same instant -----------------------------------------------------------


@asynccontextmanager
async def two_clients() -> AsyncGenerator[tuple[World, Till, Client, Client]]:
    till = Till()
    app = till.app(at_once=100)
    async with world(vendor_obeys, app=app, deadline_s=60 + RACES) as w:
        ann = await w.attach()
        yield w, till, ann, await w.attach(ann.session_id)


async def races(client: Client, count: int) -> list[Frame]:
    """Have *count* things proposed, by as many turns as it takes."""
    found: list[Frame] = []
    while len(found) < count:
        orders = [order("pay", amount=1, to="Ann")] * min(A_TURN, count - len(found))
        turn = await client.converse("\n".join(orders))
        found += [e for e in client.of_turn(turn) if e.type == "action.proposed"]
    return found


async def together(*asked: Callable[[], Any]) -> list[Frame]:
    """Let several ask at the same instant; return their answers in their order."""
    answers: dict[int, Frame] = {}

    async def one(number: int) -> None:
        answers[number] = await asked[number]()

    async with trio.open_nursery() as nursery:
        for number in range(len(asked)):
            nursery.start_soon(one, number)
    return [answers[number] for number in range(len(asked))]


def batches() -> Sequence[int]:
    """Split the races: at most 32 proposals may wait at a time."""
    whole, rest = divmod(RACES, A_TURN)
    return [A_TURN] * whole + ([rest] if rest else [])


async def test_two_who_confirm_at_one_instant_are_both_told_and_it_is_done_once():
    async with two_clients() as (_, till, ann, bob):
        raced = 0
        for count in batches():
            for proposed in await races(ann, count):
                places = {client: len(client.frames) for client in (ann, bob)}
                first, second = await together(
                    lambda p=proposed: ask(ann, "confirm", p),
                    lambda p=proposed: ask(bob, "confirm", p),
                )
                action_id = proposed.payload["action_id"]
                for answer in (first, second):
                    assert answer.type == "reply", answer.text
                    assert answer["result"]["action_id"] == action_id
                    assert answer["result"]["state"] == "confirmed"
                for client, place in places.items():
                    await until(client, "committed", proposed, since=place)
                    path = ["confirmed", "committing", "committed"]
                    assert kinds(client, action_id, since=place) == path
                raced += 1
                assert len(till.paid) == raced
        assert raced == RACES


async def test_of_a_yes_and_a_no_at_one_instant_one_decides_and_the_other_is_stale():
    async with two_clients() as (_, till, ann, bob):
        decided = {"committed": 0, "rejected": 0}
        for count in batches():
            for number, proposed in enumerate(await races(ann, count)):
                yes, no = (ann, bob) if number % 2 else (bob, ann)
                said_yes, said_no = await together(
                    lambda c=yes, p=proposed: ask(c, "confirm", p),
                    lambda c=no, p=proposed: ask(c, "reject", p),
                )
                assert {said_yes.type, said_no.type} == {"reply", "error"}
                loser = said_yes if said_yes.type == "error" else said_no
                assert refused(loser) == "stale"
                end = "committed" if said_yes.type == "reply" else "rejected"
                await until(ann, end, proposed, since=proposed.place)
                decided[end] += 1
                assert len(till.paid) == decided["committed"]
        assert sum(decided.values()) == RACES


async def test_one_command_on_two_connections_is_one_command():
    async with two_clients() as (_, till, ann, bob):
        for number, proposed in enumerate(await races(ann, A_TURN), 1):
            name = f"yes.{number}"
            first, second = await together(
                lambda p=proposed, i=name: ask(ann, "confirm", p, id=i),
                lambda p=proposed, i=name: ask(bob, "confirm", p, id=i),
            )
            assert first["result"] == second["result"]
            assert first["at_seq"] == second["at_seq"]
            await until(ann, "committed", proposed)
            assert len(till.paid) == number


# --- who may not -----------------------------------------------------------------------


async def audit_of(w: World) -> list[dict[str, Any]]:
    assert isinstance(w.store, MemoryStore)
    return [json.loads(line.text) for line in await w.store.audit_lines(0, limit=1000)]


async def test_a_watcher_decides_nothing_and_that_it_tried_is_on_the_audit():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        spy = await w.attach(ann.session_id, role="watch")
        head = spy.last_seq
        for type_ in ("confirm", "reject", "revert"):
            assert refused(await ask(spy, type_, proposed)) == "forbidden"
        lines = [line for line in await audit_of(w) if line["act"].endswith(".forbidden")]
        assert [(line["act"], line["subject"]) for line in lines] == [
            ("confirm.forbidden", "conf_1"),
            ("reject.forbidden", "conf_1"),
            ("revert.forbidden", "act_1"),
        ]
        assert {line["session_id"] for line in lines} == {ann.session_id}
        assert await states(ann) == {"act_1": "proposed"}
        assert (ann.last_seq, till.entered) == (head, 0)


async def test_a_watcher_who_keeps_trying_is_closed():
    async with world(vendor_obeys, app=Till().app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        spy = await w.attach(ann.session_id, role="watch")
        for _ in range(10):
            await spy.send("confirm", confirmation_id=proposed.payload["confirmation_id"])
        assert await spy.until_closed() == 4101
        assert kinds(ann, "act_1") == ["proposed"]


async def test_a_decision_bears_the_name_in_the_token_and_is_open_to_no_other_name():
    till = Till()
    auth = Auth(secret=Secret(SECRET))
    async with world(vendor_obeys, app=till.app(), auth=auth) as w:
        token = SHARED.sign("ann", exp=soon())
        ann = await w.attach(token=token)
        proposed = await propose(ann, "pay")
        bob = await w.dial(ann.session_id, offered_token=SHARED.sign("bob", exp=soon()))
        assert await bob.until_closed() == 4104
        await committed(ann, proposed)
        assert payload_of(ann, "action.confirmed", "act_1")["by"] == "ann"
        lines = [line for line in await audit_of(w) if line["act"].startswith("action.")]
        assert {line["principal"] for line in lines} == {"ann"}
        assert len(till.paid) == 1


async def test_what_somebody_confirmed_who_lost_access_before_it_began_is_not_done(tmp_path: Path):
    till = Till()
    revoked = tmp_path / "revoked"
    revoked.write_text("", encoding="utf-8")
    auth = Auth(Secret(SECRET), revoked=str(revoked), look_s=0.05)
    async with world(vendor_obeys, app=till.app(at_once=10), auth=auth) as w:
        ann = await w.attach(token=SHARED.sign("ann", exp=soon()))
        await ann.converse("\n".join([order("pay", amount=1, to="slow")] * 5))
        for number in range(1, 6):
            await ann.ask("confirm", confirmation_id=f"conf_{number}")
        await eventually(lambda: till.waiting == 4)
        (waits,) = {f"act_{n}" for n in range(1, 6) if kinds(ann, f"act_{n}")[-1] == "confirmed"}
        revoked.write_text("sub ann\n", encoding="utf-8")
        assert await ann.until_closed() == 4103
        till.open.set()
        rejected = await stored(w, ann, "action.rejected")
        assert (rejected["action_id"], rejected["reason"]) == (waits, "unauthorized")
        await eventually(lambda: len(till.paid) == 4)
        assert till.entered == 4


async def stored(w: World, client: Client, type_: str) -> dict[str, Any]:
    """Wait until the store has an event of this type; return its payload."""
    with trio.fail_after(DEADLINE_S):
        while True:
            for event in await w.timeline(client.session_id):
                body = json.loads(event.frame)
                if body["type"] == type_:
                    return body["payload"]
            await trio.sleep(0.005)


async def test_every_step_of_an_action_is_on_the_audit_with_who_took_it():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        await committed(ann, proposed := await propose(ann, "pay"))
        await ask(ann, "revert", proposed)
        await until(ann, "reverted", proposed)
        lines = [line for line in await audit_of(w) if line["act"].startswith("action.")]
        acts = [line["act"].removeprefix("action.") for line in lines]
        assert acts == kinds(ann, "act_1")
        assert {line["subject"] for line in lines} == {"act_1"}
        for line in lines:
            event = ann.find(line["act"], action_id="act_1")
            assert event is not None
            assert line["seq"] == event.seq
        assert "Ann" not in json.dumps(lines)  # hashes, no content


# --- typed lines -----------------------------------------------------------------------


async def person(w: World, client: Client) -> Client:
    """Attach somebody with a terminal, who offers no subprotocol and types lines."""
    there = await w.dial(client.session_id, strict=False)
    await there.until("live")
    return there


async def error_of(client: Client, line: str) -> Frame:
    since = len(client.frames)
    await client.send_text(line)
    return await client.until("error", since=since)


async def test_a_typed_yes_or_no_decides_the_only_open_proposal():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        typist = await person(w, ann)
        assert refused(await error_of(typist, "/yes")) == "not_found"
        first = await propose(ann, "pay")
        await typist.send_text("/yes")
        await until(ann, "committed", first)
        second = await propose(ann, "pay")
        await typist.send_text("/no")
        await until(ann, "rejected", second)
        assert len(till.paid) == 1


async def test_a_typed_yes_that_could_mean_two_lists_them_and_decides_nothing():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        typist = await person(w, ann)
        first, second = await propose(ann, "pay", amount=1), await propose(ann, "pay", amount=2)
        which = await error_of(typist, "/yes")
        assert refused(which) == "invalid_command"
        for part in ("/yes conf_1", "Pay 1 to Ann", "/yes conf_2", "Pay 2 to Ann"):
            assert part in which["error"]["message"]
        assert await states(ann) == {"act_1": "proposed", "act_2": "proposed"}
        await typist.send_text("/yes conf_2")
        await until(ann, "committed", second)
        await typist.send_text("/no")
        await until(ann, "rejected", first)
        assert refused(await error_of(typist, "/yes conf_1")) == "stale"
        assert [payment.amount for payment in till.paid] == [2]


async def test_a_typed_yes_settles_a_doubt_too():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        typist = await person(w, ann)
        proposed = await propose(ann, "give", to="lost")
        await typist.send_text("/yes")
        await until(ann, "in_doubt", proposed)
        await typist.send_text("/yes")
        await until(ann, "committed", proposed)
        assert till.entered == 1
