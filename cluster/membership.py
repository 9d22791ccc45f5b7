"""What makes this process one of several: its letters, its guests, and whom it follows."""

from __future__ import annotations

from typing import Any, Final

import structlog
import trio
from attrs import define, field, frozen

from bargein.actors.clock import Clock
from bargein.actors.draining import RECONNECT_AFTER_MS, Draining
from bargein.actors.ownership import OwnerInDoubt, Ownership, SoleOwner
from bargein.actors.place import Place
from bargein.actors.registry import Sessions
from bargein.actors.settling import AGAIN_S, MOST_AGAIN_S
from bargein.cluster.alone import LoneNode, NoBus
from bargein.cluster.bus import Bus
from bargein.cluster.counters import LETTERS_REFUSED
from bargein.cluster.following import Following
from bargein.cluster.followings import Followings
from bargein.cluster.guests import Guests
from bargein.cluster.letters import TO_OWNER, LetterRefused, SlotsMoved, decode_letter
from bargein.cluster.nodes import LeftToOthers, Nodes
from bargein.cluster.post import Post
from bargein.cluster.slots import SharedSlots
from bargein.protocol.frames import GoAway
from bargein.protocol.ids import NodeId
from bargein.timeline.store import StoreError, StoreUnavailable

SWEEP_S: Final = 5.0

ASK_S: Final = 1.0
"""How long it may take to learn who else serves, for whoever has to go."""

LAST_LETTERS_S: Final = 1.0
"""How long all may take to end who write letters; then none goes out any more."""

_log = structlog.get_logger()


@frozen(eq=False)
class Cluster:
    """What processes that serve together share, as each reaches it; by default one serves alone.

    Attributes:
        slots: Model slots of all of them; None where each has its own.
    """

    nodes: Nodes = field(factory=LoneNode)
    bus: Bus = field(factory=NoBus)
    ownership: Ownership = field(factory=SoleOwner)
    slots: SharedSlots | None = None


