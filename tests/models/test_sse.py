from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.models import sse
from bargein.models.sse import Dechunker, EventSplitter, EventTooLong, NotHttp

pieces = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
cuts = st.lists(st.integers(min_value=0, max_value=400), max_size=12)


def cut(whole: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(whole)) for place in at), len(whole)]
    return [whole[start:end] for start, end in pairwise(edges)]


def chunked(parts: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    chunks = [b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts]
    return b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


@given(pieces, cuts, st.sampled_from([b"", b";a=b", b" ;x"]), st.sampled_from([b"", b"T: 1\r\n"]))
def test_a_chunked_body_is_whole_however_the_network_cuts_it(
    parts: list[bytes], at: list[int], extension: bytes, trailers: bytes
) -> None:
    chunks = Dechunker()
    body = b"".join(chunks.feed(raw) for raw in cut(chunked(parts, extension, trailers), at))
    assert body == b"".join(parts)
    assert chunks.ended
    assert chunks.surplus == b""


@given(pieces, st.integers(min_value=1, max_value=4))
def test_a_chunked_body_that_lacks_its_end_has_not_ended(parts: list[bytes], missing: int) -> None:
    chunks = Dechunker()
    chunks.feed(chunked(parts)[:-missing])
    assert not chunks.ended


def test_what_follows_the_body_is_kept_apart() -> None:
    chunks = Dechunker()
    assert chunks.feed(chunked([b"body"]) + b"HTTP/1.1 200") == b"body"
    assert chunks.surplus == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    "raw",
    [
        b"zz\r\n",
        b"0x5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b"1_0\r\n",
        b"\r\nhello",
        b"5\nhello\n",
        b"5\r\nhello!\r\n",
        b"5" * 17 + b"\r\n",
        b"5;" + b"x" * 5000,
    ],
)
def test_broken_framing_is_refused(raw: bytes) -> None:
    with pytest.raises(NotHttp):
        Dechunker().feed(raw)


@given(cuts)
def test_events_are_found_however_the_network_cuts_them(at: list[int]) -> None:
    whole = (
        b"event: a\ndata: {1}\n\n"
        b": a comment\n\n"
        b"data:{2}\r\nid: 7\r\n\r\n"
        b"data: {3\ndata: 3}\n\n"
        b"event: no data\n\n"
        b"data: unfinished\n"
    )
    splitter = EventSplitter()
    found = [event for part in cut(whole, at) for event in splitter.feed(part)]
    assert found == [b"{1}", b"{2}", b"{3\n3}"]


@pytest.mark.parametrize("line", [b"data: " + b"x" * 100, b"data: x\n" * 20])
def test_an_event_that_never_ends_is_refused(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "LINE_LIMIT_BYTES", 30)
    splitter = EventSplitter()
    with pytest.raises(EventTooLong):
        splitter.feed(line)
