"""Servers whose Redis user lacks a right: they say so, pause, and go on once they have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from bargein.cluster import redis_bus as bus_module
from bargein.cluster import redis_nodes as nodes_module
from bargein.cluster.redis_bus import RedisBus
from bargein.cluster.redis_nodes import RedisNodes
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.lease import Lease
from bargein.timeline.redis_address import Address
from bargein.timeline.store import StoreUnavailable
from tests.timeline.redis_server import redis_server

LATEST_S = 20.0
ONE = NodeId("host.1.aa")


async def test_a_user_who_may_not_read_letters_asks_seldom_and_reads_them_once_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = trio.sleep

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            server.say("ACL", "SETUSER", "default", "+xread")
        await sleep(0)

    with redis_server(tmp_path / "acl") as server:
        server.say("ACL", "SETUSER", "default", "-xread")
        bus = RedisBus(Address("127.0.0.1", server.port), ONE)
        came, some = list[bytes](), trio.Event()

        def receive(_: NodeId, letter: bytes) -> None:
            came.append(letter)
            some.set()

        with trio.fail_after(LATEST_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(bus.run, receive)
                monkeypatch.setattr(bus_module.trio, "sleep", pause)
                bus.send(ONE, b"x")
                await some.wait()
                nursery.cancel_scope.cancel()
        assert came == [b"x"]
        assert len(pauses) >= 1


async def nobody(_: NodeId) -> None:
    """Follow nobody who has gone."""


async def test_a_user_who_may_not_see_who_serves_looks_again_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "LOOK_S", 0.01)
    with redis_server(tmp_path / "acl") as server:
        server.say("ACL", "SETUSER", "default", "-smembers")
        nodes = RedisNodes(Address("127.0.0.1", server.port), Lease())
        with trio.fail_after(LATEST_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(nodes.run, nobody, dict[str, Any])
                with pytest.raises(StoreUnavailable):
                    await nodes.everybody()
                server.say("ACL", "SETUSER", "default", "+smembers")
                assert await nodes.everybody() == []
                nursery.cancel_scope.cancel()
