"""Model slots are short, and somebody speaks."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors.calls import Call
from tests.actors.hall import hall


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
