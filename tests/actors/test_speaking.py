"""A spoken session: who has the turn, and what becomes of speech over the agent."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
import trio
import trio.testing
from msgspec import UNSET
from trio.testing import MockClock

from bargein.agents.voice import Voice
from bargein.protocol.ids import TurnId
from bargein.protocol.projections import transcript
from tests.actors.calls import on_the_line

NOTICE = "Calls are recorded for training and quality."


async def test_a_spoken_turn_begins_when_the_user_has_finished(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.speak("u1", "What is my balance?")
        end = await call.viewer.event("turn.end", by="endpoint")
        assert 249 <= end["payload"]["waited_ms"] < 600
        assert end["payload"]["details"]["shape"] == "question"
        start = await call.viewer.event("turn.start")
        assert start["turn_id"] == end["turn_id"] == "turn_1"
        assert start["payload"]["input"] == "What is my balance?"
        assert start["payload"]["utterances"] == [{"utterance_id": "u1", "revision": 1}]
        (final,) = call.of("asr.final")
        assert start["parent_event_id"] == final["event_id"]
        spoken = call.of("speech.start", "asr.partial", "speech.stop", "asr.final")
        assert [event["turn_id"] for event in spoken] == [None] * 4
        line = await call.stage.model.line(0)
        assert line.request.messages[-1].content == "What is my balance?"
        line.ends()
        await call.viewer.event("turn.trace")


async def test_an_explicit_end_is_answered_when_the_turn_has_begun(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.speak("u1", "Show me the")
        reply = await call.ask("turn.end", utterance_id="u1")
        assert reply["result"] == {}
        end = await call.viewer.event("turn.end")
        assert end["payload"]["by"] == "explicit"
        assert end["payload"]["waited_ms"] < end["payload"]["details"]["delay_ms"]
        assert reply["at_seq"] >= end["seq"]
        again = await call.ask("turn.end", utterance_id="u1")
        assert again["error"]["code"] == "stale"


async def test_an_explicit_end_before_any_words_takes_them_when_they_come(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.send("speech.start", utterance_id="u1")
        reply = await call.ask("turn.end")
        assert reply["type"] == "reply"
        await call.hear("u1", "Show me the funds", final=True)
        end = await call.viewer.event("turn.end")
        assert end["payload"]["by"] == "explicit"


@pytest.mark.parametrize(
    ("kind", "fields", "param"),
    [
        ("asr.partial", {"utterance_id": "u1", "revision": 1, "text": "old"}, "revision"),
        ("asr.final", {"utterance_id": "u1", "revision": 0, "text": "old"}, "revision"),
        ("speech.stop", {"utterance_id": "u1"}, "utterance_id"),
    ],
)
async def test_what_is_not_newer_is_stale_and_leaves_nothing(
    autojump_clock: MockClock, kind: str, fields: dict[str, Any], param: str
) -> None:
    async with on_the_line() as call:
        await call.speak("u1", "Show me the")
        head = call.session.state.seq
        refused = await call.ask(kind, **fields)
        assert (refused["error"]["code"], refused["error"]["param"]) == ("stale", param)
        assert call.session.state.seq == head


async def test_audio_is_noted_by_its_digest_and_gaps_are(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        sound = {"utterance_id": "u1", "format": "pcm16", "data": "AAEC"}
        for index in (0, 1, 1, 4, 2):
            reply = await call.ask("audio.chunk", index=index, **sound)
            assert reply["type"] == "reply"
        chunks = [event["payload"] for event in call.of("audio.chunk")]
        assert [(chunk["index"], chunk.get("gap")) for chunk in chunks] == [
            (0, None),
            (1, None),
            (4, True),
        ]
        assert chunks[0]["bytes"] == 3
        assert chunks[0]["digest"] == sha256(b"\x00\x01\x02").hexdigest()


async def test_speech_over_the_agent_pauses_at_once_and_words_interrupt(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        turn_id = await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        assert (await call.viewer.until(lambda f: f["type"] == "pause"))["turn_id"] == turn_id
        await call.viewer.event("playback.paused", cause="speech")
        assert call.of("cancel.requested") == []
        await call.hear("u2", "Only the cheap ones")
        flush = await call.viewer.until(lambda f: f["type"] == "flush")
        assert flush["turn_id"] == turn_id
        cancel = await call.viewer.event("cancel.requested")
        assert (cancel["payload"]["by"], cancel["payload"]["cause"]) == ("speech", "words")
        await call.send("speech.stop", utterance_id="u2")
        await call.hear("u2", "Only the cheap ones.", final=True)
        start = await call.viewer.event("turn.start", input="Only the cheap ones.")
        (ack,) = call.of("cancel.ack")
        assert ack["seq"] < start["seq"]
        assert call.of("unpause", "playback.resumed") == []


@pytest.mark.parametrize(
    ("words", "cause"), [("mhm", "backchannel"), (None, "noise"), ("your funds are", "echo")]
)
async def test_what_is_no_interruption_resumes_and_ends_no_turn(
    autojump_clock: MockClock, words: str | None, cause: str
) -> None:
    async with on_the_line() as call:
        turn_id = await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        if words is not None:
            await call.hear("u2", words, final=True)
        await call.send("speech.stop", utterance_id="u2")
        unpause = await call.viewer.until(lambda f: f["type"] == "unpause")
        assert unpause["turn_id"] == turn_id
        resumed = await call.viewer.event("playback.resumed")
        assert resumed["payload"]["cause"] == cause
        assert resumed["payload"]["waited_ms"] <= 1000
        assert call.place("pause") < call.place("unpause")
        line = call.stage.model.lines[0]
        line.says("And that is all.")
        line.ends()
        await call.viewer.event("turn.trace")
        assert call.of("cancel.requested", "flush") == []
        assert len(call.of("turn.start")) == 1
        assert (
            transcript(call.session.state).unanswered in ((), None)
            or not transcript(call.session.state).unanswered
        )


@pytest.mark.parametrize("final", [None, ""])
async def test_an_explicit_end_without_words_lets_the_agent_go_on(
    autojump_clock: MockClock, final: str | None
) -> None:
    async with on_the_line() as call:
        turn_id = await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.viewer.until(lambda f: f["type"] == "pause")
        if final is not None:
            await call.send("speech.stop", utterance_id="u2")
            await call.hear("u2", final, final=True)
        assert (await call.ask("turn.end"))["type"] == "reply"
        if final is None:
            await call.send("speech.stop", utterance_id="u2")
        unpause = await call.viewer.until(lambda f: f["type"] == "unpause")
        assert unpause["turn_id"] == turn_id
        await call.viewer.event("playback.resumed", cause="noise")
        assert call.of("cancel.requested") == []
        call.stage.model.lines[0].ends()
        await call.viewer.event("turn.trace")


async def test_an_aside_that_the_user_ends_explicitly_is_a_turn(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "right")
        assert (await call.ask("turn.end"))["type"] == "reply"
        await call.hear("u2", "Right.", final=True)
        await call.viewer.event("turn.start", input="Right.")
        (cancel,) = call.of("cancel.requested")
        assert cancel["payload"]["by"] == "speech"
        assert call.of("playback.resumed") == []


async def test_an_aside_whose_last_words_are_late_leaves_the_agent_open_to_speech(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "mhm")
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("playback.resumed", cause="backchannel")
        await call.hear("u2", "Mhm.", final=True)
        await call.send("speech.start", utterance_id="u3")
        await call.viewer.until(lambda _: len(call.of("pause")) == 2)
        await call.hear("u3", "Stop that", final=True)
        await call.viewer.event("cancel.requested", by="speech")


async def test_an_aside_that_never_becomes_final_leaves_the_agent_open_to_speech(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "mhm")
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("playback.resumed", cause="backchannel")
        await call.send("speech.start", utterance_id="u3")
        await call.viewer.until(lambda _: len(call.of("pause")) == 2)
        assert [event["payload"]["utterances"] for event in call.of("playback.resumed")] == [["u2"]]


async def test_an_aside_that_becomes_words_interrupts_after_all(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "right")
        await call.viewer.event("playback.resumed", cause="backchannel")
        await call.hear("u2", "right but what do they cost")
        await call.viewer.event("cancel.requested", by="speech")
        await call.send("speech.stop", utterance_id="u2")
        await call.hear("u2", "Right, but what do they cost?", final=True)
        start = await call.viewer.event("turn.start", input="Right, but what do they cost?")
        assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 2}]


async def test_a_turn_whose_work_is_over_stays_open_while_it_is_paused(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.viewer.event("playback.paused")
        call.stage.model.lines[0].ends()
        await call.hear("u2", "stop")
        await call.viewer.event("cancel.requested", cause="command")


async def test_words_without_a_report_of_a_voice_interrupt_too(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.hear("u2", "No, wait", final=True)
        await call.viewer.event("playback.paused")
        await call.viewer.event("cancel.requested", cause="command")


async def test_an_aside_is_an_answer_where_nobody_else_speaks(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.speak("u1", "Right.")
        await call.viewer.event("turn.start", input="Right.")


async def test_a_revision_of_words_already_answered_starts_a_correction(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        wrong = await call.converse("u1", "Fly to Austin.")
        await call.hear("u1", "fly to Austin", final=True)
        assert call.of("cancel.requested") == []  # the same words
        await call.hear("u1", "Fly to Boston.", final=True)
        start = await call.viewer.event("turn.start", input="Fly to Boston.")
        assert start["payload"]["corrects"] == wrong
        assert start["payload"]["replaces"] == wrong
        assert start["payload"]["utterances"] == [{"utterance_id": "u1", "revision": 3}]
        await call.viewer.event("cancel.requested", by="speech", cause="correction")
        line = await call.stage.model.line(1)
        assert [message.content for message in line.request.messages] == ["Fly to Boston."]
        view = transcript(call.session.state)
        assert [turn.user for turn in view.turns] == ["Fly to Austin.", "Fly to Boston."]
        assert view.turns[1].corrects == wrong


async def test_a_correction_of_a_finished_answer_leaves_it_in_the_conversation(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "Fly to Austin.", said="Flights to Austin.")
        call.stage.model.lines[0].ends()
        await call.viewer.event("turn.trace")
        await call.hear("u1", "Fly to Boston.", final=True)
        start = await call.viewer.event("turn.start", input="Fly to Boston.")
        assert start["payload"]["corrects"] == "turn_1"
        assert "replaces" not in start["payload"]
        line = await call.stage.model.line(1)
        contents = [message.content for message in line.request.messages]
        assert contents == ["Fly to Austin.", "Flights to Austin.", "Fly to Boston."]


async def test_a_revision_of_words_long_past_is_only_recorded(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        for number, words in enumerate(("Fly to Austin.", "And a hotel.")):
            await call.converse(f"u{number}", words)
            call.stage.model.lines[number].ends()
            await call.viewer.until(
                lambda f, n=number: f["type"] == "turn.trace" and f["turn_id"] == f"turn_{n + 1}"
            )
        await call.hear("u0", "Fly to Boston.", final=True)
        await call.viewer.event("asr.final", text="Fly to Boston.")
        assert len(call.of("turn.start")) == 2


async def test_the_transcript_shows_what_the_user_is_saying(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.send("speech.start", utterance_id="u1")
        await call.hear("u1", "Show me")
        reply = await call.ask("projection", name="transcript")
        shown = {"utterance_id": "u1", "revision": 0, "text": "Show me", "final": False}
        assert reply["result"]["unanswered"] == [shown]
        await call.hear("u1", "Show me the funds.", final=True)
        await call.send("speech.stop", utterance_id="u1")
        await call.viewer.event("turn.start")
        reply = await call.ask("projection", name="transcript")
        assert "unanswered" not in reply["result"]
        (turn,) = reply["result"]["turns"]
        assert turn["utterances"] == [{"utterance_id": "u1", "revision": 1}]


async def test_speech_does_not_interrupt_a_protected_part_and_is_answered_after_it(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line(voice=Voice(protected=(NOTICE,))) as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "Hello there.", said=f"{NOTICE} ")
        chunk = await call.viewer.event("tts.chunk", text=NOTICE)
        assert chunk["payload"]["protected"] is True
        chunk_id = chunk["payload"]["chunk_id"]
        await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk_id)
        await call.speak("u2", "Skip that and list my funds.")
        status = await call.viewer.event("status")
        assert "not interrupted by speech" in status["payload"]["text"]
        await call.viewer.event("input.text", text="Skip that and list my funds.", queued=True)
        assert call.of("pause", "cancel.requested") == []
        call.stage.model.lines[0].ends()
        await call.ask("playback.stop", turn_id=turn_id)
        start = await call.viewer.event("turn.start", input="Skip that and list my funds.")
        assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 1}]


async def test_words_that_wait_are_answered_as_they_were_understood_last(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line(voice=Voice(protected=(NOTICE,))) as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "Hello there.", said=f"{NOTICE} ")
        chunk = await call.viewer.event("tts.chunk", text=NOTICE)
        chunk_id = chunk["payload"]["chunk_id"]
        await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk_id)
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "Sell fifty shares")
        await call.send("speech.stop", utterance_id="u2")
        queued = await call.viewer.event("input.text", text="Sell fifty shares", queued=True)
        assert queued["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 0}]
        assert transcript(call.session.state).unanswered is UNSET
        await call.hear("u2", "Sell fifteen shares.", final=True)
        call.stage.model.lines[0].ends()
        await call.ask("playback.stop", turn_id=turn_id)
        start = await call.viewer.event("turn.start", input="Sell fifteen shares.")
        assert start["turn_id"] == queued["turn_id"]
        assert start["payload"]["utterances"] == [{"utterance_id": "u2", "revision": 1}]
        line = await call.stage.model.line(1)
        assert line.request.messages[-1].content == "Sell fifteen shares."
        assert transcript(call.session.state).turns[-1].user == "Sell fifteen shares."
        await call.hear("u2", "sell fifteen shares", final=True)  # the same words
        line.ends()
        await call.viewer.until(
            lambda f: f["type"] == "turn.trace" and f["turn_id"] == queued["turn_id"]
        )
        assert len(call.of("turn.start")) == 2


async def test_words_are_answered_as_understood_while_the_turn_before_them_ends(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "Sell fifty shares")
        await call.stage.send(call.session, call.viewer, "turn.end")
        await call.hear("u2", "Sell fifteen shares.", final=True)
        await call.viewer.event("turn.start", input="Sell fifteen shares.")
        line = await call.stage.model.line(len(call.of("turn.start")) - 1)
        assert line.request.messages[-1].content == "Sell fifteen shares."


async def test_words_whose_answer_the_user_has_stopped_are_not_corrected(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "Sell fifty shares.")
        reply = await call.ask("interrupt")
        assert reply["result"]["interrupted"] is True
        await call.hear("u1", "Sell fifteen shares.", final=True)
        await trio.testing.wait_all_tasks_blocked()
        assert call.of("asr.final")[-1]["payload"]["text"] == "Sell fifteen shares."
        assert len(call.of("turn.start")) == 1


async def test_a_correction_waits_for_the_end_of_a_protected_part(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line(voice=Voice(protected=(NOTICE,))) as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "Hello there.", said=f"{NOTICE} ")
        chunk = await call.viewer.event("tts.chunk", text=NOTICE)
        chunk_id = chunk["payload"]["chunk_id"]
        await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk_id)
        await call.hear("u1", "Hello there, Sam.", final=True)
        await call.viewer.event("input.text", text="Hello there, Sam.", queued=True)
        assert call.of("cancel.requested", "pause") == []
        call.stage.model.lines[0].ends()
        await call.ask("playback.stop", turn_id=turn_id)
        start = await call.viewer.event("turn.start", input="Hello there, Sam.")
        assert start["payload"]["corrects"] == turn_id


async def test_speech_that_goes_on_after_a_protected_part_interrupts(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line(voice=Voice(protected=(NOTICE,))) as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "Hello there.", said=f"{NOTICE} How can I help you? ")
        await call.viewer.event("tts.chunk", text="How can I help you?")
        notice, question = (chunk["payload"]["chunk_id"] for chunk in call.of("tts.chunk"))
        await call.ask("playback.start", turn_id=turn_id, chunk_id=notice)
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "List all my")
        assert call.of("pause") == []
        await call.ask("playback.start", turn_id=turn_id, chunk_id=question)
        await call.viewer.until(lambda f: f["type"] == "pause")
        await call.viewer.event("cancel.requested", by="speech")


async def test_an_interrupt_by_hand_stops_a_protected_part(autojump_clock: MockClock) -> None:
    async with on_the_line(voice=Voice(protected=(NOTICE,))) as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "Hello there.", said=f"{NOTICE} ")
        chunk = await call.viewer.event("tts.chunk")
        chunk_id = chunk["payload"]["chunk_id"]
        await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk_id)
        reply = await call.ask("interrupt")
        assert reply["result"]["interrupted"] is True
        (cancel,) = call.of("cancel.requested")
        assert cancel["payload"]["in_flight"]["playing"] == chunk_id


async def test_what_was_heard_is_cut_at_the_last_word_played(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        said = "Let me look. Your first fund grew a lot. "
        turn_id = await call.converse("u1", "List my funds.", said=said)
        await call.viewer.event("tts.chunk", text="Your first fund grew a lot.")
        first, second = (chunk["payload"] for chunk in call.of("tts.chunk"))
        assert said[second["start"] : second["end"]].strip() == second["text"]
        for chunk in (first, second):
            words_ms = [200.0 * (n + 1) for n in range(len(chunk["text"].split()))]
            await call.ask(
                "playback.start", turn_id=turn_id, chunk_id=chunk["chunk_id"], words_ms=words_ms
            )
        played = {"chunk_id": second["chunk_id"], "offset_ms": 650}
        await call.ask("playback.progress", turn_id=turn_id, **played)
        await call.hear("u2", "Stop", final=True)
        frozen = await call.viewer.event("cancel.stage", target="transcript")
        assert frozen["payload"]["heard"] == "Let me look. Your first fund"


async def test_the_end_of_a_chunk_is_not_the_end_of_the_answer(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "List my funds.", said="Let me look. All of it grew. ")
        await call.viewer.event("tts.chunk", text="All of it grew.")
        first, second = (chunk["payload"]["chunk_id"] for chunk in call.of("tts.chunk"))
        await call.ask("playback.start", turn_id=turn_id, chunk_id=first)
        call.stage.model.lines[0].ends()
        await call.viewer.event("model.end")
        await call.ask("playback.stop", turn_id=turn_id, chunk_id=first)
        await call.ask("playback.start", turn_id=turn_id, chunk_id=second)
        await call.send("speech.start", utterance_id="u2")
        await call.viewer.until(lambda f: f["type"] == "pause")
        await call.hear("u2", "wait stop", final=True)
        await call.viewer.event("cancel.requested", by="speech")
        (frozen,) = [e for e in call.of("cancel.stage") if e["payload"]["target"] == "transcript"]
        assert frozen["payload"]["heard"].strip() == "Let me look."


@pytest.mark.parametrize("stopped_first", [True, False])
async def test_an_answer_is_over_with_the_end_of_its_last_chunk(
    autojump_clock: MockClock, stopped_first: bool
) -> None:
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "List my funds.", said="Let me look. ")
        chunk = await call.viewer.event("tts.chunk")
        chunk_id = chunk["payload"]["chunk_id"]
        await call.ask("playback.start", turn_id=turn_id, chunk_id=chunk_id)
        began_s = trio.current_time()
        if not stopped_first:
            call.stage.model.lines[0].ends()
            await call.viewer.event("model.end")
        await call.ask("playback.stop", turn_id=turn_id, chunk_id=chunk_id)
        if stopped_first:
            call.stage.model.lines[0].ends()
        await call.viewer.event("turn.trace")
        assert trio.current_time() - began_s < 5


async def test_a_chunk_that_begins_counts_what_came_before_it_as_heard(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "List my funds.", said="Let me look. All of it grew. ")
        await call.viewer.event("tts.chunk", text="All of it grew.")
        first, second = (chunk["payload"]["chunk_id"] for chunk in call.of("tts.chunk"))
        turn = call.session.state.turns[TurnId(turn_id)]
        await call.ask("playback.start", turn_id=turn_id, chunk_id=first)
        assert turn.shown_chars == 0
        await call.ask("playback.start", turn_id=turn_id, chunk_id=second)
        assert turn.shown_chars == len("Let me look. ")
        await call.ask("playback.start", turn_id=turn_id, chunk_id=first)  # once more
        assert turn.shown_chars == len("Let me look. ")


async def test_without_times_of_words_a_chunk_that_began_does_not_count(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.ask("configure", voice=True)
        turn_id = await call.converse("u1", "List my funds.", said="Let me look. All of it grew. ")
        await call.viewer.event("tts.chunk", text="All of it grew.")
        _, second = (chunk["payload"]["chunk_id"] for chunk in call.of("tts.chunk"))
        await call.ask("playback.start", turn_id=turn_id, chunk_id=second)
        heard = {"chunk_id": second, "offset_ms": 650}
        await call.ask("interrupt", heard=heard)
        (frozen,) = [e for e in call.of("cancel.stage") if e["payload"]["target"] == "transcript"]
        assert frozen["payload"]["heard"].strip() == "Let me look."


async def test_queued_words_go_after_what_the_user_is_saying(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        queued = await call.ask("say", text="And the bonds.", when_busy="queue")
        await call.send("speech.start", utterance_id="u2")
        await call.hear("u2", "No, only the")
        await call.viewer.event("cancel.ack")
        await call.hear("u2", "No, only the cheap ones.", final=True)
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("turn.start", input="No, only the cheap ones.")
        (await call.stage.model.line(1)).ends()
        start = await call.viewer.event("turn.start", input="And the bonds.")
        assert start["turn_id"] == queued["result"]["turn_id"]


async def test_queued_words_go_on_when_nothing_came_of_a_voice(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.ask("say", text="And the bonds.", when_busy="queue")
        await call.send("speech.start", utterance_id="u2")
        await call.ask("interrupt")
        await call.stage.send(call.session, call.viewer, "speech.stop", utterance_id="u2")
        start = await call.viewer.event("turn.start", input="And the bonds.")
        (ack,) = call.of("cancel.ack")
        stop = call.of("speech.stop")[-1]
        assert ack["seq"] < stop["seq"] < start["seq"]


async def test_queued_words_do_not_wait_long_for_a_voice_that_says_nothing(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        await call.ask("say", text="And the bonds.", when_busy="queue")
        await call.send("speech.start", utterance_id="u2")
        began_s = trio.current_time()
        await call.ask("interrupt")
        await call.viewer.event("turn.start", input="And the bonds.")
        assert 2 <= trio.current_time() - began_s <= 4
        await call.hear("u2", "No, the cheap ones.", final=True)  # it said something after all
        await call.viewer.event("turn.start", input="No, the cheap ones.")


async def test_a_session_that_is_not_spoken_has_no_chunks(autojump_clock: MockClock) -> None:
    async with on_the_line() as call:
        await call.converse("u1", "List my funds.")
        call.stage.model.lines[0].ends()
        await call.viewer.event("turn.trace")
        assert call.of("tts.chunk") == []


async def test_what_is_too_much_for_one_turn_is_refused_and_the_rest_is_answered(
    autojump_clock: MockClock,
) -> None:
    async with on_the_line() as call:
        await call.send("speech.start", utterance_id="u1")
        for revision, utterance_id in enumerate(("u1", "u2"), 1):
            words = {"utterance_id": utterance_id, "revision": revision, "text": "and " * 4000}
            assert (await call.ask("asr.partial", **words))["type"] == "reply"
        head = call.session.state.seq
        refused = await call.ask("asr.partial", utterance_id="u3", revision=1, text="and " * 4000)
        assert (refused["error"]["code"], refused["error"]["param"]) == ("quota_exceeded", "text")
        assert call.session.state.seq == head
        await call.send("speech.stop", utterance_id="u1")
        for utterance_id, text in (("u1", "Show me the funds."), ("u2", "The cheap ones.")):
            await call.ask("asr.final", utterance_id=utterance_id, revision=9, text=text)
        start = await call.viewer.event("turn.start")
        assert start["payload"]["input"] == "Show me the funds. The cheap ones."
