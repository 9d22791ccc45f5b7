"""What the events of one streamed Anthropic message mean.  Pure: no network, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec
from attrs import define, field

from bargein.models.client import (
    MALFORMED_LIMIT_BYTES,
    Completion,
    ContextOverflow,
    Listener,
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelUnauthorized,
    StreamMalformed,
    StreamTruncated,
    ToolUse,
    Usage,
)
from bargein.models.http1 import UNFRAMED, Framing
from bargein.models.mended_json import mended_json
from bargein.models.plain_text import Finder, before_chunk, before_event, plain_chunks, plain_events
from bargein.models.sse import EventSplitter
from bargein.protocol.ids import CallId

PIECE_LIMIT_CHARS: Final = 8 * 1024
"""Longest text that a listener hears at once: an event of the timeline stays well in its limit."""

_SERVER_ERRORS: Final = 500
_PASSING: Final = frozenset({408, 409})
"""Statuses below 500 that blame the moment and not the request."""

_TOO_LONG: Final = re.compile(
    r"prompt is too long|exceeds? (the )?(context|maximum)|context window", re.IGNORECASE
)


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    @property
    def read_tokens(self) -> int | None:
        if self.input_tokens is None:
            return None
        cached = (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)
        return self.input_tokens + cached


class _Opening(msgspec.Struct, gc=False):
    usage: _Usage


class _Block(msgspec.Struct, gc=False):
    type: str
    text: str = ""
    id: str = ""
    name: str = ""


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Failure(msgspec.Struct, gc=False):
    type: str = ""
    message: str = ""


class _Event(msgspec.Struct, gc=False):
    """Any event: one flat shape decodes faster than a union and lets unknown kinds pass."""

    type: str
    index: int = 0
    delta: _Delta | None = None
    content_block: _Block | None = None
    message: _Opening | None = None
    usage: _Usage | None = None
    error: _Failure | None = None


_decoder: Final = msgspec.json.Decoder(_Event)


@define(eq=False)
class _Call:
    """A tool call that is being dictated."""

    call_id: CallId
    tool: str
    json: list[str] = field(factory=list[str])

    def finish(self) -> ToolUse:
        raw = "".join(self.json)
        try:
            args = mended_json(raw or "{}")
        except (ValueError, RecursionError):
            args = None
        if isinstance(args, dict):
            return ToolUse(self.call_id, self.tool, cast("dict[str, Any]", args))
        kept = raw.encode(errors="replace")[:MALFORMED_LIMIT_BYTES].decode(errors="ignore")
        return ToolUse(self.call_id, self.tool, {}, malformed=kept)


@define(eq=False)
class MessageStream:
    """Turns the events of one message into what a listener hears.

    Lives as long as the stream.

    Attributes:
        began: A delta has been heard.
        ended: The message's last event is in.
        generating: The first piece of content has come, heard or not.
        fed: The last read brought a part of the body, and not only framing.
    """

    _listener: Listener
    began: bool = field(default=False, init=False)
    ended: bool = field(default=False, init=False)
    generating: bool = field(default=False, init=False)
    fed: bool = field(default=False, init=False)
    _input_tokens: int | None = field(default=None, init=False)
    _output_tokens: int = field(default=0, init=False)
    _deltas: int = field(default=0, init=False)
    _stop_reason: str | None = field(default=None, init=False)
    _words: list[str] = field(factory=list[str], init=False)
    _unsaid: int = field(default=0, init=False)
    _refused: bool = field(default=False, init=False)
    _splitter: EventSplitter = field(factory=EventSplitter, init=False)
    _calls: dict[int, _Call] = field(factory=dict[int, _Call], init=False)

    @property
    def flows(self) -> bool:
        """Whether anything of the answer has come: words, thoughts, a part of a tool call."""
        return self.began or self._deltas > 0

    def read(self, raw: bytes, framing: Framing = UNFRAMED) -> bool:
        """Take in *raw*, which is what one network read brought, in its *framing*: see `feed`.

        Raises:
            ModelError: The vendor reported a failure, or sent what can't be read.
            EventTooLong: One event would need more memory than any honest one.
            NotHttp: The framing is broken.
        """
        self.fed = False
        try:
            at = 0
            while at < len(raw):
                if framing.between_chunks and self._splitter.holds_nothing:
                    at = self._read_texts(plain_chunks, raw, at)
                    if at == len(raw):
                        break
                # The long way, up to where the short one may go on.
                end = before_chunk(raw, at)
                self._read_body(framing.feed(raw[at:end]))
                at = end
        finally:
            room = self._said()
        return room

    def feed(self, events: Iterable[bytes]) -> bool:
        """Take in the *events* of one network read; the listener hears their text as one.

        Return whether the listener certainly has room for more.

        Raises:
            ModelError: The vendor reported a failure, or sent what can't be read.
        """
        try:
            self._take_all(events)
        finally:
            room = self._said()
        return room

    def completion(self) -> Completion:
        """Return how the message ended.

        Raises:
            StreamTruncated: It did not.
        """
        if not self.ended or self._stop_reason is None:
            raise StreamTruncated(began=self.began)
        usage = Usage(self._input_tokens or 0, self._output_tokens, estimated=False)
        return Completion(self._stop_reason, usage)

    def usage_so_far(self) -> Usage | None:
        """Return what the unfinished stream has cost; None if it has not started.

        The vendor counts the output only at the end, so until then each delta counts as a token.
        """
        if self._input_tokens is None:
            return None
        return Usage(self._input_tokens, max(self._output_tokens, self._deltas), estimated=True)

    def _read_body(self, body: bytes) -> None:
        at = 0
        self.fed |= len(body) > 0
        while at < len(body):
            if self._splitter.holds_nothing:
                at = self._read_texts(plain_events, body, at)
                if at == len(body):
                    break
            end = before_event(body, at)
            self._take_all(self._splitter.feed(body[at:end]))
            at = end

    def _read_texts(self, find: Finder, body: bytes, at: int) -> int:
        """Take in the plain texts that *find* finds *at* a place; return where they end."""
        texts: list[bytes] = []
        end = find(body, at, texts)
        if texts:
            self._words.append(b"".join(texts).decode(errors="replace"))
            self._unsaid += len(texts)
            self._deltas += len(texts)
            self.generating = self.fed = True
        return end

    def _take_all(self, events: Iterable[bytes]) -> None:
        for payload in events:
            event = _decoded(payload, began=self.began or bool(self._words))
            delta = event.delta
            if event.type == "content_block_delta" and delta is not None:
                self._deltas += 1
                self.generating = True
                if delta.type == "text_delta":
                    self._words.append(delta.text)
                    self._unsaid += 1
                elif delta.type == "input_json_delta" and event.index in self._calls:
                    self._calls[event.index].json.append(delta.partial_json)
            else:
                self._take(event)

    def _take(self, event: _Event) -> None:
        match event.type:
            case "message_start" if event.message is not None:
                self._count(event.message.usage)
                self._listener.started(self._input_tokens or 0)
            case "content_block_start" if event.content_block is not None:
                self._open(event.index, event.content_block)
            case "content_block_stop" if event.index in self._calls:
                self._refused |= not self._say()
                self.began = True
                self._listener.tool_called(self._calls.pop(event.index).finish())
            case "message_delta":
                if event.delta is not None and event.delta.stop_reason is not None:
                    self._stop_reason = event.delta.stop_reason
                if event.usage is not None:
                    self._count(event.usage)
            case "message_stop":
                self.ended = True
            case "error":
                failure = event.error or _Failure()
                began = self.began or bool(self._words)
                raise failed(failure.type, failure.message, began=began)
            case _:
                pass  # pings, and kinds that are yet to be invented

    def _open(self, index: int, block: _Block) -> None:
        self.generating = True
        if block.type == "tool_use":
            self._calls[index] = _Call(CallId(block.id), block.name)
        elif block.type == "text" and block.text:
            self._deltas += 1
            self._words.append(block.text)
            self._unsaid += 1

    def _count(self, usage: _Usage) -> None:
        if usage.read_tokens is not None:
            self._input_tokens = usage.read_tokens
        if usage.output_tokens is not None:
            self._output_tokens = usage.output_tokens

    def _said(self) -> bool:
        """Say what is left of a read; return whether there was room for all of it."""
        room = self._say() and not self._refused
        self._refused = False
        return room

    def _say(self) -> bool:
        if not self._words:
            return True
        deltas, self._unsaid = self._unsaid, 0
        text = "".join(self._words)
        self._words.clear()
        if not text:
            return True
        self.began = True
        if len(text) <= PIECE_LIMIT_CHARS:
            return self._listener.heard(text, deltas) is True
        room = True
        for at in range(0, len(text), PIECE_LIMIT_CHARS):
            piece = text[at : at + PIECE_LIMIT_CHARS]
            room = self._listener.heard(piece, 0 if at else deltas) is True and room
        return room


def failed(
    kind: str,
    message: str,
    *,
    status: int | None = None,
    retry_after_s: float | None = None,
    began: bool = False,
) -> ModelError:
    """Return the error for the vendor's error *kind*, or for its HTTP *status* without one.

    *message* is only looked at, never passed on: it may quote the request.
    """
    match kind, status:
        case ("authentication_error" | "permission_error" | "billing_error", _) | (
            _,
            401 | 402 | 403,
        ):
            return ModelUnauthorized()
        case ("overloaded_error" | "rate_limit_error", _) | (_, 429 | 503 | 529):
            return ModelOverloaded(retry_after_s, began=began)
        case ("request_too_large", _) | (_, 413):
            return ContextOverflow(began=began)
        case ("invalid_request_error", _) | (_, 400) if _TOO_LONG.search(message):
            return ContextOverflow(began=began)
        case ("invalid_request_error" | "not_found_error", _):
            return ModelFailed(status, retryable=False, began=began)
        case _:
            wrong = status is not None and status < _SERVER_ERRORS and status not in _PASSING
            return ModelFailed(status, retryable=not wrong, began=began)


def _decoded(payload: bytes, *, began: bool) -> _Event:
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Lone surrogates and bytes that are no UTF-8 are refused by the fast decoder; the slow
        # one takes them, to be replaced.
        return _decoded_with_care(payload, began=began)


def _decoded_with_care(payload: bytes, *, began: bool) -> _Event:
    try:
        return msgspec.convert(mended_json(payload.decode(errors="replace")), _Event)
    except (ValueError, RecursionError):
        raise StreamMalformed(began=began) from None
