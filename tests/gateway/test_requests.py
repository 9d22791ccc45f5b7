"""HTTP by hand: the rows of bad requests, pages, and handshakes that never come to an end."""

import threading
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing
from prometheus_client import CollectorRegistry, Counter

from bargein.gateway.connection import WireConnection
from bargein.gateway.handshake import AllowList, Upgrade
from bargein.gateway.handshakes import HandshakeLimits
from bargein.gateway.inbox import TextFrame
from bargein.gateway.pages import Pages
from bargein.gateway.request_head import Refusal
from tests.gateway.raw_client import (
    Listening,
    RawClient,
    ask,
    dial,
    edge_of,
    make_pages,
    opened,
    request,
    status,
)

BODY = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
LONG = "x" * 16 * 1024


def changed(old: bytes, new: bytes, path: str = "/v1/session") -> bytes:
    whole = request(path)
    assert old in whole
    return whole.replace(old, new, 1)


BAD_REQUESTS = {
    "POST": (changed(b"GET", b"POST"), 405),
    "HEAD": (changed(b"GET", b"HEAD"), 405),
    "no Upgrade": (request(Upgrade=None, Connection=None), 426),
    "upgrade to h2c": (request(Upgrade="h2c"), 426),
    "version 8": (request(Sec_WebSocket_Version="8"), 400),
    "no version": (request(Sec_WebSocket_Version=None), 400),
    "no key": (request(Sec_WebSocket_Key=None), 400),
    "a short key": (request(Sec_WebSocket_Key="YQ=="), 400),
    "200 headers": (changed(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 200 + b"\r\n"), 431),
    "a header of 16 KiB": (request(X=LONG), 431),
    "a request line of 16 KiB": (request("/v1/session?x=" + LONG), 414),
    "two Origins": (request()[:-2] + b"Origin: null\r\nOrigin: null\r\n\r\n", 400),
    "two Hosts": (request()[:-2] + b"Host: localhost\r\n\r\n", 400),
    "no Host": (request(Host=None), 400),
    "HTTP/1.0": (changed(b"HTTP/1.1", b"HTTP/1.0"), 505),
    "HTTP/2.0": (changed(b"HTTP/1.1", b"HTTP/2.0"), 400),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "a second request in the pipeline": (request() + request(), 400),
    "a frame in the pipeline": (request() + b"\x81\x80abcd", 400),
    "Content-Length with Transfer-Encoding": (request()[:-2] + BODY + b"\r\nhello", 400),
    "Content-Length": (request(Content_Length="5"), 400),
    "Transfer-Encoding": (request(Transfer_Encoding="chunked"), 400),
    "a folded header": (request(X="a\r\n b"), 400),
    "a space before the colon": (changed(b"Host:", b"Host :"), 400),
    "a NUL in the path": (changed(b"/v1/session", b"/v1/session\0"), 400),
    "non-ASCII in the path": (changed(b"/v1/session", "/v1/sessiön".encode()), 400),
    "no request": (b"\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\n", 400),
    "only a foreign subprotocol": (request(Sec_WebSocket_Protocol="graphql-ws"), 400),
    "only a token": (request(Sec_WebSocket_Protocol="bargein.jwt.abc"), 400),
    "a foreign Origin": (request(Origin="https://evil.example"), 403),
    "Origin null": (request(Origin="null"), 403),
    "an Origin that looks like ours": (request(Origin="http://localhost.evil.example"), 403),
    "a foreign Host": (request(Host="evil.example"), 421),
    "a negative after": (request("/v1/session/s?after=-1"), 400),
    "half an after": (request("/v1/session/s?after=1.5"), 400),
    "after no number": (request("/v1/session/s?after=x"), 400),
    "a token in the URL": (request("/v1/session?token=canary"), 401),
    "another path": (request("/v2/session"), 404),
}


@pytest.mark.parametrize(("sent", "expected"), BAD_REQUESTS.values(), ids=list(BAD_REQUESTS))
async def test_a_bad_request_is_refused_and_the_server_lives(sent: bytes, expected: int) -> None:
    served = Listening()
    async with edge_of(served) as edge:
        answer = await ask(edge.port, sent)
        assert status(answer) == expected
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"X-Content-Type-Options: nosniff" in head
        assert b"Content-Security-Policy: default-src 'self'" in head
        assert b"Access-Control" not in head
        assert b"Server:" not in head
        assert b"Python" not in answer
        assert body or sent.startswith(b"HEAD")
        assert b"canary" not in answer
        assert not served.came.is_set()
        async with opened(edge.port):
            await served.wire()


