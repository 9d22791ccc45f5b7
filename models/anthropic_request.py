"""A request, in the words of Anthropic's Messages API.  Pure."""

from __future__ import annotations

import re
from typing import Any, Final, assert_never

import msgspec

from bargein.models.client import Block, Message, ModelRequest, Text, ToolOutcome, ToolSpec, ToolUse

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def encoded(request: ModelRequest, default_model: str) -> bytes:
    """Return what to post for *request*, as JSON.

    Plain strings stay the plain strings they are.  The instructions and tools, which every turn
    repeats, are marked to be cached by the vendor.
    """
    body: dict[str, Any] = {
        "model": request.model or default_model,
        "max_tokens": request.max_tokens,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
    }
    if request.system:
        cached = {"type": "ephemeral"}
        body["system"] = [{"type": "text", "text": _clean(request.system), "cache_control": cached}]
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    return msgspec.json.encode(body)


def _message(message: Message) -> dict[str, Any]:
    content = message.content
    if isinstance(content, str):
        return {"role": message.role, "content": _clean(content)}
    # The vendor refuses empty texts.
    blocks = [
        _block(block) for block in content if not (isinstance(block, Text) and not block.text)
    ]
    return {"role": message.role, "content": blocks}


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Text(text):
            return {"type": "text", "text": _clean(text)}
        case ToolUse(call_id, tool, args):
            return {"type": "tool_use", "id": call_id, "name": tool, "input": dict(args)}
        case ToolOutcome(call_id, content, failed):
            outcome = {"type": "tool_result", "tool_use_id": call_id, "content": _clean(content)}
            return outcome | {"is_error": True} if failed else outcome
        case _:
            assert_never(block)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "input_schema": dict(tool.schema),
    }


def _clean(text: str) -> str:
    """Return *text* as UTF-8 can carry it: what is no character becomes U+FFFD."""
    if text.isascii():
        return text
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
