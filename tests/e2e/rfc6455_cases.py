"""What a frame leads to, by RFC 6455: the table, as data, with the reason for each row.

Whole commands are used as messages, so that a row sees what has really been understood.  Where the
server is not what a test suite for WebSockets asks for, the row says so ("deviation").
"""

from __future__ import annotations

import json

from attrs import frozen

from tests.gateway.raw_client import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_payload, frame

NO_CODE = 1005
ANSWERED = 1000


@frozen
class Case:
    """One row.

    Attributes:
        sent: After the handshake.
        then: After the answers; a client that is still welcome closes with 1000.
        answers: What the server says to it, in order: `pong:x` for the command `ping`, `error:x`
            for an error with that code, `PONG:x` for a pong of the protocol.
        code: Of the server's close frame.
        why: What the RFC, or this server, says about it.
    """

    name: str
    sent: bytes
    then: bytes
    answers: tuple[str, ...]
    code: int
    why: str


def padded(nonce: str, size: int) -> bytes:
    """Return a `ping` command of exactly that many bytes."""
    return json.dumps({"type": "ping", "nonce": nonce}).encode().ljust(size)


def spoken(nonce: str) -> bytes:
    """Return a `ping` command with that nonce, as UTF-8."""
    return json.dumps({"type": "ping", "nonce": nonce}, ensure_ascii=False).encode()


def fragments(opcode: int, *pieces: bytes) -> bytes:
    last = len(pieces) - 1
    return b"".join(
        frame(opcode if number == 0 else CONT, piece, fin=number == last)
        for number, piece in enumerate(pieces)
    )


def cut(text: bytes, *places: int) -> list[bytes]:
    ends = [*places, len(text)]
    return [text[start:end] for start, end in zip([0, *places], ends, strict=True)]


DONE = frame(CLOSE, close_payload(1000))


def _fine(name: str, sent: bytes, *answers: str, why: str) -> Case:
    return Case(name, sent, DONE, answers, ANSWERED, why)


def _fails(name: str, sent: bytes, why: str, code: int = 1002) -> Case:
    return Case(name, b"", sent, (), code, why)


def _fails_later(name: str, sent: bytes, *answers: str, then: bytes, why: str) -> Case:
    return Case(name, sent, then, answers, 1002, why)


SIZES = (
    *(
        _fine(
            f"a message of {size} bytes",
            frame(TEXT, padded(f"n{size}", size)),
            f"pong:n{size}",
            why="5.2: the length has one, three or nine bytes, and changes them here",
        )
        for size in (125, 126, 127, 65_535, 65_536)
    ),
    _fine(
        "a message of 65,537 bytes",
        frame(TEXT, padded("n", 65_537)),
        "error:frame_too_large",
        why="10.4: an implementation may have limits; this one tells, and goes on",
    ),
    _fails(
        "a message of 256 KiB and one",
        frame(TEXT, padded("n", 262_145)),
        code=1009,
        why="7.4.1: too big to process; refused at its header, before it is read",
    ),
    _fails(
        "a header of 2^63 - 1 bytes",
        b"\x81\xff" + (2**63 - 1).to_bytes(8),
        code=1009,
        why="5.2 allows it; nothing is allocated for an announcement",
    ),
    _fails(
        "a length with its highest bit set",
        b"\x81\xff" + (2**63).to_bytes(8),
        code=1009,
        why="5.2 forbids the bit; the library sees a length over its limit first",
    ),
    _fine(
        "an empty message",
        frame(TEXT),
        "error:invalid_json",
        why="5.6: an empty payload is a message; it is no JSON",
    ),
    _fine(
        "a binary message",
        frame(BINARY, b"\x00\xff"),
        "error:binary_not_supported",
        why="5.6: no service for it here (1003 is allowed, and not needed)",
    ),
)