HEADERS = [
    "Host",
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
    "Origin",
    "Authorization",
    "User-Agent",
    "Cookie",
]


@pytest.mark.parametrize("name", HEADERS)
async def test_no_byte_outside_ascii_passes_in_any_handshake_header(name: str) -> None:
    served = Listening()
    async with edge_of(served) as edge:
        for byte in [*range(0x20), *range(0x7F, 0x100)]:
            if byte in (0x09, 0x0A, 0x0D):  # a tab is allowed, the others end lines
                continue
            sent = request(**{name: "a" + chr(byte)})
            assert status(await ask(edge.port, sent)) == 400, byte
        for sent in (request(**{name: "a\n"}), request(**{name: "a\r"})):
            assert status(await ask(edge.port, sent)) == 400
        assert not served.came.is_set()


async def test_any_printable_header_gets_an_answer() -> None:
    served = Listening()
    async with edge_of(served) as edge:
        for name in HEADERS:
            for byte in range(0x21, 0x7F):
                answer = await ask_for_head(edge.port, request(**{name: chr(byte) * 3}))
                assert status(answer) in (101, 400, 403, 421, 426), (name, byte)


async def ask_for_head(port: int, sent: bytes) -> bytes:
    client = await dial(port)
    try:
        await client.send(sent)
        return await client.read_head()
    finally:
        await trio.aclose_forcefully(client.stream)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, None),
        ("bargein.v1", b"bargein.v1"),
        ("bargein.jwt.canary, bargein.v1", b"bargein.v1"),
        ("chat, bargein.v1", b"bargein.v1"),
    ],
)
async def test_the_answer_names_our_subprotocol_and_never_the_token(
    offered: str | None, chosen: bytes | None
) -> None:
    async with edge_of(Listening()) as edge:
        answer = await ask_for_head(edge.port, request(Sec_WebSocket_Protocol=offered))
        assert status(answer) == 101
        assert b"canary" not in answer
        assert (b"Sec-WebSocket-Protocol" in answer) is (chosen is not None)
        if chosen is not None:
            assert b"Sec-WebSocket-Protocol: " + chosen + b"\r\n" in answer


async def test_compression_is_never_agreed_to() -> None:
    async with edge_of(Listening()) as edge:
        offer = "permessage-deflate; client_max_window_bits"
        answer = await ask_for_head(edge.port, request(Sec_WebSocket_Extensions=offer))
        assert status(answer) == 101
        assert b"Extensions" not in answer


async def test_what_was_asked_for_reaches_the_session() -> None:
    asked: list[Upgrade] = []

    async def serve(_: WireConnection, upgrade: Upgrade) -> None:
        asked.append(upgrade)

    async with edge_of(serve) as edge:
        path = "/v1/session/sess_1?after=7&epoch=e1&view=text&role=watch"
        async with opened(
            edge.port, path, Authorization="Bearer abc", Sec_WebSocket_Protocol="bargein.v1"
        ) as client:
            assert await client.read_close() == 1000
    assert asked == [Upgrade("sess_1", 7, "e1", "text", "watch", True, None, "Bearer abc")]


async def test_who_admits_has_the_last_word_before_the_upgrade() -> None:
    served = Listening()

    async def admit(upgrade: Upgrade) -> Refusal | None:
        if upgrade.authorization == "Bearer good":
            return None
        return Refusal(503, "The server is full; come back in a moment.", (("Retry-After", "5"),))

    async with edge_of(served, admit=admit) as edge:
        answer = await ask(edge.port, request())
        assert status(answer) == 503
        assert b"Retry-After: 5\r\n" in answer
        async with opened(edge.port, Authorization="Bearer good"):
            await served.wire()


