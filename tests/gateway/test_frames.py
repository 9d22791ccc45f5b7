"""RFC 6455 by hand: what a frame leads to, whichever way TCP cuts it."""

from contextlib import suppress
from typing import Any

import pytest
import trio
from attrs import frozen

from bargein.gateway.connection import WireConnection
from bargein.gateway.handshake import Upgrade
from bargein.gateway.inbox import BinaryFrame, Incoming, NotUtf8, Oversized, TextFrame
from tests.gateway.raw_client import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawClient,
    close_payload,
    edge_of,
    frame,
    opened,
)

DONE = frame(CLOSE, close_payload(1000))
KIB = 1024
ANSWERS_TO_A_CLOSE = 1000


@frozen
class Case:
    name: str
    sent: bytes
    heard: tuple[Incoming, ...] = ()
    code: int = ANSWERS_TO_A_CLOSE
    pongs: tuple[bytes, ...] = ()


def pieces(opcode: int, *payloads: bytes) -> bytes:
    last = len(payloads) - 1
    return b"".join(
        frame(opcode if number == 0 else CONT, payload, fin=number == last)
        for number, payload in enumerate(payloads)
    )


def bad_close(name: str, payload: bytes, code: int = 1002) -> Case:
    return Case(f"close {name}", frame(CLOSE, payload), code=code)


CASES = [
    # Whole messages.
    Case("empty text", frame(TEXT) + DONE, (TextFrame(""),)),
    Case("text of 125 bytes", frame(TEXT, b"x" * 125) + DONE, (TextFrame("x" * 125),)),
    Case("text of 126 bytes", frame(TEXT, b"x" * 126) + DONE, (TextFrame("x" * 126),)),
    Case("text of 64 KiB", frame(TEXT, b"x" * 64 * KIB) + DONE, (TextFrame("x" * 64 * KIB),)),
    Case("text over 64 KiB", frame(TEXT, b"x" * (64 * KIB + 1)) + DONE, (Oversized(65537),)),
    Case("text of 256 KiB", frame(TEXT, b"x" * 256 * KIB) + DONE, (Oversized(262144),)),
    Case("text over 256 KiB", frame(TEXT, b"x" * (256 * KIB + 1)), code=1009),
    Case("binary", frame(BINARY, b"\0\1") + DONE, (BinaryFrame(2),)),
    Case("binary over 64 KiB", frame(BINARY, b"\0" * 65537) + DONE, (Oversized(65537),)),
    Case(
        "not UTF-8, and what follows",
        frame(TEXT, b"a\xff") + frame(TEXT, b"b") + DONE,
        (NotUtf8(2, 1), TextFrame("b")),
    ),
    Case("a character cut in two", pieces(TEXT, b"\xc3", b"\xa4") + DONE, (TextFrame("ä"),)),
    Case("a lone surrogate", frame(TEXT, b"\xed\xa0\x80") + DONE, (NotUtf8(3, 0),)),
    # Fragments.
    Case("two fragments", pieces(TEXT, b"he", b"llo") + DONE, (TextFrame("hello"),)),
    Case("64 fragments", pieces(TEXT, *[b"x"] * 64) + DONE, (TextFrame("x" * 64),)),
    Case("65 fragments", pieces(TEXT, *[b"x"] * 65), code=1009),
    Case("65 empty fragments", pieces(TEXT, *[b""] * 65), code=1009),
    Case(
        "too many fragments, and what follows",
        pieces(TEXT, *[b"x"] * 66) + frame(TEXT, b"a") + frame(TEXT, b"b"),
        code=1009,
    ),
    Case("10,000 fragments", pieces(TEXT, *[b"x"] * 10_000), code=1009),
    Case(
        "a message before too many fragments",
        frame(TEXT, b"a") + pieces(TEXT, *[b""] * 65),
        (TextFrame("a"),),
        code=1009,
    ),
    Case(
        "fragments over 64 KiB in all",
        pieces(TEXT, *[b"x" * 10_000] * 7) + DONE,
        (Oversized(70_000),),
    ),
    Case("fragments over 256 KiB in all", pieces(TEXT, *[b"x" * 60_000] * 5), code=1009),
    Case(
        "a ping between fragments",
        frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b") + DONE,
        (TextFrame("ab"),),
        pongs=(b"p",),
    ),
    Case("a continuation of nothing", frame(CONT, b"x"), code=1002),
    Case(
        "a continuation after the end",
        frame(TEXT, b"a") + frame(CONT, b"x"),
        (TextFrame("a"),),
        code=1002,
    ),
    Case("a text in a text", frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), code=1002),
    Case("a binary in a text", frame(TEXT, b"a", fin=False) + frame(BINARY, b"b"), code=1002),
    # Control frames.
    Case("an empty ping", frame(PING) + DONE, pongs=(b"",)),
    Case("a ping of 125 bytes", frame(PING, b"x" * 125) + DONE, pongs=(b"x" * 125,)),
    Case("a ping of 126 bytes", frame(PING, b"x" * 126), code=1002),
    Case("a ping in fragments", frame(PING, b"x", fin=False), code=1002),
    Case(
        "a pong nobody asked for", frame(PONG, b"x") + frame(TEXT, b"a") + DONE, (TextFrame("a"),)
    ),
    Case("a pong of 126 bytes", frame(PONG, b"x" * 126), code=1002),
    # Reserved bits and opcodes, masks, lengths.
    *[Case(f"reserved bits {bits}", frame(TEXT, b"a", rsv=bits), code=1002) for bits in (1, 2, 4)],
    Case("reserved bit on a ping", frame(PING, rsv=4), code=1002),
    Case("a compressed bomb", frame(TEXT, b"\x00" * 1000, rsv=4), code=1002),
    *[Case(f"opcode {code:#x}", frame(code, b"a"), code=1002) for code in (3, 7, 0xB, 0xF)],
    Case("an unmasked text", frame(TEXT, b"a", masked=False), code=1002),
    Case("an unmasked close", frame(CLOSE, masked=False), code=1002),
    Case("a header of 2^40 bytes", b"\x81\xff" + (2**40).to_bytes(8), code=1009),
    Case("a header of 2^64 - 1 bytes", b"\x81\xff" + b"\xff" * 8, code=1009),
    Case("a second request", b"GET / HTTP/1.1\r\n\r\n", code=1002),
    Case(
        "a message, then garbage", frame(TEXT, b"a") + b"\xff\xff\xff", (TextFrame("a"),), code=1002
    ),
    # Closing.
    Case("close without a code", frame(CLOSE), code=1005),
    Case("close with 4999", frame(CLOSE, close_payload(4999, b"x" * 123)), code=4999),
    Case("close and no more", DONE + frame(TEXT, b"too late") + frame(PING)),
    Case("close in the middle of a message", frame(TEXT, b"a", fin=False) + DONE, code=1002),
    bad_close("with one byte", b"\x03"),
    bad_close("with 0", close_payload(0)),
    bad_close("with 999", close_payload(999)),
    bad_close("with 1004", close_payload(1004)),
    bad_close("with 1005", close_payload(1005)),
    bad_close("with 1006", close_payload(1006)),
    bad_close("with 1015", close_payload(1015)),
    bad_close("with 2999", close_payload(2999)),
    bad_close("with 5000", close_payload(5000)),
    bad_close("with a long reason", close_payload(1000, b"x" * 124)),
    bad_close("with a reason that is not UTF-8", close_payload(1000, b"\xff"), 1007),
]


