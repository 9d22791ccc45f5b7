"""Plain text is taken as it lies on the wire, and is what the long way would have found."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import pytest
from attrs import define, field
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bargein.models.client import ModelError, Usage
from bargein.models.message_stream import MessageStream
from bargein.models.plain_text import before_chunk, plain_chunks, plain_events
from bargein.models.sse import Dechunker, EventSplitter, NotHttp
from tests.models.ears import Ears

TEXT = ", and"
LONG = "\N{EURO SIGN}" * 200
LAST = b"0\r\n\r\n"


def fields(text: str, index: int = 0) -> dict[str, Any]:
    delta = {"type": "text_delta", "text": text}
    return {"type": "content_block_delta", "index": index, "delta": delta}


def event(payload: bytes, kind: bytes = b"content_block_delta") -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind, payload)


def compact(text: str, index: int = 0) -> bytes:
    spelled = json.dumps(fields(text, index), separators=(",", ":"), ensure_ascii=False)
    return event(spelled.encode())


def spaced(text: str) -> bytes:
    return event(json.dumps(fields(text), ensure_ascii=False).encode())


def padded(text: str) -> bytes:
    return compact(text)[:-3] + b"    }\n\n"


def of_another_block(text: str) -> bytes:
    return compact(text, index=12)


def escaped(text: str) -> bytes:
    return event(json.dumps(fields(text + "\n\N{GRINNING FACE}")).encode())


def with_line_ends_of_http(text: str) -> bytes:
    return compact(text).replace(b"\n", b"\r\n")


def without_a_name(text: str) -> bytes:
    return compact(text).partition(b"\n")[2]


def ping(text: str) -> bytes:
    return event(json.dumps({"type": "ping", "text": text}).encode(), b"ping")


def thought(text: str) -> bytes:
    return compact(text).replace(b'"text_delta"', b'"thinking_delta"')


def start(text: str) -> bytes:
    message = {"usage": {"input_tokens": len(text)}}
    return event(json.dumps({"type": "message_start", "message": message}).encode())


def call(text: str) -> bytes:
    block = {"type": "tool_use", "id": "c", "name": text}
    began = {"type": "content_block_start", "index": 3, "content_block": block}
    piece = {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta"}}
    ended = {"type": "content_block_stop", "index": 3}
    return b"".join(event(json.dumps(each).encode()) for each in (began, piece, ended))


def comment(_: str) -> bytes:
    return b"\n: a comment\n\n"


def name_alone(_: str) -> bytes:
    return b"event: another\n"


def odd(inside: bytes) -> bytes:
    return compact("@").replace(b"@", inside)


PLAIN: tuple[Callable[[str], bytes], ...] = (compact, spaced, padded, of_another_block)
OTHERS: tuple[Callable[[str], bytes], ...] = (
    *(escaped, with_line_ends_of_http, without_a_name, ping, thought, start, call),
    *(comment, name_alone),
)


def spell(way: Callable[[str], bytes], text: str) -> bytes:
    return way(text)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
plain = st.builds(spell, st.sampled_from(PLAIN), texts)
other = st.builds(spell, st.sampled_from(OTHERS), texts)
halves = st.sampled_from([b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xf0\x9f", b"\xed\xa0\x80"])
torn = st.builds(odd, halves | st.binary(max_size=3))
streams = st.lists(st.one_of(plain, plain, plain, other, torn), max_size=12)

SIZES = (b"%x", b"%x", b"%x", b"%X", b"%04x", b"%x;a=b")


def chunk(part: bytes, size: bytes = b"%x") -> bytes:
    return b"%b\r\n%b\r\n" % (size % len(part), part)


@st.composite
def chunked(draw: st.DrawFn) -> list[bytes]:
    """Chunks that hold a stream: mostly an event each, some of them many, or a part of one."""
    events = draw(streams)
    whole = b"".join(events)
    ends = [end for end in accumulate(map(len, events)) if draw(st.integers(0, 7))]
    more = draw(st.lists(st.integers(0, len(whole)), max_size=2))
    edges = sorted({0, *ends, *more, len(whole)})
    return [chunk(whole[a:b], draw(st.sampled_from(SIZES))) for a, b in pairwise(edges)]


@st.composite
def cut(draw: st.DrawFn, chunks: Sequence[bytes]) -> list[bytes]:
    """Reads that bring *chunks*: whole ones, and parts of them."""
    whole = b"".join(chunks) + LAST
    ends = [at for at in accumulate(map(len, chunks)) if not draw(st.integers(0, 3))]
    more = draw(st.lists(st.integers(0, len(whole)), max_size=6))
    return [whole[a:b] for a, b in pairwise(sorted({0, *ends, *more, len(whole)}))]


@define(eq=False)
class Hearing:
    """What was heard, and what is known after each read."""

    ears: Ears = field(factory=Ears)
    known: list[tuple[bool, bool, bool, Usage | None]] = field(factory=list[Any])
    framing: Dechunker = field(factory=Dechunker)
    failure: type[Exception] | None = None

    def of(self, reads: Iterable[bytes], take: Callable[[MessageStream, bytes], object]) -> Hearing:
        stream = MessageStream(self.ears)
        for raw in reads:
            try:
                take(stream, raw)
            except (ModelError, NotHttp) as error:
                self.failure = type(error)
                break
            known = (stream.began, stream.flows, stream.generating, stream.usage_so_far())
            self.known.append(known)
        return self


def short(reads: Iterable[bytes]) -> Hearing:
    hearing = Hearing()
    return hearing.of(reads, lambda stream, raw: stream.read(raw, hearing.framing))


def long(reads: Iterable[bytes]) -> Hearing:
    hearing, splitter = Hearing(), EventSplitter()
    return hearing.of(
        reads, lambda stream, raw: stream.feed(splitter.feed(hearing.framing.feed(raw)))
    )


def unframed(reads: Iterable[bytes]) -> Hearing:
    dechunker = Dechunker()
    return Hearing().of(reads, lambda stream, raw: stream.read(dechunker.feed(raw)))


def assert_alike(one: Hearing, other: Hearing) -> None:
    assert one.ears.heard_texts == other.ears.heard_texts
    assert one.ears.order == other.ears.order
    assert (one.ears.calls, one.ears.starts) == (other.ears.calls, other.ears.starts)
    assert (one.known, one.failure) == (other.known, other.failure)


@settings(deadline=None)  # a stall of the machine is no fact about the bytes
@given(chunked().flatmap(cut))
@example([chunk(odd(b"\xc3")) + chunk(odd(b"\xa9")) + LAST])
@example([chunk(odd(b"\xc3")) + chunk(odd(b"")) + chunk(odd(b"\xa9x")) + LAST])
def test_each_read_is_heard_as_the_long_way_hears_it(reads: list[bytes]) -> None:
    ours, theirs = short(reads), long(reads)
    assert_alike(ours, theirs)
    assert_alike(unframed(reads), theirs)
    if ours.failure is None:
        assert ours.framing.ended
        assert ours.framing.surplus == b""


MIXED = b"".join(
    [
        *(chunk(way(TEXT)) for way in (start, compact, compact, escaped, spaced, padded)),
        *(chunk(part) for part in (compact("a") + compact("b"), compact("c")[:40])),
        *(chunk(part) for part in (compact("c")[40:], call(""), compact("d"), ping(""))),
        *(chunk(compact("e"), size) for size in (b"%X", b"%05x", b"%x ;b")),
        *(chunk(compact(LONG)), chunk(compact("f")), LAST),
    ]
)
WHOLE = f"{TEXT * 3}\n\N{GRINNING FACE}{TEXT * 2}abcdeee{LONG}f"


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 64, 119, 120, 121, 500])
def test_nothing_is_taken_twice_or_skipped_in_reads_of_any_width(width: int) -> None:
    reads = [MIXED[at : at + width] for at in range(0, len(MIXED), width)]
    ours = short(reads)
    assert (ours.ears.text, ours.failure, ours.framing.ended) == (WHOLE, None, True)
    assert_alike(ours, long(reads))


def test_nothing_is_taken_twice_or_skipped_wherever_a_stream_is_cut() -> None:
    for at in range(len(MIXED) + 1):
        ours = short([MIXED[:at], MIXED[at:]])
        assert (ours.ears.text, ours.failure, ours.framing.ended) == (WHOLE, None, True)


WORD = compact(TEXT)
LONGER = WORD + b"\r\n" + ping("").ljust(0xFE, b"\n")


@pytest.mark.parametrize(
    "reads",
    [
        # Behind a part of a size, of a chunk, of its end, of the body's: no chunk begins there.
        [b"1", chunk(LONGER)[1:], chunk(WORD) + LAST],
        [chunk(chunk(WORD) * 2)[:4], chunk(WORD) * 2 + b"\r\n", LAST],
        [chunk(WORD)[:-2], chunk(WORD), LAST],
        [chunk(WORD)[:-1], chunk(WORD), LAST],
        [chunk(WORD) + b"0\r\n", chunk(WORD), b"\r\n"],
        [chunk(WORD) + LAST, chunk(WORD)],
        # Nor an event behind a part of one.
        [chunk(b"data: "), chunk(WORD), LAST],
        [chunk(b"data: {}\n"), chunk(WORD), LAST],
    ],
)
def test_what_looks_plain_and_stands_elsewhere_is_not_taken(reads: list[bytes]) -> None:
    ours, theirs = short(reads), long(reads)
    assert_alike(ours, theirs)
    assert ours.framing.ended is theirs.framing.ended
    assert ours.framing.surplus == theirs.framing.surplus


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=8), st.data())
def test_a_chunk_that_is_not_as_long_as_it_says_is_refused_just_as_the_long_way_does(
    words: list[str], data: st.DataObject
) -> None:
    chunks = [chunk(compact(text)) for text in words]
    wrong = data.draw(st.integers(0, len(words) - 1))
    part = compact(words[wrong])
    off_by = data.draw(st.sampled_from([-len(part) + 1, -117, -1, 1, 2, 3, 117, 400]))
    chunks[wrong] = b"%x\r\n%b\r\n" % (max(1, len(part) + off_by), part)
    reads = data.draw(cut(chunks))
    ours, theirs = short(reads), long(reads)
    assert ours.failure is theirs.failure
    assert ours.framing.ended is theirs.framing.ended
    # The long way loses what a read brings together with the broken part: less of it, the less
    # it brings.
    lossless = long(bytes([each]) for each in b"".join(reads))
    assert ours.ears.text.startswith(theirs.ears.text)
    assert lossless.ears.text.startswith(ours.ears.text)


@define(eq=False)
class Untouched:
    """A framing that nobody may have to undo."""

    between_chunks: bool = True
    ended: bool = False
    surplus: bytes = b""

    def feed(self, raw: bytes) -> bytes:
        raise AssertionError(raw)


@pytest.mark.parametrize("way", PLAIN)
@pytest.mark.parametrize("size", [b"%x", b"%X"])
@pytest.mark.parametrize("text", ["", TEXT, "\N{EURO SIGN}\N{GRINNING FACE}", "'{}/\x7f"])
def test_a_read_of_plain_chunks_is_not_taken_apart(
    way: Callable[[str], bytes], size: bytes, text: str
) -> None:
    ears = Ears()
    MessageStream(ears).read(chunk(way(text), size) * 3 + chunk(way("!")), Untouched())
    assert ears.heard_texts == [(text * 3 + "!", 4)]


@pytest.mark.parametrize(
    "raw",
    [
        *(chunk(compact(TEXT), size) for size in (b"%03x", b"%x;a", b"%x ", b" %x", b"0x%x")),
        *(chunk(way(TEXT)) for way in OTHERS),
        *(chunk(odd(inside)) for inside in (b"\\n", b'"', b"\n", b"\0", b"\x80", b"\xbf.")),
        *(chunk(compact(TEXT) * 2), chunk(compact(TEXT) + b"\n"), chunk(b"\n" + compact(TEXT))),
        *(chunk(compact("x" * 600)), chunk(compact(TEXT))[:-1], LAST),
        *(b"%x\r\n%b\r\n" % (len(compact(TEXT)) + by, compact(TEXT)) for by in (-1, 1, 16)),
    ],
)
def test_no_other_chunk_is_plain(raw: bytes) -> None:
    before = chunk(compact("a"))
    found: list[bytes] = []
    assert plain_chunks(before + raw + before, 0, found) == len(before)
    assert found == [b"a"]


def test_what_follows_an_odd_part_is_found() -> None:
    odd_part, before = chunk(ping("")) + chunk(escaped(TEXT)), chunk(compact("a"))
    assert before_chunk(odd_part + before, 0) == len(odd_part)
    assert before_chunk(odd_part, 0) == len(odd_part)
    assert before_chunk(before + odd_part + before, 0) == len(before + odd_part)


def test_plain_events_end_where_an_odd_one_begins() -> None:
    found: list[bytes] = []
    body = compact("a") + spaced("b") + padded("c")
    assert plain_events(body + escaped("d") + compact("e"), 0, found) == len(body)
    assert found == [b"a", b"b", b"c"]
