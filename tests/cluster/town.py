"""Several servers in one trio run, on one shelf in memory, between which a seed decides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, cast

import msgspec
import trio
from attrs import define, field

from bargein.actors.allowance import Allowance
from bargein.actors.clock import SystemChance, SystemClock
from bargein.actors.limits import Limits
from bargein.actors.ownership import OwnedElsewhere
from bargein.actors.registry import Sessions, nothing_counted
from bargein.actors.session import Session
from bargein.agents.app import App, Apps
from bargein.cluster.bus import Receive
from bargein.cluster.following import Following
from bargein.cluster.membership import Cluster, Membership
from bargein.cluster.nodes import LeftToOthers, Node, OnGone
from bargein.protocol.codec import command_of
from bargein.protocol.commands import Role
from bargein.protocol.ids import NOTHING, NodeId, Seq, SessionId
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.store import Append, SeqConflict, StoreError, StoreUnavailable
from tests import contract
from tests.actors.stage import AGENTS, PATIENCE_S, Frame, Puppet, Viewer

Hosted = Session | Following


def never(_: NodeId, __: NodeId, ___: bytes) -> bool:
    return False


@define(eq=False, repr=False)
class Town:
    """What all servers share.

    Attributes:
        owners: Whose each session is.
        living: Whose lease has not run out.
        delay_s: How long a letter takes, at most.
        loses: Says which letters are lost on the way.
    """

    nursery: trio.Nursery
    app: App
    limits: Limits
    random: Random
    shelf: Shelf = field(factory=Shelf)
    owners: dict[SessionId, NodeId] = field(factory=dict[SessionId, NodeId])
    living: set[NodeId] = field(factory=set[NodeId])
    houses: dict[NodeId, House] = field(factory=dict[NodeId, "House"])
    delay_s: float = 0.0
    allowance: Callable[[str, str | None, Timeline], Allowance] = nothing_counted
    loses: Callable[[NodeId, NodeId, bytes], bool] = never
    carried: int = 0

    async def build(self, name: str) -> House:
        """Start a server."""
        me = NodeId(name)
        house = House(self, me)
        self.houses[me] = house
        self.living.add(me)
        await self.nursery.start(house.run)
        return house

    def announce_gone(self, gone: NodeId) -> None:
        """Let the lease of a server run out, and the others know."""
        self.living.discard(gone)
        for house in self.houses.values():
            if house.me in self.living:
                house.nodes.tell(gone)

    def frames(self, session_id: SessionId) -> list[bytes]:
        """Return the whole stored timeline of a session."""
        return [stored.frame for stored in self.shelf.events(session_id, NOTHING, 1_000_000)]


@define(eq=False, repr=False)
class Fence:
    """The shelf as one server reaches it: it takes appends of an owner alone."""

    _town: Town
    _me: NodeId

    def keep(self, append: Append) -> None:
        owners = self._town.owners
        if append.opened is not None:
            owners.setdefault(append.session_id, self._me)
        if owners.get(append.session_id) != self._me:
            row = self._town.shelf.row(append.session_id)
            found = NOTHING if row is None else row.last_seq
            raise SeqConflict(append.session_id, Seq(append.first_seq - 1), found)
        self._town.shelf.keep(append)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._town.shelf, name)


@define(eq=False, repr=False)
class Claims:
    """Implements `Ownership` in memory."""

    _town: Town
    _me: NodeId
    fails: bool = False
    is_unsure: bool = False

    async def claim(self, session_id: SessionId) -> NodeId | None:
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise StoreUnavailable("nobody knows")
        owner = self._town.owners.get(session_id)
        is_anothers = owner not in (None, self._me)
        if is_anothers and (self.is_unsure or owner in self._town.living):
            return owner
        self._town.owners[session_id] = self._me
        return None

    async def hold(self, session_id: SessionId) -> NodeId | None:
        return await self.claim(session_id)

    async def lives(self, node: NodeId) -> bool:
        await trio.lowlevel.checkpoint()
        return node in self._town.living

    def release(self, session_id: SessionId) -> None:
        if self._town.owners.get(session_id) == self._me:
            del self._town.owners[session_id]


@define(eq=False, repr=False)
class Wires:
    """Implements `Bus` in memory: in order between two servers, late and lossy as the town says."""

    _town: Town
    _me: NodeId
    receive: Receive | None = field(default=None, init=False)
    _lanes: dict[NodeId, trio.MemorySendChannel[bytes]] = field(
        factory=dict[NodeId, trio.MemorySendChannel[bytes]], init=False
    )
    _tasks: trio.Nursery | None = field(default=None, init=False)

    def send(self, to: NodeId, letter: bytes) -> None:
        if self._tasks is None or self._me not in self._town.living:
            return
        if to not in self._lanes:
            self._lanes[to], lane = trio.open_memory_channel[bytes](10_000)
            self._tasks.start_soon(self._carry, to, lane)
        self._lanes[to].send_nowait(letter)

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self.receive = receive
        async with trio.open_nursery() as self._tasks:
            task_status.started()
            await trio.sleep_forever()

    async def _carry(self, to: NodeId, lane: trio.MemoryReceiveChannel[bytes]) -> None:
        async for letter in lane:
            if self._town.delay_s:
                await trio.sleep(self._town.random.uniform(0, self._town.delay_s))
            else:
                await trio.lowlevel.checkpoint()
            house = self._town.houses[to]
            is_there = to in self._town.living and house.wires.receive is not None
            if is_there and not self._town.loses(self._me, to, letter):
                self._town.carried += 1
                cast("Receive", house.wires.receive)(self._me, letter)


@define(eq=False, repr=False)
class Watchers:
    """Implements `Nodes` in memory."""

    me: NodeId
    _town: Town
    left: list[NodeId] = field(factory=list[NodeId], init=False)
    facts: Callable[[], dict[str, Any]] = field(default=dict[str, Any], init=False)
    fails: bool = field(default=False, init=False)
    _news: trio.MemorySendChannel[NodeId] = field(init=False)
    _heard: trio.MemoryReceiveChannel[NodeId] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._news, self._heard = trio.open_memory_channel[NodeId](100)

    def tell(self, gone: NodeId) -> None:
        self._news.send_nowait(gone)

    async def run(
        self,
        on_gone: OnGone,
        facts: Callable[[], dict[str, Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        msgspec.json.encode(facts())
        self.facts = facts
        task_status.started()
        async for gone in self._heard:
            try:
                await on_gone(gone)
            except LeftToOthers:
                self.left.append(gone)
            except StoreError:
                await trio.sleep(0.5)
                self.tell(gone)

    async def bury(self, node: NodeId) -> None:
        self._town.announce_gone(node)

    async def everybody(self) -> list[Node]:
        await trio.lowlevel.checkpoint()
        if self.fails:
            raise StoreUnavailable("nobody knows")
        houses = self._town.houses
        return [Node(name, houses[name].nodes.facts()) for name in sorted(self._town.living)]


@define(eq=False, repr=False)
class House:
    """One server: its sessions, its store, and what makes it one of several."""

    town: Town
    me: NodeId
    model: Puppet = field(factory=Puppet, init=False)
    store: MemoryStore = field(init=False)
    claims: Claims = field(init=False)
    wires: Wires = field(init=False)
    nodes: Watchers = field(init=False)
    sessions: Sessions = field(init=False)
    member: Membership = field(init=False)
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _ended: trio.Event = field(factory=trio.Event, init=False)
    _asked: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        town = self.town
        self.store = MemoryStore(cast("Shelf", Fence(town, self.me)))
        self.claims, self.wires = Claims(town, self.me), Wires(town, self.me)
        self.nodes = Watchers(self.me, town)
        clock = SystemClock()
        self.sessions = Sessions(
            self.store,
            Apps(town.app),
            self.model,
            clock,
            SystemChance(),
            town.limits,
            ownership=self.claims,
            allowance=town.allowance,
        )
        cluster = Cluster(self.nodes, self.wires, self.claims)
        self.member = Membership(cluster, self.sessions, clock)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self._scope:
            async with trio.open_nursery() as outer:
                await outer.start(self.store.run)
                async with trio.open_nursery() as inner:
                    await inner.start(self.sessions.run)
                    await inner.start(self.member.run)
                    task_status.started()
        self._ended.set()

    async def kill(self) -> None:
        """Let the server die at once; nobody is told before its lease has run out."""
        self.store.crash()
        self.town.living.discard(self.me)
        self._scope.cancel()
        await self._ended.wait()

    async def open(self, principal: str = "anonymous") -> SessionId:
        """Open a new session of this server, and wait until it is stored."""
        session = self.sessions.open(self.sessions.new_place(principal, None))
        await session.timeline.until_durable(session.timeline.head)
        return session.id

    async def find(self, session_id: SessionId) -> Hosted:
        """Return a session as this server serves it."""
        place = await self.sessions.find(session_id)
        assert place is not None
        try:
            return await self.sessions.enter(session_id)
        except OwnedElsewhere as elsewhere:
            following = await self.member.follow(place, elsewhere.owner)
            assert following is not None
            return following

    async def attend(
        self,
        session_id: SessionId,
        *,
        role: Role = "drive",
        principal: str = "anonymous",
        tier: str = "standard",
    ) -> Caller:
        """Attach a client to a session from this server, whoever owns it."""
        hosted = await self.find(session_id)
        durable = hosted.timeline.durable
        viewer = Viewer(hosted.timeline, role, principal, durable, tier)
        hosted.attach(viewer)
        try:
            viewer.advance()
            await hosted.announce(viewer)
            await viewer.event("session.attached")
        except BaseException:
            await hosted.detach(viewer)
            raise
        return Caller(hosted, viewer, self.me)


@define(eq=False, repr=False)
class Caller:
    """A client, and the session as its server serves it."""

    hosted: Hosted
    viewer: Viewer
    _server: NodeId
    _asked: int = field(default=0, init=False)

    async def send(self, kind: str, **fields: Any) -> str:
        """Send a command; return its id."""
        self._asked += 1
        fields.setdefault("id", f"{self._server}.{id(self) % 9973}.{self._asked}")
        body = {"type": kind, **fields}
        contract.check_command(msgspec.json.encode(body).decode())
        digest = msgspec.json.encode(body, order="sorted")
        await self.hosted.receive(command_of(body), digest, self.viewer)
        return fields["id"]

    async def ask(self, kind: str, **fields: Any) -> Frame:
        """Send a command and return its first answer."""
        command_id = await self.send(kind, **fields)

        def is_answer(frame: Frame) -> bool:
            return frame["type"] in ("reply", "error") and frame.get("command_id") == command_id

        return await self.viewer.until(is_answer)

    async def leave(self) -> None:
        """Go."""
        await self.hosted.detach(self.viewer)


def events_of(viewer: Viewer) -> list[Frame]:
    """Return what came of the timeline."""
    return [frame for frame in viewer.frames if "seq" in frame and "event_id" in frame]


async def until(what: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait until *what* says something true, for facts that nobody announces."""
    with trio.fail_after(within_s):
        while not what():
            await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.001)


@asynccontextmanager
async def town(
    seed: int = 0,
    *,
    limits: Limits | None = None,
    app: App | None = None,
    delay_s: float = 0.0,
    allowance: Callable[[str, str | None, Timeline], Allowance] = nothing_counted,
) -> AsyncGenerator[Town]:
    """Run a town, and clear it at the end."""
    async with trio.open_nursery() as nursery:
        chosen = app or App("staged", AGENTS)
        there = Town(
            nursery,
            chosen,
            limits or Limits(),
            Random(seed),  # noqa: S311
            delay_s=delay_s,
            allowance=allowance,
        )
        yield there
        nursery.cancel_scope.cancel()
