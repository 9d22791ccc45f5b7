"""The port of who serves: which nodes there are, and which of them have gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

import trio
from attrs import frozen

from bargein.protocol.ids import NodeId

OnGone: TypeAlias = Callable[[NodeId], Awaitable[None]]
"""Told of each node whose lease has run out, or that has said goodbye.

Raises `LeftToOthers` where others are to follow that node, a `StoreError` to be told again.
"""


class LeftToOthers(Exception):
    """A node that has gone is not followed by this one: it stays listed, for all who come later.

    Attributes:
        node: Which one.
    """

    def __init__(self, node: NodeId) -> None:
        super().__init__(f"{node} is left to others to be followed")
        self.node = node


@frozen
class Node:
    """A process that serves, as the others see it.

    Attributes:
        facts: What it says of itself, as JSON: where it runs and how busy it is.
    """

    id: NodeId
    facts: dict[str, Any]


class Nodes(Protocol):
    """Keeps the lease of this process, and watches those of the others.

    Attributes:
        me: This process.
    """

    me: NodeId

    async def run(
        self,
        on_gone: OnGone,
        facts: Callable[[], dict[str, Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Renew the lease, with what *facts* says, until cancelled; then give it up.

        Every other node that goes is told of once to *on_gone*, on each node that is left. So is
        this one, on itself, when its lease had run out and is held again: others may have taken
        its sessions by then.
        """
        ...

    async def bury(self, node: NodeId) -> None:
        """End the lease of a node whose process is known to have ended; never raises.

        Where that fails it is tried again for a while; its lease runs out by itself, too.
        """
        ...

    async def everybody(self) -> list[Node]:
        """List the nodes that live, this one too.

        Raises:
            StoreError: If that can't be known now.
        """
        ...
