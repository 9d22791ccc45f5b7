from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import trio
from attrs import define, field

from bargein.models.body import Taker
from bargein.models.client import ModelTimeout
from bargein.models.http1 import UNFRAMED
from bargein.models.message_stream import MessageStream
from bargein.models.patience import Deadlines, Patience
from bargein.models.reading import Reading
from bargein.models.sse import Dechunker
from tests.models.ears import Ears


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def word(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


@define(eq=False)
class Pieces:
    """A body in pieces, which notes after each whether the next one is wanted in a hurry."""

    pieces: list[bytes]
    resumes: bool = True
    ended: bool = False
    hurried: list[bool] = field(factory=list[bool])

    async def pour(self, take: Taker, hurries: Callable[[], bool]) -> None:
        self.hurried.append(hurries())
        while self.pieces:
            wanted = take(self.pieces.pop(0), UNFRAMED)
            self.hurried.append(hurries())
            if not wanted:
                return
        self.ended = True

    async def finish(self) -> None:
        """Nothing is left."""

    async def close(self) -> None:
        """Nothing is open."""


async def test_an_answer_is_in_a_hurry_until_its_first_words() -> None:
    body = Pieces(
        [
            event("message_start", message={"usage": {"input_tokens": 3}}),
            event("ping"),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            word("One"),
            word(" two"),
            event("message_stop"),
        ]
    )
    ears = Ears()
    stream = MessageStream(ears)
    await Reading(body, stream, ears, Patience.starting_now(Deadlines())).run()
    assert ears.text == "One two"
    # Where the listener says nothing of room, the body is poured anew after each word.
    assert body.hurried[:4] == [True] * 4
    assert not any(body.hurried[4:])


@pytest.mark.parametrize(
    ("kind", "part"), [("thinking", "thinking"), ("input_json", "partial_json")]
)
async def test_thoughts_and_tool_calls_are_in_a_hurry_only_until_they_begin(
    kind: str, part: str
) -> None:
    delta = {"type": f"{kind}_delta", part: "1"}
    body = Pieces(
        [
            event("message_start", message={"usage": {"input_tokens": 3}}),
            event("content_block_start", index=0, content_block={"type": "tool_use"}),
            *[event("content_block_delta", index=0, delta=delta)] * 3,
            event("message_stop"),
        ]
    )
    ears = Ears()
    stream = MessageStream(ears)
    await Reading(body, stream, ears, Patience.starting_now(Deadlines())).run()
    assert not ears.text
    assert body.hurried == [True] * 3 + [False] * 4


@define(eq=False)
class Trickle:
    """A chunked body that begins, and of which the same comes again every five seconds."""

    first: bytes
    again: bytes
    resumes: bool = True
    ended: bool = False
    framing: Dechunker = field(factory=Dechunker)

    async def pour(self, take: Taker, hurries: Callable[[], bool]) -> None:
        del hurries
        first, self.first = self.first, b""
        if first and not take(first, self.framing):
            return
        while True:
            await trio.sleep(5)
            if not take(self.again, self.framing):
                return

    async def finish(self) -> None:
        """Nothing is left."""

    async def close(self) -> None:
        """Nothing is open."""


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@pytest.mark.parametrize(
    ("before", "again", "phase", "after_s"),
    [
        (b"0\r\n", b"X: y\r\n", "gap", 20),
        (b"f000; ", b"x", "gap", 20),
        (b"", chunk(b": still here\n\n"), "whole", 100),
        (b"", chunk(word("")), "whole", 100),
    ],
    ids=["trailers", "a-chunk-that-never-begins", "comments", "deltas"],
)
async def test_only_what_brings_a_part_of_the_body_puts_off_the_end_of_patience(
    before: bytes, again: bytes, phase: str, after_s: float, autojump_clock: object
) -> None:
    ears = Ears()
    stream = MessageStream(ears)
    body = Trickle(chunk(word("One")) + before, again)
    began_s = trio.current_time()
    with pytest.raises(ModelTimeout) as caught:
        await Reading(body, stream, ears, Patience.starting_now(Deadlines(whole_s=100))).run()
    assert (caught.value.phase, trio.current_time() - began_s) == (phase, after_s)
