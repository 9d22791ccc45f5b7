"""Any byte in any header of a handshake: an upgrade or a status of the list; the edge lives."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random

import trio
from structlog.testing import capture_logs

from bargein.gateway.connection import WireConnection
from bargein.gateway.handshake import Upgrade
from tests.fuzz.mutation import bytes_like
from tests.fuzz.rounds import expect, rounds, shown
from tests.gateway.raw_client import DEADLINE_S, KEY, RawClient, dial, edge_of, request

STATUSES = {101, 200, 400, 401, 403, 404, 405, 414, 421, 426, 431}
"""What the list of faults knows of an answer to a request; 200 is a page."""

AT_ONCE = 16
FEW = 500
HEADERS = {
    "Host": "localhost",
    "Origin": "http://localhost:3000",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Protocol": "bargein.v1, bargein.jwt.abc.def.ghi",
    "Sec-WebSocket-Extensions": "permessage-deflate",
    "Authorization": "Bearer abc.def.ghi",
    "Cookie": "a=b",
}
PATHS = (
    "/v1/session",
    "/v1/session?view=text&role=watch",
    "/v1/session/sess_0123456789abcdef0123456789abcdef?after=3&epoch=00000000",
    "/healthz",
    "/",
)


async def greet_and_go(connection: WireConnection, upgrade: Upgrade) -> None:
    """Serve a client as briefly as can be: whoever gets this far is upgraded."""
    del upgrade
    connection.close_soon()
    await connection.receive()


async def status_of(port: int, head: bytes) -> int:
    """Return the status of the answer; 0 where the connection ended without one."""
    client, answer = await dial(port), b""
    try:
        with trio.move_on_after(DEADLINE_S) as late:
            await client.send(head)
            # What may be no whole head is completed: who waits for more gets it.
            await client.stream.send_eof()
            answer = await answer_on(client)
        assert not late.cancelled_caught, "no answer, and no end"
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return 0
    finally:
        await trio.aclose_forcefully(client.stream)
    if not answer:
        return 0
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    assert b"Traceback" not in answer
    assert b".py" not in answer
    return int(answer[9:12])


async def answer_on(client: RawClient) -> bytes:
    while b"\r\n" not in client.received:
        more = await client.stream.receive_some()
        if not more:
            break
        client.received += more
    return bytes(client.received)


def with_byte(name: str, place: str, byte: int) -> bytes:
    """Return a request with one byte more in one header."""
    head = request(
        "/v1/session", **{key.replace("-", "_"): value for key, value in HEADERS.items()}
    )
    at = head.index(f"\r\n{name}: ".encode()) + len(name) + 4
    end = head.index(b"\r\n", at)
    where = {"first": at, "middle": (at + end) // 2, "last": end}[place]
    return head[:where] + bytes([byte]) + head[where:]


async def test_each_byte_in_each_header_has_an_answer_of_the_list():
    statuses: Counter[int] = Counter()
    with capture_logs() as logs:
        async with edge_of(greet_and_go) as edge:

            async def one(name: str, place: str, byte: int) -> None:
                async with places:
                    with shown(byte, (name, place)):
                        statuses[await status_of(edge.port, with_byte(name, place, byte))] += 1

            places = trio.Semaphore(AT_ONCE)
            async with trio.open_nursery() as nursery:
                for name in HEADERS:
                    for byte in range(256):
                        place = ("first", "middle", "last")[byte % 3]
                        nursery.start_soon(one, name, place, byte)
            assert await status_of(edge.port, request("/v1/session")) == 101
    assert set(statuses) <= STATUSES, statuses
    assert {101, 400, 403, 421, 426} <= set(statuses)
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []


def bad_head(drawn: Random) -> bytes:
    headers = {
        key.replace("-", "_"): None if drawn.random() < 0.1 else value
        for key, value in HEADERS.items()
    }
    return bytes_like(drawn, request(drawn.choice(PATHS), **headers))


async def test_heads_of_any_bytes_are_answered_or_dropped():
    statuses: Counter[int] = Counter()
    with capture_logs() as logs:
        played = rounds("heads", least=100)
        while some := list(islice(played, FEW)):
            async with edge_of(greet_and_go) as edge:  # which lives for a minute at most
                for number, drawn in some:
                    head = bad_head(drawn)
                    with shown(number, head):
                        statuses[await status_of(edge.port, head)] += 1
                assert await status_of(edge.port, request("/v1/session")) == 101
    assert set(statuses) <= {*STATUSES, 0}, statuses
    expect(statuses[400] > 20, statuses)
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []
