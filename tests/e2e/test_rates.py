"""Clients that send too much: what they are told, and what others notice of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from math import ceil

import trio
from trio_websocket import ConnectionClosed

from bargein.gateway.settings import Limits
from tests.e2e.client import Client, is_answer
from tests.e2e.harness import world
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words
from tests.gateway.raw_client import TEXT, frame
from tests.scale import scaled

SCRIPT = by_words({"Long": FOR_EVER}, BRIEF)
AS_SHIPPED = Limits()


def answers(client: Client, since: int = 0) -> list[str]:
    """Return what each command came to: `reply`, `pong`, or the code of the error."""
    return [
        f.type if f.type != "error" else f["error"]["code"]
        for f in client.frames[since:]
        if is_answer(f)
    ]


async def pour(client: Client, type_: str, names: Iterable[str], **fields: str) -> None:
    """Send a command again and again, as fast as the socket takes it, until one is cut off."""
    with suppress(ConnectionClosed):
        for name in names:
            await client.send(type_, id=name, **fields)


def numbered(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]


async def until_token(client: Client, turn_id: str) -> None:
    await client.until("model.token", turn_id=turn_id)


async def test_a_flood_of_commands_is_refused_and_then_cut():
    async with world(SCRIPT, limits=AS_SHIPPED) as w:
        alice, bob = await w.attach(), await w.attach()
        await pour(alice, "ping", numbered("p", 90))
        assert await alice.until_closed() == 4101
        counted = Counter(answers(alice))
        assert counted["rate_limited"] == 13  # three are forgiven, ten are strikes
        assert 60 <= counted["reply"] <= 90
        refused = alice.find(lambda f: f.type == "error")
        assert refused is not None
        assert refused["error"]["retryable"]
        assert " s." in refused["error"]["message"]
        await bob.converse("Hi")


async def test_who_waits_as_it_is_told_is_served_and_the_id_may_try_again():
    async with world(SCRIPT, limits=Limits(commands_burst=3, commands_per_s=5)) as w:
        alice = await w.attach()
        await pour(alice, "ping", numbered("p", 3))
        refused = await alice.ask("ping", id="late")
        assert refused["error"]["code"] == "rate_limited"
        wait_s = float(refused["error"]["message"].rpartition(" in ")[2].removesuffix(" s."))
        assert 0 < wait_s <= 0.21
        await trio.sleep_until(trio.current_time() + wait_s)
        assert (await alice.ask("ping", id="late")).type == "reply"


async def test_of_a_thousand_interrupts_the_first_acts_and_none_is_a_strike():
    async with world(SCRIPT, limits=AS_SHIPPED) as w:
        alice = await w.attach()
        for round_ in range(2):  # in the second, there is no room left for any interrupt
            turn_id = (await alice.say("Long"))["result"]["turn_id"]
            await until_token(alice, turn_id)
            since = len(alice.frames)
            names = numbered(f"i{round_}.", 1000)
            await pour(alice, "interrupt", names)
            first = await alice.answer_to(names[0], since=since)
            assert first["result"]["interrupted"] is True
            assert first["result"]["turn_id"] == turn_id
            await alice.answer_to(names[-1], since=since)
            counted = Counter(answers(alice, since))
            assert set(counted) == {"reply", "rate_limited"}
            assert counted.total() == 1000
            assert counted["rate_limited"] >= 900
            ladder = [e.type for e in alice.of_turn(turn_id)]
            assert ladder.count("cancel.requested") == ladder.count("cancel.ack") == 1
        assert not alice.closed.is_set()


async def test_an_interrupt_of_another_turn_has_no_right_to_go_first():
    limits = Limits(interrupts_per_s=1)
    async with world(SCRIPT, limits=limits) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Long"))["result"]["turn_id"]
        await until_token(alice, turn_id)
        await alice.ask("interrupt", turn_id="turn_999")
        stale = await alice.ask("interrupt", turn_id="turn_999")
        assert stale["error"]["code"] == "rate_limited"
        acts = await alice.ask("interrupt", turn_id=turn_id)
        assert acts["result"]["interrupted"] is True
        sent_again = await alice.ask("interrupt", id=acts["command_id"], turn_id=turn_id)
        assert sent_again["error"]["code"] == "rate_limited"


async def test_commands_that_are_used_up_leave_the_interrupt_its_way():
    async with world(SCRIPT, limits=Limits(commands_burst=2, commands_per_s=1)) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Long"))["result"]["turn_id"]
        await alice.ask("ping")
        assert (await alice.ask("ping"))["error"]["code"] == "rate_limited"
        assert (await alice.ask("interrupt"))["result"]["turn_id"] == turn_id


async def test_what_is_refused_never_reaches_the_session():
    async with world(SCRIPT, limits=Limits(commands_burst=3, strikes_most=1000)) as w:
        alice = await w.attach()
        await pour(alice, "say", numbered("s", 200), text="Hi")
        await alice.answer_to("s199")
        refused = answers(alice).count("rate_limited")
        assert refused > 150
        seen = [e for e in await w.timeline(alice.session_id) if b'"input.text"' in e.frame]
        assert len(seen) <= 200 - refused


async def test_a_person_who_asks_for_help_too_often_is_told_so():
    async with world(SCRIPT, limits=Limits(commands_burst=2, commands_per_s=1)) as w:
        alice = await w.attach(strict=False)
        for _ in range(3):
            await alice.send_text("/help")
        refused = await alice.until("error")
        assert refused["error"]["code"] == "rate_limited"
        assert len([f for f in alice.frames if f.type == "reply"]) == 2


FLOODS_PER_S = 2000
"""A hundred times what one connection may send."""

NOTICED_S = 0.1

A_PAUSE_S = 1.0
"""Beyond what a machine that others use, too, may stand still for."""


async def test_floods_do_not_delay_the_interrupts_of_others():
    rounds = scaled(50)
    async with world(SCRIPT, limits=AS_SHIPPED, deadline_s=300) as w:
        bob = await w.attach()
        async with trio.open_nursery() as floods:
            for _ in range(3):
                floods.start_soon(flood, await w.attach())
            waits_s = [await interrupted_after_s(bob) for _ in range(rounds)]
            floods.cancel_scope.cancel()
    waits_s.sort()
    # Each time that the machine itself pauses, one of them waits for that.
    assert waits_s[-1 - ceil(rounds / 20)] < NOTICED_S, waits_s[-5:]
    assert waits_s[-1] < A_PAUSE_S, waits_s[-5:]


async def flood(client: Client) -> None:
    """Send interrupts: the one flood that is never cut."""
    burst = b"".join(frame(TEXT, json.dumps({"type": "interrupt"}).encode()) for _ in range(20))
    stream = client._ws._stream  # pyright: ignore[reportPrivateUsage]
    began_s, sent = trio.current_time(), 0
    while True:
        await stream.send_all(burst)
        sent += 20
        await trio.sleep_until(began_s + sent / FLOODS_PER_S)


async def interrupted_after_s(client: Client) -> float:
    turn_id = (await client.say("Long"))["result"]["turn_id"]
    await until_token(client, turn_id)
    since, sent_s = len(client.frames), trio.current_time()
    await client.send("interrupt")
    flush = await client.until("flush", since=since)
    await client.until("turn.trace", turn_id=turn_id)
    return flush.at_s - sent_s
