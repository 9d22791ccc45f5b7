"""How a session comes back from its timeline, here or where its former process has died."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from bargein.actors.clock import Clock, Timestamps
from bargein.actors.limits import Limits
from bargein.actors.replayed import replayed
from bargein.actors.scribe import Scribe
from bargein.protocol.codes import ErrorCode
from bargein.protocol.ids import NOTHING, Epoch, Seq, SessionId
from bargein.protocol.recovery import closing_events
from bargein.timeline.log import Timeline
from bargein.timeline.store import SessionRow, Store


@frozen(eq=False)
class Revival:
    """Makes live timelines of what is stored.  Lives as long as the process."""

    _store: Store
    _clock: Clock
    _limits: Callable[[], Limits]

    def timeline(
        self,
        session_id: SessionId,
        epoch: Epoch,
        last_seq: Seq = NOTHING,
        *,
        epoch_changed: bool = False,
    ) -> Timeline:
        """Return the timeline of a session that stands at *last_seq*."""
        limits = self._limits()
        return Timeline(
            session_id,
            epoch,
            self._store,
            last_seq,
            last_seq,
            epoch_changed,
            limits.tail_events,
            limits.tail_bytes,
        )

    async def scribe(self, row: SessionRow, why: ErrorCode) -> Scribe:
        """Read a whole session, and write what is missing of what its last process left open.

        Args:
            row: Where it stands; nobody else may append to it.
            why: What became of a turn that was open.

        Raises:
            StoreError: If the timeline can't be read, or is damaged.
        """
        past = await replayed(self._store, row.session_id, row.last_seq)
        state = past.state
        timeline = self.timeline(
            row.session_id, row.epoch, state.seq, epoch_changed=row.epoch_changed
        )
        timeline.size_bytes = past.size_bytes
        times = Timestamps.after(self._clock, state.ts)
        scribe = Scribe(state, timeline, times, None, row.principal, row.tenant)
        for turn_id, payload in closing_events(state, why):
            scribe.write(turn_id, payload)
        scribe.commit()
        return scribe
