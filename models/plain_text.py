"""Plain text in a model's stream, found without taking the stream apart.  Pure.

Nearly every event is a text delta without anything that JSON has to escape, and is sent as a chunk
of its own.  One match takes such a chunk for what it is.  What looks any different is left to
`Dechunker`, `EventSplitter` and the JSON decoder: they find the same text, for three times as much.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

Finder: TypeAlias = Callable[[bytes, int, list[bytes]], int]
"""Adds to a list the plain texts that stand at a place, and returns where they end."""

_COMPACT: Final = rb'"content_block_delta","index":[0-9]++,"delta":\{"type":"text_delta","text":'
_SPACED: Final = (
    rb' "content_block_delta", "index": [0-9]++, "delta": \{"type": "text_delta", "text": '
)
_TEXT: Final = rb'((?![\x80-\xbf])[^"\\\x00-\x1f]*+)'
"""No text begins within a character, so that many can be decoded as one."""

_DELTA: Final = rb'event: content_block_delta\ndata: \{"type":(?:%b|%b)"%b" *+\} *+\}\n\n' % (
    _COMPACT,
    _SPACED,
    _TEXT,
)
_EVENT: Final = re.compile(_DELTA)
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,3}+)\r\n%b\r\n" % _DELTA)
_BEFORE_EVENT: Final = re.compile(rb"\n\n(?=%b)" % _EVENT.pattern)
_BEFORE_CHUNK: Final = re.compile(rb"\r\n(?=%b)" % _CHUNK.pattern)

_CHUNK_BYTES: Final = {
    size: len(size) + length + 4
    for length in range(512)
    for size in (b"%x" % length, b"%X" % length)
}
"""How long a chunk is with its framing, by the size that it says: cheaper looked up than read.
One that says more, or says it otherwise, is no word of an answer."""


def plain_chunks(raw: bytes, at: int, texts: list[bytes]) -> int:
    """Add to *texts* those of the plain chunks that stand *at* a place; return where these end.

    Each chunk has exactly one event, and is as long as it says.  *at* must be where a chunk and an
    event begin.
    """
    while (chunk := _CHUNK.match(raw, at)) is not None:
        size, text = chunk.groups()
        end = chunk.end()
        if _CHUNK_BYTES.get(size) != end - at:
            break
        texts.append(text)
        at = end
    return at


def plain_events(body: bytes, at: int, texts: list[bytes]) -> int:
    """Add to *texts* those of the plain events that stand *at* a place; return where these end.

    *at* must be where an event begins.
    """
    while (event := _EVENT.match(body, at)) is not None:
        texts.append(event[1])
        at = event.end()
    return at


def before_chunk(raw: bytes, at: int) -> int:
    """Return where behind *at* a plain chunk may begin, or the end of *raw*."""
    found = _BEFORE_CHUNK.search(raw, at)
    return len(raw) if found is None else found.end()


def before_event(body: bytes, at: int) -> int:
    """Return where behind *at* a plain event may begin, or the end of *body*."""
    found = _BEFORE_EVENT.search(body, at)
    return len(body) if found is None else found.end()
