"""The registry of error codes and close codes: every way in which the server says no.

One sentence for each.  A range of close codes tells a client what to do next:
4000-4099 reconnect with `after`, 4100-4199 do not.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final


class ErrorCode(StrEnum):
    """What went wrong, as it stands in `error.code`."""

    INVALID_JSON = "invalid_json"
    INVALID_COMMAND = "invalid_command"
    UNKNOWN_COMMAND = "unknown_command"
    FRAME_TOO_LARGE = "frame_too_large"
    NOT_UTF8 = "not_utf8"
    BINARY_NOT_SUPPORTED = "binary_not_supported"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    DUPLICATE = "duplicate"
    EXPIRED = "expired"
    STALE = "stale"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    OVERLOADED = "overloaded"
    GUARDRAIL = "guardrail"
    MODEL_ERROR = "model_error"
    MODEL_OVERLOADED = "model_overloaded"
    MODEL_TIMEOUT = "model_timeout"
    MODEL_REFUSED = "model_refused"
    CONTEXT_OVERFLOW = "context_overflow"
    TOOL_ERROR = "tool_error"
    TOOL_TIMEOUT = "tool_timeout"
    TOOL_LIMIT = "tool_limit"
    PLAN_INVALID = "plan_invalid"
    STORE_UNAVAILABLE = "store_unavailable"
    TIMELINE_CORRUPT = "timeline_corrupt"
    SERVER_RESTARTED = "server_restarted"
    INTERNAL = "internal"

    @property
    def sentence(self) -> str:
        """Say in one sentence what a person can do about it."""
        return SENTENCES[self]

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later, unchanged."""
        return self in RETRYABLE


SENTENCES: Final[dict[ErrorCode, str]] = {
    ErrorCode.INVALID_JSON: "This is not the JSON that bargein takes; mend it and send it again.",
    ErrorCode.INVALID_COMMAND: "A field of this command is missing or wrong; see `param`.",
    ErrorCode.UNKNOWN_COMMAND: "There is no command of this type; /protocol.json lists them.",
    ErrorCode.FRAME_TOO_LARGE: "A command may have 64 KiB; send less, or in parts.",
    ErrorCode.NOT_UTF8: "A text frame has to be UTF-8.",
    ErrorCode.BINARY_NOT_SUPPORTED: "Commands are JSON in text frames; send this as one.",
    ErrorCode.UNAUTHORIZED: "The token is missing, wrong or expired; get a new one.",
    ErrorCode.FORBIDDEN: "Your role does not allow this.",
    ErrorCode.NOT_FOUND: "There is nothing of this name here.",
    ErrorCode.BUSY: "A turn is running and cannot take this now; wait, or interrupt it.",
    ErrorCode.DUPLICATE: "This command id was used before, with another body; choose a new one.",
    ErrorCode.EXPIRED: "It is too late for this: its time has run out.",
    ErrorCode.STALE: "This was decided, ended or replaced before; look at the present state.",
    ErrorCode.RATE_LIMITED: "Too many commands in a short time; wait a moment.",
    ErrorCode.QUOTA_EXCEEDED: "A quota is used up; `param` says which.",
    ErrorCode.OVERLOADED: "The server has more work than it can take; try again soon.",
    ErrorCode.GUARDRAIL: "A guardrail stopped this request; its reason is on the timeline.",
    ErrorCode.MODEL_ERROR: "The model failed; say it again, or resume with the token.",
    ErrorCode.MODEL_OVERLOADED: "The model has no capacity at the moment; try again soon.",
    ErrorCode.MODEL_TIMEOUT: "The model did not answer in time; try again.",
    ErrorCode.MODEL_REFUSED: "The model declined to answer this.",
    ErrorCode.CONTEXT_OVERFLOW: "The conversation is longer than the model can read.",
    ErrorCode.TOOL_ERROR: "A tool failed; the agent was told.",
    ErrorCode.TOOL_TIMEOUT: "A tool did not finish in time; the agent was told.",
    ErrorCode.TOOL_LIMIT: "The turn used all the tool calls that it may make.",
    ErrorCode.PLAN_INVALID: "The planner gave no usable plan.",
    ErrorCode.STORE_UNAVAILABLE: "The store cannot take events at the moment; come back soon.",
    ErrorCode.TIMELINE_CORRUPT: "The stored history is damaged; an operator has to restore it.",
    ErrorCode.SERVER_RESTARTED: "The server restarted in the middle of this turn; resume it.",
    ErrorCode.INTERNAL: "Something failed on our side; reconnect, nothing stored is lost.",
}

RETRYABLE: Final = frozenset(
    {
        ErrorCode.BUSY,
        ErrorCode.RATE_LIMITED,
        ErrorCode.QUOTA_EXCEEDED,
        ErrorCode.OVERLOADED,
        ErrorCode.MODEL_ERROR,
        ErrorCode.MODEL_OVERLOADED,
        ErrorCode.MODEL_TIMEOUT,
        ErrorCode.TOOL_ERROR,
        ErrorCode.TOOL_TIMEOUT,
        ErrorCode.STORE_UNAVAILABLE,
        ErrorCode.SERVER_RESTARTED,
        ErrorCode.INTERNAL,
    }
)


class CloseCode(IntEnum):
    """Why a connection ended, beside the codes of RFC 6455."""

    NORMAL = 1000
    GOING_AWAY = 1001
    INTERNAL_ERROR = 1011
    DRAIN = 4000
    SLOW_CONSUMER = 4001
    OVERLOADED = 4002
    MOVED = 4003
    HEARTBEAT_LOST = 4004
    UNAUTHORIZED = 4100
    TOO_MANY_INVALID_FRAMES = 4101
    SESSION_CLOSED = 4102
    REVOKED = 4103
    NO_SUCH_SESSION = 4104

    @property
    def sentence(self) -> str:
        """Say in one sentence what happened and what a client should do."""
        return CLOSE_SENTENCES[self]

    @property
    def reconnect(self) -> bool:
        """Whether a client should come back with `after`."""
        return self in RECONNECT


RECONNECT: Final = range(4000, 4100)
"""Close codes after which a client comes back with `after`; from 4100 on it does not."""

CLOSE_SENTENCES: Final[dict[CloseCode, str]] = {
    CloseCode.NORMAL: "The connection ended as one side wished.",
    CloseCode.GOING_AWAY: "One side goes away; a client may resume.",
    CloseCode.INTERNAL_ERROR: "Something failed on our side; reconnect, nothing stored is lost.",
    CloseCode.DRAIN: "The server drains; reconnect with `after`.",
    CloseCode.SLOW_CONSUMER: "The client read too slowly; reconnect with `after`.",
    CloseCode.OVERLOADED: "The server or a quota is full; reconnect later with `after`.",
    CloseCode.MOVED: "The session lives on another node now; reconnect with `after`.",
    CloseCode.HEARTBEAT_LOST: "The client was not heard any more; reconnect with `after`.",
    CloseCode.UNAUTHORIZED: "The token is missing, wrong or expired; get a new one.",
    CloseCode.TOO_MANY_INVALID_FRAMES: "Too many frames were invalid; mend the client.",
    CloseCode.SESSION_CLOSED: "The session is over for good; open a new one.",
    CloseCode.REVOKED: "Access was revoked.",
    CloseCode.NO_SUCH_SESSION: "There is no such session for you; open a new one.",
}
