from __future__ import annotations

import gc
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from examples.bench import link as link_module
from examples.bench.link import Link, LinkLost, connect

TEXTS = ("a", "b" * 125, "c" * 126, "d" * 65535, "e" * 65536, "ü" * 70)


@asynccontextmanager
async def echoing() -> AsyncGenerator[str]:
    """Run a WebSocket server of another make that sends back what it gets."""

    async def echo(request: WebSocketRequest) -> None:
        socket = await request.accept(subprotocol="bargein.v1")
        try:
            while True:
                text = await socket.get_message()
                if text == "close":
                    await socket.aclose(4000, "drain")
                    return
                if text == "ping":
                    await socket.ping(b"are you there")
                await socket.send_message(text)
        except ConnectionClosed:
            return

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, None)
            yield f"ws://127.0.0.1:{server.port}/v1/session"
            nursery.cancel_scope.cancel()


async def read(link: Link, count: int) -> list[bytes]:
    messages: list[bytes] = []
    while len(messages) < count:
        messages += await link.read()
    return messages


async def test_messages_of_every_length_come_back_from_a_server_of_another_make():
    async with echoing() as url:
        link = await connect(url)
        for text in TEXTS:
            await link.send(text.encode())
        assert await read(link, len(TEXTS)) == [text.encode() for text in TEXTS]
        await link.aclose()


async def test_a_ping_is_answered():
    async with echoing() as url:
        link = await connect(url)
        await link.send(b"ping")
        # The server's ping waits for its pong before it sends the message back.
        assert await read(link, 1) == [b"ping"]
        await link.aclose()


async def test_the_close_code_of_the_server_is_told():
    async with echoing() as url:
        link = await connect(url)
        await link.send(b"close")
        with pytest.raises(LinkLost, match="closed by the server 4000"):
            await link.read()
        await link.aclose()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
async def test_frames_may_be_cut_up_anywhere(piece: int):
    ours, theirs = trio.socket.socketpair()
    wire = b"\x81\x05hello\x8a\x00\x81\x7e\x00\xc8" + b"x" * 200 + b"\x81\x02ab"
    link = Link(trio.SocketStream(ours), wire[:piece])
    messages = link.early()
    with theirs:
        for at in range(piece, len(wire), piece):
            await theirs.send(wire[at : at + piece])
            messages += await link.read()
        await link.aclose()
    assert messages == [b"hello", b"x" * 200, b"ab"]


async def test_a_cut_connection_is_a_lost_link():
    ours, theirs = trio.socket.socketpair()
    link = Link(trio.SocketStream(ours))
    theirs.close()
    with pytest.raises(LinkLost, match="connection cut"):
        await link.read()
    await link.aclose()


async def test_an_address_without_a_server_is_a_lost_link():
    with pytest.raises(LinkLost, match="no connection"):
        await connect("ws://127.0.0.1:9/v1/session")


async def test_a_refused_upgrade_is_told_with_its_status():
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, refuse, 0)
        port = listeners[0].socket.getsockname()[1]
        with pytest.raises(LinkLost, match="upgrade refused with 503"):
            await connect(f"ws://127.0.0.1:{port}/v1/session")
        nursery.cancel_scope.cancel()


async def test_a_link_that_can_not_be_made_leaves_the_descriptor_to_its_stream(
    monkeypatch: pytest.MonkeyPatch,
):
    def refuse(_: object) -> None:
        raise OSError("no such option")

    monkeypatch.setattr(link_module, "stamp", refuse)
    ours, theirs = trio.socket.socketpair()
    with ours, theirs:
        with pytest.raises(OSError, match="no such option"):
            Link(trio.SocketStream(ours))
        gc.collect()
        os.fstat(ours.fileno())  # or it is closed, and may be somebody else's soon


async def test_a_goodbye_that_is_cancelled_closes_the_connection():
    ours, theirs = trio.socket.socketpair()
    with theirs:
        link = Link(trio.SocketStream(ours))
        with trio.CancelScope() as scope:
            scope.cancel()
            await link.aclose()
        assert scope.cancelled_caught
        assert link.socket.fileno() == -1
        with trio.fail_after(5):
            assert await theirs.recv(100) == b""
