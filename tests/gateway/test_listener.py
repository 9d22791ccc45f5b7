"""The port as a whole: other people's clients, crashes, an orderly end."""

import threading
from functools import partial
from typing import Any

import pytest
import trio
import trio_websocket
from structlog.testing import capture_logs
from websockets.sync.client import connect as sync_connect

from bargein.gateway import listener as listener_module
from bargein.gateway.connection import WireConnection
from bargein.gateway.egress import WireLimits
from bargein.gateway.handshake import Upgrade
from bargein.gateway.handshakes import HandshakeLimits
from bargein.gateway.inbox import TextFrame
from bargein.gateway.listener import Edge, listen
from bargein.gateway.ports import AddressUnusable, PortTaken
from tests.gateway.raw_client import (
    CLOSE,
    DEADLINE_S,
    PING,
    PONG,
    Listening,
    ask,
    close_payload,
    dial,
    edge_of,
    frame,
    make_pages,
    opened,
    request,
    stall,
    status,
)


async def echo(connection: WireConnection, _: Upgrade) -> None:
    while (message := await connection.receive()) is not None:
        assert isinstance(message, TextFrame)
        connection.put(message.text.encode())


async def test_another_librarys_client_is_served() -> None:
    async with edge_of(echo) as edge:
        url = f"ws://127.0.0.1:{edge.port}/v1/session"
        async with trio_websocket.open_websocket_url(url, subprotocols=["bargein.v1"]) as client:
            assert client.subprotocol == "bargein.v1"
            for text in ("hello", "ä" * 30_000, ""):
                await client.send_message(text)
                assert await client.get_message() == text
            await client.ping(b"x")
        assert client.closed is not None
        assert client.closed.code == 1000


async def test_a_blocking_client_in_a_thread_is_served() -> None:
    async with edge_of(echo) as edge:

        def talk() -> tuple[str | bytes, str | None, int | None]:
            url = f"ws://127.0.0.1:{edge.port}/v1/session"
            with sync_connect(url, open_timeout=5, close_timeout=5) as client:
                client.send("hello")
                answer = client.recv(timeout=5)
            return answer, client.subprotocol, client.protocol.close_code

        assert await trio.to_thread.run_sync(talk) == ("hello", None, 1000)


async def test_the_port_that_the_system_chose_is_reported() -> None:
    async with edge_of(echo) as edge:
        assert edge.host == "127.0.0.1"
        assert edge.port > 0
        assert status(await ask(edge.port, b"GET /healthz HTTP/1.1\r\n\r\n")) == 200


async def test_a_taken_port_is_named() -> None:
    async with edge_of(echo) as edge:
        with pytest.raises(PortTaken) as raised:
            await listen(echo, pages=make_pages(), port=edge.port)
        assert (raised.value.host, raised.value.port) == ("127.0.0.1", edge.port)
        assert f"port {edge.port} of 127.0.0.1 is taken" in str(raised.value)


async def test_an_address_of_another_machine_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="address") as raised:
        await listen(echo, pages=make_pages(), host="192.0.2.1", port=0)
    assert not isinstance(raised.value, PortTaken)
    assert isinstance(raised.value, AddressUnusable)
    assert (raised.value.host, raised.value.port) == ("192.0.2.1", 0)
    assert raised.value.reason in str(raised.value)


async def test_one_clients_exception_closes_its_connection_and_no_other() -> None:
    async def serve(connection: WireConnection, upgrade: Upgrade) -> None:
        while (message := await connection.receive()) is not None:
            assert isinstance(message, TextFrame)
            if message.text == "crash":
                raise ExceptionGroup("two", [ValueError("canary"), RecursionError()])
            if message.text == "crash inside":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep_forever)
                    nursery.start_soon(partial(Edge.drain, None))  # type: ignore[arg-type]
            connection.put(message.text.encode())

    async with edge_of(serve) as edge, opened(edge.port) as other:
        for crash in (b"crash", b"crash inside"):
            with capture_logs() as lines:
                async with opened(edge.port) as client:
                    await client.say(crash)
                    opcode, payload = await client.read_frame()
                    assert (opcode, payload) == (CLOSE, close_payload(1011))
            assert [line["event"] for line in lines] == ["client.failed"]
            assert lines[0]["exc_info"]
        await other.say(b"hi")
        assert await other.read_text() == b"hi"


