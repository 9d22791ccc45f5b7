"""Load for an hour with a fault every 30 s: `make soak`, `SOAK_SECONDS=120 make soak`.

At the end RSS has to be flat, and descriptors, threads and tasks exactly what they were at the
start.  Every bot checks every frame; every timeline is checked against all rules.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import trio

from tests.e2e.evidence import check_timeline
from tests.e2e.process import ServerProcess
from tests.network.crowd import talking_server
from tests.network.proxy import proxied
from tests.project.tree import ROOT
from tests.soak.bot import Bot
from tests.soak.faults import TROUBLES, Scene
from tests.soak.figures import Sample, allowed_bytes, growth_bytes, sample

SECONDS = float(os.environ.get("SOAK_SECONDS") or 3600)
FAULT_EVERY_S = float(os.environ.get("SOAK_FAULT_S") or min(30.0, SECONDS / 10))
SEED = int(os.environ.get("SOAK_SEED") or 1)
BOTS = 12
WARM_S = 10.0
QUIET_S = 90.0
SAMPLES = 120

SETTINGS = {
    "BARGEIN_IDLE_S": "2",
    "BARGEIN_GRACE_S": "3",
    "BARGEIN_HEARTBEAT_S": "5",
    "BARGEIN_LIMITS_STALL_S": "4",
    "BARGEIN_LIMITS_LAGGING_S": "6",
}
"""Short, so that what a fault leaves behind is over before the next ones."""


def tell(line: object) -> None:
    print(line, flush=True)  # noqa: T201


@asynccontextmanager
async def load(scene: Scene, bots: list[Bot]) -> AsyncGenerator[None]:
    """Let the bots talk for as long as this lasts."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        for bot in bots:
            nursery.start_soon(bot.run, stop)
        yield
        stop.set()
        for relay in scene.proxy.open:  # whoever waits on a silent one is told, too
            relay.cut()


async def quiet(server: ServerProcess, since_s: float, start: Sample | None) -> Sample:
    """Wait until the server holds what it held at the *start*, or holds still."""
    now = await sample(server, since_s)
    with trio.move_on_after(QUIET_S):
        while True:
            # Idle threads are kept for ten seconds.
            await trio.sleep(1 if start is not None else 13)
            before, now = now, await sample(server, since_s)
            if now.counts == (before if start is None else start).counts:
                break
    return now


async def trouble(scene: Scene, happened: Counter[str]) -> None:
    """Let something go wrong, again and again."""
    for one in cycle(TROUBLES):
        await trio.sleep(FAULT_EVERY_S)
        happened[one.__name__] += 1
        await one(scene)


async def run(directory: Path) -> bool:
    """Soak the server; print the figures, and return whether all is as it has to be."""
    chance = random.Random(SEED)  # noqa: S311
    module = "tests.soak.counted_server"
    settings = {**SETTINGS, "PYTHONPATH": str(ROOT)}
    limit_s = SECONDS + 10 * QUIET_S
    async with (
        talking_server(directory, deadline_s=limit_s, module=module, **settings) as server,
        proxied(server.port) as proxy,
    ):
        scene = Scene(server, proxy, chance)
        bots = [Bot(proxy, random.Random(f"{SEED}/{number}")) for number in range(BOTS)]  # noqa: S311
        since_s = trio.current_time()
        async with load(scene, bots):
            await trio.sleep(WARM_S)
        start = await quiet(server, since_s, None)
        tell(f"start:  {start}")
        since_s = trio.current_time()
        samples, happened = await under_load(scene, bots, since_s)
        end = await quiet(server, since_s, start)
        tell(f"end:    {end}")
        checked = await check_timelines(server, bots)
        server.terminate()
        code = await server.exit_code()
    tell(
        f"{sum(bot.turns for bot in bots)} turns, {sum(bot.events for bot in bots)} events, "
        f"{sum(bot.lost for bot in bots)} connections lost to {happened.total()} faults "
        f"{dict(happened)}; {checked} timelines break no rule; exit code {code}"
    )
    return verdict(samples, start, end) and code == 0


async def under_load(
    scene: Scene, bots: list[Bot], since_s: float
) -> tuple[list[Sample], Counter[str]]:
    samples: list[Sample] = []
    happened: Counter[str] = Counter()
    async with load(scene, bots), trio.open_nursery() as nursery:
        nursery.start_soon(trouble, scene, happened)
        for number in range(SAMPLES):
            await trio.sleep_until(since_s + (number + 1) * SECONDS / SAMPLES)
            samples.append(await sample(scene.server, since_s))
            if number % (SAMPLES // 12) == 0:
                tell(f"{samples[-1].at_s:5.0f} s {samples[-1]}")
        nursery.cancel_scope.cancel()
    return samples, happened


async def check_timelines(server: ServerProcess, bots: list[Bot]) -> int:
    """Hold every timeline against all rules; return how many there are."""
    sessions = [session_id for bot in bots for session_id in bot.sessions]
    for session_id in sessions:
        check_timeline(await server.whole(session_id), finished=True)
    return len(sessions)


def verdict(samples: list[Sample], start: Sample, end: Sample) -> bool:
    """Say what came back and what grew."""
    grown, allowed = growth_bytes(samples), allowed_bytes(samples, SECONDS)
    back = end.counts == start.counts
    tell(f"RSS from the second to the last quarter: {grown / 2**20:+.1f} MiB")
    tell(f"  flat (at most {allowed / 2**20:.1f} MiB): {'yes' if grown <= allowed else 'NO'}")
    tell(f"descriptors, threads and tasks exactly as at the start: {'yes' if back else 'NO'}")
    return back and grown <= allowed


def main() -> None:
    """Soak, and exit with 1 where something grew or was left behind."""
    tell(f"{SECONDS:.0f} s, {BOTS} bots, a fault every {FAULT_EVERY_S:.0f} s, seed {SEED}")
    with tempfile.TemporaryDirectory(prefix="bargein-soak-") as directory:
        sys.exit(not trio.run(run, Path(directory)))


main()
