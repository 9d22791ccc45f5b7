"""An answer that the app says aloud itself: what it reports counts as a client's reports do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from bargein.actors import loudspeaker
from bargein.agents.voice import Voice
from bargein.speech.ports import Playback, Speech
from tests.actors.calls import Call, on_the_line

WORD_S = 0.2


@define(eq=False)
class Aloud:
    """Says a word each fifth of a second, and reports it."""

    said: list[str] = field(factory=list[str])
    stored: Callable[[Speech], bool] | None = None
    silenced: int = 0

    async def say(self, speech: Speech, playback: Playback) -> None:
        if self.stored is not None:
            assert self.stored(speech)
        words = speech.text.split()
        playback.started([1000 * WORD_S * (n + 1) for n in range(len(words))])
        try:
            for number, word in enumerate(words, 1):
                await playback.flows()
                await trio.sleep(WORD_S)
                self.said.append(word)
                playback.reached(1000 * WORD_S * number)
        except trio.Cancelled:
            self.silenced += 1
            raise


@define(eq=False)
class Doing:
    """Does what the test says."""

    what: Callable[[Speech, Playback], Awaitable[None]]

    async def say(self, speech: Speech, playback: Playback) -> None:
        await self.what(speech, playback)


async def answered(call: Call, *texts: str) -> str:
    """Ask something and have *texts* answered; return the turn."""
    await call.send("configure", voice=True)
    await call.speak("u1", "List my funds.")
    start = await call.viewer.event("turn.start")
    line = await call.stage.model.line(0)
    for text in texts:
        line.says(text)
    line.ends()
    return start["turn_id"]


def payloads(call: Call, kind: str) -> list[dict[str, Any]]:
    return [event["payload"] for event in call.of(kind)]


async def test_each_chunk_is_said_and_reported_and_the_turn_ends_with_the_last(
    autojump_clock: MockClock,
):
    speaker = Aloud()
    async with on_the_line(voice=Voice(speaker=speaker)) as call:
        speaker.stored = lambda speech: any(
            chunk["chunk_id"] == speech.chunk_id for chunk in payloads(call, "tts.chunk")
        )
        turn_id = await answered(call, "Here are your funds. ", "The first has grown.")
        await call.viewer.event("turn.trace")
        assert " ".join(speaker.said) == "Here are your funds. The first has grown."
        chunks = [chunk["chunk_id"] for chunk in payloads(call, "tts.chunk")]
        assert [p["chunk_id"] for p in payloads(call, "playback.start")] == chunks
        assert payloads(call, "playback.start")[0]["words_ms"] == [200.0, 400.0, 600.0, 800.0]
        assert [p["chunk_id"] for p in payloads(call, "playback.stop")] == chunks
        assert payloads(call, "playback.progress")[-1]["offset_ms"] == 800.0
        assert call.place("model.end") < call.viewer.types().index("response.end")
        assert {f["turn_id"] for f in call.of("playback.start")} == {turn_id}
        trace = payloads(call, "turn.trace")[0]
        assert "playback" in [span["name"] for span in trace["spans"]]


async def test_speech_over_it_holds_it_and_an_interrupt_silences_it_where_it_is(
    autojump_clock: MockClock,
):
    speaker = Aloud()
    async with on_the_line(voice=Voice(speaker=speaker)) as call:
        await answered(call, "Here are your funds. ", "The first has grown by a lot this year.")
        await call.viewer.event("playback.progress", offset_ms=400.0)
        await call.send("speech.start", utterance_id="u2")
        await call.viewer.until(lambda f: f["type"] == "pause")
        await trio.sleep(1.5 * WORD_S)  # the word that was being said is said to its end
        held = list(speaker.said)
        await trio.sleep(0.5)
        assert speaker.said == held
        await call.hear("u2", "Stop!")
        await call.viewer.event("cancel.requested", by="speech")
        await call.viewer.event("cancel.ack")
        assert speaker.said == held
        assert speaker.silenced == 1
        (frozen,) = [p for p in payloads(call, "cancel.stage") if p["target"] == "transcript"]
        assert frozen["heard"] == " ".join(held)


async def test_a_cough_over_it_lets_it_go_on(autojump_clock: MockClock):
    speaker = Aloud()
    async with on_the_line(voice=Voice(speaker=speaker)) as call:
        await answered(call, "Here are your funds. ", "The first has grown.")
        await call.viewer.event("playback.start")
        await call.send("speech.start", utterance_id="u2")
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("playback.resumed")
        await call.viewer.event("turn.trace")
        assert " ".join(speaker.said) == "Here are your funds. The first has grown."


async def raises(speech: Speech, playback: Playback) -> None:
    playback.started()
    raise RuntimeError("no sound card")


async def hangs(speech: Speech, playback: Playback) -> None:
    playback.started()
    await trio.sleep_forever()


@pytest.mark.parametrize(("what", "code"), [(raises, "model_error"), (hangs, "model_timeout")])
async def test_a_speaker_that_fails_is_told_of_and_holds_no_turn(
    what: Callable[[Speech, Playback], Awaitable[None]], code: str, autojump_clock: MockClock
):
    async with on_the_line(voice=Voice(speaker=Doing(what))) as call:
        asked_s = trio.current_time()
        turn_id = await answered(call, "Here are your funds. ", "The first has grown.")
        fault = await call.viewer.until(lambda f: f["type"] == "error", 100.0)
        assert (fault["payload"]["code"], fault["turn_id"]) == (code, turn_id)
        await call.viewer.event("response.end", status="completed")
        assert trio.current_time() - asked_s <= loudspeaker.SILENT_S + 2
        assert len(call.of("playback.start")) == 1


async def breaks_when_cancelled(_: Speech, playback: Playback) -> None:
    async def socket() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the connection was closed")

    playback.started()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(socket)
        await trio.sleep_forever()


async def test_a_speaker_whose_socket_breaks_when_it_is_interrupted_ends_nothing_else(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=Voice(speaker=Doing(breaks_when_cancelled))) as call:
        turn_id = await answered(call, "Here are your funds. ")
        await call.viewer.event("playback.start")
        await call.send("interrupt")
        await call.viewer.event("cancel.ack")
        await call.send("say", text="And my bonds?")
        start = await call.viewer.event("turn.start", input="And my bonds?")
        assert start["turn_id"] != turn_id
        assert call.of("error") == []


async def test_reports_that_make_no_sense_are_left_out(autojump_clock: MockClock):
    async def babbles(_: Speech, playback: Playback) -> None:
        playback.started([1.0, -1.0, float("nan"), *map(float, range(400))])
        playback.reached(-5.0)
        playback.reached(float("inf"))

    async with on_the_line(voice=Voice(speaker=Doing(babbles))) as call:
        await answered(call, "Here are your funds.")
        await call.viewer.event("turn.trace")
        assert len(payloads(call, "playback.start")[0]["words_ms"]) <= loudspeaker.MOST_WORDS
        assert call.of("playback.progress") == []


async def test_without_the_voice_nothing_is_said(autojump_clock: MockClock):
    speaker = Aloud()
    async with on_the_line(voice=Voice(speaker=speaker)) as call:
        await call.speak("u1", "List my funds.")
        line = await call.stage.model.line(0)
        line.says("Here are your funds.")
        line.ends()
        await call.viewer.event("turn.trace")
        assert speaker.said == []
