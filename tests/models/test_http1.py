from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.models import http1
from bargein.models.http1 import (
    Head,
    Sized,
    UntilClosed,
    framing_of,
    request_head,
    request_parts,
    split_head,
)
from bargein.models.sse import Dechunker, NotHttp

ANSWER = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Empty:\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nbody\n\nmore"
)


def head_of(raw: bytes) -> Head:
    split = split_head(raw)
    assert split is not None
    return split[0]


def answered(*lines: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> Head:
    return head_of(b"\r\n".join((b"HTTP/" + version + b" " + status, *lines, b"", b"")))


@given(st.integers(0, len(ANSWER)))
def test_a_head_is_found_wherever_the_network_cuts_it(at: int) -> None:
    blank = ANSWER.index(b"chunked\r\n\r\n") + len(b"chunked\r\n\r\n")
    early = split_head(ANSWER[:at])
    assert (early is not None) == (at >= blank)
    for raw in (ANSWER[:at] + ANSWER[at:], ANSWER[:blank]):
        split = split_head(raw)
        assert split is not None
        head, rest = split
        assert rest == raw[blank:]
        assert (head.status, head.reason, head.minor) == (200, b"OK", 1)
        assert head.all(b"content-type") == b"text/event-stream"
        assert head.all(b"x-empty") == b""
        assert isinstance(framing_of(head), Dechunker)


def test_lines_that_end_with_a_line_feed_alone_are_taken() -> None:
    head = head_of(b"HTTP/1.1 204\nA: b\n\n")
    assert (head.status, head.reason, head.all(b"a")) == (204, b"", b"b")


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nspace before : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"x",
    ],
)
def test_what_is_no_head_is_refused(raw: bytes) -> None:
    with pytest.raises(NotHttp):
        split_head(raw)


def test_a_head_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "HEAD_LIMIT_BYTES", 100)
    raw = b"HTTP/1.1 200 OK\r\nA: "
    assert split_head(raw + b"b" * 50) is None
    with pytest.raises(NotHttp):
        split_head(raw + b"b" * 100)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_none_yet_or_refused(raw: bytes) -> None:
    for begun in (raw, b"HTTP/1.1 200 OK\r\n" + raw):
        try:
            split = split_head(begun)
        except NotHttp:
            continue
        assert split is None or begun.endswith(split[1])


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ((b"transfer-encoding: Chunked",), Dechunker),
        ((b"content-length: 5", b"transfer-encoding: chunked"), Dechunker),
        ((b"content-length: 5", b"Content-Length: 5"), Sized),
        ((), UntilClosed),
    ],
)
def test_the_frame_of_a_body_is_as_the_head_says(lines: tuple[bytes, ...], kind: type) -> None:
    assert isinstance(framing_of(answered(*lines)), kind)


@pytest.mark.parametrize(
    "lines",
    [
        (b"transfer-encoding: gzip, chunked",),
        (b"transfer-encoding: chunked", b"transfer-encoding: chunked"),
        (b"content-length: 5", b"content-length: 6"),
        (b"content-length: -5",),
        (b"content-length: five",),
        (b"content-length: 9999999999999999999",),
    ],
)
def test_a_frame_that_says_two_things_is_refused(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(NotHttp):
        framing_of(answered(*lines))


def test_a_status_without_a_body_has_none() -> None:
    assert framing_of(answered(b"content-length: 5", status=b"304 Not Modified")).ended


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6), st.integers(0, 30))
def test_a_body_whose_length_was_told_ends_there(raw: bytes, at: list[int], length: int) -> None:
    edges = [0, *sorted(min(place, len(raw)) for place in at), len(raw)]
    framing = Sized(length)
    body, surplus = b"", b""
    for start, end in pairwise(edges):
        body += framing.feed(raw[start:end])
        surplus += framing.surplus
    assert body == raw[:length]
    assert surplus == raw[length:]
    assert framing.ended == (len(raw) >= length)


@pytest.mark.parametrize(
    ("head", "keeps_alive"),
    [
        (answered(), True),
        (answered(b"Connection: keep-alive"), True),
        (answered(b"Connection: x, Close"), False),
        (answered(version=b"1.0"), False),
    ],
)
def test_a_connection_is_kept_unless_the_server_says_otherwise(
    head: Head, *, keeps_alive: bool
) -> None:
    assert head.keeps_alive is keeps_alive


def test_a_request_is_whole_and_has_its_length_once() -> None:
    headers = [(b"Host", b"h:1"), (b"transfer-encoding", b"chunked"), (b"CONTENT-LENGTH", b"9")]
    parts = request_parts(request_head(b"POST", b"/v1?x=1", headers), (b"{", b"", b"}"))
    assert b"".join(parts) == (b"POST /v1?x=1 HTTP/1.1\r\nHost: h:1\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    "header",
    [
        (b"x-api-key", b"sk\n"),
        (b"x-api-key", b"sk\r\nX: y"),
        (b"x-api-key", b"sk\r"),
        (b"a b", b""),
    ],
)
def test_a_header_that_would_be_more_than_one_is_not_sent(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="not fit"):
        request_head(b"POST", b"/", [header])
