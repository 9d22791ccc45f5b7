"""Who somebody is, by what right, and how they are told that it is none."""

from __future__ import annotations

from attrs import field, frozen

from bargein.protocol.codes import CloseCode
from bargein.protocol.commands import Role
from bargein.protocol.frames import Problem


@frozen
class Identity:
    """Who a client is.

    Attributes:
        principal: Whom its sessions belong to, together with the tenant.
        tenant: Whose principal that is, where a server has several customers.
        tier: Which quotas hold.
    """

    principal: str = "anonymous"
    tenant: str | None = None
    tier: str = "standard"

    @property
    def owner(self) -> tuple[str, str | None]:
        """Return what a session notes of whom it belongs to."""
        return self.principal, self.tenant


@frozen
class Credential:
    """What a good token says.

    Attributes:
        identity: Whose it is.
        role: The most that its holder may do.
        token_id: Its `jti`, None where it has none.
        ends_at_s: When it ends, leeway included (seconds since 1970, UTC); None for never.
    """

    identity: Identity = field(factory=Identity)
    role: Role = "drive"
    token_id: str | None = None
    ends_at_s: float | None = None


@frozen
class Denial:
    """Why somebody who is upgraded already can't stay: a close code and no `hello`.

    Attributes:
        code: Close code.
        reason: Goes into the close frame.
        problem: Sent before it, where the code alone says too little.
    """

    code: CloseCode
    reason: str
    problem: Problem | None = None
