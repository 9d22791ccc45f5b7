"""Words that were said aloud, and the process ended before they had their answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from copy import deepcopy

import pytest
import trio
from attrs import define
from msgspec import UNSET
from trio.testing import MockClock

from bargein.actors.session import Session
from bargein.actors.utterances import waiting_words
from bargein.agents.voice import Voice
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import AsrFinal, GuardrailTripped, SpokenInput, TurnStart
from bargein.protocol.ids import UtteranceId, turn_id
from bargein.protocol.projections import transcript
from bargein.timeline.memory import MemoryStore
from tests.actors.calls import Call, on_the_line
from tests.actors.stage import Stage, Viewer, on_stage
from tests.actors.team import stored
from tests.actors.test_budget import Purse
from tests.checker import broken_rules
from tests.protocol.timelines import Pen

NOTICE = "Calls are recorded for training and quality."
PROTECTED = Voice(protected=(NOTICE,))


@define
class Back:
    """The session in the next process."""

    stage: Stage
    session: Session
    viewer: Viewer


@asynccontextmanager
async def died(call: Call) -> AsyncGenerator[Back]:
    """Let another process find what is stored of *call* at this moment, and no more."""
    kept = MemoryStore(deepcopy(call.stage.store.shelf))
    async with on_stage(store=kept, voice=PROTECTED) as stage:
        session = await stage.sessions.enter(call.session.id)
        yield Back(stage, session, await stage.attend(session))
        await session.until_stopped()
        assert broken_rules(stored(kept, session.id)) == []


async def queue_words(call: Call) -> str:
    """Say something over a notice; return the turn that it waits for."""
    await call.ask("configure", voice=True)
    turn_id = await call.converse("u1", "Hello there.", said=f"{NOTICE} ")
    chunk = await call.viewer.event("tts.chunk", text=NOTICE)
    await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk["payload"]["chunk_id"])
    await call.hear("u2", "Sell fifty shares", final=True)
    queued = await call.viewer.event("input.text", queued=True)
    return queued["turn_id"]


async def test_spoken_words_that_waited_are_answered_by_the_next_process(autojump_clock: MockClock):
    async with on_the_line(voice=PROTECTED) as call:
        turn_id = await queue_words(call)
        async with died(call) as back:
            start = await back.viewer.event("turn.start", input="Sell fifty shares")
            assert start["turn_id"] == turn_id
            assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 0}]
            line = await back.stage.model.line(0)
            assert line.request.messages[-1].content == "Sell fifty shares"
            line.ends()
            await back.viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == turn_id)


async def test_spoken_words_that_waited_are_answered_as_they_were_understood_before_the_end(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=PROTECTED) as call:
        turn_id = await queue_words(call)
        await call.hear("u2", "Sell fifteen shares.", final=True)
        async with died(call) as back:
            start = await back.viewer.event("turn.start", input="Sell fifteen shares.")
            assert start["turn_id"] == turn_id
            assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 1}]


async def test_spoken_words_that_waited_may_be_understood_otherwise_after_the_end(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=PROTECTED) as call:
        await queue_words(call)
        async with died(call) as back:
            await back.viewer.event("turn.start", input="Sell fifty shares")
            words = {"utterance_id": "u2", "revision": 1, "text": "Sell fifteen shares."}
            await back.stage.ask(back.session, back.viewer, "asr.final", **words)
            start = await back.viewer.event("turn.start", input="Sell fifteen shares.")
            assert start["payload"]["corrects"]


async def test_words_over_the_agent_that_nothing_had_decided_are_answered(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "bonds")
        async with died(call) as back:
            start = await back.viewer.event("turn.start", input="bonds")
            assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 0}]


@pytest.mark.parametrize("protected", [True, False])
async def test_an_aside_is_none_for_the_next_process_either(
    autojump_clock: MockClock, protected: bool
):
    async with on_the_line(voice=PROTECTED) as call:
        await call.ask("configure", voice=True)
        said = f"{NOTICE} " if protected else "Your funds are these. "
        turn_id = await call.converse("u1", "Hello there.", said=said)
        chunk = await call.viewer.event("tts.chunk")
        await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk["payload"]["chunk_id"])
        await call.hear("u2", "mhm")
        await trio.sleep(2)
        await call.hear("u2", "Mhm.", final=True)
        async with died(call) as back:
            await trio.sleep(5)
            assert [turn.words for turn in back.session.state.turns.values()] == ["Hello there."]
            assert transcript(back.session.state).unanswered is UNSET


async def test_words_that_an_aside_became_are_answered_by_the_next_process(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "right")
        await call.viewer.event("playback.resumed")
        await call.hear("u2", "right bonds")
        async with died(call) as back:
            await back.viewer.event("turn.start", input="right bonds")


async def test_spoken_words_that_a_quota_refused_are_not_answered_after_a_restart(
    autojump_clock: MockClock,
):
    purse = Purse(0)
    async with on_stage(allowance=lambda _, __, ___: purse) as stage:
        session = stage.open()
        call = Call(stage, session, await stage.attend(session))
        await call.speak("u1", "Sell all of it.")
        refused = await call.viewer.until(lambda f: f["type"] == "error")
        assert (refused["command_id"], refused["error"]["code"]) == (None, "quota_exceeded")
        dropped = await call.viewer.event("input.dropped", utterances=["u1"])
        assert dropped["turn_id"] is None
        assert dropped["payload"]["reason"] == ErrorCode.QUOTA_EXCEEDED.value
        assert transcript(session.state).unanswered is UNSET
        async with died(call) as back:
            await back.stage.ask(
                back.session, back.viewer, "asr.final", utterance_id="u1", revision=2, text="Sell."
            )
            await trio.sleep(5)
            assert not [f for f in back.viewer.frames if f["type"] == "turn.start"]
            known = back.session.state.utterances[UtteranceId("u1")]
            assert (known.refused, known.waits) == (True, False)
            again = {"utterance_id": "u2", "revision": 0, "text": "Sell half of it."}
            await back.stage.ask(back.session, back.viewer, "asr.final", **again)
            await back.viewer.event("turn.start", input="Sell half of it.")


async def test_spoken_words_for_which_the_queue_has_no_room_are_not_answered_after_a_restart(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=PROTECTED) as call:
        await queue_words(call)
        most = call.stage.sessions.limits.queue_most
        for number in range(1, most + 1):
            await call.hear(f"w{number}", f"Sell {number} more of them.", final=True)
            await trio.sleep(3)
        dropped = await call.viewer.event("input.dropped")
        assert dropped["payload"]["reason"] == "busy"
        assert len(call.of("input.text")) == most
        async with died(call) as back:
            await back.viewer.event("turn.start", input="Sell fifty shares")
            assert transcript(back.session.state).unanswered is UNSET


def test_spoken_words_that_a_guardrail_refused_do_not_wait_for_another_process():
    pen, one, who = Pen(), turn_id(1), UtteranceId("u1")
    pen.open_session()
    pen.write(None, AsrFinal(who, 0, "Sell my neighbour."))
    assert [heard.text for heard in waiting_words(pen.state)] == ["Sell my neighbour."]
    said = (SpokenInput(who, 0),)
    pen.begin_spoken(one, TurnStart("Sell my neighbour.", utterances=said))
    pen.write(one, GuardrailTripped("trade", "no people"))
    pen.end(one, "refused")
    assert waiting_words(pen.state) == ()
    assert transcript(pen.state).unanswered is UNSET
