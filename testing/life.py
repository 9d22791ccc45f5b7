"""One life of a server in a simulation: from its start to its drain, or to a power cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, cast

import trio
from attrs import define, field, frozen

from bargein.actors.clock import Chance, Clock
from bargein.actors.limits import Limits
from bargein.actors.registry import Sessions
from bargein.agents.app import App, Apps
from bargein.gateway.client import Manners, Reception
from bargein.gateway.connection import WireConnection
from bargein.gateway.handshake import Upgrade
from bargein.memory.facts import Facts
from bargein.models.client import Model
from bargein.testing.wire import GRID_S, Wire
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.store import Append, StoreUnavailable

COMMIT_TICKS: Final = (0, 0, 0, 1, 1, 2)
"""How long a commit takes, in steps of the grid."""

LOCKED_S: Final = 5.0
"""How long a store waits for a lock before it gives up."""


@define(eq=False)
class Disk:
    """What outlives a power cut, and what may be wrong with it.

    Attributes:
        shelf: What is stored.
        locked_until_s: Somebody else holds the database until then.
        full_until_s: Nothing fits any more until then.
    """

    _random: Random
    shelf: Shelf = field(factory=Shelf, init=False)
    locked_until_s: float = field(default=0.0, init=False)
    full_until_s: float = field(default=0.0, init=False)

    async def before_commit(self, _group: Sequence[Append]) -> None:
        """Take the time that a commit takes.

        Raises:
            StoreUnavailable: While it is full, or locked for too long.
        """
        await trio.sleep(self._random.choice(COMMIT_TICKS) * GRID_S)
        if trio.current_time() < self.locked_until_s:
            with trio.move_on_after(LOCKED_S):
                await trio.sleep_until(self.locked_until_s)
            if trio.current_time() < self.locked_until_s:
                raise StoreUnavailable("the database is locked")
        if trio.current_time() < self.full_until_s:
            raise StoreUnavailable("the disk is full")

    def keep_of(self, pending: int) -> int:
        """Draw how many of the appends in flight a power cut lets through."""
        return self._random.randint(0, pending)

    def heal(self) -> None:
        """Let everything be well with it."""
        self.locked_until_s = self.full_until_s = 0.0


@frozen(eq=False)
class Served:
    """What a server serves, life after life."""

    app: App
    model: Model
    limits: Limits
    manners: Manners
    facts: Facts


@define(eq=False)
class Life:
    """One process.  It ends when it is drained, or when its power fails.

    Attributes:
        number: 0 for the first.
        dead: The power has failed: whatever runs on in here does nothing to the outside.
        up: It takes connections.
        over: It has ended.
    """

    number: int
    _disk: Disk
    _served: Served
    _note: Callable[..., None]
    dead: bool = field(default=False, init=False)
    up: trio.Event = field(factory=trio.Event, init=False)
    over: trio.Event = field(factory=trio.Event, init=False)
    _store: MemoryStore = field(init=False)
    _wires: list[Wire] = field(factory=list[Wire], init=False)
    _sessions: Sessions | None = field(default=None, init=False)
    _reception: Reception | None = field(default=None, init=False)
    _visits: trio.Nursery | None = field(default=None, init=False)
    _recovered: bool = field(default=False, init=False)
    _stopped: trio.Event = field(factory=trio.Event, init=False)
    _all: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self._store = MemoryStore(self._disk.shelf, self._disk.before_commit)

    @property
    def shelf(self) -> Shelf:
        """What is stored."""
        return self._disk.shelf

    @property
    def busy(self) -> bool:
        """Whether it recovers, has a session in memory, or somebody is connected."""
        if self._visits is None or self._sessions is None or not self._recovered:
            return True
        return bool(self._visits.child_tasks) or self._sessions.live > 0

    def note(self, *what: Any) -> None:
        """Write into the journal, unless the power has failed."""
        if not self.dead:
            self._note(*what)

    async def run(self, clock: Clock, chance: Chance) -> None:
        """Live to the end."""
        try:
            with self._all:
                await self._serve(clock, chance)
        finally:
            for wire in self._wires:
                wire.cut()
            self.over.set()

    async def _serve(self, clock: Clock, chance: Chance) -> None:
        served = self._served
        self._sessions = Sessions(
            self._store,
            Apps(served.app),
            served.model,
            clock,
            chance,
            served.limits,
            facts=served.facts,
        )
        self._reception = Reception(self._sessions, served.manners)
        async with trio.open_nursery() as ports:
            await ports.start(self._store.run)
            async with trio.open_nursery() as inner:
                await inner.start(self._sessions.run)
                inner.start_soon(self._recover, self._sessions)
                async with trio.open_nursery() as self._visits:
                    self.up.set()
                    await self._stopped.wait()
                    self._visits.cancel_scope.cancel(reason="drained")
                inner.cancel_scope.cancel(reason="drained")
            ports.cancel_scope.cancel(reason="drained")

    async def _recover(self, sessions: Sessions) -> None:
        await sessions.recover()
        self._recovered = True

    def accept(self, wire: Wire, upgrade: Upgrade) -> None:
        """Take a connection, as the listener does after its handshake."""
        if self._visits is None:
            raise RuntimeError("wait until it is up")
        self._wires.append(wire)
        self._visits.start_soon(self._be_served, wire, upgrade, name=wire.name)

    async def _be_served(self, wire: Wire, upgrade: Upgrade) -> None:
        if self._reception is not None:
            await self._reception.serve(cast("WireConnection", wire), upgrade)
        wire.close_soon()
        wire.served = True
        if not self.dead:
            await wire.over()

    async def drain(self, grace_s: float) -> None:
        """End in order: let turns finish within *grace_s*, and send everybody away."""
        if self._sessions is not None:
            await self._sessions.drain(grace_s, "restarting")
        self.up = trio.Event()
        self._stopped.set()
        await self.over.wait()

    def cut_power(self) -> None:
        """Die at once: what is in memory is gone, and of what was on its way some is stored."""
        if self.dead or self.over.is_set():
            return
        pending = len(self._store._pending)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._store.crash(keep=self._disk.keep_of(pending))
        self._note("power cut", self.number)
        self.dead = True
        self.up = trio.Event()
        for wire in self._wires:
            wire.cut()
        self._all.cancel(reason="power cut")
