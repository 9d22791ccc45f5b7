"""A request, in the words of Anthropic's Messages API.  Pure."""

from __future__ import annotations

from typing import Any, Final, assert_never

import msgspec

from bargein.models.client import (
    Block,
    Message,
    ModelRequest,
    Text,
    ToolOutcome,
    ToolSpec,
    ToolUse,
    clean,
    plain_json,
)

_encode: Final = msgspec.json.encode


def encoded(request: ModelRequest, default_model: str) -> tuple[bytes, ...]:
    """Return what to post for *request*, as JSON in pieces.

    Plain strings stay the plain strings they are.  The instructions and tools, which every turn
    repeats, are marked to be cached by the vendor.
    """
    past, messages = _split(request)
    opening = {"model": request.model or default_model, "max_tokens": request.max_tokens}
    ending: dict[str, Any] = {"stream": True}
    if request.system:
        cached = {"type": "ephemeral"}
        system = {"type": "text", "text": clean(request.system), "cache_control": cached}
        ending["system"] = [system]
    if request.tools:
        ending["tools"] = [_tool(tool) for tool in request.tools]
    said = b",".join([_message(message) for message in messages])
    return (
        b'%b,"messages":[' % _encode(opening)[:-1],
        past,
        b"%b%b],%b" % (b"," if past and said else b"", said, _encode(ending)[1:]),
    )


def _split(request: ModelRequest) -> tuple[bytes, tuple[Message, ...]]:
    """Return in JSON what the messages begin with, as far as that is known, and the others."""
    past, messages = request.past, request.messages
    if past is not None:
        many = len(past.messages)
        if messages[:many] == past.messages:  # mostly the very same ones, so it takes no time
            return past.json, messages[many:]
    return b"", messages


def _message(message: Message) -> bytes:
    content = message.content
    if isinstance(content, str):
        return plain_json(message.role, content)
    # The vendor refuses empty texts.
    blocks = [
        _block(block) for block in content if not (isinstance(block, Text) and not block.text)
    ]
    return _encode({"role": message.role, "content": blocks})


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "text": clean(text)}
        case ToolUse(call_id, tool, args):
            return {"type": "tool_use", "id": call_id, "name": tool, "input": dict(args)}
        case ToolOutcome(call_id, content, failed):
            outcome = {"type": "tool_result", "tool_use_id": call_id, "content": clean(content)}
            return outcome | {"is_error": True} if failed else outcome
        case _:
            assert_never(block)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": dict(tool.schema),
    }
