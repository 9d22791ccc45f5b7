from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.harness import World, world
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words

SCRIPT = by_words({"Long": FOR_EVER})


def inputs(client: Client) -> list[str]:
    return [event.payload["text"] for event in client.events if event.type == "input.text"]


async def restart(w: World, client: Client) -> Client:
    await w.stop()
    await w.start()
    return await w.back(client)


async def test_the_same_id_is_done_once_and_answered_alike():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        first = await alice.say("Hi", id="hi")
        await alice.until("turn.trace", turn_id="turn_1")
        again = await alice.say("Hi", id="hi")
        assert again.text == first.text
        assert inputs(alice) == ["Hi"]
        assert len(w.api.exchanges) == 1


async def test_the_same_id_from_another_client_of_the_session_is_the_same_command():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        bob = await w.attach(alice.session_id)
        first = await alice.say("Hi", id="hi")
        again = await bob.ask("say", id="hi", text="Hi")
        assert again.text == first.text
        await bob.until("turn.trace", turn_id="turn_1")
        assert inputs(bob) == ["Hi"]


async def test_a_re_sent_say_does_not_interrupt_its_own_turn():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await alice.say("Long story", id="l")
        await alice.until("model.token", turn_id="turn_1")
        await alice.say("Long story", id="l")
        await alice.ask("ping")
        assert alice.find("cancel.requested") is None
        await alice.ask("interrupt")


async def test_a_re_sent_interrupt_does_not_hit_the_next_turn():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await alice.say("Long story")
        await alice.until("model.token", turn_id="turn_1")
        first = await alice.ask("interrupt", id="stop")
        await alice.say("Long story, again")
        await alice.until("model.token", turn_id="turn_2")
        again = await alice.ask("interrupt", id="stop")
        assert again.text == first.text
        assert alice.find("cancel.requested", turn_id="turn_2") is None
        await alice.ask("interrupt")


@pytest.mark.parametrize("restarted", [False, True])
async def test_the_same_id_with_another_body_is_a_duplicate(restarted: bool, tmp_path: Path):
    async with world([BRIEF], store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        await alice.converse("Hi", id="hi")
        if restarted:
            alice = await restart(w, alice)
        other = await alice.say("Bye", id="hi")
        assert other["error"]["code"] == "duplicate"
        assert other["error"]["retryable"] is False
        assert "Bye" not in inputs(alice)
        again = await alice.say("Hi", id="hi")  # the first stands
        assert again["result"]["turn_id"] == "turn_1"


async def test_the_order_of_keys_makes_no_other_body():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.send_text('{"type":"say","id":"hi","text":"Hi","when_busy":"queue"}')
        first = await alice.answer_to("hi")
        alice.sent_again.add("hi")
        since = len(alice.frames)
        await alice.send_text('{"when_busy":"queue", "text":"Hi", "id":"hi", "type":"say"}')
        assert (await alice.answer_to("hi", since=since)).text == first.text


async def test_a_say_that_was_answered_before_a_restart_is_not_done_again(tmp_path: Path):
    async with world([BRIEF], store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        first = await alice.say("Hi", id="hi")
        await alice.until("turn.trace", turn_id="turn_1")
        alice = await restart(w, alice)
        again = await alice.say("Hi", id="hi")
        assert again["result"] == first["result"]
        await alice.ask("ping")
        assert [f.text for f in alice.frames if f.type == "reply"].count(again.text) == 1
        assert len(w.api.exchanges) == 1


@pytest.mark.parametrize("when_busy", ["interrupt", "rollback", "queue"])
async def test_the_outcome_of_a_say_to_a_busy_session_is_the_same_after_a_restart(
    when_busy: str, tmp_path: Path
):
    async with world(SCRIPT, store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        await alice.say("Long story")
        await alice.until("model.token", turn_id="turn_1")
        first = await alice.say("Hi", id="hi", when_busy=when_busy)
        if when_busy == "queue":
            await alice.ask("interrupt")
        await alice.until("turn.trace", turn_id="turn_2")
        alice = await restart(w, alice)
        again = await alice.say("Hi", id="hi", when_busy=when_busy)
        assert again.text == first.text


async def test_an_interrupt_from_before_a_restart_does_not_hit_a_turn_after_it(tmp_path: Path):
    async with world(SCRIPT, store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        await alice.say("Long story")
        await alice.until("model.token", turn_id="turn_1")
        first = await alice.ask("interrupt", id="stop")
        alice = await restart(w, alice)
        await alice.say("Long story, again")
        await alice.until("model.token", turn_id="turn_2")
        again = await alice.ask("interrupt", id="stop")
        assert alice.find("cancel.requested", turn_id="turn_2") is None
        assert again.text == first.text
        await alice.ask("interrupt")
