"""What befalls several servers on one Redis; each fault is over when it returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeAlias

import trio
from attrs import define, field

from tests.cluster_faults.fleet import Fleet, Place

STOPPED_S: Final = 4.0
"""Longer than a lease lasts."""

CUT_S: Final = (0.5, 4.5)
AWAY_S: Final = (0.0, 1.0)
DEAD_S: Final = (0.0, 3.0)
SLOW_S: Final = 2.0
LATE_S: Final = 0.2


@define(eq=False)
class Scene:
    """Where faults happen.

    Attributes:
        free: Servers that nothing befalls at the moment.
        lost_bytes: What Redis has lost of its file.
        stops_s: For how long the next servers are stopped, where that is not `STOPPED_S`.
    """

    fleet: Fleet
    chance: Random
    stops_s: list[float] = field(factory=list[float])
    free: list[Place] = field(factory=list[Place], init=False)
    lost_bytes: list[int] = field(factory=list[int], init=False)

    def __attrs_post_init__(self) -> None:
        self.free = list(self.fleet.places)

    def take(self) -> Place:
        """Choose a server for something to befall."""
        place = self.chance.choice(self.free)
        self.free.remove(place)
        return place


async def server_killed(scene: Scene) -> None:
    """Kill a server in the middle of everything; start another in its place, soon or late."""
    place = scene.take()
    await place.server.kill()
    await trio.sleep(scene.chance.uniform(*DEAD_S))
    await place.server.start()
    scene.free.append(place)


async def server_stopped(scene: Scene) -> None:
    """Let a server stand still until its lease has run out, and go on."""
    place = scene.take()
    place.stop()
    try:
        await trio.sleep(scene.stops_s.pop() if scene.stops_s else STOPPED_S)
    finally:
        place.go_on()
    scene.free.append(place)


async def server_cut_off(scene: Scene) -> None:
    """Cut the network between a server and Redis: silence, mended or torn at the end."""
    place = scene.take()
    place.wire.fall_silent()
    await trio.sleep(scene.chance.uniform(*CUT_S))
    if scene.chance.random() < 0.5:
        place.wire.tear()
    place.wire.mend()
    scene.free.append(place)


async def redis_slow(scene: Scene) -> None:
    """Let the answers of Redis come 200 ms late at all servers that nothing else befalls."""
    slow = list(scene.free)
    for place in slow:
        place.wire.delay_s = LATE_S / 2  # on each way
    await trio.sleep(SLOW_S)
    for place in slow:
        place.wire.delay_s = 0.0


async def redis_restarted(scene: Scene) -> None:
    """Kill Redis, lose the tail of its file as in a power cut, and start it."""
    scene.lost_bytes.append(await scene.fleet.pair.restart(scene.chance.uniform(*AWAY_S)))


async def redis_failed_over(scene: Scene) -> None:
    """Kill Redis while its replica is behind, and let that be the primary."""
    await scene.fleet.pair.fail_over(scene.chance.uniform(*AWAY_S))


Fault: TypeAlias = Callable[[Scene], Awaitable[None]]

LOSES: Final = frozenset({redis_restarted, redis_failed_over})
"""After these what was acknowledged may be gone; after the others nothing is."""

ALL: Final[tuple[Fault, ...]] = (
    server_killed,
    server_stopped,
    server_cut_off,
    redis_slow,
    redis_restarted,
    redis_failed_over,
)
