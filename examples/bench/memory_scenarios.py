"""What a session costs in memory while nobody says anything: connected, and gone to sleep."""

from __future__ import annotations

import re
import resource
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import frozen

from examples.bench.bot import Habits
from examples.bench.contenders import BARGEIN, Contender
from examples.bench.crowd import ARRIVALS, gathered
from examples.bench.ground import Ground, Outcome, fetch
from examples.bench.link import connect
from examples.bench.processes import DidNotStart
from examples.bench.stage import Play, Stage, staged, warm_up

IDLE: Final = 10_000
SPARE_FILES: Final = 300
"""Of the process's descriptors, for all that is no connection."""

HOLD_S: Final = 5.0
HOLD_LONG_S: Final = 60.0
"""Longer than two heartbeats of the server."""

WAVE: Final = 2000
WAVES: Final = 2
FILLINGS: Final = 10
"""Waves at most before those that are measured."""

STILL_KIB: Final = 0.05
STILL_WAVES: Final = 2
"""So many waves in a row that leave less than this of each session have found the server's caches
full; a single one may have been lucky in what the allocator had left."""

ASLEEP_S: Final = 60.0
LOOK_S: Final = 0.25
STALE_S: Final = 1.5
"""What `/metrics` says may be a second old."""


def _room() -> int:
    """Let this process, and those it starts, have as many files as allowed; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + SPARE_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft - SPARE_FILES


async def idle(
    ground: Ground, contender: Contender, sessions: int = IDLE, hold_s: float = HOLD_S
) -> Outcome:
    """Connect many who say nothing, and keep them a while."""
    count = min(sessions, _room())
    notes: list[str] = []
    if count < sessions:
        notes.append(f"idle: only {count} connections, as `ulimit -n` has it")
    with ground.place() as place:
        async with staged(Play(1), place, ground.cores, contender) as stage:
            await warm_up(stage, contender)
            bare_kib = stage.server.rss_kib
            async with gathered(stage.url, count, Habits(), ear_of=contender.ear_of) as crowd:
                await trio.sleep(HOLD_LONG_S if ground.long else hold_s)
                kib = (stage.server.rss_kib - bare_kib) / count
                held = crowd.connected
                errors = dict(crowd.tally.errors)
    if errors:
        notes.append(f"idle, {contender.name}: {errors}")
    return Outcome({"idle_kib": round(kib, 1), "idle_held": held}, tuple(notes))


async def hibernated(
    ground: Ground,
    contender: Contender = BARGEIN,
    wave: int = WAVE,
    waves: int = WAVES,
    fillings: int = FILLINGS,
) -> Outcome:
    """Have waves of sessions opened and left, and see what they leave behind in memory.

    The server's caches, which have a bound, are filled by waves before; what these took is noted.
    """
    with ground.place() as place:
        async with staged(
            Play(1), place, ground.cores, contender, "--idle-s", "0.2", "--grace-s", "0"
        ) as stage:
            await warm_up(stage, contender)

            async def left_kib() -> float:
                bare_kib = stage.server.rss_kib
                await _come_and_go(stage, wave)
                return (stage.server.rss_kib - bare_kib) / wave

            note = (await filled(left_kib, fillings)).text(wave)
            before_kib, live = stage.server.rss_kib, 0.0
            for _ in range(waves):
                live = await _come_and_go(stage, wave)
            kib = (stage.server.rss_kib - before_kib) / (waves * wave)
    return Outcome({"hibernated_kib": round(kib, 2), "hibernated_live": live}, (note,))


@frozen
class Filling:
    """What each wave left that came before those that are measured, in KiB a session."""

    left_kib: tuple[float, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether the last waves have left next to nothing."""
        last = self.left_kib[-STILL_WAVES:]
        return len(last) == STILL_WAVES and all(kib < STILL_KIB for kib in last)

    def text(self, wave: int) -> str:
        """Say what all of them have left, and the last; each was of *wave* sessions."""
        waves = len(self.left_kib)
        if not waves:
            return "hibernated: no sessions before"
        ended = "full" if self.is_full else f"not full when the bound of {waves} waves was reached"
        return (
            f"hibernated: {waves * wave:,} sessions before left"
            f" {sum(self.left_kib) * wave / 1024:.1f} MiB, the last wave"
            f" {self.left_kib[-1]:.2f} KiB a session: caches {ended}"
        )


async def filled(wave_left_kib: Callable[[], Awaitable[float]], most: int) -> Filling:
    """Have waves come and go until they leave nothing more, *most* at most."""
    filling = Filling()
    while not filling.is_full and len(filling.left_kib) < most:
        filling = Filling((*filling.left_kib, await wave_left_kib()))
    return filling


async def _come_and_go(stage: Stage, wave: int) -> float:
    """Return how many sessions are in memory when they had time to leave it."""
    gate = trio.CapacityLimiter(ARRIVALS)
    async with trio.open_nursery() as nursery:
        for _ in range(wave):
            nursery.start_soon(_visit, stage.url, gate)
    given_up_s = trio.current_time() + ASLEEP_S
    await trio.sleep(STALE_S)
    while True:
        live = await _live(stage)
        if not live or trio.current_time() > given_up_s:
            return live
        await trio.sleep(LOOK_S)


async def _visit(url: str, gate: trio.CapacityLimiter) -> None:
    async with gate:
        link = await connect(url)
        try:
            messages = link.early()
            while not any(b'"type":"session.attached"' in message for message in messages):
                messages = await link.read()
        finally:
            await link.aclose()


async def _live(stage: Stage) -> float:
    _, body = await fetch(f"{stage.http_url}/metrics")
    found = re.search(r"^bargein_sessions_live (\S+)$", body, re.MULTILINE)
    if found is None:
        raise DidNotStart(stage.server.name, "its /metrics don't say how many sessions are live")
    return float(found[1])
