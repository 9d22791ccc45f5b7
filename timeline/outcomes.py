"""What becomes of an append: its callbacks, called so that they harm nobody else."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.protocol.ids import SessionId
from bargein.timeline.store import Append, StoreError

log = structlog.get_logger(__name__)

TOLD_AT_ONCE: Final = 8
"""Of those who asked for a commit at once, and of others: half a ms each, if all have clients."""

MOST_REFUSED: Final = 10_000
"""Sessions remembered as refused: as many as one process keeps alive."""


def announce(append: Append) -> None:
    """Tell the session that its append is durable.

    The guard is a boundary: other sessions wait behind this one, and in the trio
    thread an exception here would end the whole run.
    """
    try:
        append.on_durable(append.last_seq)
    except Exception:
        log.exception(
            "append.on_durable_raised", session_id=append.session_id, last_seq=append.last_seq
        )


def fail(append: Append, error: StoreError) -> None:
    """Tell the session that its append did not reach the store; guarded likewise."""
    try:
        append.on_failed(error)
    except Exception:
        log.exception(
            "append.on_failed_raised", session_id=append.session_id, first_seq=append.first_seq
        )


def fail_soon(append: Append, error: StoreError) -> None:
    """Do the same, but from the event loop, so that nobody is called from `submit`."""
    trio.lowlevel.current_trio_token().run_sync_soon(fail, append, error)


@define(eq=False)
class Announcements:
    """What the sessions are to be told of groups that are durable, a few of them at a time.

    To tell a session is to write to its clients: for all of a group that takes milliseconds, in
    which nobody could interrupt.  Who asked for a commit at once goes first.  Who is told of
    several appends is told of the last one alone, and shows what is in all of them to its clients
    in one go.
    """

    _urgent: dict[SessionId, list[Append]] = field(
        factory=dict[SessionId, list[Append]], init=False
    )
    _others: dict[SessionId, list[Append]] = field(
        factory=dict[SessionId, list[Append]], init=False
    )
    _news: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    def add(self, group: Sequence[Append], refused: Mapping[int, StoreError]) -> None:
        """Have those told whose appends in *group* were not *refused*."""
        few = len(group) <= TOLD_AT_ONCE and not self._others  # then nobody has to wait
        for place, append in enumerate(group):
            if place in refused:
                continue
            name = append.session_id
            if few or append.urgent or name in self._urgent:
                lane = self._urgent
                if name in self._others:
                    lane[name] = self._others.pop(name)
            else:
                lane = self._others
            told = lane.setdefault(name, [])
            if told and told[-1].on_durable == append.on_durable:
                told[-1] = append
            else:
                told.append(append)

    def tell_some(self) -> None:
        """Tell a few; `run` tells the rest."""
        for waiting in (self._urgent, self._others):
            for name in tuple(islice(waiting, TOLD_AT_ONCE)):
                for append in waiting.pop(name, ()):
                    announce(append)
        if self._news and (self._urgent or self._others):
            self._news.unpark_all()

    def tell_all(self) -> None:
        """Tell all who wait for it, now."""
        while self._urgent or self._others:
            self.tell_some()

    async def run(self) -> None:
        """Tell the rest, and let others have their turn in between, until cancelled."""
        while True:
            if self._urgent or self._others:
                await trio.lowlevel.checkpoint()
                self.tell_some()
            else:
                await self._news.park()


@define(eq=False)
class Refusals:
    """Sessions that lost an append, and so take no later one until opened anew.

    Without this, an append that had been on its way when an earlier one was refused
    might fit behind what another writer has stored, and mix two histories.
    """

    _errors: dict[SessionId, StoreError] = field(factory=dict[SessionId, StoreError], init=False)

    def add(self, session_id: SessionId, error: StoreError) -> None:
        """Refuse the session from now on; its first error stands."""
        self._errors.setdefault(session_id, error)
        if len(self._errors) > MOST_REFUSED:
            # The oldest is long gone from its process; the check of its seq remains.
            del self._errors[next(iter(self._errors))]

    def lift(self, session_id: SessionId) -> None:
        """Take appends of the session again: it has been opened anew."""
        self._errors.pop(session_id, None)

    def sweep(self, pending: deque[Append]) -> list[Append]:
        """Take out of *pending* what belongs to refused sessions, and return it."""
        swept = [append for append in pending if append.session_id in self._errors]
        if swept:
            sound = [append for append in pending if append.session_id not in self._errors]
            pending.clear()
            pending.extend(sound)
        return swept

    def of(self, session_id: SessionId) -> StoreError | None:
        """Return why the session is refused, or None."""
        return self._errors.get(session_id) if self._errors else None
