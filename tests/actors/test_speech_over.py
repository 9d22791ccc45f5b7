"""Speech over the agent that is no interruption, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing
from msgspec import UNSET
from trio.testing import MockClock

from bargein.agents.voice import Voice
from bargein.protocol.ids import UtteranceId
from bargein.protocol.projections import transcript
from tests.actors.calls import Call, on_the_line

NOTICE = "Calls are recorded for training and quality."
PROTECTED = Voice(protected=(NOTICE,))


async def play(call: Call, said: str = f"{NOTICE} ", chunk: int = 0) -> str:
    """Have the agent say a notice, and play a chunk of the answer; return the turn."""
    await call.ask("configure", voice=True)
    turn_id = await call.converse("u1", "Hello there.", said=said)
    await call.viewer.until(lambda _: len(call.of("tts.chunk")) > chunk)
    await move_to(call, turn_id, chunk)
    return turn_id


async def move_to(call: Call, turn_id: str, chunk: int) -> None:
    chunk_id = call.of("tts.chunk")[chunk]["payload"]["chunk_id"]
    await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk_id)


async def finish(call: Call, turn_id: str) -> None:
    call.stage.model.lines[0].ends()
    await call.viewer.event("model.end")
    await call.ask("playback.stop", turn_id=turn_id)
    await call.viewer.event("turn.trace")
    await call.ask("configure")  # behind whatever would still begin
    await trio.testing.wait_all_tasks_blocked()


OF_SPEECH = {"speech.start", "speech.stop", "asr.partial", "asr.final", "reply"}


@pytest.mark.parametrize("words", ["mhm", "Right.", "calls are recorded", None])
async def test_over_a_protected_part_what_is_no_turn_is_only_an_utterance(
    autojump_clock: MockClock, words: str | None
):
    async with on_the_line(voice=PROTECTED) as call:
        turn_id = await play(call)
        before = len(call.viewer.frames)
        await call.send("speech.start", utterance_id="u2")
        if words is not None:
            await call.hear("u2", words)
        await call.send("speech.stop", utterance_id="u2")
        if words is not None:
            await call.hear("u2", words, final=True)
        await trio.sleep(4)
        assert {frame["type"] for frame in call.viewer.frames[before:]} <= OF_SPEECH
        assert transcript(call.session.state).unanswered is UNSET
        await finish(call, turn_id)
        assert len(call.of("turn.start")) == 1
        assert call.of("input.text", "pause", "playback.paused", "status") == []


async def test_what_becomes_words_over_a_protected_part_is_answered_after_it(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=PROTECTED) as call:
        turn_id = await play(call)
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "right")
        assert call.of("asr.partial")[-1]["payload"]["aside"] is True
        await call.hear("u2", "right but list my funds")
        assert call.of("asr.partial")[-1]["payload"]["aside"] is False
        await call.viewer.event("status")
        await call.send("speech.stop", utterance_id="u2")
        await call.hear("u2", "Right, but list my funds.", final=True)
        await call.viewer.event("input.text", queued=True)
        await call.hear("u3", "mhm", final=True)  # an aside after that is one
        await trio.sleep(2)
        assert len(call.of("input.text")) == 1
        await finish(call, turn_id)
        start = await call.viewer.event("turn.start", input="Right, but list my funds.")
        assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 2}]


async def test_a_question_that_is_not_played_yet_makes_no_answer_of_an_aside(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=PROTECTED) as call:
        turn_id = await play(call, said=f"{NOTICE} Shall I go on? ")
        await call.hear("u2", "yes", final=True)
        await trio.sleep(2)
        assert call.of("input.text", "pause") == []
        await move_to(call, turn_id, 1)
        await call.hear("u3", "yes", final=True)
        await call.viewer.event("turn.start", input="yes")


async def test_speech_that_began_before_a_protected_part_does_not_interrupt_it(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=PROTECTED) as call:
        turn_id = await play(call, said=f"Let me look at that. {NOTICE} ")
        await call.send("speech.start", utterance_id="u2")
        await call.viewer.event("playback.resumed", cause="noise")
        await move_to(call, turn_id, 1)
        await call.hear("u2", "List all of my funds")
        await call.viewer.event("status")
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("input.text", text="List all of my funds", queued=True)
        assert call.of("cancel.requested", "flush") == []
        await finish(call, turn_id)
        await call.viewer.event("turn.start", input="List all of my funds")


async def test_an_aside_that_becomes_words_is_answered_though_they_come_final_as_they_were(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "Where do you fly?")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "right")
        await call.viewer.event("playback.resumed", cause="backchannel")
        await call.hear("u2", "right London")
        await call.hear("u2", "Right, London.", final=True)
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("cancel.requested", by="speech")
        start = await call.viewer.event("turn.start", input="Right, London.")
        assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 2}]


async def test_who_goes_on_after_an_aside_is_heard_to_the_end(autojump_clock: MockClock):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "right")
        await call.viewer.event("playback.resumed", cause="backchannel")
        for more in ("right but list", "right but list only those", "right but list only those in"):
            await call.hear("u2", more)
            await trio.sleep(1.2)
        await call.send("speech.stop", utterance_id="u2")
        await call.hear("u2", "Right, but list only those in euros.", final=True)
        await call.viewer.event("turn.start", input="Right, but list only those in euros.")
        assert len(call.of("turn.start")) == 2


async def test_two_who_agree_one_after_the_other_do_not_interrupt(autojump_clock: MockClock):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.viewer.event("playback.resumed", cause="noise")
        await call.hear("u3", "mhm", final=True)  # the voice goes on: the same stretch
        await trio.sleep(3)
        assert call.of("cancel.requested") == []
        assert transcript(call.session.state).unanswered is UNSET
        known = call.session.state.utterances[UtteranceId("u3")]
        assert known.aside


@pytest.mark.parametrize("words", ["mhm", "Only the cheap ones."])
async def test_an_interrupt_by_hand_ends_the_pause_that_was_being_decided(
    autojump_clock: MockClock, words: str
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", words[:3], final=words == "mhm")
        await call.viewer.until(lambda f: f["type"] == "pause")
        await call.send("speech.stop", utterance_id="u2")
        reply = await call.ask("interrupt")
        assert reply["result"]["interrupted"] is True
        if words != "mhm":
            await call.hear("u2", words, final=True)
            await call.viewer.event("turn.start", input=words)
        await trio.sleep(4)
        starts: list[Any] = call.of("turn.start")
        assert len(starts) == (1 if words == "mhm" else 2)
        assert call.of("unpause", "playback.resumed") == []
        assert call.place("pause") < call.place("flush")


async def test_a_pause_that_began_before_a_protected_part_ends_with_the_words_that_wait_for_it(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=PROTECTED) as call:
        turn_id = await play(call, said=f"Let me look at that. {NOTICE} ")
        await call.send("speech.start", utterance_id="u2")
        await call.viewer.until(lambda f: f["type"] == "pause")
        await move_to(call, turn_id, 1)  # a client that plays on all the same
        await call.hear("u2", "bonds")
        await call.ask("turn.end")
        await call.viewer.event("input.text", text="bonds", queued=True)
        unpause = await call.viewer.until(lambda f: f["type"] == "unpause")
        assert unpause["turn_id"] == turn_id
        await call.viewer.event("playback.resumed", cause="protected")
        await finish(call, turn_id)
        await call.viewer.event("turn.start", input="bonds")
