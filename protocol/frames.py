"""Connection frames: what the server says to one connection alone.

They carry no `event_id` and are not stored.  `/protocol.json` describes them
from these classes.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, TypeAlias, get_args

from attrs import frozen
from msgspec import UNSET, Meta, UnsetType

from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Role
from bargein.protocol.ids import CommandId, Epoch, Seq, SessionId, TurnId

Limits = Annotated[
    dict[str, Any],
    Meta(
        extra_json_schema={
            "properties": {
                "durability": {
                    "enum": ["fsync", "server", "none", *(f"replicas:{n}" for n in range(1, 6))],
                    "description": "What has happened to an event before anybody sees it.",
                },
                "command_bytes": {"type": "integer", "description": "The largest command."},
                "frame_bytes": {
                    "type": "integer",
                    "description": "The largest message; one beyond it ends the connection.",
                },
                "queue_most": {"type": "integer", "description": "How many words may wait."},
                "history_events": {
                    "type": "integer",
                    "description": "The most events in a page of `history`.",
                },
            },
            "required": [
                "durability",
                "command_bytes",
                "frame_bytes",
                "queue_most",
                "history_events",
            ],
        }
    ),
]
"""What the server takes and keeps."""


@frozen(slots=False)
class You:
    """Who the server takes this client for."""

    principal: str
    role: Role
    tier: str


@frozen(slots=False)
class Hello:
    """The first frame of every connection."""

    type: ClassVar[str] = "hello"
    protocol: str
    server: str
    session_id: SessionId
    epoch: Epoch
    resumed: bool
    replay_from: Seq
    replay_to: Seq
    heartbeat_s: float
    limits: Limits
    you: You


@frozen(slots=False)
class Live:
    """Replay is over: the client has everything up to `seq`."""

    type: ClassVar[str] = "live"
    seq: Seq


@frozen(slots=False)
class Reply:
    """A command was accepted, and this came of it; `at_seq` is out already."""

    type: ClassVar[str] = "reply"
    command_id: CommandId | None
    result: Any
    at_seq: Seq


@frozen(slots=False)
class Problem:
    """What is wrong with a command, and what a person can do about it.

    Attributes:
        retry_after_ms: When the same command is likely to be taken, where that is known.
    """

    code: ErrorCode
    message: str
    retryable: bool
    param: str | None = None
    retry_after_ms: int | UnsetType = UNSET


@frozen(slots=False)
class Refused:
    """A command or frame was refused; the connection stays open."""

    type: ClassVar[str] = "error"
    command_id: CommandId | None
    error: Problem


@frozen(slots=False)
class Flush:
    """An interrupt was accepted: show no more of that turn."""

    type: ClassVar[str] = "flush"
    turn_id: TurnId
    seq: Seq


@frozen(slots=False)
class Pause:
    """Speech was heard and it isn't decided whether it interrupts: hold playback."""

    type: ClassVar[str] = "pause"
    turn_id: TurnId


@frozen(slots=False)
class Unpause:
    """It was no interruption: go on."""

    type: ClassVar[str] = "unpause"
    turn_id: TurnId


@frozen(slots=False)
class Pong:
    """The answer to `ping`."""

    type: ClassVar[str] = "pong"
    nonce: str | int | None
    server_ts: str
    command_id: CommandId | UnsetType = UNSET


@frozen(slots=False)
class Lagging:
    """From here to `caught_up`, runs of tokens come merged."""

    type: ClassVar[str] = "lagging"
    behind: int


@frozen(slots=False)
class CaughtUp:
    """The client keeps up again."""

    type: ClassVar[str] = "caught_up"
    seq: Seq


@frozen(slots=False)
class GoAway:
    """The server drains: finish reading, reconnect with `after`."""

    type: ClassVar[str] = "go_away"
    reason: str
    reconnect_after_ms: int


Frame: TypeAlias = (
    Hello | Live | Reply | Refused | Flush | Pause | Unpause | Pong | Lagging | CaughtUp | GoAway
)

FRAMES: Final[dict[str, type[Frame]]] = {frame.type: frame for frame in get_args(Frame)}


def problem(
    code: ErrorCode,
    message: str = "",
    *,
    param: str | None = None,
    retryable: bool | None = None,
    retry_after_ms: int | UnsetType = UNSET,
) -> Problem:
    """Return the problem of *code*, with the registry's sentence if *message* is empty."""
    return Problem(
        code,
        message or code.sentence,
        code.retryable if retryable is None else retryable,
        param,
        retry_after_ms,
    )
