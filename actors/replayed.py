"""What a session knew, computed again from what is stored of it."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from bargein.protocol.codec import EventRefused, decode_event
from bargein.protocol.ids import Seq, SessionId
from bargein.protocol.state import SessionState
from bargein.timeline.store import Store, StoreUnavailable, TimelineCorrupt

PAGE_EVENTS: Final = 1000
PAGE_BYTES: Final = 1024 * 1024
LOST_MEANWHILE: Final = "the end of the timeline was lost while it was read"


@frozen(eq=False)
class Replayed:
    """The beginning of a timeline, folded.

    Attributes:
        size_bytes: The sum of its frames.
    """

    state: SessionState
    size_bytes: int


async def replayed(store: Store, session_id: SessionId, last_seq: Seq) -> Replayed:
    """Fold a stored timeline up to *last_seq*.

    Raises:
        TimelineCorrupt: If an event is damaged or missing; it names the first one.
        StoreUnavailable: If the store has lost the end of it meanwhile, as in a failover, and says
            so; read the row again.
        StoreError: If the timeline can't be read now.
    """
    state, size_bytes = SessionState(), 0
    while state.seq < last_seq:
        limit = min(PAGE_EVENTS, last_seq - state.seq)
        page = await store.read(session_id, state.seq, limit=limit, most_bytes=PAGE_BYTES)
        if not page:
            row = await store.row(session_id)
            if row is not None and row.last_seq < last_seq:
                raise StoreUnavailable(LOST_MEANWHILE)
            raise TimelineCorrupt(session_id, Seq(state.seq + 1))
        for stored in page:
            try:
                event = decode_event(stored.frame)
            except EventRefused:
                raise TimelineCorrupt(session_id, stored.seq) from None
            state.apply(event.seq, event.ts, event.turn_id, event.payload)
            size_bytes += len(stored.frame)
    return Replayed(state, size_bytes)
