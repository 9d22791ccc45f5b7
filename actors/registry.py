"""All sessions of this process: opened, found, revived, recovered, drained."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import structlog
import trio
from attrs import define, field

from bargein.actors.allowance import Allowance, Unlimited
from bargein.actors.audience import Client
from bargein.actors.clock import Chance, Clock, Timestamps, utc_text
from bargein.actors.composition import TurnOver, compose, first_config, untold
from bargein.actors.draining import drain_all
from bargein.actors.limits import Limits
from bargein.actors.ownership import OwnedElsewhere, Ownership, SoleOwner
from bargein.actors.place import Place, place_of
from bargein.actors.reading import Reading
from bargein.actors.replayed import replayed
from bargein.actors.revival import Revival
from bargein.actors.scribe import Scribe
from bargein.actors.session import Session
from bargein.actors.settling import Settling
from bargein.actors.turn import Ladder
from bargein.agents.app import Apps
from bargein.memory.facts import FactBook, Facts, Owner
from bargein.models.client import Model
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import Interrupt
from bargein.protocol.events import SessionOpened
from bargein.protocol.ids import NOTHING, Seq, SessionId
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.timeline.store import (
    NewSession,
    SessionRow,
    Store,
    StoreUnavailable,
    TimelineCorrupt,
)
from bargein.tools.running import Workbench

_log = structlog.get_logger()


def anybody(_: str) -> bool:
    """Let everybody have things done: the rule where nobody is known by name."""
    return True


def nothing_counted(_: str, __: str | None, ___: Timeline) -> Allowance:
    """Give everybody as much as they like: the rule where nobody is known by name."""
    return Unlimited()


@define(eq=False)
class Sessions:
    """Lives as long as the process; the one place that knows which sessions are live.

    Attributes:
        limits: What sessions are held to; others may be put in their place while sessions live.
        _may_commit: Whether a principal may have things done, asked before each is.
        _facts: What is remembered of principals; None: nothing is.
        _allowance: Gives a session its share of what its principal may use.
        _on_turn_over: Told of each turn that is over.
        _ownership: Says which process a session belongs to.
        _failed: Whom the store has failed, and who has not been revived since.
        _bystanders: Clients that only read, of no live session.
    """

    _store: Store
    _apps: Apps
    _model: Model
    _clock: Clock
    _chance: Chance
    limits: Limits
    _workbench: Workbench = field(factory=Workbench)
    _may_commit: Callable[[str], bool] = field(default=anybody, alias="may_commit")
    _facts: Facts | None = field(default=None, alias="facts")
    _allowance: Callable[[str, str | None, Timeline], Allowance] = field(
        default=nothing_counted, alias="allowance"
    )
    _on_turn_over: TurnOver = field(default=untold, alias="on_turn_over")
    _ownership: Ownership = field(factory=SoleOwner, alias="ownership")
    _live: dict[SessionId, Session] = field(factory=dict[SessionId, Session], init=False)
    _reviving: dict[SessionId, trio.Event] = field(factory=dict[SessionId, trio.Event], init=False)
    _failed: set[SessionId] = field(factory=set[SessionId], init=False)
    _bystanders: set[Client] = field(factory=set[Client], init=False)
    _draining: bool = field(default=False, init=False)
    _nursery: trio.Nursery | None = field(default=None, init=False)
    _revival: Revival = field(init=False)
    _settling: Settling = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._revival = Revival(self._store, self._clock, lambda: self.limits)
        revive, lives = self._revive, self._ownership.lives
        self._settling = Settling(
            self._store, lambda: self.limits, self._live, self._reviving, revive, lives
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the sessions until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    @property
    def live(self) -> int:
        """How many sessions are in memory."""
        return len(self._live)

    def holds(self, session_id: SessionId) -> bool:
        """Say whether a session is in memory."""
        return session_id in self._live

    def at_hand(self, session_id: SessionId) -> Session | None:
        """Return a session that is in memory and goes on; None if it would have to be revived."""
        live = self._live.get(session_id)
        return None if live is None or live.ending else live

    def new_place(self, principal: str, tenant: str | None) -> Place:
        """Return the place of a session that does not exist yet."""
        session_id, epoch = self._chance.session_id(), self._chance.epoch()
        return Place(
            session_id,
            principal,
            tenant,
            epoch,
            epoch_changed=False,
            last_seq=NOTHING,
            closed=False,
        )

    async def find(
        self,
        session_id: SessionId,
        asker: tuple[str, str | None] | None = None,
        seen: Seq = NOTHING,
    ) -> Place | None:
        """Return where a session stands; None if there is none.  Reads one index row at most.

        Args:
            session_id: Which one.
            asker: Principal and tenant, where the answer must cost somebody else as much as that
                to a session which isn't there: one row, also of a live session.
            seen: What the asker has. Where that is more than this process knows of, it asks
                first whether another has taken the session while this one stood still.

        Raises:
            StoreError: If that, or the row, can't be read.
        """
        live = self._live.get(session_id)
        mine = live is not None and asker in (None, (live.principal, live.tenant))
        if live is not None and mine and seen > live.timeline.durable:
            mine = live.ending or await self._reassert(live)
        if live is not None and mine and not live.ending:
            timeline = live.timeline
            return Place(
                session_id,
                live.principal,
                live.tenant,
                timeline.epoch,
                timeline.epoch_changed,
                timeline.durable,
                live.state.closed,
            )
        row = await self._store.row(session_id)
        return None if row is None else place_of(row)

    def open(self, place: Place) -> Session:
        """Begin the session at *place*; it is on the timeline from its first event on."""
        timeline = self._revival.timeline(place.session_id, place.epoch)
        opened = NewSession(
            place.session_id,
            place.principal,
            place.tenant,
            place.epoch,
            utc_text(self._clock.utc_ms()),
        )
        scribe = Scribe(
            SessionState(),
            timeline,
            Timestamps(self._clock),
            opened,
            place.principal,
            place.tenant,
        )
        session = self._start(scribe, place.principal, place.tenant)
        app = self._apps.current
        scribe.write(
            None, SessionOpened(app.default.name, first_config(app, app.client or self._model))
        )
        scribe.commit()
        return session

    async def enter(self, session_id: SessionId) -> Session:
        """Return a session that exists, reviving it from its timeline if need be.

        Raises:
            OwnedElsewhere: If another living process has it; follow it there.
            StoreError: If its timeline can't be read, or is damaged.
        """
        while True:
            live = self._live.get(session_id)
            if live is not None and not live.ending:
                return live
            if live is not None:
                await live.ended.wait()
            elif (revived := self._reviving.get(session_id)) is not None:
                await revived.wait()
            else:
                return await self._revive(session_id)

    def read_only(self, place: Place) -> Timeline:
        """Return the timeline of a session as it can be read without being in memory."""
        return self._revival.timeline(
            place.session_id, place.epoch, place.last_seq, epoch_changed=place.epoch_changed
        )

    def reading(self, place: Place, tasks: trio.Nursery) -> Reading:
        """Return what a client may ask for while nothing can be written."""

        def stop(command: Interrupt) -> Ladder | None:
            live = self._live.get(place.session_id)
            by_user = command.reason or "interrupt"
            return None if live is None else live.interrupt("user", by_user, command.turn_id)

        async def fold() -> SessionState:
            return (await replayed(self._store, place.session_id, place.last_seq)).state

        return Reading(self.read_only(place), place.owner, self._clock, stop, fold, tasks)

    @contextmanager
    def bystander(self, client: Client) -> Generator[None]:
        """Tell *client*, who is attached to no live session, when the server drains."""
        self._bystanders.add(client)
        try:
            yield
        finally:
            self._bystanders.discard(client)

    @property
    def can_write(self) -> bool:
        """Whether what is appended now is likely to be stored."""
        return self._store.health.is_sound

    async def until_can_write(self) -> None:
        """Wait until the store can write; never returns if it is dead."""
        await self._store.until_sound()

    async def recover(self, *, insist: bool = False) -> int:
        """Settle every session that a process which has gone left unsettled; return how many.

        A session that can't be read is logged and left as it is; one that a living process
        owns is left to that.

        Args:
            insist: Raise `StoreUnavailable` in the end if one of them can't be read now.

        Raises:
            OwnerInDoubt: If it isn't known of some whether their owner lives; try again.
            StoreError: If the store can't say which sessions these are.
        """
        return await self._settling.all_left(insist=insist)

    async def reassert(self) -> None:
        """Give up every session that another process has taken while this one was away.

        Raises:
            StoreError: If that can't be known now; try again.
        """
        for session in tuple(self._live.values()):
            if not session.ending:
                await self._reassert(session)

    async def _reassert(self, session: Session) -> bool:
        """Give a session up if another process has taken it; return whether it is still ours."""
        owner = await self._ownership.hold(session.id)
        if owner is not None:
            session.was_taken(owner)
        return owner is None

    async def is_ours(self, session_id: SessionId) -> bool:
        """Say whether no other living process has a session in memory.

        Raises:
            StoreError: If that can't be known now.
        """
        if session_id in self._live or session_id in self._reviving:
            return True
        if await self._ownership.claim(session_id) is not None:
            return False
        if not (session_id in self._live or session_id in self._reviving):
            self._ownership.release(session_id)
        return True

    async def dismiss(self, session_id: SessionId) -> None:
        """End a session that is about to be erased, and wait until it has left memory.

        Its clients are told that there is no such session any more.
        """
        session = self._live.get(session_id)
        if session is None:
            return
        session.wind_down()
        with trio.move_on_after(self.limits.flush_s):
            await session.until_stopped()
        session.close_connections(CloseCode.NO_SUCH_SESSION, "the session was erased")
        session.end()
        await session.until_ended()

    async def drain(self, grace_s: float, reason: str, *, is_alone: bool = True) -> None:
        """Let running turns finish within *grace_s*, stop the rest, send everybody away.

        Where nothing can be stored any more, nothing is worth waiting for. Without *is_alone*
        others serve who have those that nothing is waited for.
        """
        self._draining = True
        if self._store.health.condition == "dead":
            grace_s = 0.0
        await drain_all(
            self._live,
            tuple(self._bystanders),
            grace_s=grace_s,
            flush_s=self.limits.flush_s,
            reason=reason,
            is_alone=is_alone,
        )

    def _start(self, scribe: Scribe, principal: str, tenant: str | None) -> Session:
        if self._nursery is None:
            raise RuntimeError("Sessions.run has to run first")
        owner = Owner(principal, tenant)
        session = compose(
            scribe=scribe,
            principal=principal,
            tenant=tenant,
            apps=self._apps,
            model=self._model,
            clock=self._clock,
            limits=lambda: self.limits,
            workbench=self._workbench,
            may_commit=self._may_commit,
            facts=None if self._facts is None else FactBook(self._facts, owner),
            allowance=self._allowance(principal, tenant, scribe.timeline),
            on_turn_over=self._on_turn_over,
        )
        session.whose = partial(self._ownership.hold, session.id)
        if self._draining:
            session.wind_down()
        self._live[session.id] = session
        self._nursery.start_soon(self._run, session, name=session.id)
        return session

    async def _run(self, session: Session) -> None:
        try:
            await session.run()
        finally:
            del self._live[session.id]
            session.allowance.close()
            self._ownership.release(session.id)
            session.ended.set()
        if isinstance(session.timeline.failure, StoreUnavailable):
            self._failed.add(session.id)
            await self.until_can_write()  # nobody may come back for it
            await self._settling.one(session.id)

    async def _revive(self, session_id: SessionId) -> Session:
        done = self._reviving[session_id] = trio.Event()
        try:
            owner = await self._ownership.claim(session_id)
            if owner is not None:
                raise OwnedElsewhere(session_id, owner)
            try:
                row = await self._existing(session_id)
                failed = session_id in self._failed
                why = ErrorCode.STORE_UNAVAILABLE if failed else ErrorCode.SERVER_RESTARTED
                scribe = await self._revival.scribe(row, why)
            except BaseException as error:
                self._ownership.release(session_id)
                if isinstance(error, StoreUnavailable) and self._nursery is not None:
                    self._nursery.start_soon(self._settling.in_the_end, session_id)
                raise
            self._failed.discard(session_id)
            return self._start(scribe, row.principal, row.tenant)
        finally:
            del self._reviving[session_id]
            done.set()

    async def _existing(self, session_id: SessionId) -> SessionRow:
        row = await self._store.row(session_id)
        if row is None:
            raise TimelineCorrupt(session_id, NOTHING)
        return row
