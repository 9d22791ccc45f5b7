"""The port for those who look after what is stored: list, measure, erase, audit."""

from __future__ import annotations

from typing import Protocol

import msgspec
from attrs import frozen

from bargein.protocol.ids import SessionId
from bargein.timeline.audit import AuditEntry, AuditHead, AuditLine
from bargein.timeline.recent import Asked, RecentPage
from bargein.timeline.store import SessionRow, Store


@frozen
class Listed:
    """A session in the list of all of them.

    Attributes:
        place: Where it stands in the list, which is in the order of opening.
        last_at: Time of its newest event, as UTC text; when it was opened, if that
            event has none.
    """

    place: int
    row: SessionRow
    last_at: str


@frozen
class Erasure:
    """A session that somebody has asked to be erased.

    Attributes:
        asked_at: When, as UTC text.
        by: Who asked.
    """

    session_id: SessionId
    asked_at: str
    by: str


class Archive(Store, Protocol):
    """A store that can be looked after; what `Store` says holds here, too."""

    async def sessions(self, after: int, *, limit: int) -> list[Listed]:
        """List at most *limit* sessions behind place *after*, oldest first.

        Damaged ones are left out, so an empty page is the end and a short one is not.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def recent_of(self, asked: Asked) -> RecentPage:
        """List sessions of a principal, newest activity first.

        A session in which something happens between two pages has moved to the top, and is
        missing further down. Of more than 10,000 only those opened last are listed.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def session_names(self) -> list[SessionId]:
        """List all sessions by name, in any order; damaged ones, too.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def session_ids_of(self, principal: str, tenant: str | None) -> list[SessionId]:
        """List all sessions of a principal within a tenant, oldest first; damaged ones, too.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def size_bytes(self, session_id: SessionId) -> int:
        """Add up the frames of a session; reads all of it, so ask once and then count.

        Raises:
            TimelineCorrupt: If it can't be read.
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def erase(self, session_id: SessionId, audit: tuple[AuditEntry, ...] = ()) -> bool:
        """Erase a session whole, and return once nothing of it is left in the store.

        Nobody finds it from the first moment on. *audit* is stored if and only if it
        was there, which is what is returned. The session must not be live in this
        process, and takes no later append (`SeqConflict`).

        Raises:
            AuditCorrupt: If *audit* can't be stored; nothing was erased.
            StoreUnavailable: If it can't be written now; try again.
            StoreDead: If it can't be written at all.
        """
        ...

    async def ask_erasure(self, erasures: tuple[Erasure, ...]) -> None:
        """Leave word that sessions are to be erased by whoever serves this store.

        It stays until they are erased, across restarts.

        Raises:
            StoreUnavailable: If it can't be written now; try again.
            StoreDead: If it can't be written at all.
        """
        ...

    async def erasures_asked(self) -> list[Erasure]:
        """List the sessions that are still to be erased, first asked first.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
        """
        ...

    async def audit_lines(self, after: int, *, limit: int) -> list[AuditLine]:
        """Read at most *limit* lines of the audit behind number *after*, unchecked.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
            StoreDead: If it can't be read at all.
        """
        ...

    async def audit_head(self) -> AuditHead | None:
        """Read what was noted of the audit's last line; None if that is damaged.

        Raises:
            StoreUnavailable: If it can't be read now; try again.
            StoreDead: If it can't be read at all.
        """
        ...


class _Timed(msgspec.Struct):
    ts: str


def time_of(frame: object) -> str | None:
    """Return the `ts` of an encoded event, or None if it has none that can be read."""
    try:
        return msgspec.json.decode(frame, type=_Timed).ts if isinstance(frame, bytes) else None
    except msgspec.MsgspecError:
        return None
