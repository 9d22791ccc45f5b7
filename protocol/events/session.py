"""Events of the session itself: it opens, clients come and go, it closes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, get_args

from attrs import frozen
from msgspec import UNSET, Meta, UnsetType

from bargein.protocol.commands import OnDisconnect, Role
from bargein.protocol.ids import SessionId

Config = Annotated[
    dict[str, Any],
    Meta(
        extra_json_schema={
            "properties": {
                "app": {"type": "string", "description": "The app that is served."},
                "agent": {"type": "string", "description": "Who answers."},
                "model": {"type": "string", "description": "What that one asks by default."},
                "on_disconnect": {"enum": list(get_args(OnDisconnect))},
                "voice": {"type": "boolean"},
                "budgets": {
                    "type": "object",
                    "properties": {
                        name: {"type": ["number", "null"]}
                        for name in ("first_token_ms", "turn_ms", "cancel_ms")
                    },
                },
            }
        }
    ),
]
"""The settings of a session.  A timeline of another version may have others."""


@frozen(slots=False)
class SessionOpened:
    """The session begins: which agent serves it, with which settings."""

    type: ClassVar[str] = "session.opened"
    agent: str
    config: Config
    resumed_from: SessionId | UnsetType = UNSET


@frozen(slots=False)
class SessionAttached:
    """A client is attached; `connections` counts them all, this one too."""

    type: ClassVar[str] = "session.attached"
    role: Role
    connections: int


@frozen(slots=False)
class SessionDetached:
    """A client is gone; `connections` counts those that are left."""

    type: ClassVar[str] = "session.detached"
    role: Role
    connections: int


@frozen(slots=False)
class SessionConfigured:
    """Settings changed; these are all of them, now."""

    type: ClassVar[str] = "session.configured"
    config: Config


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
