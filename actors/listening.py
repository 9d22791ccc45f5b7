"""The server's own ears: finds voices in the sound that clients send, and has them understood.

It stands before `Speaking`: what it finds it reports there as a client would, and the same rules
decide what comes of it.  Only sessions of an app with a detector or a recogniser have one.
"""

from __future__ import annotations

from base64 import b64decode
from functools import partial
from typing import Final, cast

import structlog
import trio
from attrs import define, field

from bargein.actors.adapters import failure_in
from bargein.actors.answers import Answer
from bargein.actors.audience import Client
from bargein.actors.cleaning import clean
from bargein.actors.clock import Clock
from bargein.actors.hearkening import Spoken, Stream, utterance_in
from bargein.actors.mailbox import Address
from bargein.actors.messages import OutputMessage, Record
from bargein.actors.speaking import Speaking, SpeechCommand
from bargein.agents.voice import Voice
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import (
    ReviseFinal,
    RevisePartial,
    SendAudio,
    StartSpeech,
    StopSpeech,
)
from bargein.protocol.events import Fault, Recover
from bargein.protocol.frames import problem
from bargein.protocol.ids import UtteranceId
from bargein.speech.ports import Recogniser, Transcript, VoiceDetector
from bargein.speech.sound import Encoding, SoundRefused, encoding_of
from bargein.speech.vad import Began, Ended, VoiceActivity, Went

MOST_STREAMS: Final = 8
"""Of sound at a time; who begins another is not heard in the oldest any more."""

MOST_AT_ONCE: Final = 8
"""Utterances that are being understood: a recogniser is slow, and people are not so fast."""

MOST_STATED: Final = 64
"""Utterances that clients have begun and not ended; of more, the oldest is taken to be over."""

LAST_WORDS_S: Final = 5.0
"""From the end of an utterance to its final words."""

LINE_S: Final = 2.0
"""A voice whose sound stops coming for so long is over: its client was muted, or has gone."""

HELD_LINE_S: Final = 30.0
"""The same where the client says when the voice ends, as with a key that is held."""

AGAIN_S: Final = 0.05
"""Final words that find no room on the timeline are offered again, and again."""

DEAF: Final = "The voice detector failed: this sound is not listened to. Please type, or hang up."
FAILED: Final = "The recogniser failed. What it had understood stands; please say the rest again."
SLOW: Final = "The recogniser is too slow. What it had understood stands; please say it again."
CROWDED: Final = "Too much is said at a time: some of it is not understood. Please wait a moment."

_log = structlog.get_logger()


