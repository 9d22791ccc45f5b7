"""Reports of speech in an order that no good client sends, and moments that nobody likes."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from msgspec import UNSET
from trio.testing import MockClock

from bargein.protocol.commands import StartSpeech
from bargein.protocol.ids import UtteranceId
from bargein.protocol.projections import transcript
from tests.actors.calls import on_the_line


async def test_the_pause_is_out_before_whoever_reads_the_socket_first_waits(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        command = StartSpeech(UtteranceId("u2"))
        receiving = call.session.receive(command, b"", call.viewer)
        with suppress(StopIteration):
            receiving.send(None)  # up to its first wait, if it has one: no other task has run
        assert call.viewer.types()[-1] == "pause"
        receiving.close()


@pytest.mark.parametrize("utterance_id", ["u1", "nobody"])
async def test_a_voice_that_stops_without_a_beginning_is_refused(
    autojump_clock: MockClock, utterance_id: str
):
    async with on_the_line() as call:
        await call.hear("u1", "Show me the")
        head = call.session.state.seq
        refused = await call.ask("speech.stop", utterance_id=utterance_id)
        expected = "stale" if utterance_id == "u1" else "not_found"
        assert refused["error"]["code"] == expected
        assert call.session.state.seq == head


async def test_final_words_that_come_twice_make_one_turn(autojump_clock: MockClock):
    async with on_the_line() as call:
        final = {"utterance_id": "u1", "revision": 3, "text": "Show me the funds."}
        assert (await call.ask("asr.final", **final))["type"] == "reply"
        assert (await call.ask("asr.final", **final))["error"]["code"] == "stale"
        await call.viewer.event("turn.start")
        assert (await call.ask("asr.final", **{**final, "revision": 4}))["type"] == "reply"
        await trio.sleep(5)
        assert len(call.of("turn.start")) == 1


async def test_words_that_come_to_nothing_after_their_answer_began_start_no_turn(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "Show me the funds.")
        await call.hear("u1", "", final=True)
        await trio.sleep(5)
        assert len(call.of("turn.start")) == 1
        assert call.of("cancel.requested") == []


async def test_an_end_that_is_asked_for_again_and_again_comes_as_soon_as_the_first(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.send("speech.start", utterance_id="u1")
        await call.hear("u1", "Show me the")
        began_s = trio.current_time()
        with trio.move_on_after(2):
            while not call.of("turn.start"):
                await call.ask("turn.end")
                await trio.sleep(0.1)
        assert call.of("turn.start")
        assert trio.current_time() - began_s < 0.6


async def test_two_clients_that_speak_at_once_have_one_turn_with_the_words_of_both(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        other = await call.stage.attend(call.session)
        stage, session = call.stage, call.session
        await call.send("speech.start", utterance_id="a1")
        await stage.ask(session, other, "speech.start", utterance_id="b1")
        clash = await stage.ask(session, other, "speech.start", utterance_id="a1")
        assert clash["error"]["code"] == "stale"
        await call.hear("a1", "List my funds", final=True)
        await call.send("speech.stop", utterance_id="a1")
        words = {"utterance_id": "b1", "revision": 0, "text": "and the bonds."}
        await stage.ask(session, other, "asr.final", **words)
        await stage.ask(session, other, "speech.stop", utterance_id="b1")
        start = await call.viewer.event("turn.start")
        assert start["payload"]["input"] == "List my funds and the bonds."
        assert len(start["payload"]["utterances"]) == 2


async def test_a_client_that_comes_back_goes_on_with_its_utterance(autojump_clock: MockClock):
    async with on_the_line() as call:
        await call.send("speech.start", utterance_id="u1")
        await call.hear("u1", "Show me")
        await call.session.detach(call.viewer)
        call.viewer = await call.stage.attend(call.session)
        again = await call.ask("speech.start", utterance_id="u1")
        assert again["error"]["code"] == "stale"  # it is on
        await call.hear("u1", "Show me the funds.", final=True)
        await call.send("speech.stop", utterance_id="u1")
        start = await call.viewer.event("turn.start")
        assert start["payload"]["input"] == "Show me the funds."


async def test_a_client_that_goes_away_while_its_voice_holds_the_sound_does_not_hold_it_for_ever(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        other = await call.stage.attend(call.session)
        await call.send("speech.start", utterance_id="u2")
        await call.session.detach(call.viewer)
        began_s = trio.current_time()
        await other.until(lambda f: f["type"] == "unpause")
        assert trio.current_time() - began_s <= 1.01


async def test_a_session_that_is_spoken_no_more_ends_the_answer_as_it_began(
    autojump_clock: MockClock,
):
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        await call.converse("u1", "List my funds.", said="Let me look. ")
        await call.viewer.event("tts.chunk", text="Let me look.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "mhm")
        await call.ask("configure", voice=False)
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("playback.resumed", cause="backchannel")
        line = call.stage.model.lines[0]
        line.says("That is all.")
        line.ends()
        await call.viewer.event("tts.chunk", text="That is all.")
        await call.viewer.event("turn.trace")
        await call.speak("u3", "And my bonds?")
        line = await call.stage.model.line(1)
        line.says("None.")
        line.ends()
        await call.viewer.until(lambda f: f["type"] == "turn.trace" and f["turn_id"] == "turn_2")
        assert len(call.of("tts.chunk")) == 2


async def test_words_that_nothing_had_decided_when_the_session_slept_are_answered_when_it_wakes(
    autojump_clock: MockClock,
):
    async with on_the_line(held_to_rules=False) as call:
        await call.send("speech.start", utterance_id="u1")
        await call.hear("u1", "Show me the")
        await call.session.detach(call.viewer)
        call.session.end()
        await call.session.until_ended()
        session = await call.stage.sessions.enter(call.session.id)
        viewer = await call.stage.attend(session)
        await call.stage.ask(session, viewer, "speech.stop", utterance_id="u1")
        words = {"utterance_id": "u1", "revision": 1, "text": "Show me the funds."}
        await call.stage.ask(session, viewer, "asr.final", **words)
        start = await viewer.event("turn.start")
        assert start["payload"]["input"] == "Show me the funds."
        await session.until_stopped()


async def test_words_that_are_said_while_the_server_drains_are_kept(autojump_clock: MockClock):
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        call.session.wind_down()
        await call.ask("say", text="And the bonds.", when_busy="queue")
        await call.hear("u2", "No, only the cheap ones.", final=True)
        await call.viewer.event("cancel.ack")
        await trio.sleep(5)
        view = transcript(call.session.state)
        said = [turn.user for turn in view.turns if turn.status != "queued"]
        assert said[1:] == ["No, only the cheap ones."]
        assert view.unanswered is UNSET
        assert call.session.state.queue
