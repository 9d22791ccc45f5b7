"""The port to a model: what is asked of one, what is heard from it, how it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
from attrs import field, frozen

from bargein.protocol.ids import CallId

MALFORMED_LIMIT_BYTES: Final = 8 * 1024
"""How much of a tool call that could not be read is kept: enough to see why."""

INTERRUPTED: Final = "[interrupted by the user]"
"""What an answer that was cut short ends with in the next request's history."""

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

ModelCode: TypeAlias = Literal[
    "model_error",
    "model_overloaded",
    "model_timeout",
    "model_refused",
    "context_overflow",
    "quota_exceeded",
]
TimeoutPhase: TypeAlias = Literal["connect", "first_token", "gap", "whole"]


def clean(text: str) -> str:
    """Return *text* as UTF-8 can carry it: what is no character becomes U+FFFD."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


@frozen
class Text:
    """A run of words."""

    text: str


@frozen
class ToolUse:
    """A call of a tool, as the model made it.

    Attributes:
        call_id: The model's name for this call; its outcome bears the same.
        tool: Name of the tool.
        args: Arguments; empty where they were malformed.
        malformed: What the model wrote instead of a JSON object, cut to 8 KiB; None for a call
            that can be run.  Answer a malformed call with a failed outcome and don't run it: the
            model then repeats it properly, and no tool ever sees invented arguments.
    """

    call_id: CallId
    tool: str
    args: Mapping[str, Any]
    malformed: str | None = None


@frozen
class ToolOutcome:
    """What a tool answered, for the model to read."""

    call_id: CallId
    content: str
    failed: bool = False


Block: TypeAlias = Text | ToolUse | ToolOutcome


@frozen
class Message:
    """One message of the conversation.

    A plain string reaches the vendor as that string, unchanged.
    """

    role: Literal["user", "assistant"]
    content: str | tuple[Block, ...]


def plain_json(role: str, content: str) -> bytes:
    """Return a message of plain words in JSON, as vendors have it."""
    return msgspec.json.encode({"role": role, "content": clean(content)})


@frozen(eq=False)
class Past:
    """What a conversation begins with, in JSON: made once for all turns that follow.

    Attributes:
        messages: Messages of plain words, at least one.
        json: The same, each as `plain_json` has it, with commas between.
    """

    messages: tuple[Message, ...]
    json: bytes = field(repr=False)


@frozen
class ToolSpec:
    """A tool as the model is told of it.

    Attributes:
        name: What the model calls it.
        description: When to use it and what it answers.
        schema: JSON Schema of its arguments, an object.
    """

    name: str
    description: str
    schema: Mapping[str, Any]


@frozen
class ModelRequest:
    """One question to a model: the whole conversation so far.

    Attributes:
        model: Name of the model; None takes the client's own.
        system: Instructions; may be empty.
        messages: The conversation, the user's latest words last.
        tools: What the model may call.
        max_tokens: Most that it may answer.
        past: What `messages` may begin with.  It says nothing that they don't, and spares time;
            where they begin otherwise, it is passed over.
    """

    model: str | None
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_tokens: int = 4096
    past: Past | None = field(default=None, eq=False, repr=False)


@frozen
class Usage:
    """What a call cost, in the vendor's tokens.

    Attributes:
        input_tokens: Tokens read, those read from a cache included.
        output_tokens: Tokens written.
        estimated: True where the output was counted by us, because the stream did not finish.
    """

    input_tokens: int
    output_tokens: int
    estimated: bool


@frozen
class Completion:
    """How a stream ended that ended well.

    Attributes:
        stop_reason: The vendor's word, such as `end_turn`, `tool_use`, `max_tokens`, `refusal`.
        usage: What it cost.
    """

    stop_reason: str
    usage: Usage


class Listener(Protocol):
    """What hears a stream.

    All but `room` are plain methods, called in the reader's task: they must neither block nor
    raise.  What they are told is in the order in which the model said it.
    """

    def started(self, input_tokens: int) -> None:
        """Hear that the model has begun; again after each `retrying`."""
        ...

    def heard(self, text: str, deltas: int) -> bool | None:
        """Hear *text*, which *deltas* deltas brought; return True if there is room for more.

        After anything else `room` is awaited before the next read.

        What one network read brings is joined.  A very long text comes in pieces: the first
        counts all its deltas, the others none, so the sum is always true.
        """
        ...

    def tool_called(self, call: ToolUse) -> None:
        """Hear a whole call."""
        ...

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        """Hear that try number *attempt* (2 is the first retry) begins in *after_s* seconds.

        *cause* is the code of the failure.  Nothing was heard before it.
        """
        ...

    async def room(self) -> None:
        """Wait while too much is buffered downstream; usually returns at once.

        It is awaited before the first read and wherever `heard` did not say that there is room,
        between two reads, where a cancellation is harmless.  It may be cancelled and called again.
        """
        ...


class Model(Protocol):
    """Someone who answers."""

    @property
    def name(self) -> str:
        """Name the model that answers where the request names none."""
        ...

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Ask *request* and let *listener* hear the answer.

        Cancelling it closes the connection to the vendor at once.

        Raises:
            ModelError: The answer did not come, or not to its end.  What was heard is kept.
        """
        ...


