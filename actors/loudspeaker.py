"""Has a turn's chunks said aloud by the app's speaker, and reports what was heard of them.

It works inside the turn's scope, so that an interrupt silences it in the same moment, and its
reports go the way of a client's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import isfinite
from typing import Final, TypeVar

import structlog
import trio
from attrs import define, evolve, field

from bargein.actors.adapters import failure_in
from bargein.actors.mailbox import ActorGone, Address, Receipt
from bargein.actors.messages import InputMessage, Noted, OutputMessage, Played
from bargein.actors.playback import PlaybackCommand
from bargein.actors.turn import Turn
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import ReportPlayback, StartPlayback, StopPlayback
from bargein.protocol.events import Fault, Recover, TtsChunk
from bargein.protocol.ids import ChunkId, Seq
from bargein.speech.ports import Speaker, Speech
from bargein.timeline.log import Timeline

T = TypeVar("T")

SILENT_S: Final = 30.0
"""A speaker that reports nothing for so long has gone, as a client has."""

MOST_WORDS: Final = 256
"""Of which a report says when they are over."""

FAILED: Final = "The answer can't be said aloud any further; what was heard of it stands."

_log = structlog.get_logger()


@define(eq=False)
class Loudspeaker:
    """An address of the output loop whose chunks are said.  Lives as long as a turn's work.

    Attributes:
        _waiting: Chunks to be said, and where they stand: nobody hears what isn't stored.
        _complete: No others follow.
        broken: The speaker failed, and nothing more is said.
    """

    _output: Address[OutputMessage]
    _input: Address[InputMessage]
    _turn: Turn
    _speaker: Speaker
    _timeline: Timeline
    broken: bool = field(default=False, init=False)
    _waiting: deque[tuple[Seq, TtsChunk]] = field(factory=deque[tuple[Seq, TtsChunk]], init=False)
    _complete: bool = field(default=False, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    # --- as an address ----------------------------------------------------------------------

    async def tell(self, message: OutputMessage) -> None:
        """Deliver *message*, and say what of it is to be said."""
        await self._output.tell(self._overheard(message))

    def offer(self, message: OutputMessage) -> bool:
        """Deliver *message* if there is room now."""
        return self._output.offer(self._overheard(message))

    async def ask(self, request: Callable[[Receipt[T]], OutputMessage], *, within_s: float) -> T:
        """Send `request(receipt)` and return the answer."""

        def overheard(receipt: Receipt[T]) -> OutputMessage:
            return self._overheard(request(receipt))

        return await self._output.ask(overheard, within_s=within_s)

    def _overheard(self, message: OutputMessage) -> OutputMessage:
        if not isinstance(message, Noted):
            return message
        chunks = [draft for draft in message.drafts if isinstance(draft, TtsChunk)]
        if not chunks:
            return message
        before = message.then

        def written(seq: Seq) -> None:
            self._waiting.extend((seq, chunk) for chunk in chunks)
            self._rouse()
            if before is not None:
                before(seq)

        return evolve(message, then=written)

    # --- its work ---------------------------------------------------------------------------

    def complete(self) -> None:
        """Note that no other chunk follows."""
        self._complete = True
        self._rouse()

    async def run(self) -> None:
        """Say each chunk as it comes, until the last has been heard."""
        while (chunk := await self._next()) is not None:
            if not self.broken:
                await self._say(chunk)

    async def _next(self) -> TtsChunk | None:
        while not self._waiting:
            if self._complete:
                return None
            await self._news.wait()
        seq, chunk = self._waiting.popleft()
        await self._timeline.until_durable(seq)
        return chunk

    async def _say(self, chunk: TtsChunk) -> None:
        turn = self._turn
        sounding = Sounding(self._report, turn, chunk.chunk_id)
        speech = Speech(self._timeline.session_id, turn.id, chunk.chunk_id, chunk.text)
        try:
            with sounding.scope:
                await self._speaker.say(speech, sounding)
        except BaseException as error:  # noqa: BLE001 - a speaker is somebody else's code
            _log.warning("speaker.failed", turn=turn.id, exc_info=failure_in(error))
            await self._break(ErrorCode.MODEL_ERROR)
        else:
            if sounding.scope.cancelled_caught:
                _log.warning("speaker.too_slow", turn=turn.id)
                await self._break(ErrorCode.MODEL_TIMEOUT)
            else:
                sounding.finish()

    async def _break(self, code: ErrorCode) -> None:
        self.broken = True
        self._report(StopPlayback(self._turn.id))
        fault = Fault(code, FAILED, code.retryable, "pipeline", Recover())
        await self._output.tell(Noted(self._turn, (fault,)))

    def _report(self, command: PlaybackCommand) -> None:
        with suppress(ActorGone):  # the session is ending
            # Where there is no room the next report says more.
            self._input.offer(Played(command))

    def _rouse(self) -> None:
        self._news.set()
        self._news = trio.Event()


@define(eq=False)
class Sounding:
    """One chunk that is being said: what its speaker tells of it.

    Attributes:
        scope: Of the speaker's work; it ends where nothing is told for long.
    """

    _report: Callable[[PlaybackCommand], None]
    _turn: Turn
    _chunk_id: ChunkId
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _begun: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._wait_on()

    def started(self, words_ms: Sequence[float] = ()) -> None:
        """Note that the chunk begins to sound, and when each of its words is over."""
        self._begun = True
        self._wait_on()
        known = tuple(float(ms) for ms in words_ms[:MOST_WORDS] if ms >= 0 and isfinite(ms))
        self._report(StartPlayback(self._turn.id, self._chunk_id, words_ms=known or None))

    def reached(self, offset_ms: float) -> None:
        """Note how much of it has sounded."""
        self._wait_on()
        if offset_ms >= 0 and isfinite(offset_ms):
            offset = round(float(offset_ms), 1)
            self._report(ReportPlayback(self._turn.id, self._chunk_id, offset_ms=offset))

    async def flows(self) -> None:
        """Wait while the sound has to hold."""
        while self._turn.paused:
            await self._turn.news()
            self._wait_on()
        await trio.lowlevel.checkpoint()

    def finish(self) -> None:
        """Note that the chunk is over."""
        if not self._begun:
            self.started()
        self._report(StopPlayback(self._turn.id, self._chunk_id))

    def _wait_on(self) -> None:
        self.scope.deadline = trio.current_time() + SILENT_S
