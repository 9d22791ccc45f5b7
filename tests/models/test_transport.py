"""Connections are made where the last one was, and TLS goes on where it left off."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from attrs import define, field

from bargein.models import transport
from bargein.models.readers import Readers
from bargein.models.transport import Origin, Transport
from bargein.models.wire import Address, Wire, WireBroken
from tests.fakes.certificates import Pair, make_pair
from tests.models.ears import LIMIT_S

ANSWER = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"


@define(eq=False)
class Server:
    """Answers each connection once; over TLS it notes which of them resumed a session."""

    port: int = 0
    tls: ssl.SSLContext | None = None
    connections: int = field(default=0, init=False)
    resumed: list[bool] = field(factory=list[bool], init=False)

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        async with stream:
            if self.tls is None:
                await stream.receive_some()
                await stream.send_all(ANSWER)
                return
            secure = trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True)
            try:
                await secure.receive_some()
            except trio.BrokenResourceError:  # the handshake failed
                return
            self.resumed.append(secure.session_reused)
            await secure.send_all(ANSWER)


@asynccontextmanager
async def serving(tls: ssl.SSLContext | None = None) -> AsyncGenerator[Server]:
    server = Server(tls=tls)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1")
            listeners = await nursery.start(serve)
            server.port = listeners[0].socket.getsockname()[1]
            yield server
            nursery.cancel_scope.cancel()


def to(server: Server, context: ssl.SSLContext | None = None, connect_s: float = 5.0) -> Transport:
    origin = Origin("localhost", server.port, secure=context is not None)
    return Transport(origin, Readers(), context, 10, connect_s)


async def ask(asked: Transport) -> None:
    head, body = await asked.ask((b"GET / HTTP/1.1\r\n", b"\r\n"))
    try:
        assert head.status == 200
        assert await anext(body) == b"ok"
    finally:
        await body.close()


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return whom names were looked up for."""
    asked: list[str] = []
    look_up = trio.open_tcp_stream

    async def noting(host: str, port: int) -> trio.SocketStream:
        asked.append(host)
        return await look_up(host, port)

    monkeypatch.setattr(trio, "open_tcp_stream", noting)
    return asked


async def test_connections_that_follow_go_where_the_first_one_was(look_ups: list[str]) -> None:
    async with serving() as server:
        asked = to(server)
        for _ in range(5):
            await ask(asked)
    assert server.connections == 5
    assert look_ups == ["localhost"]


async def test_an_address_is_looked_up_again_when_it_is_old(
    look_ups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "KNOWN_S", 0.0)
    async with serving() as server:
        asked = to(server)
        for _ in range(3):
            await ask(asked)
    assert look_ups == ["localhost"] * 3


async def test_where_nobody_is_any_more_all_addresses_are_tried_again(look_ups: list[str]) -> None:
    async with serving() as server:
        asked = to(server)
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            dead = Address(socket.AF_INET, unheard.getsockname())
            asked._known = (dead, float("inf"))  # pyright: ignore[reportPrivateUsage]
            for _ in range(2):
                await ask(asked)
    assert look_ups == ["localhost"]


async def test_where_nobody_answers_any_more_all_addresses_are_tried_again(
    look_ups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "KNOWN_PATIENCE_S", 0.05)
    async with serving() as server:
        asked = to(server)
        with socket.socket() as full, socket.socket() as guest:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            guest.connect(full.getsockname())
            silent = Address(socket.AF_INET, full.getsockname())
            asked._known = (silent, float("inf"))  # pyright: ignore[reportPrivateUsage]
            for _ in range(2):
                await ask(asked)
    assert look_ups == ["localhost"]


async def test_a_known_address_does_not_lengthen_the_limit() -> None:
    async with serving() as server:
        asked = to(server, connect_s=0.05)
        with socket.socket() as full, socket.socket() as guest:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            guest.connect(full.getsockname())
            silent = Address(socket.AF_INET, full.getsockname())
            asked._known = (silent, float("inf"))  # pyright: ignore[reportPrivateUsage]
            with pytest.raises(trio.TooSlowError):
                await ask(asked)
    assert server.connections == 0


async def test_an_address_that_is_none_is_out_of_reach() -> None:
    for address in (
        Address(socket.AF_INET, ("not an address", 1)),
        Address(socket.AF_INET6, ("::ffff:0:1:2", 1, 0, 0)),
    ):
        with pytest.raises(WireBroken), trio.fail_after(LIMIT_S):
            await Wire.connected_to(address)


async def test_what_closes_a_transport_closes_the_connections_that_come_back_later() -> None:
    kept = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    over = trio.Event()

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(kept)
            assert await stream.receive_some() == b""
        over.set()

    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
            port = listeners[0].socket.getsockname()[1]
            asked = Transport(Origin("127.0.0.1", port, secure=False), Readers(), None, 10, 5.0)
            _, body = await asked.ask((b"GET / HTTP/1.1\r\n", b"\r\n"))
            assert await anext(body) == b"ok"
            asked.close()
            await body.close()
            await over.wait()
            nursery.cancel_scope.cancel()


# --- TLS ---------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Return a certificate for loopback."""
    return make_pair(tmp_path)


def presenting(pair: Pair, newest: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    context.maximum_version = newest
    return context


both_versions = pytest.mark.parametrize(
    "newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"]
)


@both_versions
async def test_a_tls_session_is_resumed(newest: ssl.TLSVersion, pair: Pair) -> None:
    async with serving(presenting(pair, newest)) as server:
        asked = to(server, pair.trusting())
        for _ in range(4):
            await ask(asked)
    assert server.resumed == [False, True, True, True]


@both_versions
async def test_a_server_that_has_forgotten_a_session_shakes_hands_anew(
    newest: ssl.TLSVersion, pair: Pair
) -> None:
    async with serving(presenting(pair, newest)) as server:
        asked = to(server, pair.trusting())
        await ask(asked)
        server.tls = presenting(pair, newest)  # as after a restart, with other keys for its tickets
        await ask(asked)
        await ask(asked)
    assert server.resumed == [False, False, True]


async def test_a_session_is_forgotten_where_the_handshake_fails(pair: Pair, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    stranger = make_pair(folder)
    async with serving(presenting(pair, ssl.TLSVersion.TLSv1_3)) as server:
        asked = to(server, pair.trusting())
        await ask(asked)
        honest, server.tls = server.tls, presenting(stranger, ssl.TLSVersion.TLSv1_3)
        with pytest.raises(WireBroken):
            await ask(asked)
        server.tls = honest
        await ask(asked)
    assert server.resumed == [False, False]