async def test_an_admission_that_fails_is_a_500_without_a_reason() -> None:
    async def admit(_: Upgrade) -> Refusal | None:
        raise RuntimeError("canary")

    async with edge_of(Listening(), admit=admit) as edge:
        answer = await ask(edge.port, request())
        assert status(answer) == 500
        assert b"canary" not in answer
        assert status(await ask(edge.port, b"GET /healthz HTTP/1.1\r\n\r\n")) == 200


# --- pages -----------------------------------------------------------------------------------


def page(path: str, method: str = "GET", host: str = "localhost:8710") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_pages_are_served_on_the_same_port() -> None:
    registry = CollectorRegistry()
    Counter("turns", "Turns started.", registry=registry).inc(3)
    async with edge_of(Listening(), pages=make_pages(registry=registry)) as edge:
        health = await ask(edge.port, page("/healthz"))
        assert (status(health), health.partition(b"\r\n\r\n")[2]) == (200, b"ok\n")
        metrics = await ask(edge.port, page("/metrics"))
        assert b"turns_total 3.0" in metrics
        assert b"Content-Type: text/plain" in metrics
        contract = await ask(edge.port, page("/protocol.json?x=1"))
        assert b"Content-Type: application/json" in contract
        assert contract.endswith(b'\r\n\r\n{"asyncapi":"3.0.0"}')
        front = await ask(edge.port, page("/"))
        assert b"Content-Type: text/html" in front
        assert b'wscat -c "ws://localhost:8710/v1/session?view=text"' in front
        missing = await ask(edge.port, page("/nope"))
        assert status(missing) == 404
        assert b"There is nothing here" in missing


async def test_head_answers_as_get_would_without_the_body() -> None:
    async with edge_of(Listening()) as edge:
        for path in ("/", "/healthz", "/nope"):
            got = (await ask(edge.port, page(path))).partition(b"\r\n\r\n")
            headed = (await ask(edge.port, page(path, "HEAD"))).partition(b"\r\n\r\n")
            assert headed[0].split(b"\r\n")[2:] == got[0].split(b"\r\n")[2:]  # Date may differ
            assert headed[2] == b""
            assert f"Content-Length: {len(got[2])}".encode() in headed[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    async with edge_of(Listening()) as edge:
        answer = await ask(edge.port, page("/healthz", method))
        assert status(answer) == 405
        assert b"Allow: GET, HEAD" in answer


async def test_readiness_says_why_not() -> None:
    pages = make_pages(readiness=lambda: (False, "The disk is full."))
    async with edge_of(Listening(), pages=pages) as edge:
        answer = await ask(edge.port, page("/readyz"))
        assert status(answer) == 503
        assert answer.endswith(b"The disk is full.\n")


async def test_only_health_is_told_to_whoever_calls_us_by_another_name() -> None:
    async with edge_of(Listening(), allowed=AllowList(hosts=["agent.example"])) as edge:
        for path in ("/healthz", "/readyz"):
            assert status(await ask(edge.port, page(path, host="10.0.0.7:8710"))) == 200
        for path in ("/", "/metrics", "/protocol.json", "/nope"):
            assert status(await ask(edge.port, page(path, host="evil.example"))) == 421
            assert status(await ask(edge.port, page(path, host="agent.example"))) in (200, 404)


async def test_metrics_are_made_once_a_second(autojump_clock: trio.abc.Clock) -> None:
    registry = CollectorRegistry()
    counter = Counter("turns", "Turns started.", registry=registry)
    pages = Pages(lambda: (True, ""), registry, bytes)
    assert b"turns_total 0.0" in pages.answer("GET", "/metrics").body
    counter.inc()
    await trio.sleep(0.99)
    assert b"turns_total 0.0" in pages.answer("GET", "/metrics").body
    await trio.sleep(0.01)
    assert b"turns_total 1.0" in pages.answer("GET", "/metrics").body


async def test_the_contract_is_worked_out_once_and_only_for_who_asks() -> None:
    made: list[threading.Thread] = []

    def contract() -> bytes:
        made.append(threading.current_thread())
        return b"{}"

    pages = Pages(lambda: (True, ""), CollectorRegistry(), contract)
    async with edge_of(Listening(), pages=pages) as edge:
        assert status(await ask(edge.port, page("/readyz"))) == 200
        assert made == []
        for _ in range(2):
            assert (await ask(edge.port, page("/protocol.json"))).endswith(b"\r\n\r\n{}")
    assert len(made) == 1
    assert made != [threading.main_thread()]


async def test_those_who_ask_for_the_contract_at_once_have_it_worked_out_once() -> None:
    made: list[threading.Thread] = []
    all_ask = threading.Event()

    def contract() -> bytes:
        made.append(threading.current_thread())
        assert all_ask.wait(timeout=20)
        return b"{}"

    pages = Pages(lambda: (True, ""), CollectorRegistry(), contract)
    answers: list[bytes] = []

    async def fetch() -> None:
        await pages.prepare("/protocol.json")
        answers.append(pages.answer("GET", "/protocol.json").body)

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(fetch)
        await trio.testing.wait_all_tasks_blocked()
        all_ask.set()
    assert answers == [b"{}"] * 10
    assert len(made) == 1


async def test_a_big_page_arrives_whole_even_by_a_small_window() -> None:
    contract = b"0123456789abcdef" * (2 * 65536)
    pages = Pages(lambda: (True, ""), CollectorRegistry(), lambda: contract)
    async with edge_of(Listening(), pages=pages) as edge:
        for window_bytes in (None, 4096):
            client = await dial(edge.port, window_bytes=window_bytes)
            await client.send(page("/protocol.json"))
            answer = await client.read_to_end()
            assert answer.partition(b"\r\n\r\n")[2] == contract
            await trio.aclose_forcefully(client.stream)


# --- handshakes that stall -------------------------------------------------------------------


async def test_a_request_byte_by_byte_is_dropped_in_time() -> None:
    async with edge_of(Listening(), open_limit_s=0.3) as edge:
        client = await dial(edge.port)
        started_at_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trickle, client, request(X="y" * 4000)))
            assert await client.is_cut()
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(client.stream)
        assert 0.25 < trio.current_time() - started_at_s < 1.5


