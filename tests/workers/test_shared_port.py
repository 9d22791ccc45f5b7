"""A port that processes of one user share, and others do not get."""

from __future__ import annotations

import socket

import pytest
import trio

from bargein.gateway.ports import AddressUnusable, PortTaken, open_port, reserve_port

HOST = "127.0.0.1"


async def close(listeners: list[trio.SocketListener]) -> None:
    for listener in listeners:
        await listener.aclose()


async def test_several_listen_on_a_port_that_is_kept_and_each_gets_some():
    kept = await reserve_port(HOST, 0)
    first = await open_port(HOST, kept.port, 128, shared=True)
    second = await open_port(HOST, kept.port, 128, shared=True)
    clients = [await trio.open_tcp_stream(HOST, kept.port) for _ in range(64)]
    got = [0, 0]
    for place, (listener,) in enumerate((first, second)):
        with trio.move_on_after(0.5):
            while True:
                stream = await listener.accept()
                got[place] += 1
                await stream.aclose()
    assert sum(got) == 64
    assert min(got) > 0
    for client in clients:
        await client.aclose()
    await close(first + second)
    kept.close()


async def test_who_does_not_share_gets_no_port_that_is_kept():
    kept = await reserve_port(HOST, 0)
    listening = await open_port(HOST, kept.port, 128, shared=True)
    with pytest.raises(PortTaken):
        await open_port(HOST, kept.port, 128)
    with pytest.raises(PortTaken):
        await reserve_port(HOST, kept.port)
    await close(listening)
    kept.close()


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_port_that_is_kept_is_nobody_elses_while_nobody_listens(waiting: bool):
    kept = await reserve_port(HOST, await port_with_an_old_connection() if waiting else 0)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):  # noqa: PT012 - either may be refused
            other.bind((HOST, kept.port))
            other.listen()
    with pytest.raises(PortTaken):
        await open_port(HOST, kept.port, 128)
    with pytest.raises(PortTaken):
        await reserve_port(HOST, kept.port)
    await close(await open_port(HOST, kept.port, 128, shared=True))
    with pytest.raises(PortTaken):
        await open_port(HOST, kept.port, 128)
    kept.close()


async def port_with_an_old_connection() -> int:
    """Return a port of a server alone that has gone, whose connection is not quite forgotten."""
    (alone,) = await open_port(HOST, 0, 128)
    port = int(alone.socket.getsockname()[1])
    client = await trio.open_tcp_stream(HOST, port)
    await (await alone.accept()).aclose()
    assert await client.receive_some(1) == b""
    await client.aclose()
    await alone.aclose()
    return port


async def test_a_port_that_somebody_has_can_not_be_kept():
    (alone,) = await open_port(HOST, 0, 128)
    port = int(alone.socket.getsockname()[1])
    with pytest.raises(PortTaken) as refused:
        await reserve_port(HOST, port)
    assert refused.value.port == port
    with pytest.raises(PortTaken):
        await open_port(HOST, port, 128, shared=True)
    await alone.aclose()


async def test_nobody_is_served_by_a_port_that_is_only_kept():
    kept = await reserve_port(HOST, 0)
    with pytest.raises(OSError, match=HOST):
        await trio.open_tcp_stream(HOST, kept.port)
    kept.close()
    (alone,) = await open_port(HOST, kept.port, 128)
    await alone.aclose()


async def test_all_addresses_of_a_name_have_the_same_port():
    kept = await reserve_port("localhost", 0)
    listeners = await open_port("localhost", kept.port, 128, shared=True)
    assert {listener.socket.getsockname()[1] for listener in listeners} == {kept.port}
    await close(listeners)
    kept.close()


async def test_an_address_of_another_machine_is_refused():
    with pytest.raises(AddressUnusable):
        await reserve_port("192.0.2.1", 0)
    with pytest.raises(AddressUnusable):
        await open_port("192.0.2.1", 0, 128, shared=True)
