"""What goes wrong in a soak, one after the other."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio
from attrs import define

from tests.e2e.process import ServerProcess
from tests.faults.frames import command
from tests.gateway.raw_client import RawClient, dial, request
from tests.network.crowd import WINDOW_BYTES
from tests.network.proxy import Fault, Proxy, drawn
from tests.network.traveller import OFFERED

STALLED = 20
STALL_S = 8.0
STORM = 100


@define(eq=False)
class Scene:
    """Where it happens."""

    server: ServerProcess
    proxy: Proxy
    chance: random.Random


Trouble: TypeAlias = Callable[[Scene], Awaitable[None]]


async def reset_everybody(scene: Scene) -> None:
    for relay in scene.proxy.open:
        relay.reset()


async def cut_everybody(scene: Scene) -> None:
    for relay in scene.proxy.open:
        relay.cut()


async def silence_half(scene: Scene) -> None:
    for relay in scene.proxy.open[::2]:
        relay.fall_silent(scene.chance.choice(("up", "down", "both")))


async def break_what_comes_next(scene: Scene) -> None:
    for number in range(len(scene.proxy.open)):
        scene.proxy.plan(drawn(number, scene.chance))
    await cut_everybody(scene)


async def crawl(scene: Scene) -> None:
    for _ in scene.proxy.open:
        scene.proxy.plan(Fault("throttle", "down", bytes_per_s=5_000))
    await reset_everybody(scene)


async def stall(scene: Scene) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(STALLED):
            nursery.start_soon(_one_stalls, scene.server.port)


async def _one_stalls(port: int) -> None:
    raw = await _upgraded(port)
    try:
        await raw.send(command(type="say", text="Flood me"))
        await trio.sleep(STALL_S)
    finally:
        await trio.aclose_forcefully(raw.stream)


async def storm(scene: Scene) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(STORM):
            nursery.start_soon(_one_comes_and_goes, scene.server.port)


async def _one_comes_and_goes(port: int) -> None:
    raw = await _upgraded(port)
    await trio.aclose_forcefully(raw.stream)


async def talk_nonsense(scene: Scene) -> None:
    for piece in (b"\x00" * 500, b"GET / HTTP/1.1\r\n", request()[:40]):
        raw = await dial(scene.server.port)
        try:
            await raw.send(piece)
        finally:
            await trio.aclose_forcefully(raw.stream)
    raw = await _upgraded(scene.server.port)
    try:
        for _ in range(10):
            await raw.say(b"no JSON")
        await raw.read_close()
    finally:
        await trio.aclose_forcefully(raw.stream)


async def _upgraded(port: int) -> RawClient:
    raw = await dial(port, window_bytes=WINDOW_BYTES)
    try:
        await raw.send(request(**OFFERED))
        await raw.read_head()
    except BaseException:
        await trio.aclose_forcefully(raw.stream)
        raise
    return raw


TROUBLES: Final[tuple[Trouble, ...]] = (
    reset_everybody,
    stall,
    silence_half,
    storm,
    break_what_comes_next,
    talk_nonsense,
    crawl,
    cut_everybody,
)
