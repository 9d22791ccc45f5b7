"""The port of what carries letters between the processes that serve together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

import trio

from bargein.protocol.ids import NodeId

Receive: TypeAlias = Callable[[NodeId, bytes], None]
"""Told of each letter: who sent it, and what it says.  Must not wait, and must not raise."""


class Bus(Protocol):
    """Carries letters to the inboxes of other nodes.  Lives as long as the process.

    Letters of one node to one other arrive in the order sent, each at most once.  One may be
    lost, with the node that it goes to or with what carries it: whoever counts on an answer
    sets a deadline.
    """

    def send(self, to: NodeId, letter: bytes) -> None:
        """Put *letter* into the inbox of a node.  Never waits and never fails."""
        ...

    async def run(
        self, receive: Receive, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Carry letters until cancelled; *receive* is given what comes to this node."""
        ...
