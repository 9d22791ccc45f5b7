"""What this process knows of the sessions it writes, besides what Redis says."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from bargein.protocol.ids import Seq, SessionId

MOST_KNOWN: Final = 20_000
"""Sessions remembered; of a forgotten one it is taken for possible that it has lost events."""


@define(eq=False)
class Known:
    """Remembers how far each session was acknowledged, its fence, and how it is listed.

    Lives as long as its store.
    """

    _acknowledged: dict[SessionId, Seq] = field(factory=dict[SessionId, Seq], init=False)
    _fences: dict[SessionId, int] = field(factory=dict[SessionId, int], init=False)
    _owned: dict[SessionId, None] = field(factory=dict[SessionId, None], init=False)
    _marked: dict[SessionId, bool] = field(factory=dict[SessionId, bool], init=False)

    def acknowledged(self, session_id: SessionId) -> Seq | None:
        """Return the last seq that Redis has acknowledged to this process, if any."""
        return self._acknowledged.get(session_id)

    def note(self, session_id: SessionId, last: Seq) -> None:
        """Note that Redis has acknowledged everything up to *last*."""
        self._acknowledged.pop(session_id, None)  # the newest last
        self._acknowledged[session_id] = last
        if len(self._acknowledged) > MOST_KNOWN:
            del self._acknowledged[next(iter(self._acknowledged))]

    def fence(self, session_id: SessionId) -> int:
        """Return the fence that the session was opened with."""
        return self._fences.get(session_id, 0)

    def let_in_with(self, session_id: SessionId) -> int | None:
        """Return the same; None for a session that this process has nothing to do with."""
        return self._fences.get(session_id)

    def let_in(self, session_id: SessionId, fence: int) -> None:
        """Note the fence with which the session is opened."""
        if fence != self.fence(session_id):
            self.unmark(session_id)  # another owner may have taken it off the list
        self._fences.pop(session_id, None)
        self._fences[session_id] = fence
        if len(self._fences) > MOST_KNOWN:
            del self._fences[next(iter(self._fences))]

    @property
    def owned(self) -> tuple[SessionId, ...]:
        """The sessions that this process owns, those of long ago perhaps not."""
        return tuple(self._owned)

    def own(self, session_id: SessionId, fence: int) -> None:
        """Note that the session is this process's own, with this fence."""
        self.let_in(session_id, fence)
        self._owned[session_id] = None
        if len(self._owned) > MOST_KNOWN:
            del self._owned[next(iter(self._owned))]

    def disown(self, session_id: SessionId) -> None:
        """Note that it is not."""
        self._owned.pop(session_id, None)

    def is_marked(self, session_id: SessionId) -> bool:
        """Say whether the session is listed as one that may be unsettled."""
        return self._marked.get(session_id, False)

    def may_be_marked(self, session_id: SessionId) -> bool:
        """Say whether it is, or may be because another process has listed it."""
        return session_id in self._marked

    def mark(self, session_id: SessionId) -> None:
        """Note that it is listed so; forgetting it only makes it be listed again."""
        self._note_mark(session_id, surely=True)

    def suspect(self, session_id: SessionId) -> None:
        """Note that another process may have listed it so."""
        if session_id not in self._marked:
            self._note_mark(session_id, surely=False)

    def unmark(self, session_id: SessionId) -> None:
        """Note that it is not listed so any more."""
        self._marked.pop(session_id, None)

    def forget(self, session_id: SessionId) -> None:
        """Forget a session that is not there any more."""
        for held in (self._acknowledged, self._fences, self._owned, self._marked):
            held.pop(session_id, None)

    def distrust(self) -> None:
        """Forget how sessions are listed: Redis may have lost that."""
        self._marked.clear()

    def _note_mark(self, session_id: SessionId, *, surely: bool) -> None:
        self._marked[session_id] = surely
        if len(self._marked) > MOST_KNOWN:
            del self._marked[next(iter(self._marked))]
