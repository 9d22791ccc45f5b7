"""Who serves from one Redis, for somebody who only looks."""

from __future__ import annotations

from typing import Any, Final

import trio

from bargein.cluster.nodes import Node
from bargein.cluster.redis_nodes import RedisNodes
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.lease import Lease
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreUnavailable

ASK_LIMIT_S: Final = 5.0


async def listed_nodes(address: Address) -> list[Node]:
    """List who serves from a Redis, on every machine, by name.

    Raises:
        StoreUnavailable: If that can't be known now; try again.
    """
    # A lease that nobody keeps: who looks is not among those whom it sees.
    nodes = RedisNodes(address, Lease())
    found: list[Node] | None = None
    with trio.move_on_after(ASK_LIMIT_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(nodes.run, _leave, dict[str, Any])
            found = await nodes.everybody()
            nursery.cancel_scope.cancel(reason="it is known")
    if found is None:
        raise StoreUnavailable("Redis does not answer")
    return sorted(found, key=lambda node: node.id)


async def _leave(_: NodeId) -> None:
    """Follow nobody who has gone."""