@define(eq=False)
class Membership:
    """Lives as long as the process serves."""

    _cluster: Cluster
    _sessions: Sessions
    _clock: Clock
    _post: Post = field(init=False)
    _guests: Guests | None = field(default=None, init=False)
    _followings: Followings | None = field(default=None, init=False)
    _draining: bool = field(default=False, init=False)
    _tasks: trio.Nursery | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._post = Post(self._cluster.bus)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled; letters that are written at the end go out, too.

        Reports itself started once the others know of this node.
        """
        async with trio.open_nursery() as outer:
            carried = trio.CancelScope()
            try:
                async with trio.open_nursery() as tasks:
                    try:
                        await self._take_part(tasks, outer, carried)
                        task_status.started()
                        await trio.sleep_forever()
                    finally:
                        self._tasks = self._guests = self._followings = None
                        carried.deadline = trio.current_time() + LAST_LETTERS_S
            finally:
                carried.cancel(reason="all have ended who write letters")

    async def _take_part(
        self, tasks: trio.Nursery, outer: trio.Nursery, carried: trio.CancelScope
    ) -> None:
        self._tasks = tasks
        guests = self._guests = Guests(self._sessions, self._post, tasks)
        followings = Followings(self._sessions, self._clock, self._post, tasks)
        self._followings = followings
        await outer.start(self._carry, carried)
        # Shielded because who ends writes last letters; `run` cancels it, or its deadline does.
        carried.shield = True
        await tasks.start(self._cluster.nodes.run, self._gone, self._facts)
        if self._cluster.slots is not None:
            await tasks.start(self._cluster.slots.run, self._post.tell)
        tasks.start_soon(followings.report)
        tasks.start_soon(followings.look)
        tasks.start_soon(self._sweep, guests)

    async def _carry(self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await self._cluster.bus.run(self._receive, task_status=task_status)

    async def recover(self) -> int:
        """Settle what those have left who went before this node came; return how many sessions.

        Where it is in doubt whether their owner lives, that is tried again until it is known.

        Raises:
            StoreError: If the store can't say which sessions these are.
        """
        try:
            return await self._sessions.recover()
        except OwnerInDoubt as doubt:
            _log.info("sessions.in_doubt", error=str(doubt))
            if self._tasks is not None:
                self._tasks.start_soon(self._recover_again)
            return 0

    async def _recover_again(self) -> None:
        wait_s = AGAIN_S
        while not self._draining:
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, MOST_AGAIN_S)
            try:
                settled = await self._sessions.recover()
            except StoreError as error:
                _log.info("sessions.in_doubt", error=str(error))
                continue
            if settled:
                _log.info("sessions.recovered", count=settled)
            return

    async def follow(self, place: Place, owner: NodeId) -> Following | None:
        """Return the session at *place* as it is followed; None if *owner* has it no more.

        Raises:
            StoreError: If the owner can't read it, or does not answer; come back later.
        """
        if self._followings is None or self._draining:
            raise Draining
        return await self._followings.enter(place, owner)

    def wind_down(self, reason: str = "the server stops") -> None:
        """Follow nobody else, and take in only who comes to an open turn: the process ends soon."""
        self._draining = True
        if self._guests is not None:
            self._guests.farewell = GoAway(reason, RECONNECT_AFTER_MS)

    async def drain(self, grace_s: float, reason: str) -> None:
        """Send everybody away, and end all sessions; see `Sessions.drain`.

        Where it can't be known whether others serve, all stay until all are done.
        """
        self.wind_down(reason)
        try:
            is_alone = await self._is_alone()
        except StoreError as error:
            is_alone = True
            _log.warning("nodes.not_seen", error=str(error))
        await self._sessions.drain(grace_s, reason, is_alone=is_alone)

    async def _is_alone(self) -> bool:
        """Say whether nobody else serves who is to stay.

        Raises:
            StoreError: If that can't be known now.
        """
        nodes = self._cluster.nodes
        with trio.move_on_after(ASK_S):
            everybody = await nodes.everybody()
            return all(node.id == nodes.me or node.facts.get("draining") for node in everybody)
        raise StoreUnavailable(f"it was not said within {ASK_S:g} s who serves")

    def _facts(self) -> dict[str, Any]:
        guests = 0 if self._guests is None else self._guests.count
        return {"sessions": self._sessions.live, "guests": guests, "draining": self._draining}

    def _receive(self, node: NodeId, message: bytes) -> None:
        guests, followings = self._guests, self._followings
        if guests is None or followings is None:
            return
        try:
            letter = decode_letter(message)
            if isinstance(letter, SlotsMoved):
                if self._cluster.slots is not None:
                    self._cluster.slots.moved(letter)
            elif isinstance(letter, TO_OWNER):
                guests.take(node, letter)
            else:
                followings.take(node, letter)
        except LetterRefused as error:
            LETTERS_REFUSED.inc()
            _log.warning("letter.refused", node=node, error=str(error))
        except Exception:  # noqa: BLE001 - the boundary of one letter
            _log.exception("letter.failed", node=node)

    async def _gone(self, node: NodeId) -> None:
        """Take over from a node that has died; or look what others took while this one was away.

        Raises:
            LeftToOthers: If this one is about to end, and others stay.
            StoreError: If that can't be done now; it has to be told again.
        """
        if node == self._cluster.nodes.me:
            await self._sessions.reassert()
            return
        if self._cluster.slots is not None:
            self._cluster.slots.lost(node)
        if self._guests is not None and self._followings is not None:
            self._guests.forget(node)
            self._followings.lose(node)
        if self._draining and not await self._is_alone():
            raise LeftToOthers(node)
        settled = await self._sessions.recover(insist=True)
        if settled:
            _log.info("sessions.taken_over", node=node, count=settled)

    async def _sweep(self, guests: Guests) -> None:
        while True:
            await trio.sleep(SWEEP_S)
            guests.sweep()