class ModelError(Exception):
    """A model did not answer, or not to the end.

    The message is for people and holds neither keys nor addresses nor the vendor's words.

    Attributes:
        code: Code of the protocol's registry.
        retryable: Whether the same question may be asked again with hope.
        began: Whether something had been heard: then nobody repeats it silently.
        usage: What it cost as far as that is known, output estimated; None if it never started.
        request_id: The vendor's name of the request, for the vendor's support; None if unknown.
    """

    code: ModelCode = "model_error"

    def __init__(self, message: str, *, retryable: bool, began: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.began = began
        self.usage: Usage | None = None
        self.request_id: str | None = None


class ModelOverloaded(ModelError):
    """The vendor has too much to do, or we asked too often: try again later.

    Attributes:
        retry_after_s: When the vendor wants to be asked again; None if it did not say.
    """

    code: ModelCode = "model_overloaded"

    def __init__(self, retry_after_s: float | None = None, *, began: bool = False) -> None:
        when = "" if retry_after_s is None else f" in {retry_after_s:g} s"
        super().__init__(
            f"The model is overloaded. Please try again{when or ' shortly'}.",
            retryable=True,
            began=began,
        )
        self.retry_after_s = retry_after_s


_TOO_SLOW: Final[dict[TimeoutPhase, str]] = {
    "connect": "The model could not be reached within {:g} s.",
    "first_token": "The model did not begin to answer within {:g} s.",
    "gap": "The model fell silent for {:g} s in the middle of its answer.",
    "whole": "The model's answer took longer than {:g} s and was ended.",
}


class ModelTimeout(ModelError):
    """The model was too slow.

    Attributes:
        phase: What took too long.
        limit_s: How long it was allowed to take.
    """

    code: ModelCode = "model_timeout"

    def __init__(self, phase: TimeoutPhase, limit_s: float, *, began: bool = False) -> None:
        super().__init__(_TOO_SLOW[phase].format(limit_s), retryable=True, began=began)
        self.phase: TimeoutPhase = phase
        self.limit_s = limit_s


class ModelFailed(ModelError):
    """The vendor failed, or refused the request as wrong.

    Attributes:
        status: HTTP status, where there was one.
    """

    def __init__(
        self, status: int | None = None, *, retryable: bool = True, began: bool = False
    ) -> None:
        what = (
            "The model failed. Please try again."
            if retryable
            else "The model's service does not accept this request. Its configuration needs a look."
        )
        super().__init__(what, retryable=retryable, began=began)
        self.status = status


class ModelUnreachable(ModelError):
    """No connection to the vendor could be made, or it broke before the answer."""

    def __init__(self) -> None:
        super().__init__("The model could not be reached. Please try again.", retryable=True)


class StreamTruncated(ModelError):
    """The answer broke off before its last message."""

    def __init__(self, *, began: bool = False) -> None:
        super().__init__(
            "The model's answer broke off. What came is kept; please try again.",
            retryable=True,
            began=began,
        )


class StreamMalformed(ModelError):
    """The answer was not in the vendor's own format."""

    def __init__(self, *, began: bool = False) -> None:
        super().__init__(
            "The model's answer could not be read. What came is kept; please try again.",
            retryable=True,
            began=began,
        )


class ModelUnauthorized(ModelError):
    """The vendor does not let us in: the operator has to mend the key or the account."""

    def __init__(self) -> None:
        super().__init__(
            "The model's service refuses the server's credentials. The operator has been told.",
            retryable=False,
        )


class ModelRefused(ModelError):
    """The model declined to answer.

    A vendor that declines in mid-stream ends it with a stop reason (`refusal`), which is no
    error; this is for one that declines before it begins, and for a caller that makes it one.
    """

    code: ModelCode = "model_refused"

    def __init__(self, *, began: bool = False) -> None:
        super().__init__(
            "The model declined to answer. Please put it differently.",
            retryable=False,
            began=began,
        )


class ContextOverflow(ModelError):
    """The conversation is longer than the model can read: shorten it, then ask again."""

    code: ModelCode = "context_overflow"

    def __init__(self, *, began: bool = False) -> None:
        super().__init__(
            "The conversation has become too long for the model.", retryable=False, began=began
        )