async def test_a_served_client_is_closed_with_1000_and_nothing_is_left_running() -> None:
    async def serve(connection: WireConnection, _: Upgrade) -> None:
        connection.put(b"bye")
        connection.nursery.start_soon(trio.sleep_forever)  # nobody should, but it must not stay

    async with edge_of(serve) as edge:
        await trio.testing.wait_all_tasks_blocked(0.01)
        before = trio.lowlevel.current_statistics().tasks_living
        async with opened(edge.port) as client:
            assert await client.read_text() == b"bye"
            assert await client.read_close() == 1000
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert trio.lowlevel.current_statistics().tasks_living == before
        assert edge.connections == frozenset()


async def test_the_code_of_an_earlier_close_stands() -> None:
    async def serve(connection: WireConnection, _: Upgrade) -> None:
        connection.close_soon(4104, "no such session")

    async with edge_of(serve) as edge, opened(edge.port) as client:
        assert await client.read_close() == 4104


async def test_an_exception_while_a_connection_is_made_is_logged_and_costs_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> WireConnection:
        raise RuntimeError("no memory")

    async with edge_of(echo, handshake_limits=HandshakeLimits(1)) as edge:
        with monkeypatch.context() as patched, capture_logs() as lines:
            patched.setattr(listener_module, "WireConnection", broken)
            for _ in range(3):
                client = await dial(edge.port)
                assert await client.is_cut()
                await trio.aclose_forcefully(client.stream)
        assert [line["event"] for line in lines] == ["connection.not_made"] * 3
        async with opened(edge.port) as again:
            await again.say(b"hi")
            assert await again.read_text() == b"hi"


# --- the end -----------------------------------------------------------------------------------


async def test_draining_says_goodbye_then_closes_and_lets_no_one_in() -> None:
    served: list[WireConnection] = []
    told: list[tuple[str, int]] = []

    async def serve(connection: WireConnection, upgrade: Upgrade) -> None:
        served.append(connection)
        await echo(connection, upgrade)

    async def go_away(reason: str, reconnect_after_ms: int) -> None:
        told.append((reason, reconnect_after_ms))
        for connection in served:
            connection.put(b"go_away")

    async with edge_of(serve, go_away=go_away) as edge:
        async with opened(edge.port) as first, opened(edge.port) as second:
            for client in (first, second):
                await client.say(b"hi")
                assert await client.read_text() == b"hi"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(edge.drain, "restart", 500, deadline_s=5))
                for client in (first, second):
                    assert await client.read_text() == b"go_away"
                    assert await client.read_frame() == (CLOSE, close_payload(4000, b"restart"))
                    await client.send(frame(CLOSE, close_payload(4000)))
                    assert await client.read_to_end() == b""
                    await client.stream.aclose()
        assert told == [("restart", 500)]
        assert edge.connections == frozenset()
        with pytest.raises(ConnectionRefusedError):
            await dial(edge.port)


async def test_a_goodbye_that_fails_does_not_keep_the_port_open() -> None:
    async def go_away(_: str, __: int) -> None:
        raise RuntimeError("a bug in the session layer")

    async with edge_of(echo, go_away=go_away) as edge, opened(edge.port) as client:
        await client.say(b"hi")
        assert await client.read_text() == b"hi"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(edge.drain, "restart", 0, deadline_s=5))
            assert await client.read_close() == 4000


async def test_draining_ends_listening() -> None:
    with trio.fail_after(DEADLINE_S):
        async with trio.open_nursery() as nursery:
            edge = await nursery.start(partial(listen, echo, pages=make_pages(), port=0))
            await edge.drain("restart", 0)
        # `listen` has returned, or the nursery would not have ended


