"""A spoken answer stays open till its sound begins, where the client says when it does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from bargein.actors.keeper import PLAYBACK_START_S
from tests.actors.calls import Call, on_the_line
from tests.actors.stage import Viewer

FUNDS = "Your funds are these. "
LATE_S = PLAYBACK_START_S - 0.5


@asynccontextmanager
async def after_a_played_answer() -> AsyncGenerator[Call]:
    """Have somebody on the line who has heard an answer, and whose client said so."""
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "Hello.", said="Hello there. ")
        await start(call, turn_id)
        call.stage.model.lines[0].ends()
        await call.viewer.event("model.end")
        await call.send("playback.stop", turn_id=turn_id)
        await over(call, turn_id)
        yield call


async def generate(call: Call, who: str, text: str) -> str:
    """Have an answer written to its end; return its turn."""
    turn_id = await call.converse(who, text, FUNDS)
    call.stage.model.lines[-1].ends()
    await call.viewer.until(lambda f: f["type"] == "model.end" and f["turn_id"] == turn_id)
    return turn_id


async def start(call: Call, turn_id: str) -> None:
    chunk = await call.viewer.until(lambda f: f["type"] == "tts.chunk" and f["turn_id"] == turn_id)
    chunk_id = chunk["payload"]["chunk_id"]
    await call.send("playback.start", turn_id=turn_id, chunk_id=chunk_id, words_ms=[200, 400])


async def over(call: Call, turn_id: str) -> None:
    await call.viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == turn_id)


def is_over(viewer: Viewer, turn_id: str) -> bool:
    return any(f["type"] == "turn.trace" and f["turn_id"] == turn_id for f in viewer.frames)


async def test_speech_over_an_answer_whose_sound_began_after_its_text_was_over_pauses_and_cuts_it(
    autojump_clock: MockClock,
):
    async with after_a_played_answer() as call:
        turn_id = await generate(call, "u2", "List my funds.")
        await trio.sleep(LATE_S)
        await start(call, turn_id)
        await trio.sleep(1)
        await call.send("speech.start", utterance_id="u3")
        await call.viewer.until(lambda f: f["type"] == "pause" and f["turn_id"] == turn_id)
        chunk_id = call.of("tts.chunk")[-1]["payload"]["chunk_id"]
        place = {"chunk_id": chunk_id, "offset_ms": 450}
        await call.send("playback.progress", turn_id=turn_id, **place)
        await call.hear("u3", "Stop!")
        frozen = await call.viewer.event("cancel.stage", target="transcript")
        assert frozen["payload"]["heard"] == "Your funds"
        await call.viewer.event("cancel.ack")


async def test_a_voice_before_the_first_sound_holds_the_answer_and_the_sound_may_come_after_it(
    autojump_clock: MockClock,
):
    async with after_a_played_answer() as call:
        turn_id = await generate(call, "u2", "List my funds.")
        await trio.sleep(LATE_S)
        await call.send("speech.start", utterance_id="u3")
        await call.viewer.until(lambda f: f["type"] == "pause")
        await call.send("speech.stop", utterance_id="u3")
        await call.viewer.event("playback.resumed", cause="noise")
        await trio.sleep(LATE_S)
        assert not is_over(call.viewer, turn_id)
        await start(call, turn_id)
        await call.send("playback.stop", turn_id=turn_id)
        await over(call, turn_id)


async def test_an_answer_whose_sound_never_begins_is_over_after_a_bounded_time(
    autojump_clock: MockClock,
):
    async with after_a_played_answer() as call:
        turn_id = await generate(call, "u2", "List my funds.")
        ended_s = trio.current_time()
        await over(call, turn_id)
        assert trio.current_time() - ended_s == PLAYBACK_START_S
        assert len(call.of("playback.stop")) == 1  # of the first answer
        (trace,) = [f for f in call.of("turn.trace") if f["turn_id"] == turn_id]
        names = [span["name"] for span in trace["payload"]["spans"] if "parent" not in span]
        assert names[-2:] == ["playback", "close"]


async def test_nothing_is_waited_for_where_no_client_has_said_what_it_plays(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        for who, text in (("u1", "Hello."), ("u2", "List my funds.")):
            turn_id = await generate(call, who, text)
            ended_s = trio.current_time()
            await over(call, turn_id)
            assert trio.current_time() == ended_s


async def test_a_report_that_came_after_the_end_of_its_answer_lets_the_next_be_waited_for(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        first = await generate(call, "u1", "Hello.")
        await over(call, first)
        await start(call, first)
        second = await generate(call, "u2", "List my funds.")
        await trio.sleep(LATE_S)
        assert not is_over(call.viewer, second)
        await over(call, second)


async def test_an_answer_that_is_not_spoken_waits_for_no_sound(autojump_clock: MockClock):
    async with after_a_played_answer() as call:
        await call.ask("configure", voice=False)
        turn_id = await generate(call, "u2", "List my funds.")
        ended_s = trio.current_time()
        await over(call, turn_id)
        assert trio.current_time() == ended_s


async def test_what_the_client_said_it_plays_is_known_after_a_restart(autojump_clock: MockClock):
    async with after_a_played_answer() as call:
        await call.session.detach(call.viewer)
        call.session.end()
        await call.session.until_ended()
        session = await call.stage.sessions.enter(call.session.id)
        viewer = await call.stage.attend(session)
        again = Call(call.stage, session, viewer)
        turn_id = await generate(again, "u2", "List my funds.")
        await trio.sleep(LATE_S)
        assert not is_over(viewer, turn_id)
        await over(again, turn_id)
        await session.until_stopped()
