"""A session that can be read and not written, while its store can't write.

    store not sound ──→ history is served, what would write is refused ──→ sound: come back

Nothing is revived for it, because what a revival has to write could not be stored.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from attrs import define, field

from bargein.actors.answers import Answer
from bargein.actors.asides import answer_aside, answer_page, note_forbidden
from bargein.actors.audience import Client
from bargein.actors.clock import Clock
from bargein.actors.turn import Ladder
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import (
    ASKS,
    Ack,
    Authenticate,
    Command,
    History,
    Interrupt,
    Ping,
    Project,
)
from bargein.protocol.frames import problem
from bargein.protocol.ids import ConfirmationId
from bargein.protocol.projections import project
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.timeline.store import StoreError, TimelineCorrupt

STOPPED: str = "It was stopped; that can't be stored at the moment."


@define(eq=False)
class Reading:
    """What one client may still ask of a session.  Lives as long as its connection, at most.

    Attributes:
        timeline: What was stored of the session when the client came.
        _stop: Stops the turn that is open where the session is in memory all the same.
        _fold: Computes what the session knew at the end of `timeline`.
    """

    timeline: Timeline
    _owner: tuple[str, str | None]
    _clock: Clock
    _stop: Callable[[Interrupt], Ladder | None]
    _fold: Callable[[], Awaitable[SessionState]]
    _tasks: trio.Nursery
    _state: SessionState | None = field(default=None, init=False)
    _one_by_one: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(1), init=False)

    @property
    def is_writable(self) -> bool:
        """Never: whoever wants to write comes back when the store is well."""
        return False

    @property
    def open_decisions(self) -> tuple[tuple[ConfirmationId, str], ...]:
        """None that could be decided now."""
        return ()

    def would_stop(self, _: Interrupt) -> bool:
        """Say that an interrupt is nothing special here."""
        return False

    def note_forbidden(self, command: Command, principal: str) -> None:
        """Put on the audit that somebody tried to decide who may not."""
        note_forbidden(command, principal, self.timeline, self._clock, self._owner)

    async def receive(self, command: Command, digest: bytes, client: Client) -> None:
        """Answer what only reads, stop what runs, and refuse the rest."""
        asked = command.id is not None or isinstance(command, ASKS)
        answer = Answer(command.id, asked, digest, [client])
        match command:
            case Ping() | Ack() | Authenticate():
                answer_aside(command, answer, client, self.timeline, self._clock)
            case History():
                self._tasks.start_soon(self._page, command, answer)
            case Project():
                self._tasks.start_soon(self._project, command, answer)
            case Interrupt():
                if self._stop(command) is None:
                    answer.reply({"interrupted": False}, self.timeline.durable)
                else:
                    answer.refuse(problem(ErrorCode.STORE_UNAVAILABLE, STOPPED))
            case _:
                answer.refuse(problem(ErrorCode.STORE_UNAVAILABLE))
        await trio.lowlevel.checkpoint()

    async def _page(self, command: History, answer: Answer) -> None:
        async with self._one_by_one:
            await answer_page(command, answer, self.timeline)

    async def _project(self, command: Project, answer: Answer) -> None:
        async with self._one_by_one:
            try:
                self._state = self._state or await self._fold()
            except TimelineCorrupt:
                answer.refuse(problem(ErrorCode.TIMELINE_CORRUPT))
            except StoreError:
                answer.refuse(problem(ErrorCode.STORE_UNAVAILABLE))
            else:
                answer.reply(project(self._state, command.name), self._state.seq)
