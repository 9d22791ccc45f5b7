"""What a client may send that is wrong, and what becomes of it: the table, as data.

The numbers are those of the list of faults in the reliability page.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from attrs import frozen

from tests.gateway.raw_client import BINARY, CONT, PING, TEXT, close_payload, frame

CLOSE = 0x8
CommandOutcome = Literal["error", "reply", "nothing"]


@frozen
class BadFrame:
    """A frame that is answered while the connection stays open.

    Attributes:
        row: Its number in the list of faults.
        sent: The bytes on the wire.
        code: Of the error; None where there is none.
        param: Of the error.
        strict: Whether the client has offered the subprotocol.
        strike: Whether ten of them close the connection.
        says: What stands in the message.
    """

    row: int
    name: str
    sent: bytes
    code: str | None
    param: str | None = None
    strict: bool = True
    strike: bool = True
    says: str = ""


@frozen
class Breach:
    """Bytes that end the connection, with the code that it is closed with."""

    row: int
    name: str
    sent: bytes
    code: int


def text(body: str) -> bytes:
    return frame(TEXT, body.encode("utf-8", "surrogatepass"))


def command(**fields: Any) -> bytes:
    return text(json.dumps(fields))


def _json(row: int, name: str, body: str, **changes: Any) -> BadFrame:
    return BadFrame(row, name, text(body), "invalid_json", **changes)


def _wrong(row: int, name: str, param: str, **fields: Any) -> BadFrame:
    return BadFrame(row, name, command(**fields), "invalid_command", param)


def _unknown(row: int, type_: str) -> BadFrame:
    return BadFrame(row, type_, command(type=type_), "unknown_command", "type")


DEEP = "[" * 33 + "]" * 33
MANY_KEYS = json.dumps({"type": "ping", **{f"k{number}": 0 for number in range(1000)}})
MANY_NODES = json.dumps({"type": "ping", "list": [0] * 10_000})
SURROGATE = "\\ud800"
ODD_TEXT = "a\x00b\x07\u202ec\u2066d\x1b[31me"

BAD_FRAMES: tuple[BadFrame, ...] = (
    _json(1, "malformed", '{"type":', says="at character 8"),
    _json(1, "words in strict mode", "hello there", says="at character 0"),
    _json(1, "a lenient line with a brace", '{"type"', strict=False, says="at character"),
    *(
        BadFrame(2, name, text(body), "invalid_command")
        for name, body in (("list", "[]"), ("number", "1"), ("null", "null"), ("string", '"x"'))
    ),
    _json(3, "empty", ""),
    BadFrame(3, "empty, lenient", text(""), None, strict=False, strike=False),
    BadFrame(4, "no type", text("{}"), "invalid_command", "type"),
    BadFrame(4, "type is a number", text('{"type":1}'), "invalid_command", "type"),
    BadFrame(4, "type is null", text('{"type":null}'), "invalid_command", "type"),
    _unknown(5, "fly"),
    _unknown(6, "action.committed"),
    _unknown(6, "cancel.ack"),
    _unknown(6, "model.token"),
    _unknown(6, "hello"),
    _unknown(6, "reply"),
    BadFrame(7, "extra fields", command(type="ping", more=[1], x={}), None, strike=False),
    _wrong(8, "text for int", "seq", type="ack", seq="1"),
    _wrong(8, "bool for int", "seq", type="ack", seq=True),
    _wrong(8, "below the range", "seq", type="ack", seq=-1),
    _wrong(8, "fraction for int", "after", type="history", after=1.5),
    _wrong(8, "zero for at least one", "limit", type="history", limit=0),
    _wrong(8, "null for text", "text", type="say", text=None),
    _wrong(8, "number for text", "text", type="say", text=5),
    _wrong(8, "no such choice", "when_busy", type="say", text="x", when_busy="shout"),
    _wrong(8, "nested", "heard.chars", type="interrupt", heard={"chars": True}),
    _wrong(8, "object for text", "nonce", type="ping", nonce={}),
    _wrong(8, "missing", "seq", type="ack"),
    _wrong(8, "unknown setting", "colour", type="configure", colour="red"),
    _wrong(8, "text for bool", "voice", type="configure", voice="yes"),
    _json(9, "33 deep", f'{{"type":"ping","x":{DEEP}}}'),
    _json(9, "60,000 brackets", "[" * 60_000),
    _json(9, "1,001 keys", MANY_KEYS),
    _json(9, "over 10,000 nodes", MANY_NODES),
    _json(10, "the same key twice", '{"type":"ping","type":"close"}'),
    _json(10, "NaN", '{"type":"ack","seq":NaN}'),
    _json(10, "Infinity", '{"type":"ack","seq":-Infinity}'),
    _json(10, "1e999", '{"type":"ack","seq":1e999}'),
    _json(11, "beyond 2^53", '{"type":"ack","seq":9007199254740993}'),
    _json(11, "5,000 digits", '{"type":"ack","seq":' + "1" * 5000 + "}"),
    _json(11, "surrogate in a value", f'{{"type":"say","text":"{SURROGATE}"}}'),
    _json(11, "surrogate in a key", f'{{"type":"ping","{SURROGATE}":1}}'),
    _wrong(12, "control character in an id", "id", type="ping", id="a\x07"),
    _wrong(12, "newline after an id", "id", type="ping", id="a\n"),
    _wrong(12, "bidi mark in an id", "id", type="ping", id="a\u202eb"),
    _wrong(12, "65 characters of id", "id", type="ping", id="a" * 65),
    _wrong(12, "empty id", "id", type="ping", id=""),
    _wrong(12, "space in a turn's id", "turn_id", type="interrupt", turn_id="turn 1"),
    _wrong(14, "33,000 characters", "text", type="say", text="x" * 33_000),
    BadFrame(
        14,
        "40,000 bytes in 20,000 characters",
        text(json.dumps({"type": "say", "text": "é" * 20_000}, ensure_ascii=False)),
        "invalid_command",
        "text",
    ),
    _json(15, "byte order mark", '\ufeff{"type":"ping"}'),
    BadFrame(16, "not UTF-8", frame(TEXT, b'{"type":"ping\xff"}'), "not_utf8"),
    BadFrame(16, "a surrogate in UTF-8", frame(TEXT, b'"\xed\xa0\x80"'), "not_utf8"),
    BadFrame(17, "binary", frame(BINARY, b'{"type":"ping"}'), "binary_not_supported"),
    BadFrame(18, "over 64 KiB", frame(TEXT, b" " * (64 * 1024 + 1)), "frame_too_large"),
    BadFrame(18, "256 KiB", frame(TEXT, b" " * (256 * 1024)), "frame_too_large"),
    _wrong(53, "no words", "text", type="say", text="  "),
)

BREACHES: tuple[Breach, ...] = (
    Breach(19, "over 256 KiB", frame(TEXT, b" " * (256 * 1024 + 1)), 1009),
    Breach(19, "a terabyte announced", bytes([0x81, 0xFF]) + (2**40).to_bytes(8), 1009),
    Breach(
        19,
        "10,000 fragments",
        frame(TEXT, b"x", fin=False) + frame(CONT, b"x", fin=False) * 9_999,
        1009,
    ),
    Breach(21, "unmasked", frame(TEXT, b'{"type":"ping"}', masked=False), 1002),
    Breach(21, "reserved opcode", frame(0x3, b""), 1002),
    Breach(21, "reserved bit", frame(TEXT, b'{"type":"ping"}', rsv=2), 1002),
    Breach(21, "long control frame", frame(PING, b"x" * 126), 1002),
    Breach(21, "fragmented control frame", frame(PING, b"x", fin=False), 1002),
    Breach(21, "bad close code", frame(CLOSE, close_payload(1005)), 1002),
    Breach(21, "continuation of nothing", frame(CONT, b"x"), 1002),
    Breach(22, "compressed", frame(TEXT, b"\xaaV*\xa9,HU", rsv=4), 1002),
    Breach(
        24,
        "close in the middle of a message",
        frame(TEXT, b'{"type":"say","text":"par', fin=False) + frame(CLOSE, close_payload(1000)),
        1002,
    ),
)