async def test_draining_waits_neither_for_the_stalled_nor_for_the_stubborn() -> None:
    stalled = Listening()

    async def serve(connection: WireConnection, upgrade: Upgrade) -> None:
        if upgrade.role == "watch":
            await stalled(connection, upgrade)
        else:
            await trio.sleep_forever()

    async def go_away(_: str, __: int) -> None:
        await trio.sleep_forever()

    async with edge_of(serve, go_away=go_away) as edge:
        watching = "/v1/session?role=watch"
        async with (
            opened(edge.port, watching, window_bytes=4096) as one,
            opened(edge.port) as two,
        ):
            stall(await stalled.wire())
            half = await dial(edge.port)
            await half.send(b"GET /v1/s")
            started_at_s = trio.current_time()
            await edge.drain("restart", 500, deadline_s=0.4)
            assert 0.35 < trio.current_time() - started_at_s < 1.5
            for client in (one, two, half):
                assert await client.is_cut()
            await trio.aclose_forcefully(half.stream)


async def test_a_handshake_that_ends_during_a_drain_gets_503() -> None:
    reached = trio.Event()
    go_on = trio.Event()

    async def admit(_: Upgrade) -> None:
        reached.set()
        await go_on.wait()

    async with edge_of(echo, admit=admit) as edge:
        client = await dial(edge.port)
        await client.send(request())
        await reached.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(edge.drain, "restart", 0, deadline_s=5))
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
            assert status(await client.read_to_end()) == 503
            await trio.aclose_forcefully(client.stream)


async def test_a_cancelled_listener_cuts_everybody_and_leaves_nothing() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    threads = threading.active_count()
    client = None
    with trio.fail_after(DEADLINE_S):
        async with edge_of(echo) as edge:
            client = await dial(edge.port)
            await client.send(request())
            await client.read_head()
        assert await client.read_close() in (1001, 1006)
        await trio.aclose_forcefully(client.stream)
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert threading.active_count() == threads


async def test_both_sides_may_close_at_the_same_time() -> None:
    served = Listening()
    async with edge_of(served) as edge, opened(edge.port) as client:
        wire = await served.wire()
        wire.close_soon(4000)
        await client.send(frame(CLOSE, close_payload(1001)))
        assert await client.read_frame() == (CLOSE, close_payload(4000))
        assert await client.read_to_end() == b""
        await served.until_gone(1.0)
        assert wire.protocol.close_rcvd is not None
        assert wire.protocol.close_rcvd.code == 1001


async def test_a_client_that_hangs_up_in_the_middle_of_a_close_is_let_go() -> None:
    served = Listening()
    async with edge_of(served, limits=WireLimits(close_limit_s=5)) as edge:
        async with opened(edge.port) as client:
            wire = await served.wire()
            wire.close_soon(4000)
            await client.read_frame()
        await served.until_gone(1.0)
        with trio.fail_after(1):
            await wire.wait_closed()


# --- heartbeats --------------------------------------------------------------------------------


async def test_a_client_that_answers_pings_stays_and_a_silent_one_is_closed_with_4004() -> None:
    async with edge_of(echo, heartbeat_s=0.2) as edge, opened(edge.port) as silent:
        started_at_s = trio.current_time()
        async with opened(edge.port) as lively:
            for _ in range(5):
                opcode, payload = await lively.read_frame()
                assert opcode == PING
                await lively.send(frame(PONG, payload))
            assert trio.current_time() - started_at_s > 0.8
            assert await silent.read_close() == 4004
            await lively.say(b"here")
            assert await lively.read_text() == b"here"


async def test_a_silent_client_is_found_before_two_heartbeats_are_over() -> None:
    async with edge_of(echo, heartbeat_s=0.3) as edge, opened(edge.port) as silent:
        started_at_s = trio.current_time()
        assert await silent.read_close() == 4004
        assert 0.45 < trio.current_time() - started_at_s < 0.75
