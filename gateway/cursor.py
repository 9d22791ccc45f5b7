"""One client's place on a timeline: what it was sent, what its socket took, what is due.

A connection has no queue.  It has this cursor, the timeline behind it, and a
send buffer of at most 64 KiB.  Who reads too slowly falls behind on the
timeline and costs nothing; its runs of tokens are merged on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
import trio
from attrs import define, field, frozen

from bargein.gateway.connection import WireConnection
from bargein.gateway.counters import CLIENTS_LAGGED, CLIENTS_LAGGING
from bargein.gateway.manners import Manners
from bargein.gateway.merging import merge_tokens
from bargein.protocol.codec import encode_frame
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.frames import CaughtUp, Lagging, Live, Refused, problem
from bargein.protocol.ids import Seq
from bargein.timeline.log import Timeline
from bargein.timeline.store import StoreError, TimelineCorrupt

BATCH_EVENTS: Final = 64
PAGE_EVENTS: Final = 256
PAGE_BYTES: Final = 64 * 1024
MOST_DUE: Final = 256
LONG_PAST_EVENTS: Final = 1024
"""So far before `live` nothing is said any more: 20 s of an answer at 50 tokens/s."""

LOOK_S: Final = 1.0
"""How soon a client that lags is held to another `lagging_s`."""

_log = structlog.get_logger()


class View(Protocol):
    """How events and frames are shown to this client."""

    def event(self, frame: bytes) -> list[bytes]:
        """Return the text frames that show a timeline event."""
        ...

    def frame(self, frame: bytes) -> list[bytes]:
        """Return the text frames that show a connection frame."""
        ...


def rendered(frame: bytes, view: View | None) -> Sequence[bytes]:
    """Return a connection frame as this client is to see it."""
    return (frame,) if view is None else view.frame(frame)


def first_within(frames: Sequence[bytes], most_bytes: int) -> Sequence[bytes]:
    """Return the first of *frames*: as many as fit into *most_bytes*, but at least one."""
    size = 0
    for place, frame in enumerate(frames):
        size += len(frame)
        if size > most_bytes and place:
            return frames[:place]
    return frames


@frozen(eq=False)
class Due:
    """What is to happen once the client has the events up to `seq`."""

    seq: Seq
    act: Callable[[], None]


@define(eq=False)
class Cursor:
    """Sends what becomes visible, as fast as its client reads.

    Attributes:
        seq: The last event that was put on the connection.
        lagging_since_s: When the client fell behind (trio's clock); None while it keeps up.
    """

    _wire: WireConnection
    _timeline: Timeline
    _view: View | None
    _tasks: trio.Nursery
    seq: Seq
    _live_at: Seq | None
    _manners: Callable[[], Manners]
    lagging_since_s: float | None = field(default=None, init=False)
    _lag: trio.CancelScope | None = field(default=None, init=False)
    _acked: Seq | None = field(default=None, init=False)
    _taken: Seq = field(init=False)
    # Lists, since they are short and mostly empty, and there is one of each for every client:
    # an empty deque takes 760 bytes.
    _on_the_way: list[tuple[int, Seq]] = field(factory=list[tuple[int, Seq]], init=False)
    _due: list[Due] = field(factory=list[Due], init=False)
    _reading_back: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._taken = self.seq
        self._wire.on_room = self.advance

    # --- what was delivered -------------------------------------------------------

    @property
    def taken_seq(self) -> Seq:
        """The last event that the kernel took; where the client acks, that it acked."""
        taken_bytes = self._wire.taken_bytes
        while self._on_the_way and self._on_the_way[0][0] <= taken_bytes:
            self._taken = self._on_the_way.pop(0)[1]
        return self._taken if self._acked is None else min(self._taken, self._acked)

    def acknowledge(self, seq: Seq) -> bool:
        """Note what the client says it has; False if that was never sent."""
        if seq > self.seq:
            return False
        self._acked = max(seq, self._acked or seq)
        return True

    # --- connection frames --------------------------------------------------------

    def show(self, frame: bytes) -> None:
        """Send a connection frame after what was sent before."""
        for text in rendered(frame, self._view):
            self._wire.put(text)

    def show_first(self, frame: bytes) -> None:
        """Send a connection frame ahead of all that waits."""
        for text in rendered(frame, self._view):
            self._wire.put_first(text)

    def when_at(self, seq: Seq, act: Callable[[], None]) -> None:
        """Call *act* once the client has been sent the events up to *seq*."""
        if self.seq >= seq and not self._reading_back and not self._due:
            act()
        elif len(self._due) >= MOST_DUE:
            # It sends commands and reads no answers: it is no client any more.
            self._wire.close_soon(CloseCode.SLOW_CONSUMER, "too many unread answers")
        else:
            self._due.append(Due(seq, act))

    # --- events -------------------------------------------------------------------

    def advance(self) -> None:
        """Send what is visible and was not sent yet, while there is room."""
        if self._reading_back:
            return
        self._do_what_is_due()
        timeline = self._timeline
        while self.seq < timeline.durable:
            if not self._wire.has_room:
                self._note_lag()
                return
            frames = timeline.visible_after(self.seq, self._most())
            if frames is None:
                self._reading_back = True
                self._tasks.start_soon(self._read_back)
                return
            self._put(frames if len(frames) == 1 else first_within(frames, self._room_bytes()))
            self._do_what_is_due()
        if self.lagging_since_s is not None:
            self.lagging_since_s = None
            if self._lag is not None:
                self._lag.cancel(reason="it has caught up")
            self.show(encode_frame(CaughtUp(self.seq)))

    def _most(self) -> int:
        # `live` stands exactly behind the replay.
        if self._live_at is not None:
            return min(BATCH_EVENTS, self._live_at - self.seq)
        return BATCH_EVENTS if self.lagging_since_s is None else 8 * BATCH_EVENTS

    def _room_bytes(self) -> int:
        # The wire counts frames; 64 events of 32 KiB would be far more than it is to hold.
        return PAGE_BYTES - self._wire.buffered_bytes

    def _put(self, frames: Sequence[bytes]) -> None:
        """Send the events that follow `seq`."""
        first = self.seq + 1
        if self._live_at is not None:
            self._wire.egress.send_past(is_past=self._live_at - self.seq > LONG_PAST_EVENTS)
        if self._view is not None:
            texts = [text for frame in frames for text in self._view.event(frame)]
            self._wire.put_many(texts)
            self._note_sent(Seq(self.seq + len(frames)), self._wire.put_bytes)
        elif self.lagging_since_s is not None:
            for last, frame in merge_tokens(first, frames):
                self._note_sent(last, self._wire.put(frame))
        else:
            wire = self._wire
            positions = [wire.put(frames[0])] if len(frames) == 1 else wire.put_many(frames)
            # Not `buffered_bytes`: a connection that has just broken holds nothing either.
            if wire.taken_bytes < wire.put_bytes:
                for seq, position in enumerate(positions, first):
                    self._note_sent(Seq(seq), position)
            else:
                self._on_the_way.clear()
                self.seq = self._taken = Seq(self.seq + len(frames))

    def _note_sent(self, seq: Seq, position: int) -> None:
        self.seq = seq
        self._on_the_way.append((position, seq))

    def _do_what_is_due(self) -> None:
        if self._live_at is not None and self.seq >= self._live_at:
            self._live_at = None
            self.show(encode_frame(Live(self.seq)))
        while self._due and self._due[0].seq <= self.seq:
            self._due.pop(0).act()

    def _note_lag(self) -> None:
        # What is behind the tail has to be read from the store, whatever is said to be tolerable.
        behind = self._timeline.durable - self.seq
        if (
            self._live_at is None
            and self.lagging_since_s is None
            and behind >= min(self._manners().lagging_events, self._timeline.most_tail_events)
        ):
            self.lagging_since_s = trio.current_time()
            self._lag = trio.CancelScope()
            CLIENTS_LAGGED.inc()
            self.show(encode_frame(Lagging(behind)))
            self._tasks.start_soon(self._give_time, self._lag, self.lagging_since_s)

    async def _give_time(self, lag: trio.CancelScope, since_s: float) -> None:
        """Close the connection in time; it lags until it has caught up, or is gone."""
        with CLIENTS_LAGGING.track_inprogress(), lag:
            while True:  # it may be given more time, or less
                left_s = since_s + self._manners().lagging_s - trio.current_time()
                if left_s <= 0:
                    break
                await trio.sleep(min(left_s, LOOK_S))
            self._wire.close_soon(CloseCode.SLOW_CONSUMER, "too slow for too long")
            await trio.sleep_forever()

    # --- events that are not in memory any more -----------------------------------

    async def _read_back(self) -> None:
        try:
            while await self._wire.room() and self._is_behind_memory():
                page = await self._timeline.read_back(
                    self.seq, limit=PAGE_EVENTS, most_bytes=max(1, self._room_bytes())
                )
                live_at = self._live_at
                if live_at is not None:
                    page = [stored for stored in page if stored.seq <= live_at]
                self._put([stored.frame for stored in page])
                self._do_what_is_due()
        except StoreError as error:
            self._give_up(error)
            return
        self._reading_back = False
        self.advance()

    def _is_behind_memory(self) -> bool:
        return self._timeline.visible_after(self.seq, 1) is None

    def _give_up(self, error: StoreError) -> None:
        session_id = self._timeline.session_id
        _log.error("timeline.unreadable", session=session_id, error=str(error))
        if isinstance(error, TimelineCorrupt):
            self.show(encode_frame(Refused(None, problem(ErrorCode.TIMELINE_CORRUPT))))
            self._wire.close_soon(CloseCode.SESSION_CLOSED, "timeline corrupt")
        else:
            self.show(encode_frame(Refused(None, problem(ErrorCode.STORE_UNAVAILABLE))))
            self._wire.close_soon(CloseCode.DRAIN, "store unavailable")
