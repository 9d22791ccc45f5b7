"""Speech over the agent whose words come after it was decided that the agent goes on."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from msgspec import UNSET
from trio.testing import MockClock

from bargein.protocol.ids import UtteranceId
from bargein.protocol.projections import transcript
from tests.actors.calls import Call, on_the_line

QUESTION = "Shall I send it now?"
BRIEF_S, LONG_S = 0.3, 1.5
"""A voice that is over before the agent goes on, and one that is not."""


async def mumble(call: Call, who: str, voice_s: float) -> None:
    """A voice over the agent of which no words come before the agent goes on."""
    await call.send("speech.start", utterance_id=who)
    await trio.sleep(voice_s)
    await call.send("speech.stop", utterance_id=who)
    await call.viewer.event("playback.resumed", cause="noise")


async def finish(call: Call) -> None:
    call.stage.model.lines[-1].ends()
    await call.viewer.event("turn.trace")


@pytest.mark.parametrize("voice_s", [BRIEF_S, LONG_S])
@pytest.mark.parametrize("goes_on", [False, True])
async def test_a_late_yes_to_the_agents_question_is_an_answer(
    voice_s: float, autojump_clock: MockClock, *, goes_on: bool
):
    async with on_the_line() as call:
        await call.converse("u1", "Send five euros.", QUESTION)
        await mumble(call, "u2", voice_s)
        if goes_on:
            call.stage.model.lines[0].says(" It is no trouble.")
            await call.viewer.event("model.token", text=" It is no trouble.")
        await call.hear("u2", "Yes.", final=True)
        assert call.of("asr.final")[-1]["payload"]["aside"] is False
        await call.viewer.event("cancel.requested", by="speech")
        start = await call.viewer.event("turn.start", input="Yes.")
        assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 0}]
        assert len(call.of("playback.paused")) == 1


async def test_a_late_yes_of_which_the_recogniser_was_not_sure_at_first_is_an_answer(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "Send five euros.", QUESTION)
        await mumble(call, "u2", LONG_S)
        await call.hear("u2", "yes", confidence=0.2)
        assert call.of("asr.partial")[-1]["payload"]["aside"] is True
        await trio.sleep(1)
        assert len(call.of("turn.start")) == 1
        await call.hear("u2", "Yes.", final=True, confidence=0.9)
        await call.viewer.event("turn.start", input="Yes.")
        await trio.testing.wait_all_tasks_blocked()
        assert len(call.of("turn.start")) == 2


@pytest.mark.parametrize("voice_s", [BRIEF_S, LONG_S])
@pytest.mark.parametrize("ended", [False, True])
async def test_late_words_that_say_nothing_are_no_turn_and_do_not_pause_the_agent_again(
    voice_s: float, autojump_clock: MockClock, *, ended: bool
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await mumble(call, "u2", voice_s)
        if ended:
            await finish(call)
        await call.hear("u2", "")
        await call.hear("u2", "right")
        await call.hear("u2", "Right.", final=True)
        await trio.sleep(4)
        assert call.of("asr.final")[-1]["payload"]["aside"] is True
        assert len(call.of("playback.paused")) == len(call.of("turn.start")) == 1
        assert transcript(call.session.state).unanswered is UNSET
        assert call.session.state.utterances[UtteranceId("u2")].aside


@pytest.mark.parametrize("voice_s", [BRIEF_S, LONG_S])
@pytest.mark.parametrize("ended", [False, True])
async def test_late_words_that_say_something_are_a_turn(
    voice_s: float, autojump_clock: MockClock, *, ended: bool
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await mumble(call, "u2", voice_s)
        if ended:
            await finish(call)
        await call.hear("u2", "Only the cheap ones.", final=True)
        await call.viewer.event("turn.start", input="Only the cheap ones.")
        assert len(call.of("cancel.requested")) == int(not ended)
        assert not call.session.state.utterances[UtteranceId("u2")].aside


async def test_a_cough_over_one_answer_takes_nothing_from_what_is_said_after_it(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await mumble(call, "u2", BRIEF_S)
        await finish(call)
        await call.hear("u3", "Right.", final=True)
        await call.viewer.event("turn.start", input="Right.")


async def test_who_speaks_after_a_cough_pauses_the_agent_anew(autojump_clock: MockClock):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await mumble(call, "u2", BRIEF_S)
        await call.send("speech.start", utterance_id="u3")
        await call.hear("u3", "mhm")
        await call.viewer.event("playback.resumed", cause="backchannel")
        assert len(call.of("playback.paused")) == 2
