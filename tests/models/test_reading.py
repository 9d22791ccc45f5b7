from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field

from bargein.models.body import Taker
from bargein.models.http1 import UNFRAMED
from bargein.models.message_stream import MessageStream
from bargein.models.patience import Deadlines, Patience
from bargein.models.reading import Reading
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
