"""Who is here, and may no longer be: expiry, revocation and age of every connection."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.gateway.auth.authority import Authority
from bargein.gateway.auth.identity import Credential
from bargein.gateway.auth.trail import Trail
from bargein.protocol.codes import CloseCode

LONGEST_S: Final = 12 * 3600.0

End = Callable[[CloseCode, str], None]

_log = structlog.get_logger()


@define(eq=False)
class Stay:
    """One connection's right to be here.

    Attributes:
        credential: The latest token's.
        began_s: When it came (trio's clock, seconds).
        end: Closes it.
    """

    credential: Credential
    began_s: float
    end: End


@define(eq=False)
class Stays:
    """Everybody who is here.  Lives as long as the process.

    One task looks after all of them, so that a connection costs none.

    Attributes:
        longest_s: How long a connection may last; may be changed at any time.
        look_s: Time between two looks; may be changed, too.
    """

    _authority: Authority | None = None
    longest_s: float = LONGEST_S
    look_s: float = 1.0
    _trail: Trail | None = None
    _stays: set[Stay] = field(factory=set[Stay], init=False)

    @contextmanager
    def begin(self, credential: Credential, end: End) -> Generator[Stay]:
        """Watch one connection for as long as the block runs."""
        stay = Stay(credential, trio.current_time(), end)
        self._stays.add(stay)
        try:
            yield stay
        finally:
            self._stays.discard(stay)

    def note_denied(self, stay: Stay, session_id: str | None) -> None:
        """Note that somebody asked for a session which is not theirs, or not there."""
        if self._trail is not None:
            self._trail.note("session.denied", stay.credential, session_id=session_id)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await trio.sleep(self.look_s)
            if self._authority is not None:
                await self._authority.refresh()
            self.look()

    def look(self) -> None:
        """Close the connections whose time is over."""
        now_s, utc_s = trio.current_time(), 0.0
        if self._authority is not None:
            utc_s = self._authority.now_s
        for stay in tuple(self._stays):
            verdict = self._verdict_on(stay, now_s, utc_s)
            if verdict is None:
                continue
            code, reason = verdict
            self._stays.discard(stay)
            principal = stay.credential.identity.principal
            _log.info("auth.stay_ended", principal=principal, reason=reason, code=int(code))
            if self._trail is not None:
                self._trail.note("auth.stay_ended", stay.credential, subject=reason)
            stay.end(code, reason)

    def _verdict_on(self, stay: Stay, now_s: float, utc_s: float) -> tuple[CloseCode, str] | None:
        ends_at_s = stay.credential.ends_at_s
        if self._authority is not None:
            if self._authority.is_revoked(stay.credential):
                return CloseCode.REVOKED, "access was revoked"
            if ends_at_s is not None and ends_at_s <= utc_s:
                return CloseCode.UNAUTHORIZED, "the token has expired"
        if now_s - stay.began_s >= self.longest_s:
            return CloseCode.DRAIN, "connected for as long as one may; come back"
        return None
