"""Where a stored session stands."""

from __future__ import annotations

from attrs import frozen

from bargein.protocol.ids import Epoch, Seq, SessionId
from bargein.timeline.store import SessionRow


@frozen
class Place:
    """Where a session's timeline stands, as a greeting needs to know it.

    Attributes:
        last_seq: The last event that anybody may have seen.
        closed: The session is over for good: it can be read, and nothing else.
    """

    session_id: SessionId
    principal: str
    tenant: str | None
    epoch: Epoch
    epoch_changed: bool
    last_seq: Seq
    closed: bool

    @property
    def owner(self) -> tuple[str, str | None]:
        """The principal that the session belongs to, and its tenant."""
        return self.principal, self.tenant


def place_of(row: SessionRow) -> Place:
    """Return the place that an index row tells of."""
    return Place(
        row.session_id,
        row.principal,
        row.tenant,
        row.epoch,
        row.epoch_changed,
        row.last_seq,
        row.closed,
    )
