"""The server listens itself: what it finds in sound counts as if a client had said it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from trio.testing import MockClock

from bargein.actors import listening
from bargein.actors.hearkening import MOST_AHEAD_S, SpokenSound, utterance_in
from bargein.agents.voice import Voice
from bargein.protocol.ids import UtteranceId
from bargein.speech.ports import Sound, Transcript
from bargein.speech.vad import Activity
from tests.actors.calls import Call, on_the_line

RATE_HZ = 16_000
FRAME_MS = 20
FRAME_BYTES = RATE_HZ * FRAME_MS // 1000 * 2
VOICED = b"\x01\x00" * (FRAME_BYTES // 2)
SILENT = bytes(FRAME_BYTES)

Hears = Callable[[Transcript], None]
Recognise = Callable[[Sound, Hears], Awaitable[Transcript]]


@define
class ByFirstByte:
    """A detector for sound that says of itself what it is; it fails at 0xff."""

    frame_ms: int = FRAME_MS

    def listen(self, rate_hz: int) -> Callable[[bytes], bool]:
        assert rate_hz in (8000, RATE_HZ)

        def judge(frame: bytes) -> bool:
            if frame[0] == 0xFF:
                raise RuntimeError("the detector breaks")
            return frame[0] == 1

        return judge


@define(eq=False)
class Recognising:
    """A recogniser that does with each utterance what the test says."""

    each: Sequence[Recognise]
    sounds: list[bytes] = field(factory=list[bytes])
    running: int = 0

    async def recognise(self, sound: Sound, hears: Hears) -> Transcript:
        recognise = self.each[len(self.sounds)]
        self.sounds.append(b"")
        self.running += 1
        try:
            return await recognise(sound, hears)
        finally:
            self.running -= 1


async def whole(sound: Sound) -> bytes:
    pcm = b""
    while more := await sound.more():
        pcm += more
    return pcm


def says(text: str, *partials: str) -> Recognise:
    """Understand a partial with each bit of sound that comes, and the text at the end."""

    async def recognise(sound: Sound, hears: Hears) -> Transcript:
        left = list(partials)
        while await sound.more():
            if left:
                hears(Transcript(left.pop(0), 0.5))
        return Transcript(text, 0.9)

    return recognise


async def hangs(sound: Sound, _: Hears) -> Transcript:
    await whole(sound)
    await trio.sleep_forever()
    raise AssertionError


async def stalls(_: Sound, __: Hears) -> Transcript:
    await trio.sleep_forever()
    raise AssertionError


async def raises(sound: Sound, hears: Hears) -> Transcript:
    await sound.more()
    hears(Transcript("Show me the funds"))
    raise RuntimeError("the recogniser breaks")


def voice(*each: Recognise, **fields: Any) -> Voice:
    return Voice(detector=ByFirstByte(), recogniser=Recognising(each), **fields)


@define(eq=False)
class Microphone:
    """Sends a stream in chunks of a tenth of a second, as they are spoken."""

    call: Call
    name: str = "mic"
    format: str = "pcm16"
    index: int = 0

    async def send(self, pcm: bytes, **fields: Any) -> dict[str, Any]:
        encoded = b64encode(pcm).decode()
        sound = {"utterance_id": self.name, "format": self.format, "data": encoded}
        reply = await self.call.ask("audio.chunk", index=self.index, **sound, **fields)
        self.index += 1
        return reply

    async def hear(self, verdicts: str) -> None:
        """Send `v` for a tenth of voice and anything else for one of silence."""
        for verdict in verdicts:
            reply = await self.send((VOICED if verdict == "v" else SILENT) * 5)
            assert reply["type"] == "reply"
            await trio.sleep(0.1)


async def test_what_is_found_in_sound_is_a_turn_like_any_other(autojump_clock: MockClock):
    heard = voice(says("Show me the funds.", "show", "show me", "show me the funds"))
    async with on_the_line(voice=heard) as call:
        await Microphone(call).hear("..vvvvv........")
        start = await call.viewer.event("turn.start", input="Show me the funds.")
        assert start["payload"]["utterances"] == [{"utterance_id": "mic.2", "revision": 3}]
        spoken = call.of("speech.start", "asr.partial", "speech.stop", "asr.final")
        assert [event["type"] for event in spoken] == [
            "speech.start", *["asr.partial"] * 3, "speech.stop", "asr.final",
        ]  # fmt: skip
        for event in spoken:
            assert event["payload"]["by"] == "server"
            assert event["payload"]["utterance_id"] == "mic.2"
            assert event["turn_id"] is None
        assert [e["payload"].get("confidence") for e in spoken] == [None, *[0.5] * 3, None, 0.9]


async def test_silence_is_counted_from_where_the_voice_fell_silent(autojump_clock: MockClock):
    heard = voice(says("Show me the funds."), activity=Activity(hangover_ms=240.0))
    async with on_the_line(voice=heard) as call:
        await Microphone(call).hear("vvvvv......")
        end = await call.viewer.event("turn.end")
        # 300 ms for a sentence, of which the detector used up 240.
        assert 300 <= end["payload"]["waited_ms"] <= 350


async def test_a_voice_over_the_agent_pauses_it_and_words_interrupt(autojump_clock: MockClock):
    heard = voice(says("List my funds.", "list my funds"), says("Stop!", "stop"))
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call)
        await microphone.hear("vvvvv......")
        line = await call.stage.model.line(0)
        line.says("Your funds are these. ")
        await call.viewer.event("model.token")
        await microphone.hear("v")
        await call.viewer.until(lambda f: f["type"] == "pause")
        await microphone.hear("vv")
        cancel = await call.viewer.event("cancel.requested")
        assert (cancel["payload"]["by"], cancel["payload"]["cause"]) == ("speech", "command")


async def test_a_cough_over_the_agent_resumes_it(autojump_clock: MockClock):
    heard = voice(says("List my funds."), says(""))
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call)
        await microphone.hear("vvvvv......")
        (await call.stage.model.line(0)).says("Your funds are these. ")
        await call.viewer.event("model.token")
        await microphone.hear("v.......")
        resumed = await call.viewer.event("playback.resumed")
        assert resumed["payload"]["cause"] == "noise"
        assert call.of("cancel.requested") == []
        assert len(call.of("asr.final")) == 1


@pytest.mark.parametrize(("recognise", "code"), [(hangs, "model_timeout"), (raises, "model_error")])
async def test_a_recogniser_that_fails_is_told_of_and_the_next_is_heard(
    recognise: Recognise, code: str, autojump_clock: MockClock
):
    heard = voice(recognise, says("Show me the bonds."))
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call)
        await microphone.hear("vvvvv....")
        fault = await call.viewer.event("error", code=code)
        assert (fault["turn_id"], fault["payload"]["layer"]) == (None, "pipeline")
        await microphone.hear("......vvvvv......")
        final = await call.viewer.event("asr.final", text="Show me the bonds.")
        start = await call.viewer.event("turn.start")
        said = {"utterance_id": final["payload"]["utterance_id"], "revision": 0}
        assert said in start["payload"]["utterances"]


async def test_words_before_a_failure_are_answered(autojump_clock: MockClock):
    async with on_the_line(voice=voice(raises)) as call:
        await Microphone(call).hear("vvvvv.................")
        await call.viewer.event("turn.start", input="Show me the funds")
        assert len(call.of("error")) == 1


async def test_a_hung_recogniser_has_a_bounded_time_after_the_end_of_the_sound(
    autojump_clock: MockClock,
):
    heard = voice(hangs)
    async with on_the_line(voice=heard) as call:
        await Microphone(call).hear("vvvvv...")
        stopped_s = trio.current_time()
        await call.viewer.event("error")
        assert trio.current_time() - stopped_s <= listening.LAST_WORDS_S
        assert heard.recogniser is not None
        assert getattr(heard.recogniser, "running") == 0  # noqa: B009 - a port has no such name


async def test_a_recogniser_that_takes_no_sound_is_given_up_when_too_much_waits(
    autojump_clock: MockClock,
):
    heard = voice(stalls, activity=Activity(most_ms=30_000.0))
    async with on_the_line(voice=heard) as call:
        await Microphone(call).hear("v" * int(10 * MOST_AHEAD_S + 5))
        await call.viewer.event("error", code="model_timeout")
        assert getattr(heard.recogniser, "running") == 0  # noqa: B009


async def test_no_more_utterances_are_understood_at_a_time_than_a_recogniser_may_have(
    autojump_clock: MockClock,
):
    heard = voice(*[hangs] * listening.MOST_AT_ONCE)
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call)
        for _ in range(listening.MOST_AT_ONCE + 1):
            await microphone.send(VOICED * 5 + SILENT * 20)
        await call.viewer.event("error", code="overloaded")
        assert len(call.of("speech.start")) == listening.MOST_AT_ONCE + 1


@pytest.mark.parametrize("while_voiced", [True, False])
async def test_a_detector_that_fails_is_told_of_once_and_ends_the_voice(
    while_voiced: bool, autojump_clock: MockClock
):
    async with on_the_line(voice=voice(says("Show me the funds."))) as call:
        microphone = Microphone(call)
        await microphone.hear("vvv" if while_voiced else "..")
        for _ in range(3):
            assert (await microphone.send(b"\xff\xff" * 1600))["type"] == "reply"
        await trio.sleep(3)
        assert [e["payload"]["message"] for e in call.of("error")] == [listening.DEAF]
        assert len(call.of("speech.start")) == len(call.of("speech.stop")) == int(while_voiced)
        assert len(call.of("turn.start")) == int(while_voiced)
        await Microphone(call, "other").hear("v")
        await call.viewer.event("speech.start", utterance_id="other.0")


async def test_a_voice_whose_sound_stops_coming_is_over(autojump_clock: MockClock):
    async with on_the_line(voice=voice(says("Show me the funds."))) as call:
        await Microphone(call).hear("vvv")
        sent_s = trio.current_time()
        await call.viewer.event("speech.stop", utterance_id="mic.0")
        assert trio.current_time() - sent_s <= listening.LINE_S
        await call.viewer.event("turn.start", input="Show me the funds.")


async def test_who_says_when_they_speak_is_understood_from_there_to_there(
    autojump_clock: MockClock,
):
    recogniser = Recognising([says("Show me the funds.", "show")])
    async with on_the_line(voice=Voice(recogniser=recogniser)) as call:
        microphone = Microphone(call, "u1")
        await microphone.hear("..")  # nobody says that this is speech
        await call.send("speech.start", utterance_id="u1")
        await microphone.hear("...")
        await call.send("speech.stop", utterance_id="u1")
        final = await call.viewer.event("asr.final", text="Show me the funds.")
        assert final["payload"]["utterance_id"] == "u1"
        (start,) = call.of("speech.start")
        assert "by" not in start["payload"]
        await call.viewer.event("turn.start", input="Show me the funds.")


async def fails(sound: Sound, _: Hears) -> Transcript:
    await sound.more()
    raise RuntimeError("the recogniser breaks")


async def breaks_off(sound: Sound, hears: Hears) -> Transcript:
    await sound.more()
    hears(Transcript("Send five hundred"))
    raise RuntimeError("the recogniser breaks")


async def test_a_recogniser_that_fails_while_a_key_is_held_is_tried_anew_with_the_next_utterance(
    autojump_clock: MockClock,
):
    heard = voice(breaks_off, says("Show me the funds."))
    async with on_the_line(voice=heard) as call:
        await call.send("speech.start", utterance_id="u1")
        await Microphone(call, "u1").hear("v" * 20)
        await call.send("speech.stop", utterance_id="u1")
        await call.viewer.event("turn.start", input="Send five hundred")
        assert len(call.of("error")) == 1
        await call.send("speech.start", utterance_id="u2")
        await Microphone(call, "u2").hear("vv")
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("turn.start", input="Show me the funds.")
        assert len(call.of("error")) == 1


async def test_words_that_stand_are_added_to_when_the_same_utterance_goes_on(
    autojump_clock: MockClock,
):
    heard = voice(breaks_off, says("to Bob.", "to", "to Bob"))
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call, "u1")
        for _ in range(2):
            await call.send("speech.start", utterance_id="u1")
            await microphone.hear("vv")
            await call.send("speech.stop", utterance_id="u1")
        await call.viewer.event("turn.start", input="Send five hundred to Bob.")
        assert [event["payload"]["text"] for event in call.of("asr.partial", "asr.final")] == [
            "Send five hundred", "Send five hundred to", "Send five hundred to Bob",
            "Send five hundred to Bob.",
        ]  # fmt: skip


async def test_an_utterance_that_goes_on_before_it_was_understood_loses_nothing(
    autojump_clock: MockClock,
):
    async def slow(sound: Sound, _: Hears) -> Transcript:
        await whole(sound)
        await trio.sleep(1)
        return Transcript("Send five hundred")

    heard = voice(slow, says("to Bob."))
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call, "u1")
        for _ in range(2):
            await call.send("speech.start", utterance_id="u1")
            await microphone.hear("vv")
            await call.send("speech.stop", utterance_id="u1")
        await call.viewer.event("asr.final", text="Send five hundred")
        await call.viewer.event("asr.final", text="Send five hundred to Bob.")


async def test_a_held_key_that_finds_no_recogniser_is_told_so_once_and_heard_the_next_time(
    autojump_clock: MockClock,
):
    heard = voice(*[hangs] * listening.MOST_AT_ONCE, says("Show me the funds."))
    async with on_the_line(voice=heard) as call:
        for number in range(listening.MOST_AT_ONCE):
            await call.send("speech.start", utterance_id=f"k{number}")
            await Microphone(call, f"k{number}").send(VOICED)
        await call.send("speech.start", utterance_id="u1")
        tasks = trio.lowlevel.current_statistics().tasks_living
        microphone = Microphone(call, "u1")
        for _ in range(50):
            await microphone.send(VOICED)
        await trio.testing.wait_all_tasks_blocked()
        assert [e["payload"]["code"] for e in call.of("error")] == ["overloaded"]
        assert trio.lowlevel.current_statistics().tasks_living <= tasks + 1
        await call.send("speech.stop", utterance_id="u1")
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living <= tasks
        for number in range(listening.MOST_AT_ONCE):
            await call.send("speech.stop", utterance_id=f"k{number}")
        await trio.sleep(listening.LAST_WORDS_S + 1)
        await call.send("speech.start", utterance_id="u2")
        await Microphone(call, "u2").send(VOICED)
        await call.send("speech.stop", utterance_id="u2")
        await call.viewer.event("asr.final", text="Show me the funds.")


async def test_only_so_many_utterances_of_clients_are_open(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "MOST_STATED", 2)
    heard = voice(*[says("Show me the funds.")] * 3)
    async with on_the_line(voice=heard) as call:
        for name in ("u0", "u1", "u2"):
            await call.send("speech.start", utterance_id=name)
            await Microphone(call, name).send(VOICED)
        final = await call.viewer.event("asr.final")
        assert final["payload"]["utterance_id"] == "u0"
        await trio.testing.wait_all_tasks_blocked()
        assert len(call.of("asr.final")) == 1


async def test_a_voice_that_the_recogniser_failed_for_is_over_when_its_sound_stops_coming(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=voice(fails, says("Show me the funds."))) as call:
        microphone = Microphone(call)
        await microphone.hear("..vvv")
        sent_s = trio.current_time()
        await call.viewer.event("speech.stop", utterance_id="mic.2")
        assert trio.current_time() - sent_s <= listening.LINE_S
        await trio.sleep(60)
        await microphone.hear("vvvvv......")
        await call.viewer.event("speech.start", utterance_id="mic.5")
        await call.viewer.event("turn.start", input="Show me the funds.")


async def test_what_is_said_after_a_key_was_let_go_is_not_listened_to(
    autojump_clock: MockClock,
):
    heard = voice(says("Show me the funds."), says("Nobody is to hear this."))
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call)
        await call.send("speech.start", utterance_id="mic")
        await microphone.hear("vvv")
        await call.send("speech.stop", utterance_id="mic")
        await microphone.hear("..vvvvv.........")
        await call.viewer.event("turn.start", input="Show me the funds.")
        assert [event["payload"]["utterance_id"] for event in call.of("speech.start")] == ["mic"]
        assert len(call.of("asr.final")) == 1
        assert len(call.of("audio.chunk")) == microphone.index


async def test_a_client_may_send_transcripts_where_the_server_only_detects_voices(
    autojump_clock: MockClock,
):
    async with on_the_line(voice=Voice(detector=ByFirstByte())) as call:
        await Microphone(call).hear("vvv.....")
        await call.viewer.event("speech.stop", utterance_id="mic.0", by="server")
        await call.send("asr.final", utterance_id="mic.0", revision=0, text="Show me the funds.")
        await call.viewer.event("turn.start", input="Show me the funds.")


async def test_sound_that_is_sent_again_is_heard_once(autojump_clock: MockClock):
    heard = voice(says("Show me the funds."))
    async with on_the_line(voice=heard) as call:
        microphone = Microphone(call)
        await microphone.send(VOICED * 2)
        for _ in range(3):
            microphone.index = 0
            await microphone.send(VOICED * 2)
        assert call.of("speech.start") == []
        await microphone.send(VOICED * 2)
        assert len(call.of("speech.start")) == 1


async def test_sound_in_a_format_that_it_can_not_listen_to_is_refused(autojump_clock: MockClock):
    async with on_the_line(voice=voice(says("Nothing."))) as call:
        refused = await Microphone(call, format="opus").send(b"sound")
        assert (refused["error"]["code"], refused["error"]["param"]) == (
            "invalid_command",
            "format",
        )
        assert call.of("audio.chunk") == []


async def test_a_stream_that_changes_its_rate_begins_anew(autojump_clock: MockClock):
    async with on_the_line(voice=voice(says("Show me the funds."), says("And the bonds."))) as call:
        microphone = Microphone(call)
        await microphone.hear("vvv")
        microphone.format = "pcm16_8000"
        await microphone.send(VOICED * 2)
        await call.viewer.event("speech.stop", utterance_id="mic.0")
        await call.viewer.event("speech.start", utterance_id="mic.3")


async def test_only_so_many_streams_are_listened_to(autojump_clock: MockClock):
    async with on_the_line(voice=Voice(detector=ByFirstByte())) as call:
        for number in range(listening.MOST_STREAMS + 1):
            await Microphone(call, f"m{number}").send(VOICED * 5)
        await call.viewer.event("speech.stop", utterance_id="m0.0")
        assert len(call.of("speech.start")) == listening.MOST_STREAMS + 1
        assert len(call.of("speech.stop")) == 1


async def test_what_a_recogniser_returns_is_checked(autojump_clock: MockClock):
    async def lies(sound: Sound, _: Hears) -> Any:
        await whole(sound)
        return "Show me the funds."

    async with on_the_line(voice=voice(lies)) as call:
        await Microphone(call).hear("vvv....")
        await call.viewer.event("error", code="model_error")


async def test_words_that_are_understood_after_the_turn_was_taken_start_a_correction(
    autojump_clock: MockClock,
):
    async def late(sound: Sound, hears: Hears) -> Transcript:
        await sound.more()
        hears(Transcript("Show me the funds"))
        await whole(sound)
        await trio.sleep(3)
        return Transcript("Show me the bonds")

    async with on_the_line(voice=voice(late)) as call:
        await Microphone(call).hear("vvv............")
        first = await call.viewer.event("turn.start", input="Show me the funds")
        second = await call.viewer.event("turn.start", input="Show me the bonds")
        assert second["payload"]["corrects"] == first["turn_id"]


async def test_a_session_that_ends_ends_its_recognisers(autojump_clock: MockClock):
    heard = voice(stalls)
    async with on_the_line(voice=heard, held_to_rules=False) as call:
        await Microphone(call).hear("vvv")
        assert getattr(heard.recogniser, "running") == 1  # noqa: B009
        call.session.end()
        await call.session.until_ended()
        assert getattr(heard.recogniser, "running") == 0  # noqa: B009


async def test_a_recogniser_whose_socket_breaks_when_it_is_cancelled_ends_with_its_session(
    autojump_clock: MockClock,
):
    async def breaks(sound: Sound, _: Hears) -> Transcript:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(socket)
            await whole(sound)
            await trio.sleep_forever()
        raise AssertionError

    async def socket() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the connection was closed")

    async with on_the_line(voice=voice(breaks), held_to_rules=False) as call:
        await Microphone(call).hear("..vvv")
        call.session.end()
        await call.session.until_ended()
        assert call.of("error") == []
        assert call.of("go_away") == []


async def test_what_a_recogniser_hears_after_its_last_word_is_left_out(
    autojump_clock: MockClock,
):
    kept: list[Hears] = []

    async def lingers(sound: Sound, hears: Hears) -> Transcript:
        kept.append(hears)
        await whole(sound)
        return Transcript("Show me the funds.")

    async def fails(sound: Sound, hears: Hears) -> Transcript:
        kept.append(hears)
        await sound.more()
        raise RuntimeError("the recogniser breaks")

    async with on_the_line(voice=voice(lingers, fails)) as call:
        microphone = Microphone(call)
        await microphone.hear("..vvvvv...")
        await call.viewer.event("asr.final", text="Show me the funds.")
        await microphone.hear("..vvvvv...")
        await call.viewer.event("error")
        for hears in kept:
            hears(Transcript("Show me the fun"))
        await call.viewer.event("turn.start", input="Show me the funds.")
        await trio.sleep(3)
        assert call.of("asr.partial") == []


# --- the parts --------------------------------------------------------------------------------


async def test_sound_is_given_in_whole_samples_and_ends(autojump_clock: MockClock):
    sound = SpokenSound(RATE_HZ)
    assert sound.put(b"abc")
    assert await sound.more() == b"ab"
    assert sound.put(b"de")
    assert await sound.more() == b"cd"
    sound.end()
    assert await sound.more() == b""
    assert sound.put(b"later")
    assert await sound.more() == b""


async def test_only_so_much_sound_waits(autojump_clock: MockClock):
    sound = SpokenSound(8000)
    most = int(8000 * 2 * MOST_AHEAD_S)
    assert sound.put(bytes(most))
    assert not sound.put(b"ab")
    assert len(await sound.more()) == most
    assert sound.put(b"ab")


@pytest.mark.parametrize("stream", ["mic", "m" * 64])
def test_each_voice_of_a_stream_has_a_name_of_its_own_that_a_client_may_use(stream: str):
    names = {utterance_in(UtteranceId(stream), index, nth) for index in (0, 1, 10**9)
             for nth in (0, 1)}  # fmt: skip
    assert len(names) == 6
    assert max(map(len, names)) <= 64


def test_long_names_that_begin_alike_are_told_apart():
    one, other = (UtteranceId("m" * 60 + end) for end in "ab")
    assert utterance_in(one, 3, 0) != utterance_in(other, 3, 0)
