from __future__ import annotations

import pytest

from tests.e2e.client import Client, Frame
from tests.e2e.harness import text_of, world
from tests.e2e.scripts import BRIEF, FOR_EVER, assert_ladder, by_words

SCRIPT = by_words({"Long": FOR_EVER})


async def busy(client: Client) -> str:
    """Start a turn that has no end of its own; return its id."""
    turn_id = (await client.say("Long story"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return turn_id


def code(answer: Frame) -> str:
    assert answer.type == "error", answer.text
    return answer["error"]["code"]


def order_of_turns(client: Client) -> list[str | None]:
    return [event.turn_id for event in client.events if event.type == "turn.start"]


async def test_queued_words_wait_for_the_last_event_of_the_turn():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.send("say", id="a", text="First")
        second = await alice.say("Second", when_busy="queue")
        third = await alice.say("Third", when_busy="queue")
        await alice.until("turn.trace", turn_id="turn_3")
        assert second["result"]["outcome"] in ("queued", "started")
        assert third["result"]["turn_id"] == "turn_3"
        assert order_of_turns(alice) == ["turn_1", "turn_2", "turn_3"]
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told == ["First", "Very well.", "Second", "Very well.", "Third"]


async def test_an_interrupt_keeps_the_queue_and_goes_on_with_it():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        first = await busy(alice)
        queued = await alice.say("Second", when_busy="queue")
        assert queued["result"] == {"turn_id": "turn_2", "outcome": "queued", "interrupted": None}
        waiting = await alice.until("input.text", turn_id="turn_2")
        assert waiting.payload["queued"] is True
        stopped = await alice.ask("interrupt")
        await alice.until("turn.trace", turn_id="turn_2")
        ack = await alice.until("cancel.ack", turn_id=first)
        start = await alice.until("turn.start", turn_id="turn_2")
        assert ack.seq < start.seq
        assert stopped["result"]["interrupted"] is True
        assert stopped["result"]["ack_seq"] == ack.seq
        assert stopped.place > ack.place
        assert alice.answer_of("turn_2") == "Very well."


async def test_an_interrupt_that_says_so_drops_the_queue():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await busy(alice)
        await alice.say("Second", id="second", when_busy="queue")
        await alice.say("Third", id="third", when_busy="queue")
        await alice.ask("interrupt", queue="drop")
        dropped = [event for event in alice.events if event.type == "input.dropped"]
        assert [event.payload["command_id"] for event in dropped] == ["second", "third"]
        view = (await alice.ask("projection", name="session"))["result"]
        assert (view["state"], view["queued"]) == ("idle", [])
        await alice.converse("Fourth")
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told[0] == "Long story"
        assert told[-1] == "Fourth"
        assert not {"Second", "Third"} & set(told)


async def test_words_that_interrupt_go_before_those_that_wait():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        first = await busy(alice)
        await alice.say("Queued", when_busy="queue")
        reply = await alice.say("Now")
        assert reply["result"]["interrupted"] == first
        now = reply["result"]["turn_id"]
        await alice.until("turn.trace", turn_id="turn_2")
        assert order_of_turns(alice) == [first, now, "turn_2"]
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told[-3:] == ["Now", "Very well.", "Queued"]
        assert_ladder(alice.of_turn(first))


async def test_reject_is_answered_with_busy_and_may_be_tried_again_with_its_id():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await busy(alice)
        refused = await alice.say("Second", id="s", when_busy="reject")
        assert code(refused) == "busy"
        assert refused["error"]["retryable"] is True
        await alice.ask("interrupt")
        accepted = await alice.say("Second", id="s", when_busy="reject")
        assert accepted["result"]["outcome"] == "started"
        inputs = [event for event in alice.events if event.type == "input.text"]
        assert [event.payload["text"] for event in inputs] == ["Long story", "Second"]


async def test_steer_falls_back_to_the_queue_while_there_are_no_stages():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await busy(alice)
        reply = await alice.say("A bit to the left", when_busy="steer")
        assert reply["result"]["outcome"] == "queued"
        await alice.ask("interrupt")
        await alice.until("turn.trace", turn_id="turn_2")


async def test_the_ninth_that_waits_gets_busy_and_nothing_of_it_is_kept():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        await busy(alice)
        for number in range(8):
            reply = await alice.say(f"Queued {number}", when_busy="queue")
            assert reply["result"]["outcome"] == "queued"
        assert code(await alice.say("One too many", id="n", when_busy="queue")) == "busy"
        await alice.ask("interrupt")
        await alice.until("turn.trace", turn_id="turn_9")
        again = await alice.say("One too many", id="n", when_busy="queue")
        assert again.type == "reply"
        await alice.until("turn.trace", turn_id=again["result"]["turn_id"])
        inputs = [event for event in alice.events if event.type == "input.text"]
        assert [event.payload["text"] for event in inputs].count("One too many") == 1


@pytest.mark.parametrize("when_busy", ["interrupt", "queue", "steer", "reject", "rollback"])
async def test_words_to_an_idle_session_start_at_once_whatever_they_would_do_else(when_busy: str):
    async with world([BRIEF]) as w:
        alice = await w.attach()
        reply = await alice.say("Hi", when_busy=when_busy)
        assert reply["result"] == {"turn_id": "turn_1", "outcome": "started", "interrupted": None}
        await alice.until("turn.trace", turn_id="turn_1")


async def test_an_interrupt_with_no_turn_is_answered_and_leaves_no_event():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        before = alice.last_seq
        answer = await alice.ask("interrupt")
        assert answer["result"] == {"interrupted": False}
        assert answer["at_seq"] == before
        since = len(alice.frames)
        await alice.send("interrupt")  # without an id: it asked for something
        blind = await alice.answer_to(None, since=since)
        assert blind["result"] == {"interrupted": False}
        await alice.ask("ping")
        assert alice.last_seq == before


async def test_a_stale_interrupt_does_not_hit_the_next_turn():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        first = await busy(alice)
        await alice.ask("interrupt", turn_id=first)
        second = await busy(alice)
        stale = await alice.ask("interrupt", turn_id=first)
        assert stale["result"] == {"interrupted": False}
        assert alice.find("cancel.requested", turn_id=second) is None
        right = await alice.ask("interrupt", turn_id=second)
        assert right["result"]["turn_id"] == second
        assert_ladder(alice.of_turn(second))


async def test_two_interrupts_of_one_turn_give_one_ladder_and_two_replies():
    async with world(SCRIPT) as w:
        alice, bob = await w.attach(), None
        bob = await w.attach(alice.session_id)
        first = await busy(alice)
        await alice.send("interrupt", id="a")
        await bob.send("interrupt", id="b")
        await alice.send("interrupt", id="c")
        replies = [
            await alice.answer_to("a"),
            await bob.answer_to("b"),
            await alice.answer_to("c"),
        ]
        ack = await alice.until("cancel.ack", turn_id=first)
        hits = [reply for reply in replies if reply["result"]["interrupted"]]
        assert replies[0] in hits
        assert {hit["result"]["ack_seq"] for hit in hits} == {ack.seq}
        assert_ladder(alice.of_turn(first))


async def test_an_interrupt_leaves_no_word_of_the_turn_after_its_flush_to_show():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        first = await busy(alice)
        await alice.ask("interrupt")
        flush = await alice.until("flush")
        requested = await alice.until("cancel.requested", turn_id=first)
        assert flush["turn_id"] == first
        assert flush["seq"] <= requested.seq
        assert flush.place < requested.place
