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
)

_encode: Final = msgspec.json.encode


def encoded(request: ModelRequest, default_model: str) -> bytes:
    """Return what to post for *request*, as JSON.

    Plain strings stay the plain strings they are.  The instructions and tools, which every turn
    repeats, are marked to be cached by the vendor.
    """
    messages = [message.plain_json or _message(message) for message in request.messages]
    body: dict[str, Any] = {
        "model": request.model or default_model,
        "max_tokens": request.max_tokens,
        "messages": msgspec.Raw(b"[%b]" % b",".join(messages)),
        "stream": True,
    }
    if request.system:
        cached = {"type": "ephemeral"}
        body["system"] = [{"type": "text", "text": clean(request.system), "cache_control": cached}]
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    return _encode(body)


def _message(message: Message) -> bytes:
    # The vendor refuses empty texts.
    blocks = [
        _block(block)
        for block in message.content
        if not isinstance(block, str) and not (isinstance(block, Text) and not block.text)
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
