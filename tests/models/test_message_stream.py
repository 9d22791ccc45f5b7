from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import define, field

from bargein.models.client import (
    MALFORMED_LIMIT_BYTES,
    Completion,
    ContextOverflow,
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelUnauthorized,
    StreamMalformed,
    StreamTruncated,
    ToolUse,
    Usage,
)
from bargein.models.message_stream import PIECE_LIMIT_CHARS, MessageStream, failed
from bargein.protocol.ids import CallId
from tests.models.ears import Ears


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


def start(**usage: int) -> bytes:
    return event("message_start", message={"id": "m", "usage": usage})


def word(text: str) -> bytes:
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})


def call(*pieces: str, index: int = 1) -> list[bytes]:
    block: dict[str, Any] = {"type": "tool_use", "id": "c1", "name": "search", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return [
        event("content_block_start", index=index, content_block=block),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def stop(reason: str = "end_turn", tokens: int = 7) -> list[bytes]:
    summary = event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": tokens})
    return [summary, event("message_stop")]


def hearing(*reads: list[bytes]) -> tuple[MessageStream, Ears]:
    ears = Ears()
    stream = MessageStream(ears)
    for read in reads:
        stream.feed(read)
    return stream, ears


def test_the_deltas_of_one_read_are_heard_as_one_text() -> None:
    _, ears = hearing([word("a"), word("b")], [word("c")])
    assert ears.heard_texts == [("ab", 2), ("c", 1)]


def test_words_before_a_call_are_heard_before_it() -> None:
    _, ears = hearing([word("let me see"), *call("{}"), word("and")])
    assert ears.order == ["heard", "tool_called", "heard"]


def test_input_from_the_vendors_cache_counts_as_input() -> None:
    stream, ears = hearing(
        [start(input_tokens=3, cache_creation_input_tokens=10, cache_read_input_tokens=100)],
        stop(),
    )
    assert ears.starts == [113]
    assert stream.completion() == Completion("end_turn", Usage(113, 7, estimated=False))


@pytest.mark.parametrize(
    "reason",
    ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "new_one"],
)
def test_a_stop_reason_is_passed_on_as_it_is(reason: str) -> None:
    stream, _ = hearing(stop(reason))
    assert stream.completion().stop_reason == reason


def test_an_unfinished_stream_counts_its_deltas_as_tokens() -> None:
    stream, _ = hearing([start(input_tokens=5, output_tokens=1), word("a"), word("b"), word("c")])
    assert stream.usage_so_far() == Usage(5, 3, estimated=True)
    with pytest.raises(StreamTruncated) as caught:
        stream.completion()
    assert caught.value.began


def test_a_stream_that_never_started_cost_nothing_known() -> None:
    stream, _ = hearing()
    assert stream.usage_so_far() is None


def test_the_pieces_of_a_calls_arguments_are_put_together() -> None:
    _, ears = hearing(call('{"q": ', '"etf', 's", "n": 3}'))
    assert ears.calls == [ToolUse(CallId("c1"), "search", {"q": "etfs", "n": 3})]


def test_a_call_without_arguments_has_none() -> None:
    _, ears = hearing(call(""))
    assert ears.calls == [ToolUse(CallId("c1"), "search", {})]


@pytest.mark.parametrize(
    "raw", ['{"q": ', "[1]", '{"n": NaN}', '{"n": 1e999}', "nonsense", "[" * 100_000]
)
def test_malformed_arguments_are_marked_and_not_invented(raw: str) -> None:
    _, ears = hearing(call(raw))
    assert ears.calls == [
        ToolUse(CallId("c1"), "search", {}, malformed=raw[:MALFORMED_LIMIT_BYTES])
    ]


def test_lone_surrogates_become_replacement_characters() -> None:
    delta = rb'{"type":"content_block_delta","delta":{"type":"text_delta","text":"a\ud83d b"}}'
    _, ears = hearing([delta], call(r'{"q": "\ude00"}'))
    assert ears.text == "a\N{REPLACEMENT CHARACTER} b"
    assert ears.calls[0].args == {"q": "\N{REPLACEMENT CHARACTER}"}


def test_bytes_that_are_no_utf_8_become_replacement_characters() -> None:
    delta = b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"a\xff"}}'
    _, ears = hearing([delta])
    assert ears.text == "a\N{REPLACEMENT CHARACTER}"


def test_a_pair_of_surrogates_stays_the_character_it_is() -> None:
    _, ears = hearing([word("\N{GRINNING FACE}")])
    assert ears.text == "\N{GRINNING FACE}"


def test_five_megabytes_of_text_are_heard_in_pieces_that_count_one_delta() -> None:
    text = "x" * 5_000_000
    _, ears = hearing([word(text)])
    assert ears.text == text
    assert ears.deltas == 1
    assert max(len(piece) for piece, _ in ears.heard_texts) <= PIECE_LIMIT_CHARS


