"""What the fake of Anthropic's API can answer: values, no server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from attrs import field, frozen


@frozen
class Say:
    """One text delta."""

    text: str


@frozen
class Wait:
    """A pause, in seconds."""

    s: float


@frozen
class Call:
    """A tool_use block; *pieces* is its arguments' JSON as it is streamed."""

    call_id: str
    tool: str
    pieces: tuple[str, ...]


@frozen
class Raw:
    """Bytes of the body as they are, in a chunk of their own."""

    body: bytes


@frozen
class Ping:
    """A ping event."""


@frozen
class Fail:
    """An `error` event in mid-stream, after which the body ends cleanly."""

    kind: str = "overloaded_error"


@frozen
class Cut:
    """The connection is reset."""


@frozen
class Leave:
    """The body ends cleanly, without the message's end."""


@frozen
class Hang:
    """Nothing more comes, until the client goes."""


@frozen
class Stop:
    """The proper end, with a reason of one's choice; an answer without an end gets one."""

    reason: str = "end_turn"


Step: TypeAlias = Say | Wait | Call | Raw | Ping | Fail | Cut | Leave | Hang | Stop


@frozen
class Stream:
    """An answer that streams.

    Attributes:
        steps: What it does after `message_start`.
        interval_s: Pause before each text delta but the first.
        first_s: Pause before the first step.
        gzipped: Whether the body is compressed, each piece flushed.
        headers: Further response headers.
    """

    steps: tuple[Step, ...]
    interval_s: float = 0.0
    first_s: float = 0.0
    gzipped: bool = False
    headers: Mapping[str, str] = field(factory=dict[str, str])


@frozen
class Refusal:
    """An answer with an HTTP error status."""

    status: int
    kind: str
    message: str = "a fake error"
    headers: Mapping[str, str] = field(factory=dict[str, str])


@frozen
class Plain:
    """An answer in one piece, byte for byte: head, body, and then the connection is closed."""

    response: bytes


@frozen
class Silence:
    """The request is read and never answered."""


Answer: TypeAlias = Stream | Refusal | Plain | Silence


def saying(*texts: str, interval_s: float = 0.0, first_s: float = 0.0) -> Stream:
    """Return an answer that says *texts*, one delta each."""
    return Stream(tuple(Say(text) for text in texts), interval_s=interval_s, first_s=first_s)


def doing(*steps: Step) -> Stream:
    """Return an answer of *steps*."""
    return Stream(steps)


def refusing(status: int, kind: str, **headers: str) -> Refusal:
    """Return an error; `retry_after="2"` becomes the header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(status, kind, headers=named)
