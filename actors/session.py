"""One session: a nursery of its actors, and the timeline they share one writer of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog
import trio
from attrs import define, field
from structlog.contextvars import bind_contextvars

from bargein.actors.allowance import Allowance
from bargein.actors.answers import Answers
from bargein.actors.asides import note_forbidden
from bargein.actors.audience import Audience, Client
from bargein.actors.clock import Clock
from bargein.actors.input import Input
from bargein.actors.ledger import Ledger
from bargein.actors.limits import Limits
from bargein.actors.mailbox import ActorGone, Address
from bargein.actors.messages import (
    InputMessage,
    Joined,
    Left,
    Received,
)
from bargein.actors.outcomes import done_before
from bargein.actors.output import Output
from bargein.actors.pipeline import Pipeline
from bargein.actors.planner import Planner
from bargein.actors.tally import Tally
from bargein.actors.turn import Ladder, ResponseSlot
from bargein.protocol.actions import TO_DECIDE
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import Ack, Command, Interrupt, Say
from bargein.protocol.events import CancelledBy
from bargein.protocol.frames import GoAway, Refused, problem
from bargein.protocol.ids import ConfirmationId, NodeId, Seq, SessionId, TurnId
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.timeline.store import (
    SeqConflict,
    StoreError,
    StoreUnavailable,
    TakenOver,
    TimelineCorrupt,
)

RECONNECT_AFTER_MS = 500
"""Long enough for the session to leave memory, too short for a person to notice."""

MOVED: Final = "moved to another node"

WHOSE_S: Final = 0.5
"""How long clients of a session that the store has failed wait to be told where to go."""

_log = structlog.get_logger()


async def nobodys() -> None:
    """Say that no other process owns it."""


@define(eq=False)
class Session:
    """A live session.  Lives while clients are attached or work goes on, and a while longer.

    Attributes:
        allowance: What its principal may still use.
        ending: No client can be attached any more; wait for `ended`, then revive it.
        ended: The session has left memory, and the store has all of it.
        whose: Asks which other process owns it, where its store has failed it.
    """

    principal: str
    tenant: str | None
    timeline: Timeline
    state: SessionState
    allowance: Allowance
    ending: bool = field(default=False, init=False)
    ended: trio.Event = field(factory=trio.Event, init=False)
    whose: Callable[[], Awaitable[NodeId | None]] = field(default=nobodys, init=False)
    _limits: Limits
    _clock: Clock
    _slot: ResponseSlot
    _audience: Audience
    _answers: Answers
    _address: Address[InputMessage]
    _ledger: Ledger
    _actors: tuple[Input | Planner | Pipeline | Ledger | Output, ...]
    _tally: Tally

    @property
    def id(self) -> SessionId:
        """The session's id."""
        return self.timeline.session_id

    async def until_ended(self) -> None:
        """Wait until the session has left memory, and the store has all of it."""
        await self.ended.wait()

    def wind_down(self) -> None:
        """Leave words that wait to the next process; they are on the timeline."""
        self._slot.winding_down = True

    async def until_quiet(self) -> None:
        """Wait until no turn is open and nothing is being done, and the clients were sent that."""
        await self._slot.until_free()
        await self._ledger.until_quiet(also_undecided=False)
        await self._until_stored()

    async def until_stopped(self) -> None:
        """Interrupt what is open until nothing is, and the clients were sent that."""
        while self._slot.turn is not None:
            self.interrupt("operator", "the server stops")
            await self._slot.until_released()
        await self._until_stored()

    async def _until_stored(self) -> None:
        try:
            await self.timeline.until_durable(self.timeline.head)
        except StoreError as error:
            _log.error("session.flush_failed", session=self.id, error=str(error))

    @property
    def open_decisions(self) -> tuple[tuple[ConfirmationId, str], ...]:
        """Confirmation id and summary of each action that waits for a yes or no, oldest first."""
        waiting = self.state.actions.awaiting(TO_DECIDE)
        return tuple((action.confirmation_id, action.summary) for action in waiting)

    def note_forbidden(self, command: Command, principal: str) -> None:
        """Put on the audit that somebody tried to decide who may not."""
        owner = self.principal, self.tenant
        note_forbidden(command, principal, self.timeline, self._clock, owner)

    @property
    def is_writable(self) -> bool:
        """Whether what a client asks for now is likely to be stored."""
        return self.timeline.is_writable

    # --- for connections ----------------------------------------------------------

    def attach(self, client: Client) -> None:
        """Let *client* follow the timeline from its cursor on."""
        self._audience.join(client)

    async def announce(self, client: Client) -> None:
        """Tell the session that *client* is attached; after this it is on the timeline.

        Raises:
            ActorGone: If the session is ending; attach again.
        """
        await self._address.tell(Joined(client))

    async def detach(self, client: Client) -> None:
        """Let *client* go."""
        self._audience.leave(client)
        try:
            await self._address.tell(Left(client))
        except ActorGone:
            return

    async def receive(self, command: Command, digest: bytes, client: Client) -> None:
        """Take a command; one that interrupts has taken effect when this first waits.

        So has an `ack`: it bounds what the interrupt behind it takes for heard.

        Raises:
            ActorGone: If the session is ending.
        """
        received_s = self._clock.now_s()
        if isinstance(command, Ack):
            client.acknowledge(Seq(command.seq))
        ladder = self._cut_in(command)
        await self._address.tell(Received(command, digest, client, ladder, received_s))

    def _cut_in(self, command: Command) -> Ladder | None:
        # Runs in the task that reads the socket: the way of an interrupt has
        # no mailbox in it.  A command that was sent before has acted already.
        if self._slot.turn is None or self._was_sent_before(command):
            return None
        match command:
            case Interrupt(id=command_id, turn_id=only):
                return self._slot.interrupt(
                    "user",
                    command.reason or "interrupt",
                    only=only,
                    heard=command.heard,
                    command_id=command_id,
                )
            case Say(when_busy="interrupt" | "rollback", resume=None, id=command_id) if (
                self.allowance.takes_words
            ):
                return self._slot.interrupt(
                    "user",
                    "say",
                    heard=command.heard,
                    command_id=command_id,
                )
            case _:
                return None

    @property
    def is_quiet(self) -> bool:
        """Whether no turn is open and nothing is being done: else a drain waits for it."""
        return self._slot.turn is None and self._ledger.is_quiet(also_undecided=False)

    @property
    def stoppable(self) -> TurnId | None:
        """The open turn, if an interrupt would be the first to stop it."""
        turn = self._slot.turn
        return None if turn is None or turn.interrupted or turn.closing else turn.id

    def would_stop(self, command: Interrupt) -> bool:
        """Say whether *command* is the first to stop the turn that is open."""
        turn_id = self.stoppable
        if turn_id is None:
            return False
        return command.turn_id in (None, turn_id) and not self._was_sent_before(command)

    def _was_sent_before(self, command: Command) -> bool:
        known = self._answers.find(command.id) is not None
        return known or done_before(self.state, command) is not None

    def interrupt(self, by: CancelledBy, cause: str, only: TurnId | None = None) -> Ladder | None:
        """Stop the open turn, or *only* that one, for the server itself or who only reads."""
        return self._slot.interrupt(by, cause, only=only)

    def tell_everyone(self, frame: GoAway) -> None:
        """Send a connection frame to every client."""
        self._audience.tell_all(frame)

    def close_connections(self, code: CloseCode, reason: str) -> None:
        """Close every connection, after what was sent to it."""
        self._audience.end_all(code, reason)

    # --- life ---------------------------------------------------------------------

    def end(self) -> None:
        """Let the session leave memory; what is stored of it stays."""
        if not self.ending:
            self.ending = True
            self._address.close()

    def was_taken(self, owner: NodeId) -> None:
        """End without a word more: *owner* goes on with the session, and its clients go there."""
        timeline = self.timeline
        timeline.give_up(TakenOver(self.id, timeline.head, timeline.durable, owner))

    def was_closed(self, seq: Seq) -> None:
        """Note that the session is over for good, as of the event at *seq*."""
        self._audience.end_all_at(seq, CloseCode.SESSION_CLOSED, "session closed")
        self.end()

    async def run(self) -> None:
        """Run the actors until the session ends; never raises but for a cancel.

        A crash ends this session alone: its clients are told to come back, and
        the next attach rebuilds it from the timeline.
        """
        # Every line that is logged in a task of this session says whose it is.
        bind_contextvars(session=self.id, principal=self.principal)
        crash: BaseExceptionGroup[Exception] | None = None
        # They live for as long as they run.  Held here they would be a cycle, since some of them
        # end the session, and what is left of it would wait in memory for the collector.
        actors, self._actors = self._actors, ()
        self._tally.begin()
        try:
            async with trio.open_nursery() as nursery:
                self.timeline.cancel_on_failure(nursery.cancel_scope)
                for actor in actors:
                    nursery.start_soon(actor.run, name=type(actor).__name__)
        except* Exception as group:  # noqa: BLE001 - the boundary of one session
            crash = group
        self.ending = True
        crashed = crash is not None or self.timeline.failure is not None
        if isinstance(self.timeline.failure, StoreUnavailable):
            await self._look_whose()
        if self._is_taken:
            _log.warning("session.moved", session=self.id, why=str(self.timeline.failure))
            self._audience.end_all(CloseCode.MOVED, MOVED)
        elif crashed:
            self._tell_of_crash(crash)
        # Shielded so that a stopping server doesn't lose what was acknowledged;
        # the store bounds it, and so does the limit.
        with trio.move_on_after(self._limits.flush_s, shield=True):
            if self.timeline.failure is None:  # that has been logged
                await self._until_stored()
        if not crashed and self.timeline.durable < self.timeline.head:
            # Its last words are lost: whoever waits for them would wait for ever.
            crashed = True
            self._tell_of_crash(None)
        self._tally.end(crashed=crashed, closed=self.state.closed)

    async def _look_whose(self) -> None:
        """Find out whether another process has it: after a long pause both may be the cause."""
        # Shielded so that clients of a stopping server are told, too; the limit bounds it.
        with trio.move_on_after(WHOSE_S, shield=True), suppress(StoreError):
            owner = await self.whose()
            if owner is not None:
                self.was_taken(owner)

    @property
    def _is_taken(self) -> bool:
        """Whether somebody else appends to it now; what has lost events is no such session."""
        failure = self.timeline.failure
        has_other_events = isinstance(failure, SeqConflict) and failure.found >= failure.expected
        return has_other_events or isinstance(failure, TakenOver)

    def _tell_of_crash(self, crash: BaseExceptionGroup[Exception] | None) -> None:
        failure = self.timeline.failure
        bugs = None if crash is None else crash.split(StoreError)[1]
        _log.error("session.crashed", session=self.id, error=str(failure), exc_info=bugs)
        if isinstance(failure, TimelineCorrupt):
            code = ErrorCode.TIMELINE_CORRUPT
        elif failure is not None:
            code = ErrorCode.STORE_UNAVAILABLE
        else:
            code = ErrorCode.INTERNAL
        self._audience.tell_all(Refused(None, problem(code)))
        self._audience.tell_all(GoAway(code.value, RECONNECT_AFTER_MS))
        self._audience.end_all(CloseCode.DRAIN, code.value)
