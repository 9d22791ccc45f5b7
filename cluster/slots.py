"""The port of model slots that all servers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import trio

from bargein.actors.slot_queue import SlotTerms
from bargein.actors.slots import Slots
from bargein.cluster.letters import SlotsMoved
from bargein.protocol.ids import NodeId

Tell: TypeAlias = Callable[[NodeId, SlotsMoved], None]
"""Writes to a node which of its turns have a slot now, or lose theirs.  Must not wait or fail."""


class SharedSlots(Slots, Protocol):
    """Shares out slots of which there are so many for all servers together.

    Lives as long as the process.
    """

    def hold_to(self, terms: SlotTerms) -> None:
        """Share slots in another way from now on; whoever has one keeps it."""
        ...

    def moved(self, letter: SlotsMoved) -> None:
        """Take note of what another node has found out about claims of this one."""
        ...

    def lost(self, node: NodeId) -> None:
        """Let others have the slots of a node that has gone; if it lives, it is counted again."""
        ...

    async def run(
        self, tell: Tell, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Ask for slots and give them back until cancelled; then give back all that is left."""
        ...
