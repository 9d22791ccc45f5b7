"""One connection to Redis: whom it asks where that is, and what it says went wrong."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from bargein.timeline.redis.connection import CONNECT_S, LATE, SENTINEL_S
from bargein.timeline.redis.link import Ask, Link
from bargein.timeline.redis_address import Address, Sentinel
from bargein.timeline.store import StoreUnavailable, StoreUnopened
from tests.timeline.redis_server import IN_MEMORY, free_port, redis_server
from tests.timeline.test_redis_replicas import NAME, sentinel, until_known

LATEST_S = 20.0


async def as_it_is(ask: Ask) -> None:
    await ask(((b"PING",),))


def behind(ports: Iterable[int]) -> Address:
    sentinels = tuple(Sentinel("127.0.0.1", port) for port in ports)
    return Address("127.0.0.1", sentinels=sentinels, primary=NAME)


@asynccontextmanager
async def running(link: Link) -> AsyncGenerator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        with trio.fail_after(LATEST_S):
            yield
        nursery.cancel_scope.cancel()


async def first_reason(address: Address) -> str:
    """Return why the first try to connect came to nothing."""
    said, why = trio.open_memory_channel[str](100)
    with said, why:
        async with running(Link(address, as_it_is, said.send_nowait)):
            return await why.receive()


async def test_a_sentinel_behind_many_that_say_nothing_is_asked(tmp_path: Path) -> None:
    most = int(CONNECT_S / SENTINEL_S) + 1
    with (
        ExitStack() as mute,
        redis_server(tmp_path / "redis") as redis,
        sentinel(tmp_path / "sentinel", redis) as watcher,
    ):
        await until_known(watcher, str(redis.port).encode(), "MASTER", NAME)
        silent = [mute.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(most)]
        ports = [one.getsockname()[1] for one in silent]
        link = Link(behind([*ports, watcher.port]), as_it_is, lambda _: None)
        async with running(link):
            await link.until_first()
            (answer,) = await link.ask(((b"CONFIG", "GET", "port"),))
    assert answer == {b"port": str(redis.port).encode()}


async def test_what_each_sentinel_did_instead_is_in_the_reason(tmp_path: Path) -> None:
    away = free_port()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        redis_server(tmp_path / "plain") as plain,
    ):
        mute = silent.getsockname()[1]
        reason = await first_reason(behind([away, mute, plain.port]))
    assert NAME in reason
    assert f"127.0.0.1:{away}: Redis can't be reached: Connection refused" in reason
    assert f"127.0.0.1:{mute}: {LATE}" in reason
    assert f"127.0.0.1:{plain.port}: unknown command 'SENTINEL'" in reason


async def test_a_sentinel_that_watches_something_else_is_named(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "redis") as redis,
        sentinel(tmp_path / "sentinel", redis) as watcher,
    ):
        await until_known(watcher, str(redis.port).encode(), "MASTER", NAME)
        port = watcher.port
        address = Address("127.0.0.1", sentinels=(Sentinel("127.0.0.1", port),), primary="other")
        reason = await first_reason(address)
    assert "other" in reason
    assert f"127.0.0.1:{port}: it knows no primary of that name" in reason


async def test_sentinels_that_let_nobody_in_are_an_operators_affair(tmp_path: Path) -> None:
    with redis_server(tmp_path / "locked", *IN_MEMORY, "--requirepass", "hunter22") as locked:
        link = Link(behind([locked.port, locked.port]), as_it_is, lambda _: None)
        async with running(link):
            with pytest.raises(StoreUnopened):
                await link.until_first()


async def test_work_that_waits_in_vain_fails_with_what_stands_in_its_way_in_the_end(
    tmp_path: Path,
) -> None:
    said, why = trio.open_memory_channel[str](100)
    with said, why, redis_server(tmp_path / "redis") as redis:
        link = Link(Address("127.0.0.1", redis.port), as_it_is, said.send_nowait)

        async def ask() -> None:
            await link.ask(((b"PING",),))

        async with running(link):
            await link.until_up()
            redis.pause()
            with pytest.raises(StoreUnavailable) as slow:
                await link.persist(ask, 0.05)
            assert slow.value.reason == "Redis did not answer within 0.05 s"
            redis.kill()
            link.drop("it is the wrong one")
            with pytest.raises(StoreUnavailable) as away:
                await link.persist(ask, 1.0)
            assert away.value.reason == await why.receive()
            assert away.value.reason == "Redis can't be reached: Connection refused"
