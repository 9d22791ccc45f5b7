import pytest

from bargein.gateway.request_head import LINE_BYTES, MOST_HEADERS, Refusal, RequestHead

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: \ta b\r\n\r\n"


def test_a_head_is_the_same_however_it_is_cut() -> None:
    for cut in range(1, len(HEAD)):
        head = RequestHead()
        assert head.feed(HEAD[:cut]) is None
        assert head.feed(HEAD[cut:]) == HEAD
    trickle = RequestHead()
    assert [trickle.feed(bytes([byte])) for byte in HEAD] == [None] * (len(HEAD) - 1) + [HEAD]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD + b"G", 400),
        (HEAD.replace(b"a b", b"a\0b"), 400),
        (HEAD.replace(b"a b", "ä".encode()), 400),
        (HEAD.replace(b"a b", b"\x7f"), 400),
        (HEAD.replace(b"a b", b"a\rb"), 400),
        (HEAD.replace(b"\r\n", b"\n"), 400),
        (b"GET /" + b"x" * LINE_BYTES + b" HTTP/1.1\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * LINE_BYTES + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (MOST_HEADERS + 1), 431),
    ],
)
def test_a_head_out_of_bounds_is_refused(head: bytes, status: int) -> None:
    refusal = RequestHead().feed(head)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert refusal.sentence.endswith(".")


def test_a_line_is_refused_before_it_ends() -> None:
    head = RequestHead()
    assert head.feed(b"x" * LINE_BYTES) is None
    refusal = head.feed(b"x")
    assert isinstance(refusal, Refusal)
    assert refusal.status == 414


def test_all_that_is_allowed_fits() -> None:
    line = b"X: " + b"x" * (LINE_BYTES - 5) + b"\r\n"
    whole = b"GET / HTTP/1.1\r\n" + line * MOST_HEADERS + b"\r\n"
    assert RequestHead().feed(whole) == whole
