"""Who is counted for an unfinished handshake, and when one more is too many."""

from __future__ import annotations

import errno
from typing import Any

import pytest
import trio
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from bargein.gateway.handshakes import (
    NOWHERE,
    HandshakeLimits,
    Handshakes,
    Networks,
    PacedListener,
    client_behind,
)
from tests.gateway.raw_client import (
    Listening,
    RawClient,
    ask,
    dial,
    edge_of,
    opened,
    request,
    status,
)

PROXIES = Networks.of(["10.0.0.0/8", "fd00::/8"])
FEW = HandshakeLimits(per_address_most=2, uncounted=NOWHERE)
BEHIND = HandshakeLimits(
    per_address_most=2, uncounted=NOWHERE, proxies=Networks.of(["127.0.0.0/8"])
)


def value(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


# --- whose a request is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),  # anybody can write that
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the first is made up
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9,10.0.0.2 , 10.0.0.3"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, evil"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("fd00::1", ["2001:DB8:0::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:51234"], "203.0.113.9"),  # as some proxies write it
        ("10.0.0.1", ["[2001:db8::7]:51234"], "2001:db8::7"),
        ("10.0.0.1", ["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1", ["203.0.113.9, 10.0.0.2:80"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:"], "10.0.0.1"),
        ("10.0.0.1", ["[203.0.113.9"], "10.0.0.1"),
        ("", ["203.0.113.9"], ""),
    ],
)
def test_a_forwarded_address_is_believed_as_far_as_proxies_of_ours_wrote_it(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert client_behind(peer, forwarded, PROXIES) == client


# --- how many of one address -------------------------------------------------------------------


async def unfinished(port: int, count: int) -> list[RawClient]:
    clients: list[RawClient] = []
    for _ in range(count):
        clients.append(await dial(port))
        await clients[-1].send(b"GET /v1/session HTTP/1.1\r\n")
    await trio.testing.wait_all_tasks_blocked(0.01)
    return clients


async def drop(clients: list[RawClient]) -> None:
    for client in clients:
        await trio.aclose_forcefully(client.stream)
    await trio.testing.wait_all_tasks_blocked(0.01)


async def test_one_unfinished_handshake_too_many_of_an_address_is_closed_unanswered() -> None:
    before = value("bargein_handshakes_refused_total")
    async with edge_of(Listening(), handshake_limits=FEW) as edge:
        with capture_logs() as lines:
            stalled = await unfinished(edge.port, 2)
            assert value("bargein_handshakes") == 2
            third = await dial(edge.port)
            assert await third.is_cut()
            assert third.received == b""
        assert [line["event"] for line in lines] == ["handshake.refused"]
        assert lines[0]["address"] == "127.0.0.1"
        await drop([third, *stalled])
        async with opened(edge.port):  # their places are free again
            pass
    assert value("bargein_handshakes_refused_total") == before + 1
    assert value("bargein_handshakes") == 0


async def test_those_who_are_in_do_not_count() -> None:
    async with (
        edge_of(Listening(), handshake_limits=FEW) as edge,
        opened(edge.port),
        opened(edge.port),
        opened(edge.port),
    ):
        assert value("bargein_handshakes") == 0


async def test_loopback_is_apart_unless_told_otherwise() -> None:
    async with edge_of(Listening(), handshake_limits=HandshakeLimits(per_address_most=2)) as edge:
        stalled = await unfinished(edge.port, 5)
        async with opened(edge.port):
            pass
        await drop(stalled)


async def test_behind_a_proxy_the_forwarded_address_is_counted() -> None:
    reached = trio.Event()
    go_on = trio.Event()
    waiting = 0

    async def admit(_: object) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            reached.set()
        await go_on.wait()

    async with edge_of(Listening(), handshake_limits=BEHIND, admit=admit) as edge:
        greedy = [await dial(edge.port) for _ in range(2)]
        for client in greedy:
            await client.send(request(X_Forwarded_For="203.0.113.9"))
        await reached.wait()
        refused = await ask(edge.port, request(X_Forwarded_For="203.0.113.9"))
        assert status(refused) == 429
        assert b"Retry-After: 5" in refused
        honest = await dial(edge.port)
        await honest.send(request(X_Forwarded_For="203.0.113.10"))
        go_on.set()
        for client in (honest, *greedy):
            assert (await client.read_head()).startswith(b"HTTP/1.1 101")
        async with opened(edge.port, X_Forwarded_For="203.0.113.9"):  # they are all in
            pass
        await drop([honest, *greedy])


async def test_a_header_that_no_proxy_of_ours_wrote_changes_nothing() -> None:
    served = Listening()
    async with (
        edge_of(served, handshake_limits=FEW) as edge,
        opened(edge.port, X_Forwarded_For="203.0.113.9"),
    ):
        assert (await served.wire()).address == "127.0.0.1"


async def test_who_is_served_is_known_by_its_address() -> None:
    served = Listening()
    async with (
        edge_of(served, handshake_limits=BEHIND) as edge,
        opened(edge.port, X_Forwarded_For="203.0.113.9"),
    ):
        assert (await served.wire()).address == "203.0.113.9"


# --- no descriptors -----------------------------------------------------------------------------


class Exhausted:
    """A listening socket whose first tries find no descriptor left."""

    def __init__(self, listener: trio.SocketListener, failures: list[int]) -> None:
        self.listener = listener
        self.failures = failures

    async def accept(self) -> trio.SocketStream:
        if self.failures:
            await trio.lowlevel.checkpoint()
            raise OSError(self.failures.pop(), "no more")
        return await self.listener.accept()


async def test_without_descriptors_it_waits_a_tenth_of_a_second_and_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = value("bargein_accept_paused_total")
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    tired: Any = Exhausted(listener, [errno.EMFILE, errno.ENFILE])
    handshakes = Handshakes(HandshakeLimits(1))
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", port)
        started_at_s = trio.current_time()
        with capture_logs() as lines:
            stream = await PacedListener(tired, handshakes).accept()
        assert trio.current_time() - started_at_s >= 0.2
        assert [line["event"] for line in lines].count("accept.paused") <= 1  # the rest is counted
        assert value("bargein_accept_paused_total") == before + 2
        handshakes.of(stream).end()
        await trio.aclose_forcefully(stream)
        await client.aclose()


async def test_another_error_of_accept_is_not_swallowed() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        tired: Any = Exhausted(listener, [errno.EINVAL])
        handshakes = Handshakes(HandshakeLimits(1))
        with pytest.raises(OSError, match="no more"):
            await PacedListener(tired, handshakes).accept()
        assert handshakes.places.value == 1


# --- other limits while some are under way ----------------------------------------------------


async def test_where_fewer_may_begin_those_under_way_go_on_and_give_back_only_what_is_left() -> (
    None
):
    handshakes = Handshakes(HandshakeLimits(3))
    for _ in range(3):
        await handshakes.places.acquire()
    handshakes.hold_to(HandshakeLimits(1))
    for _ in range(2):
        handshakes.free_place()
    assert handshakes.places.value == 0
    handshakes.free_place()
    assert handshakes.places.value == 1


async def test_where_more_may_begin_again_what_was_owed_is_forgiven_first() -> None:
    handshakes = Handshakes(HandshakeLimits(3))
    for _ in range(3):
        await handshakes.places.acquire()
    handshakes.hold_to(HandshakeLimits(1))
    handshakes.hold_to(HandshakeLimits(4))
    assert handshakes.places.value == 1
    for _ in range(3):
        handshakes.free_place()
    assert handshakes.places.value == 4


async def test_free_places_are_taken_away_at_once() -> None:
    handshakes = Handshakes(HandshakeLimits(5))
    await handshakes.places.acquire()
    handshakes.hold_to(HandshakeLimits(2))
    assert handshakes.places.value == 1