@define(eq=False)
class Listening:
    """Part of the input actor: only its tasks call this.  Lives as long as the session.

    Attributes:
        _streams: Sound in which voices are looked for, by what its client calls it.
        _spoken: What is being understood.
        _stated: The sound of each utterance that a client has begun and not ended: what became
            of its recogniser holds for all of it.
    """

    _speaking: Speaking
    _voice: Voice
    _output: Address[OutputMessage]
    _clock: Clock
    _tasks: trio.Nursery
    _streams: dict[UtteranceId, Stream] = field(factory=dict[UtteranceId, Stream], init=False)
    _spoken: list[Spoken] = field(factory=list[Spoken], init=False)
    _stated: dict[UtteranceId, Spoken] = field(factory=dict[UtteranceId, Spoken], init=False)

    def obey(self, command: SpeechCommand, answer: Answer, client: Client) -> None:
        """Take a client's report; where it is sound, listen to it as well."""
        if isinstance(command, SendAudio):
            self._take_audio(command, answer, client)
            return
        self._speaking.obey(command, answer, client, self._tasks)
        if isinstance(command, StopSpeech):
            who = command.utterance_id
            if not self._speaking.known(who).speaking:
                self._stop_stated(who)

    def _take_audio(self, command: SendAudio, answer: Answer, client: Client) -> None:
        try:
            encoding = encoding_of(command.format)
        except SoundRefused as error:
            code = ErrorCode.INVALID_COMMAND
            answer.refuse(problem(code, clean(str(error)), param="format"))
            return
        before = self._speaking.known(command.utterance_id).next_index
        self._speaking.obey(command, answer, client, self._tasks)
        known = self._speaking.known(command.utterance_id)
        if known.next_index == before:
            return  # it was refused, or is here already
        pcm = encoding.samples(b64decode(command.data))
        if known.speaking:
            self._take_stated(command.utterance_id, encoding, pcm, client)
        elif self._voice.detector is not None and not known.silenced:
            # A client that has said what is speech said that the rest is not for us.
            stream = self._stream(command.utterance_id, encoding, self._voice.detector)
            if stream is not None:
                self._listen(stream, pcm, command, client)

    # --- sound of which the client says what is speech ------------------------------------

    def _take_stated(
        self, utterance_id: UtteranceId, encoding: Encoding, pcm: bytes, client: Client
    ) -> None:
        spoken = self._stated.get(utterance_id)
        if spoken is None and self._voice.recogniser is not None:
            spoken = self._begin(utterance_id, encoding.rate_hz, client, HELD_LINE_S)
            self._stated[utterance_id] = spoken
            if len(self._stated) > MOST_STATED:
                self._stop_stated(next(iter(self._stated)))
        if spoken is not None:
            self._hear(spoken, pcm)

    def _stop_stated(self, utterance_id: UtteranceId) -> None:
        stated = self._stated.pop(utterance_id, None)
        if stated is not None:
            self._end_sound(stated)
        for spoken in self._spoken:
            if spoken.utterance_id == utterance_id:
                self._end_sound(spoken)

    # --- sound in which voices are looked for ---------------------------------------------

    def _stream(
        self, name: UtteranceId, encoding: Encoding, detector: VoiceDetector
    ) -> Stream | None:
        stream = self._streams.pop(name, None)
        if stream is None or stream.rate_hz != encoding.rate_hz:
            if stream is not None:
                self._fall_silent(stream)
            try:
                judge, frame_ms = detector.listen(encoding.rate_hz), detector.frame_ms
                rate_hz, bounds = encoding.rate_hz, self._voice.activity
                stream = Stream(rate_hz, VoiceActivity(judge, rate_hz, frame_ms, bounds))
            except Exception:  # noqa: BLE001 - a detector is somebody else's code
                stream = Stream(encoding.rate_hz, None)
                self._go_deaf(stream)
        self._streams[name] = stream  # the latest is the last
        if len(self._streams) > MOST_STREAMS:
            self._fall_silent(self._streams.pop(next(iter(self._streams))))
        return None if stream.activity is None else stream

    def _listen(self, stream: Stream, pcm: bytes, command: SendAudio, client: Client) -> None:
        if stream.activity is None:
            return
        try:
            changes = stream.activity.feed(pcm)
        except Exception:  # noqa: BLE001 - a detector is somebody else's code
            self._fall_silent(stream)
            self._go_deaf(stream)
            return
        began = 0
        for change in changes:
            match change:
                case Began():
                    who = utterance_in(command.utterance_id, command.index, began)
                    began += 1
                    self._report(StartSpeech(who), client)
                    stream.spoken = self._begin(who, stream.rate_hz, client, LINE_S, stream)
                case Went(sound):
                    if stream.spoken is not None:
                        self._hear(stream.spoken, sound)
                case Ended(silent_ms):
                    self._stop(stream, silent_ms)

    def _stop(self, stream: Stream, silent_ms: float) -> None:
        """Report that the voice of *stream* fell silent a while ago."""
        spoken, stream.spoken = stream.spoken, None
        if spoken is not None:
            self._end_sound(spoken)
            at_s = max(spoken.began_s, self._clock.now_s() - silent_ms / 1000)
            self._report(StopSpeech(spoken.utterance_id), spoken.client, at_s=at_s)

    def _fall_silent(self, stream: Stream) -> None:
        if stream.activity is not None:
            stream.activity.end()
        self._stop(stream, 0.0)

    def _go_deaf(self, stream: Stream) -> None:
        stream.activity = None
        _log.warning("detector.failed", exc_info=True)
        self._fault(ErrorCode.MODEL_ERROR, DEAF)

    # --- an utterance ---------------------------------------------------------------------

    def _begin(
        self,
        utterance_id: UtteranceId,
        rate_hz: int,
        client: Client,
        line_s: float,
        stream: Stream | None = None,
    ) -> Spoken:
        now_s = self._clock.now_s()
        spoken = Spoken(utterance_id, rate_hz, client, now_s, line_s)
        recogniser = self._voice.recogniser
        if recogniser is not None and len(self._spoken) >= MOST_AT_ONCE:
            self._fault(ErrorCode.OVERLOADED, CROWDED)
            recogniser = None
        if recogniser is None:
            spoken.sound.drop()
        else:
            said = [earlier for earlier in self._spoken if earlier.utterance_id == utterance_id]
            self._spoken.append(spoken)
            work = spoken, recogniser, said[-1] if said else None
            self._tasks.start_soon(self._understand, *work, name=utterance_id)
        self._tasks.start_soon(self._watch_line, spoken, stream, name=utterance_id)
        return spoken

    def _hear(self, spoken: Spoken, pcm: bytes) -> None:
        spoken.heard_s = self._clock.now_s()
        if not spoken.sound.put(pcm):
            spoken.scope.cancel(reason="nobody takes the sound")

    def _end_sound(self, spoken: Spoken) -> None:
        if not spoken.sound.over.is_set():
            spoken.sound.end()
            spoken.scope.deadline = trio.current_time() + LAST_WORDS_S

    async def _watch_line(self, spoken: Spoken, stream: Stream | None) -> None:
        """End an utterance whose sound stops coming."""
        while not spoken.sound.over.is_set():
            due_s = spoken.heard_s + spoken.line_s
            with trio.move_on_after(max(0.0, due_s - self._clock.now_s())):
                await spoken.sound.over.wait()
            if spoken.heard_s + spoken.line_s <= self._clock.now_s():
                if stream is not None and stream.spoken is spoken:
                    self._fall_silent(stream)
                self._end_sound(spoken)

    async def _understand(
        self, spoken: Spoken, recogniser: Recogniser, earlier: Spoken | None
    ) -> None:
        try:
            with spoken.scope:
                if earlier is not None:  # of the same utterance: its words come first
                    await earlier.done.wait()
                spoken.before = self._speaking.known(spoken.utterance_id).text.strip()
                said = await recogniser.recognise(spoken.sound, partial(self._revise, spoken))
                spoken.understood = True
                await self._conclude(spoken, said)
        except BaseException as error:  # noqa: BLE001 - a recogniser is somebody else's code
            failure = failure_in(error)
            _log.warning("recogniser.failed", utterance=spoken.utterance_id, exc_info=failure)
            self._fault(ErrorCode.MODEL_ERROR, FAILED)
        else:
            if spoken.scope.cancelled_caught:
                _log.warning("recogniser.too_slow", utterance=spoken.utterance_id)
                self._fault(ErrorCode.MODEL_TIMEOUT, SLOW)
        finally:
            spoken.understood = True
            spoken.sound.drop()
            spoken.done.set()
            self._spoken.remove(spoken)

    def _revise(self, spoken: Spoken, heard: Transcript) -> None:
        text = _text_in(heard)
        if spoken.understood or spoken.scope.cancel_called or text == spoken.text:
            return
        known = self._speaking.known(spoken.utterance_id)
        spoken.text = text
        sure = _sureness_in(heard)
        words = spoken.all_of(text)
        command = RevisePartial(spoken.utterance_id, known.revision + 1, words, sure)
        self._report(command, spoken.client)

    async def _conclude(self, spoken: Spoken, heard: Transcript) -> None:
        """Report the final words, if there are any; they wait where there is no room."""
        text, sure = _text_in(heard), _sureness_in(heard)
        if not (text.strip() or spoken.text.strip()):
            return
        while True:
            revision = self._speaking.known(spoken.utterance_id).revision + 1
            words = spoken.all_of(text)
            command = ReviseFinal(spoken.utterance_id, revision, words, sure)
            answer = self._report(command, spoken.client)
            if not answer.retryable_error:
                return
            await trio.sleep(AGAIN_S)

    # --- what comes of it -----------------------------------------------------------------

    def _report(
        self, command: SpeechCommand, client: Client, *, at_s: float | None = None
    ) -> Answer:
        """Report what was heard here, as a client would; nobody asked, so nobody is answered."""
        answer = Answer(None, False, b"", [])  # noqa: FBT003
        self._speaking.obey(command, answer, client, self._tasks, by="server", at_s=at_s)
        return answer

    def _fault(self, code: ErrorCode, message: str) -> None:
        fault = Fault(code, message, code.retryable, "pipeline", Recover())
        # Where there is no room it is in the log.
        self._output.offer(Record(None, (fault,)))


# The types are only promises of the app's.


def _text_in(heard: object) -> str:
    if not isinstance(heard, Transcript) or not isinstance(cast("object", heard.text), str):
        raise TypeError(f"a recogniser returned {type(heard).__name__} and no Transcript")
    return clean(heard.text)


def _sureness_in(heard: Transcript) -> float | None:
    sure = heard.confidence
    return None if sure is None else min(1.0, max(0.0, float(sure)))