async def trickle(client: RawClient, sent: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        for byte in sent:
            await client.send(bytes([byte]))
            await trio.testing.wait_all_tasks_blocked(0.002)


async def test_200_stalled_handshakes_hold_up_no_one_who_is_in_and_others_only_for_a_while() -> (
    None
):
    served = Listening()

    def echo(wire: WireConnection, message: object) -> None:
        assert isinstance(message, TextFrame)
        wire.put(message.text.encode())

    served.hear = echo
    async with edge_of(served, open_limit_s=1.0) as edge, opened(edge.port) as client:
        stalled: list[RawClient] = []
        began_s = trio.current_time()  # the dials alone may take half of the limit
        for _ in range(200):
            stalled.append(await dial(edge.port))
            await stalled[-1].send(b"GET /v1/session HTTP/1.1\r\n")
        started_at_s = trio.current_time()
        await client.say(b"hi")
        assert await client.read_text() == b"hi"
        assert trio.current_time() - started_at_s < 0.1
        late = await dial(edge.port)
        await late.send(request())
        with trio.CancelScope(deadline=began_s + 0.9) as waiting:
            await late.read_head()
        assert waiting.cancelled_caught  # in the backlog, where it costs nothing
        assert (await late.read_head()).startswith(b"HTTP/1.1 101")
        assert trio.current_time() - began_s >= 1.0  # when the first of them is dropped
        assert trio.current_time() - started_at_s < 3
        for one in (*stalled, late):
            assert one is late or await one.is_cut()
            await trio.aclose_forcefully(one.stream)


async def test_many_handshakes_of_every_ending_use_up_no_places() -> None:
    served = Listening()
    # Long enough for an honest client while this process collects its garbage.
    async with edge_of(served, handshake_limits=HandshakeLimits(2), open_limit_s=1.0) as edge:
        for _ in range(5):
            assert status(await ask(edge.port, page("/healthz"))) == 200
            assert status(await ask(edge.port, b"garbage\r\n\r\n")) == 400
            assert status(await ask(edge.port, request(Origin="null"))) == 403
            gone = await dial(edge.port)
            await gone.send(b"GET / HT")
            await trio.aclose_forcefully(gone.stream)
            stalled = await dial(edge.port)
            assert await stalled.is_cut()
            await trio.aclose_forcefully(stalled.stream)
            async with opened(edge.port):
                pass
        async with opened(edge.port):
            pass
