"""What a process uses of a cluster that serves alone: nobody else is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from attrs import define, frozen

from bargein.cluster.bus import Receive
from bargein.cluster.nodes import Node, OnGone
from bargein.protocol.ids import NodeId

ME: Final = NodeId("alone")


@define(eq=False)
class LoneNode:
    """Knows of this process alone."""

    me: NodeId = ME

    async def run(
        self,
        on_gone: OnGone,
        facts: Callable[[], dict[str, Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Wait until cancelled: nobody can go."""
        del on_gone, facts
        task_status.started()
        await trio.sleep_forever()

    async def bury(self, node: NodeId) -> None:
        """Do nothing: nobody else is there to want what it had."""

    async def everybody(self) -> list[Node]:
        """List this process."""
        await trio.lowlevel.checkpoint()
        return [Node(self.me, {})]


@frozen
class NoBus:
    """Carries nothing: there is nobody to write to."""

    def send(self, to: NodeId, letter: bytes) -> None:
        """Throw *letter* away."""

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Wait until cancelled: nobody writes."""
        del receive
        task_status.started()
        await trio.sleep_forever()
