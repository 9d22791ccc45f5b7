"""What one network read brings: plain words take a short way, all else the long one."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bargein.models.message_stream import MessageStream
from tests.fakes.anthropic_format import event, text_event
from tests.models.ears import Ears

plain = st.text(st.characters(min_codepoint=32, exclude_characters='"\\', categories=["L", "N"]))
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
words = st.lists(st.one_of(plain.map(lambda text: text[:12]), any_text), max_size=12)
cuts = st.lists(st.integers(min_value=0, max_value=2000), max_size=6)

PING = event({"type": "ping"})
END = event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}) + event(
    {"type": "message_stop"}
)


def crlf_event(text: str) -> bytes:
    fields: dict[str, Any] = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": text},
    }
    return b"event: content_block_delta\r\ndata: %b\r\n\r\n" % json.dumps(fields).encode()


def pinged_event(text: str) -> bytes:
    return PING + text_event(0, text)


def plain_event(text: str) -> bytes:
    return text_event(0, text)


WAYS: tuple[Callable[[str], bytes], ...] = (plain_event, pinged_event, crlf_event)
"""How a text may be spelled."""


@given(words, st.lists(st.integers(0, 2), min_size=12, max_size=12), cuts)
def test_words_are_heard_in_order_however_they_are_spelled_and_cut(
    texts: list[str], kinds: list[int], at: list[int]
) -> None:
    whole = b"".join(WAYS[kind](text) for text, kind in zip(texts, kinds, strict=False)) + END
    edges = [0, *sorted(min(place, len(whole)) for place in at), len(whole)]
    ears = Ears()
    stream = MessageStream(ears)
    for start, end in pairwise(edges):
        stream.read(whole[start:end])
    assert ears.text == "".join(texts)
    assert stream.ended
    assert stream.flows is bool(texts)


def test_what_one_read_brings_is_heard_as_one_text_whatever_stands_between() -> None:
    ears = Ears()
    body = text_event(0, "a") + text_event(0, 'b"') + PING + text_event(0, "c") + crlf_event("d")
    MessageStream(ears).read(body + text_event(0, "e"))
    assert ears.heard_texts == [('ab"cde', 5)]


def test_blank_lines_are_nothing() -> None:
    ears = Ears()
    stream = MessageStream(ears)
    stream.read(b"\n" * 60_000)
    stream.read(text_event(0, "a"))
    assert ears.heard_texts == [("a", 1)]