def test_unknown_events_and_deltas_are_ignored() -> None:
    thought = event("content_block_delta", index=0, delta={"type": "thinking_delta", "x": [1]})
    stream, ears = hearing([event("ping"), event("new_kind", delta={"a": 1}), thought], stop())
    assert ears.order == []
    assert stream.completion().stop_reason == "end_turn"


@pytest.mark.parametrize("payload", [b"{", b"[]", b'{"type": 3}', b'{"type":"x","y":NaN}', b"\xff"])
def test_an_event_that_cannot_be_read_ends_the_stream(payload: bytes) -> None:
    ears = Ears()
    stream = MessageStream(ears)
    with pytest.raises(StreamMalformed) as caught:
        stream.feed([word("kept"), payload])
    assert ears.text == "kept"
    assert caught.value.began


@pytest.mark.parametrize(
    ("kind", "expected", "retryable"),
    [
        ("overloaded_error", ModelOverloaded, True),
        ("rate_limit_error", ModelOverloaded, True),
        ("api_error", ModelFailed, True),
        ("unheard_of_error", ModelFailed, True),
        ("authentication_error", ModelUnauthorized, False),
        ("permission_error", ModelUnauthorized, False),
        ("invalid_request_error", ModelFailed, False),
        ("request_too_large", ContextOverflow, False),
    ],
)
def test_an_error_in_mid_stream_is_told_by_its_type(
    kind: str, expected: type[ModelError], *, retryable: bool
) -> None:
    stream = MessageStream(Ears())
    with pytest.raises(expected) as caught:
        stream.feed([word("a"), event("error", error={"type": kind, "message": "sk-secret"})])
    assert caught.value.retryable is retryable
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "expected", "retryable"),
    [
        (400, ModelFailed, False),
        (401, ModelUnauthorized, False),
        (403, ModelUnauthorized, False),
        (404, ModelFailed, False),
        (408, ModelFailed, True),
        (413, ContextOverflow, False),
        (429, ModelOverloaded, True),
        (500, ModelFailed, True),
        (502, ModelFailed, True),
        (503, ModelOverloaded, True),
        (529, ModelOverloaded, True),
    ],
)
def test_a_status_without_a_readable_body_is_enough(
    status: int, expected: type[ModelError], *, retryable: bool
) -> None:
    error = failed("", "", status=status)
    assert type(error) is expected
    assert error.retryable is retryable


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    ],
)
def test_a_prompt_that_is_too_long_is_a_context_overflow(message: str) -> None:
    assert isinstance(failed("invalid_request_error", message, status=400), ContextOverflow)


# --- room ------------------------------------------------------------------------------------


@define(eq=False)
class Narrow:
    """A listener that has room for some texts, by number, and for no others."""

    roomy: frozenset[int]
    heard_texts: list[str] = field(factory=list[str])

    def started(self, input_tokens: int) -> None:
        pass

    def heard(self, text: str, deltas: int) -> bool:
        self.heard_texts.append(text)
        return len(self.heard_texts) in self.roomy

    def tool_called(self, call: ToolUse) -> None:
        pass

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        pass

    async def room(self) -> None:
        pass


def streamed(*events: bytes) -> bytes:
    return b"".join(b"data: %b\n\n" % each for each in events)


@pytest.mark.parametrize(
    "body",
    [
        [word("let me see"), *call("{}")],
        [word("let me see"), *call("{}", index=1), *call("{}", index=2)],
        [word("let me see"), *call("{}"), word("and")],
    ],
)
def test_room_that_was_refused_before_a_call_is_refused_by_the_whole_read(
    body: list[bytes],
) -> None:
    listener = Narrow(frozenset({2, 3}))
    assert MessageStream(listener).feed(body) is False
    assert listener.heard_texts[0] == "let me see"
    listener = Narrow(frozenset({2, 3}))
    stream = MessageStream(listener)
    assert stream.read(streamed(*body)) is False
    # The refusal was for that read: of the next one the listener is asked anew.
    assert stream.read(streamed(word("more"))) is True


def test_a_long_text_of_which_a_piece_found_no_room_is_refused() -> None:
    listener = Narrow(frozenset({1, 3}))
    assert MessageStream(listener).feed([word("x" * 3 * PIECE_LIMIT_CHARS)]) is False
    assert len(listener.heard_texts) == 3


def test_a_read_with_a_call_for_which_there_was_room_is_not_refused() -> None:
    listener = Narrow(frozenset({1, 2}))
    assert MessageStream(listener).feed([word("a"), *call("{}"), word("b")]) is True