CONTROLS = (
    _fine("an empty ping", frame(PING), "PONG:", why="5.5.2: a pong has the ping's payload"),
    _fine(
        "a ping of 125 bytes",
        frame(PING, b"p" * 125),
        "PONG:" + "p" * 125,
        why="5.5: the longest control frame",
    ),
    _fails("a ping of 126 bytes", frame(PING, b"p" * 126), why="5.5: too long for a control frame"),
    _fine(
        "three pings",
        frame(PING, b"1") + frame(PING, b"2") + frame(PING, b"3"),
        "PONG:1",
        "PONG:2",
        "PONG:3",
        why="5.5.3 lets a server answer only the latest; this one answers all, in order",
    ),
    _fails(
        "a ping in fragments",
        frame(PING, b"p", fin=False),
        why="5.5: control frames are never fragmented",
    ),
    _fine(
        "a pong that nobody asked for",
        frame(PONG, b"x") + frame(TEXT, spoken("a")),
        "pong:a",
        why="5.5.3: a sign of life, not answered",
    ),
    _fails("a pong of 126 bytes", frame(PONG, b"x" * 126), why="5.5"),
)

RESERVED = (
    *(
        _fails(
            f"reserved bits {bits:03b}",
            frame(TEXT, spoken("a"), rsv=bits),
            why="5.2: no extension is negotiated (compression is off), so they have to be 0",
        )
        for bits in (0b001, 0b010, 0b100, 0b111)
    ),
    _fails("a reserved bit on a ping", frame(PING, rsv=0b100), why="5.2"),
    *(
        _fails(f"opcode {opcode:#x}", frame(opcode, b"x"), why="5.2: reserved, for data or control")
        for opcode in (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)
    ),
    _fails_later(
        "a message, then a reserved opcode, then a message",
        frame(TEXT, spoken("a")),
        "pong:a",
        then=frame(0x3) + frame(TEXT, spoken("b")),
        why="7.1.7: what came before the failure counts, what comes after does not",
    ),
    _fails(
        "an unmasked message",
        frame(TEXT, spoken("a"), masked=False),
        why="5.1: a server must close; a proxy could be poisoned with it",
    ),
    _fails("an unmasked ping", frame(PING, masked=False), why="5.1: of every frame"),
)

FRAGMENTS = (
    _fine(
        "two fragments",
        fragments(TEXT, *cut(spoken("a"), 9)),
        "pong:a",
        why="5.4: the message is what they are together",
    ),
    _fine(
        "fragments, some of them empty",
        fragments(TEXT, b"", spoken("a"), b"", b""),
        "pong:a",
        why="5.4: a fragment may be empty, also the first and the last",
    ),
    _fine(
        "a ping between fragments",
        frame(TEXT, spoken("a")[:5], fin=False) + frame(PING, b"p") + frame(CONT, spoken("a")[5:]),
        "PONG:p",
        "pong:a",
        why="5.4: control frames may come in between, and are answered at once",
    ),
    _fine(
        "64 fragments",
        fragments(TEXT, *[b" "] * 63, spoken("a")),
        "pong:a",
        why="as many as this server joins",
    ),
    _fails(
        "65 fragments",
        fragments(TEXT, *[b" "] * 64, spoken("a")),
        code=1009,
        why="deviation (as Autobahn's 9.3 and 9.4): fragments cost more than their bytes",
    ),
    _fails("a continuation of nothing", frame(CONT, b"x"), why="5.4: there is nothing to continue"),
    _fails_later(
        "a continuation that was finished",
        fragments(TEXT, *cut(spoken("a"), 9)),
        "pong:a",
        then=frame(CONT, b"x"),
        why="5.4",
    ),
    _fails(
        "a message inside another",
        frame(TEXT, b"{", fin=False) + frame(TEXT, spoken("a")),
        why="5.4: fragments of two messages are never mixed",
    ),
    _fine(
        "two binary fragments",
        fragments(BINARY, b"\xff", b"\xfe"),
        "error:binary_not_supported",
        why="one message, and so one error",
    ),
)

