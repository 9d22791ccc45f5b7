"""The lease by which others know that this process serves, and where the others' leases are."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from bargein.protocol.ids import NodeId
from bargein.timeline.redis.keys import NODES, OUTBOXES, SERVING, VERSION, buried_key, lease_key
from bargein.timeline.redis.link import Ask, Refused
from bargein.timeline.redis.scripts import SERVE, Command
from bargein.timeline.store import StoreUnavailable

log = structlog.get_logger(__name__)

LAYOUT: Final = 2
"""Version of the keys and scripts; a higher one was written by newer code."""

LEASE_S: Final = 3.0
"""How long a server that says nothing more is taken to serve."""

RENEW_S: Final = 0.5

LISTED_S: Final = 1.0
"""How long a new server is listed before it takes anything from another: longer than what a restart
or a failover of Redis may lose, so that whoever was away learns that it was there.
"""


def new_node_id() -> NodeId:
    """Name this life of this process: its host, its number, and chance."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64] or "host"
    return NodeId(f"{host}.{os.getpid()}.{secrets.token_hex(4)}")


@define(eq=False)
class Lease:
    """What this process says of itself, and whether it has said so in time.

    Lives as long as the process. The store keeps it, and gives it up behind its last append.

    Attributes:
        me: The name of this process.
        facts: What it tells the others, anew with each renewal.
        on_lapsed: Called when the lease had run out, and is held again: others may have taken
            what was ours. Must not wait.
    """

    me: NodeId = field(factory=new_node_id)
    facts: Callable[[], dict[str, Any]] = field(default=dict[str, Any], init=False)
    on_lapsed: Callable[[], None] | None = field(default=None, init=False)
    _said_s: float | None = field(default=None, init=False)
    _sure_s: float = field(default=0.0, init=False)

    @property
    def is_sure(self) -> bool:
        """Whether a missing lease of another says that it has gone.

        Not for a while after our own had run out: Redis may have been away from everybody, and
        the others may only be later than we are.
        """
        return trio.current_time() >= self._sure_s and not self.has_run_out

    @property
    def sure_from_s(self) -> float:
        """From when on it is, by trio's clock; later with each new doubt."""
        return self._sure_s

    @property
    def has_run_out(self) -> bool:
        """Whether it has by our own clock, as after a long pause."""
        return self._said_s is not None and trio.current_time() - self._said_s > LEASE_S

    def renewal(self) -> Command:
        """Return the call that says for another while that this process serves."""
        facts = json.dumps(self.facts(), separators=(",", ":"))
        return self._call(LEASE_S, facts)

    def farewell(self) -> Command:
        """Return the call that gives it up."""
        return self._call(0, "")

    def renewed(self, asked_s: float, *, was_there: bool) -> bool:
        """Note that a renewal asked for at *asked_s* was answered.

        Return whether it came too late: others may have claimed what was ours. Where only Redis
        has forgotten the lease nobody may have, not so soon.

        Args:
            asked_s: By trio's clock, in seconds.
            was_there: Whether Redis still had the lease.
        """
        came_late = self.has_run_out
        if self._said_s is None:
            self.doubt(LISTED_S)
        has_lapsed = self._said_s is not None and (came_late or not was_there)
        self._said_s = asked_s
        if has_lapsed:
            self.doubt(LEASE_S)
            log.warning("node.lease_had_run_out", node=self.me)
            if self.on_lapsed is not None:
                self.on_lapsed()
        return came_late

    def doubt(self, for_s: float) -> None:
        """Take no missing lease for a sign for a while: its owner may not have come yet."""
        self._sure_s = max(self._sure_s, trio.current_time() + for_s)

    def _call(self, lease_s: float, facts: str) -> Command:
        keys = [lease_key(self.me), NODES, VERSION, SERVING, OUTBOXES, buried_key(self.me)]
        return SERVE.call(keys, self.me, round(lease_s * 1000), facts, LAYOUT)


async def lives(ask: Ask, node: NodeId) -> bool:
    """Say whether a node has a lease.

    Raises:
        LinkLost: If there is no answer.
        StoreUnavailable: If Redis refuses it.
    """
    (answer,) = await ask(((b"EXISTS", lease_key(node)),))
    _raise_if_refused(answer)
    return answer == 1


def _raise_if_refused(answer: Any) -> None:
    if isinstance(answer, Refused):
        raise StoreUnavailable(answer.text)


async def leases(ask: Ask, besides: Iterable[NodeId] = ()) -> dict[NodeId, dict[str, Any] | None]:
    """Return what each node says of itself; None of those that say nothing any more.

    Args:
        ask: Asks Redis.
        besides: Nodes to look at that may not be listed.

    Raises:
        LinkLost: If there is no answer.
        StoreUnavailable: If Redis refuses it.
    """
    (listed,) = await ask(((b"SMEMBERS", NODES),))
    _raise_if_refused(listed)
    names = sorted({NodeId(name.decode()) for name in listed}.union(besides))
    if not names:
        return {}
    (texts,) = await ask(((b"MGET", *map(lease_key, names)),))
    _raise_if_refused(texts)
    return {
        name: None if text is None else json.loads(text)
        for name, text in zip(names, texts, strict=True)
    }
