import pytest

from bargein.gateway.inbox import (
    BINARY_OPCODE,
    TEXT_OPCODE,
    BinaryFrame,
    Inbox,
    Incoming,
    NotUtf8,
    Oversized,
    TextFrame,
    TooManyFragments,
)


def take(inbox: Inbox, opcode: int, *pieces: bytes) -> Incoming | None:
    message = None
    for number, piece in enumerate(pieces, 1):
        assert message is None
        message = inbox.take(opcode if number == 1 else 0, piece, final=number == len(pieces))
    return message


def test_fragments_join_across_a_character() -> None:
    whole = "Zürich".encode()
    pieces = [whole[:2], whole[2:3], b"", whole[3:]]
    assert take(Inbox(100, 64), TEXT_OPCODE, *pieces) == TextFrame("Zürich")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b"ok \xff", 3),
        (b"\xc3", 0),
        (b"a\xed\xa0\x80", 1),
        (b"\xf8\x88\x80\x80\x80", 0),
        (b"\xc0\xaf", 0),
    ],
)
def test_what_is_not_utf8_is_reported_with_its_place(text: bytes, position: int) -> None:
    assert take(Inbox(100, 64), TEXT_OPCODE, text) == NotUtf8(len(text), position)


def test_a_binary_message_is_reported_and_not_kept() -> None:
    inbox = Inbox(100, 64)
    assert inbox.take(BINARY_OPCODE, b"x" * 60, final=False) is None
    assert inbox.held_bytes == 0
    assert inbox.take(0, b"x", final=True) == BinaryFrame(61)


def test_a_message_at_the_limit_is_taken_and_one_byte_more_is_oversized() -> None:
    inbox = Inbox(100, 64)
    assert take(inbox, TEXT_OPCODE, b"x" * 60, b"y" * 40) == TextFrame("x" * 60 + "y" * 40)
    assert take(inbox, TEXT_OPCODE, b"x" * 60, b"y" * 41) == Oversized(101)
    assert take(inbox, BINARY_OPCODE, b"x" * 101) == Oversized(101)
    assert take(inbox, TEXT_OPCODE, b"again") == TextFrame("again")


def test_an_unfinished_message_never_holds_more_than_the_limit() -> None:
    inbox = Inbox(100, 64)
    assert inbox.take(TEXT_OPCODE, b"x" * 90, final=False) is None
    assert inbox.held_bytes == 90
    assert inbox.take(0, b"x" * 90, final=False) is None
    assert inbox.held_bytes == 0
    assert inbox.take(0, b"", final=False) is None
    assert inbox.held_bytes == 0


def test_one_fragment_too_many_is_refused_even_if_it_is_empty() -> None:
    assert take(Inbox(100, 3), TEXT_OPCODE, b"", b"a", b"") == TextFrame("a")
    with pytest.raises(TooManyFragments) as raised:
        take(Inbox(100, 3), TEXT_OPCODE, b"", b"", b"", b"")
    assert raised.value.limit == 3
