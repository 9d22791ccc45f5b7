"""Sends the spans of finished turns to a collector: read from the timeline, after the turn.

Nothing of it is in the way of a turn: a turn that is over is noted, its events are read when they
are durable, and what a slow collector has no room for is dropped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import structlog
import trio
from attrs import define, field, frozen

from bargein.gateway.counters import TURNS_TRACED, TURNS_UNTRACED
from bargein.gateway.otlp import Collector
from bargein.gateway.spans import SpanFact, TurnFacts, spans_of
from bargein.protocol.codec import EventRefused, decode_event
from bargein.protocol.events import Event
from bargein.protocol.ids import Seq, TurnId
from bargein.protocol.state import SessionState
from bargein.protocol.traceparent import read_traceparent
from bargein.timeline.log import Timeline
from bargein.timeline.store import StoreError

PAGE_EVENTS: Final = 1000
PAGE_BYTES: Final = 1024 * 1024
CLOSE_LIMIT_S: Final = 2.0
"""How long the end of the server waits for a collector."""

_TOKEN: Final = b'"type":"model.token"'
_HEAD_BYTES: Final = 300
"""Of a frame: its type stands in here, and nothing that anybody said."""

_log = structlog.get_logger()


class Destination(Protocol):
    """Where spans go.  It never makes anybody wait."""

    def start(self) -> None:
        """Get ready to send."""

    def offer(self, spans: tuple[SpanFact, ...]) -> bool:
        """Take the spans of a turn, if there is room; say whether there was."""
        ...

    def close(self, within_s: float) -> None:
        """Send what waits, for so long at most; called in a thread."""


@frozen(eq=False)
class _Over:
    """A turn whose last event is on the timeline."""

    timeline: Timeline
    facts: TurnFacts
    first_seq: Seq
    last_seq: Seq


@define(eq=False)
class Tracing:
    """Lives as long as the server."""

    _destination: Destination
    _queue_most: int
    _to_read: trio.MemorySendChannel[_Over] = field(init=False)
    _waiting: trio.MemoryReceiveChannel[_Over] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._to_read, self._waiting = trio.open_memory_channel[_Over](self._queue_most)

    def turn_over(self, timeline: Timeline, state: SessionState, turn_id: TurnId) -> None:
        """Note that a turn is over; its spans are sent when there is time."""
        turn = state.turns.get(turn_id)
        if turn is None or turn.start_seq is None:
            return
        parent = read_traceparent(turn.traceparent)
        if parent is not None and not parent.sampled:
            return  # the client does not keep its trace
        facts = TurnFacts(timeline.session_id, turn_id, state.agent, parent)
        try:
            self._to_read.send_nowait(_Over(timeline, facts, turn.start_seq, state.seq))
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            TURNS_UNTRACED.labels("full").inc()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read and send until cancelled; then what is left, for `CLOSE_LIMIT_S` at most."""
        self._destination.start()
        task_status.started()
        try:
            async for over in self._waiting:
                await self._read(over)
        finally:
            self._read_what_is_left()
            # Shielded, because the server ends: bounded, because a collector may be down.
            with trio.move_on_after(2 * CLOSE_LIMIT_S, shield=True):
                await trio.to_thread.run_sync(
                    self._destination.close, CLOSE_LIMIT_S, abandon_on_cancel=True
                )

    async def _read(self, over: _Over) -> None:
        try:
            await over.timeline.until_durable(over.last_seq)
            frames = self._in_memory(over)
            if frames is None:
                frames = await self._read_back(over)
        except StoreError as error:
            TURNS_UNTRACED.labels("store").inc()
            _log.warning("turn.untraced", session=over.facts.session_id, error=str(error))
            return
        self._send(over, frames)

    def _read_what_is_left(self) -> None:
        # Only what is durable and in memory: the store is going, too.
        while True:
            try:
                over = self._waiting.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                return
            frames = self._in_memory(over)
            if frames is not None and over.timeline.durable >= over.last_seq:
                self._send(over, frames)

    def _in_memory(self, over: _Over) -> list[bytes] | None:
        count = over.last_seq - over.first_seq + 1
        frames = over.timeline.visible_after(Seq(over.first_seq - 1), count)
        return None if frames is None else _with_one_token(frames)

    async def _read_back(self, over: _Over) -> list[bytes]:
        frames: list[bytes] = []
        after = Seq(over.first_seq - 1)
        while after < over.last_seq:
            page = await over.timeline.read_back(after, limit=PAGE_EVENTS, most_bytes=PAGE_BYTES)
            if not page:
                break
            within = [stored.frame for stored in page if stored.seq <= over.last_seq]
            frames = _with_one_token([*frames, *within])
            after = page[-1].seq
        return frames

    def _send(self, over: _Over, frames: list[bytes]) -> None:
        try:
            events = _of_turn(over.facts.turn_id, frames)
        except EventRefused:
            TURNS_UNTRACED.labels("store").inc()
            return
        spans = spans_of(over.facts, events)
        if spans and self._destination.offer(spans):
            TURNS_TRACED.inc()
        else:
            TURNS_UNTRACED.labels("full").inc()


def _with_one_token(frames: Sequence[bytes]) -> list[bytes]:
    """Return *frames* without those of the model's text but the first: there may be thousands."""
    kept: list[bytes] = []
    seen = False
    for frame in frames:
        is_token = _TOKEN in frame[:_HEAD_BYTES]
        if not (is_token and seen):
            kept.append(frame)
        seen = seen or is_token
    return kept


def _of_turn(turn_id: TurnId, frames: list[bytes]) -> list[Event]:
    events = (decode_event(frame) for frame in frames)
    return [event for event in events if event.turn_id == turn_id]


def tracing_of(endpoint: str | None, service: str, queue_most: int) -> Tracing | None:
    """Return what sends spans to the collector at *endpoint*; None where none is configured.

    Raises:
        TracesUnusable: If what is needed for it is not installed.
    """
    if endpoint is None:
        return None
    return Tracing(Collector.at(endpoint, service, queue_most), queue_most)
