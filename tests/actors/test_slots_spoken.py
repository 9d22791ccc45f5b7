"""Model slots are short, and somebody speaks."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.calls import Call
from tests.actors.hall import hall
from tests.actors.test_preemption import put_off


async def test_spoken_words_that_stopped_an_answer_wait_for_a_slot_however_many_do(
    autojump_clock: MockClock,
):
    async with hall(waiting_most=1) as here:
        ann, bob, cid = [await here.party(name) for name in ("ann", "bob", "cid")]
        call = Call(here.stage, ann.session, ann.viewer)
        await call.converse("u1", "List my funds.")
        await bob.say("B")
        await trio.sleep(3.0)
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "Only the cheap")
        await ann.viewer.event("cancel.ack")
        line = await here.line(1)  # bob's
        await cid.say("C")
        assert (await (await here.party("dan")).say("D"))["error"]["code"] == "overloaded"
        await call.hear("u2", "Only the cheap ones")
        await call.send("speech.stop", utterance_id="u2")
        await call.hear("u2", "Only the cheap ones.", final=True)
        await ann.viewer.event("turn.start", input="Only the cheap ones.")
        line.ends()
        (await here.line(2)).ends()
        (await here.line(3)).ends()
        await ann.over("turn_2")
        await wait_all_tasks_blocked()
        assert call.of("error") == []
        assert cid.starts()


async def test_a_turn_that_was_put_off_does_not_go_on_while_the_user_speaks(
    autojump_clock: MockClock,
):
    async with hall() as here:
        ann, midas = await put_off(here)
        bob = await here.party("bob")
        await bob.say("Long")
        call = Call(here.stage, ann.session, ann.viewer)
        await call.send("speech.start", utterance_id="u1")
        await call.hear("u1", "hm")
        (await here.line(1)).ends()
        await midas.over("turn_1")
        line = await here.line(2)  # bob's: nobody keeps a slot for a turn that may never go on
        line.ends()
        await bob.over("turn_1")
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == 1
        await call.hear("u1", "")
        await call.send("speech.stop", utterance_id="u1")
        start = await ann.begun("turn_2")
        assert start["payload"]["continues"] == "turn_1"
        assert start["seq"] > call.of("speech.stop")[-1]["seq"]


async def test_what_the_user_says_takes_the_place_of_a_turn_that_was_held_for_it(
    autojump_clock: MockClock,
):
    async with hall() as here:
        ann, midas = await put_off(here)
        call = Call(here.stage, ann.session, ann.viewer)
        await call.send("speech.start", utterance_id="u1")
        await call.hear("u1", "Forget it, tell me about bears")
        (await here.line(1)).ends()
        await midas.over("turn_1")
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == 1
        await call.send("speech.stop", utterance_id="u1")
        await call.hear("u1", "Forget it, tell me about bears.", final=True)
        start = await ann.begun("turn_2")
        assert start["payload"]["input"] == "Forget it, tell me about bears."
        assert [f["payload"]["continues"] for f in ann.dropped()] == ["turn_1"]
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == 2


async def test_a_turn_that_is_put_off_while_the_user_speaks_asks_for_a_slot_afterwards(
    autojump_clock: MockClock,
):
    async with hall() as here:
        ann, midas = await here.party("ann"), await here.party("midas")
        call = Call(here.stage, ann.session, ann.viewer)
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await midas.say("Quick")
        await ann.put_off("turn_1")
        (await here.line(1)).ends()
        await midas.over("turn_1")
        await wait_all_tasks_blocked()
        assert len(ann.starts()) == 1
        await call.send("speech.stop", utterance_id="u2")
        start = await ann.begun("turn_2")
        assert start["payload"]["continues"] == "turn_1"
