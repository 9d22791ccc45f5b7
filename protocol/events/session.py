"""Events of the session itself: it opens, clients come and go, it closes."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import frozen
from msgspec import UNSET, UnsetType

from bargein.protocol.ids import SessionId


@frozen(slots=False)
class SessionOpened:
    """The session begins: which agent serves it, with which settings."""

    type: ClassVar[str] = "session.opened"
    agent: str
    config: dict[str, Any]
    resumed_from: SessionId | UnsetType = UNSET


@frozen(slots=False)
class SessionAttached:
    """A client is attached; `connections` counts them all, this one too."""

    type: ClassVar[str] = "session.attached"
    role: str
    connections: int


@frozen(slots=False)
class SessionDetached:
    """A client is gone; `connections` counts those that are left."""

    type: ClassVar[str] = "session.detached"
    role: str
    connections: int


@frozen(slots=False)
class SessionConfigured:
    """Settings changed; these are all of them, now."""

    type: ClassVar[str] = "session.configured"
    config: dict[str, Any]


@frozen(slots=False)
class SessionTitled:
    """The conversation has a title."""

    type: ClassVar[str] = "session.titled"
    title: str


@frozen(slots=False)
class SessionClosed:
    """The session is over for good; nothing comes after this."""

    type: ClassVar[str] = "session.closed"
    reason: str
