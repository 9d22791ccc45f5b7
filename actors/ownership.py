"""Which process runs a session: the port, and the answer where there is one process alone."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.store import StoreUnavailable


class Ownership(Protocol):
    """Says which process may append to a session.  Lives as long as the process."""

    async def claim(self, session_id: SessionId) -> NodeId | None:
        """Make this process the owner, unless a living one is; return which other is.

        None says that it is ours, from now on and until `release`: what a former owner
        still appends is refused by the store itself.

        Raises:
            StoreError: If that can't be known or done now; try again.
        """
        ...

    async def hold(self, session_id: SessionId) -> NodeId | None:
        """Stay the owner of a session in memory; return who else is, or was since the claim.

        None says that it was ours all the time. Who has had it meanwhile may have left it again:
        what is in memory of it is out of date all the same, and takes no append any more.

        Raises:
            StoreError: If that can't be known or done now; try again.
        """
        ...

    async def lives(self, node: NodeId) -> bool:
        """Say whether a process that owns something is known to live.

        A claim also leaves a session to an owner of whom that is in doubt; whoever takes over
        what the dead have left has to know which it was.

        Raises:
            StoreError: If that can't be known now; try again.
        """
        ...

    def release(self, session_id: SessionId) -> None:
        """Let anybody own a session of ours that has left memory.  Never waits, never fails."""
        ...


@frozen
class SoleOwner:
    """Owns every session: there is one process, and the store sees to that."""

    async def claim(self, session_id: SessionId) -> NodeId | None:
        """Say that it is ours."""
        del session_id

    async def hold(self, session_id: SessionId) -> NodeId | None:
        """Say that it is ours."""
        del session_id

    async def lives(self, node: NodeId) -> bool:
        """Say that it does: it is this process."""
        del node
        return True

    def release(self, session_id: SessionId) -> None:
        """Keep it: nobody else is there to want it."""


class OwnedElsewhere(Exception):
    """Another living process owns the session: follow it there.

    Attributes:
        session_id: The session.
        owner: Whose it is.
    """

    def __init__(self, session_id: SessionId, owner: NodeId) -> None:
        super().__init__(f"{session_id} is owned by {owner}")
        self.session_id = session_id
        self.owner = owner


class OwnerInDoubt(StoreUnavailable):
    """Nobody knows whether the owner of a session still lives: take it over later, or leave it.

    Attributes:
        session_id: The session.
        owner: Whose it is.
    """

    def __init__(self, session_id: SessionId, owner: NodeId) -> None:
        super().__init__(f"whether {owner} lives, which owns {session_id}, is in doubt")
        self.session_id = session_id
        self.owner = owner