async def outcome(client: RawClient) -> tuple[int, tuple[bytes, ...]]:
    pongs: list[bytes] = []
    while True:
        opcode, payload = await client.read_frame()
        if opcode == CLOSE:
            code = int.from_bytes(payload[:2]) if payload else 1005
            return code, tuple(pongs)
        assert opcode == PONG
        pongs.append(payload)


class Hearing:
    def __init__(self) -> None:
        self.heard: list[Incoming] = []
        self.gone = trio.Event()

    async def __call__(self, connection: WireConnection, _: Upgrade) -> None:
        while (message := await connection.receive()) is not None:
            self.heard.append(message)
        self.gone.set()


def name_of(case: Any) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=name_of)
async def test_a_frame_has_the_outcome_of_the_table(case: Case) -> None:
    served = Hearing()
    async with edge_of(served) as edge, opened(edge.port) as client:
        # The server may have closed before all of it is sent.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_what_is_taken, client, case.sent)
            assert await outcome(client) == (case.code, case.pongs)
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            await served.gone.wait()
        assert tuple(served.heard) == case.heard
        async with opened(edge.port) as other:  # the server is there for the next one
            await other.send(DONE)
            assert await outcome(other) == (1000, ())


async def send_what_is_taken(client: RawClient, sent: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await client.send(sent)


MIXED = (
    frame(TEXT, "ä".encode())
    + pieces(TEXT, b"\xe2\x82", b"\xac")
    + frame(PING, b"p")
    + frame(BINARY, b"x" * 130)
    + frame(TEXT, b"\xff")
    + DONE
)


async def test_no_cut_between_two_packets_changes_what_is_heard() -> None:
    for cut in range(1, len(MIXED)):
        served = Hearing()
        async with edge_of(served) as edge, opened(edge.port) as client:
            await client.send(MIXED[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await client.send(MIXED[cut:])
            assert await outcome(client) == (1000, (b"p",))
            with trio.fail_after(5):
                await served.gone.wait()
            assert served.heard == [TextFrame("ä"), TextFrame("€"), BinaryFrame(130), NotUtf8(1, 0)]


async def test_a_frame_that_is_cut_off_anywhere_is_never_half_heard() -> None:
    whole = frame(TEXT, b"x" * 130)
    for cut in range(len(whole)):
        served = Hearing()
        async with edge_of(served) as edge:
            async with opened(edge.port) as client:
                await client.send(whole[:cut])
            with trio.fail_after(5):
                await served.gone.wait()
            assert served.heard == []
