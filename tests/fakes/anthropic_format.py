"""The bytes of Anthropic's streaming format, as its documentation shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

REMEMBERED: Final = 10_000
LONG_CHARS: Final = 1000
INPUT_TOKENS: Final = 25

LAST_CHUNK: Final = b"0\r\n\r\n"
_REASONS: Final = {200: "OK", 429: "Too Many Requests", 529: "Overloaded"}


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", "request-id: req_fake"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def event(fields: Mapping[str, Any]) -> bytes:
    return f"event: {fields['type']}\ndata: {json.dumps(fields)}\n\n".encode()


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


_text_chunks: Final[dict[tuple[int, str], bytes]] = {}


def text_chunk(index: int, text: str) -> bytes:
    """Return the chunk of a text delta, from memory where it was said before: it is hot."""
    known = _text_chunks.get((index, text))
    if known is None:
        known = chunk(text_event(index, text))
        if len(_text_chunks) < REMEMBERED and len(text) < LONG_CHARS:
            _text_chunks[index, text] = known
    return known


def text_event(index: int, text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    return event({"type": "content_block_delta", "index": index, "delta": delta})


def block_start(index: int, block: Mapping[str, Any]) -> bytes:
    return event({"type": "content_block_start", "index": index, "content_block": block})


def message_start(model: str) -> bytes:
    message: dict[str, Any] = {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1},
    }
    return event({"type": "message_start", "message": message})