TEXTS = (
    _fine(
        "characters of one to four bytes",
        frame(TEXT, spoken("aä€𝄞")),
        "pong:aä€𝄞",
        why="8.1: any of Unicode",
    ),
    _fine(
        "a character in four fragments",
        fragments(TEXT, *cut(spoken("𝄞"), *range(27, 30))),
        "pong:𝄞",
        why="5.6: only the whole message has to be UTF-8",
    ),
    *(
        _fine(
            f"not UTF-8: {name}",
            frame(TEXT, b'{"type":"' + wrong + b'"}') + frame(TEXT, spoken("a")),
            "error:not_utf8",
            "pong:a",
            why="8.1 wants 1007 (deviation): an error that names the place helps, and the session "
            "goes on; ten of them close the connection",
        )
        for name, wrong in (
            ("a byte that never stands", b"\xff"),
            ("a continuation alone", b"\x80"),
            ("overlong", b"\xc0\xaf"),
            ("a surrogate", b"\xed\xa0\x80"),
            ("beyond Unicode", b"\xf4\x90\x80\x80"),
            ("cut short", b"\xe2\x82"),
        )
    ),
    _fine(
        "not UTF-8, across fragments",
        fragments(TEXT, b'{"type":"\xe2', b'\x82"}') + frame(TEXT, spoken("a")),
        "error:not_utf8",
        "pong:a",
        why="as above; it is noticed when the message is whole, not at the fragment",
    ),
    _fine(
        "not UTF-8 in a binary message",
        frame(BINARY, b"\xff"),
        "error:binary_not_supported",
        why="8.1 is about text alone",
    ),
    _fine(
        "a byte order mark",
        frame(TEXT, b"\xef\xbb\xbf" + spoken("a")),
        "error:invalid_json",
        why="it is UTF-8, and RFC 8259 lets JSON have none",
    ),
)


def _closing(name: str, payload: bytes, code: int, why: str) -> Case:
    return Case(f"a close {name}", b"", frame(CLOSE, payload), (), code, why)


CLOSES = (
    _closing("without a code", b"", NO_CODE, "5.5.1: answered in kind"),
    *(
        _closing(f"with {code}", close_payload(code), code, "7.4: one that an endpoint may send")
        for code in (1000, 1001, 1003, 1007, 1011, 3000, 3999, 4000, 4999)
    ),
    _closing("with a reason", close_payload(1000, "bye ä".encode()), 1000, "5.5.1"),
    _closing("with 123 bytes of reason", close_payload(1000, b"x" * 123), 1000, "5.5: the longest"),
    _closing("with a reason too long", close_payload(1000, b"x" * 124), 1002, "5.5: over 125"),
    _closing("with one byte", b"\x03", 1002, "5.5.1: a code has two"),
    *(
        _closing(f"with {code}", close_payload(code), 1002, "7.4: never on the wire, or undefined")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    ),
    _closing("with a reason that is not UTF-8", close_payload(1000, b"\xff"), 1007, "8.1"),
    Case(
        "two closes, and more after them",
        b"",
        DONE + frame(CLOSE, close_payload(4000)) + frame(PING, b"p") + frame(TEXT, spoken("a")),
        (),
        1000,
        "5.5.1: nothing after a close is looked at",
    ),
    _fails(
        "a close inside a message",
        frame(TEXT, spoken("a")[:9], fin=False) + DONE,
        why="7.1.5 of Autobahn expects 1000 (deviation, documented by the library): the message "
        "was never finished",
    ),
    _fails(
        "garbage",
        b"GET / HTTP/1.1\r\n\r\n",
        why="5.2: its first byte has a reserved bit",
    ),
)

CASES = (*SIZES, *CONTROLS, *RESERVED, *FRAGMENTS, *TEXTS, *CLOSES)
