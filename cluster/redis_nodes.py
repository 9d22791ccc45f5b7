"""Who serves from one Redis: the leases of all, looked at again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from bargein.cluster.nodes import LeftToOthers, Node, OnGone
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.keys import NODES, buried_key, lease_key
from bargein.timeline.redis.lease import Lease, leases
from bargein.timeline.redis.link import Ask, Link, LinkLost, Refused
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreError, StoreUnavailable

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.5
"""Between two looks; with the length of a lease, within what a death is known."""

BURY_S: Final = 10.0
"""For how long a burial that does not get through is tried again; then the lease has run out."""

BURIED_MS: Final = 60_000
"""How long no renewal is taken that a process had sent before it ended."""

# One that has come back meanwhile has to be found missing again when it goes.
_UNLIST: Final = """
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('SREM', KEYS[1], ARGV[1])
end
"""


@define(eq=False)
class RedisNodes:
    """Watches the servers of one Redis; see `Nodes`.  Lives as long as the process.

    The lease itself is kept by the store, and given up behind its last append: earlier, others
    would take over what it has still to write.

    Attributes:
        address: Where Redis is.
        lease: That of this process, which its store keeps.
        me: This process.
        answer_s: How long Redis may take to say who serves.
    """

    address: Address
    lease: Lease
    answer_s: float = field(default=2.0, kw_only=True)
    me: NodeId = field(init=False)
    _link: Link = field(init=False)
    _living: set[NodeId] = field(factory=set[NodeId], init=False)
    _told: set[NodeId] = field(factory=set[NodeId], init=False)
    _burials: dict[NodeId, float] = field(factory=dict[NodeId, float], init=False)
    _has_lapsed: bool = field(default=False, init=False)
    _wake: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.me = self.lease.me
        self._link = Link(self.address, _as_it_is, _known_by_others, self.answer_s)

    async def run(
        self,
        on_gone: OnGone,
        facts: Callable[[], dict[str, Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Say *facts* with each renewal, and watch the others, until cancelled; see `Nodes.run`."""
        self.lease.facts = facts
        self.lease.on_lapsed = self._lapse
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._link.run)
            await self._link.until_up()
            task_status.started()
            while True:
                try:
                    await self._bury_again()
                    await self._look(on_gone, nursery)
                except LinkLost:
                    await self._link.until_up()
                    continue
                except StoreUnavailable as error:
                    log.warning("nodes.not_seen", error=str(error))
                with trio.move_on_after(LOOK_S):
                    await self._wake.wait()
                self._wake = trio.Event()
                if self._has_lapsed:
                    self._has_lapsed = False
                    nursery.start_soon(self._tell, self.me, on_gone)

    async def bury(self, node: NodeId) -> None:
        """End the lease of a node whose process is known to have ended; see `Nodes.bury`.

        It stays listed, so that everybody finds it missing. A renewal of it that is still on its
        way is not taken any more.
        """
        if node == self.me:
            return
        self._burials[node] = trio.current_time() + BURY_S
        try:
            await self._bury_all()
        except (LinkLost, StoreUnavailable) as error:
            log.info("node.not_buried_yet", node=node, reason=str(error))
        else:
            self._wake.set()

    async def everybody(self) -> list[Node]:
        """List the nodes that live, this one too; see `Nodes.everybody`."""
        with trio.move_on_after(self.answer_s):
            await self._link.until_up()
            try:
                found = await leases(self._link.ask, self._living)
            except LinkLost as lost:
                raise StoreUnavailable(lost.reason) from lost
            return [Node(name, facts) for name, facts in found.items() if facts is not None]
        raise StoreUnavailable(self._link.reason)

    async def _bury_again(self) -> None:
        try:
            await self._bury_all()
        except StoreUnavailable as error:
            log.info("node.not_buried_yet", reason=str(error))  # others are looked at all the same

    async def _bury_all(self) -> None:
        """End the leases that are still to be ended.

        Raises:
            LinkLost: If there is no answer; try again.
            StoreUnavailable: If Redis refuses it.
        """
        now_s = trio.current_time()
        self._burials = {name: till_s for name, till_s in self._burials.items() if till_s > now_s}
        for name in tuple(self._burials):
            buried = (b"SET", buried_key(name), "", "PX", BURIED_MS)
            for answer in await self._link.ask((buried, (b"DEL", lease_key(name)))):
                if isinstance(answer, Refused):
                    raise StoreUnavailable(answer.text)
            self._burials.pop(name, None)

    def _lapse(self) -> None:
        self._has_lapsed = True
        self._wake.set()

    async def _look(self, on_gone: OnGone, nursery: trio.Nursery) -> None:
        found = await leases(self._link.ask, self._living)
        living = {name for name, facts in found.items() if facts is not None}
        self._told.intersection_update(found.keys() - living)
        if self.me not in living or not self.lease.is_sure:
            # Then others may only be late, as we are: Redis was away, or has forgotten all.
            self._living |= living
            return
        for name in sorted(found.keys() - living - self._told):
            self._told.add(name)
            nursery.start_soon(self._tell, name, on_gone)
        self._living = living

    async def _tell(self, name: NodeId, on_gone: OnGone) -> None:
        log.info("node.gone", node=name, me=self.me)
        sure_from_s = self.lease.sure_from_s
        try:
            await on_gone(name)
            if name != self.me:
                await self._unlist(name, sure_from_s)
        except LeftToOthers:
            log.info("node.left_to_others", node=name)
        except (StoreError, LinkLost) as error:
            log.warning("node.not_followed_yet", node=name, error=str(error))
            await trio.sleep(LOOK_S)
            if name == self.me:
                self._lapse()
                return
            self._living.add(name)  # so that the next look finds it missing again
            self._told.discard(name)

    async def _unlist(self, name: NodeId, sure_from_s: float) -> None:
        """Take a node off the list that was followed, unless it lives after all.

        Only now: who comes later has to see that it is to be followed.

        Raises:
            LinkLost: If there is no answer.
            StoreUnavailable: If Redis refuses it, or it was in doubt meanwhile who lives.
        """
        if not self.lease.is_sure or self.lease.sure_from_s != sure_from_s:
            raise StoreUnavailable("it was in doubt meanwhile who lives")
        (answer,) = await self._link.ask(
            ((b"EVAL", _UNLIST, 2, NODES, lease_key(name), name),),
        )
        if isinstance(answer, Refused):
            raise StoreUnavailable(answer.text)


async def _as_it_is(ask: Ask) -> None:
    """Take any Redis: the store's own connections look at it."""
    await ask(((b"PING",),))


def _known_by_others(_reason: str) -> None:
    """Do nothing: the store says that Redis is away."""
