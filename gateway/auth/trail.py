"""What the audit is told of who came in, and who was not let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define

from bargein.actors.clock import Clock, utc_text
from bargein.gateway.auth.identity import Credential
from bargein.protocol.ids import SessionId
from bargein.timeline.audit import AuditEntry


@define(eq=False)
class Trail:
    """Note acts of auth on the store's audit, never a token.  Lives as long as the process."""

    _record: Callable[[Iterable[AuditEntry]], None]
    _clock: Clock

    def note(
        self,
        act: str,
        credential: Credential | None = None,
        *,
        session_id: str | None = None,
        subject: str | None = None,
        by: str | None = None,
    ) -> None:
        """Note one act; it is durable with the store's next group.

        Args:
            act: A noun and what became of it: `auth.refused`.
            credential: Whose, where that is known.
            session_id: Which session it was about.
            subject: Why, or what it was done to.
            by: The address that it came from.
        """
        identity = None if credential is None else credential.identity
        entry = AuditEntry(
            ts=utc_text(self._clock.utc_ms()),
            act=act,
            session_id=None if session_id is None else SessionId(session_id),
            principal=None if identity is None else identity.principal,
            tenant=None if identity is None else identity.tenant,
            subject=subject,
            by=by,
        )
        self._record((entry,))
