"""Many bots in one process, and the window in which they are measured."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

import trio
from attrs import define, field, frozen

from examples.bench.bot import Bot, Habits
from examples.bench.diary import Diary, Ear
from examples.bench.ear import BargeinEar
from examples.bench.figures import Spread, Tally
from examples.bench.readers import Readers
from examples.bench.report import Report

ARRIVALS: Final = 16
"""How many connect at a time: they are to be served, not to storm the gate."""


@frozen
class Glance:
    """How it stood at a moment of the run: counts since the window was opened."""

    at_s: float
    connected: int
    tokens: int
    turns: int
    interrupts: int
    errors: int


@define(eq=False)
class Crowd:
    """The bots of a run.  Lives as long as `gathered` lasts.

    Attributes:
        bots: All of them, also those that could not connect.
        begin: To be set when the bots shall speak.
        tally: What was counted since the window was opened.
    """

    bots: list[Bot] = field(factory=list[Bot], init=False)
    begin: trio.Event = field(factory=trio.Event, init=False)
    tally: Tally = field(factory=Tally, init=False)
    _began_s: float = field(factory=trio.current_time, init=False)
    _began_cpu_s: float = field(factory=time.process_time, init=False)

    @property
    def connected(self) -> int:
        """How many bots have a connection and a session that is live on it."""
        return sum(bot.connected for bot in self.bots)

    @property
    def began_s(self) -> float:
        """When the window was opened, on trio's clock."""
        return self._began_s

    def open_window(self) -> None:
        """Measure from now on; errors of the warm-up are kept, because they would be hidden."""
        errors = self.tally.errors
        self.tally = Tally(errors=errors)
        self._began_s = trio.current_time()
        self._began_cpu_s = time.process_time()

    def drop(self) -> None:
        """Have all connections let go at once; their users come back."""
        for bot in self.bots:
            bot.drop()

    def report(self, model_first_s: float) -> Report:
        """Sum up what was measured since the window was opened."""
        now_s = trio.current_time()
        return Report.of(
            self.tally,
            users=len(self.bots),
            connected=self.connected,
            now_s=now_s,
            seconds=now_s - self._began_s,
            cpu_s=time.process_time() - self._began_cpu_s,
            model_first_s=model_first_s,
        )

    def glance(self) -> Glance:
        """Return how it stands now."""
        tally = self.tally
        return Glance(
            trio.current_time() - self._began_s,
            self.connected,
            tally.tokens,
            tally.turns,
            tally.interrupts,
            tally.errors.total(),
        )

    def progress(self, tokens_before: int, passed_s: float) -> str:
        """Return a line on how it goes; *tokens_before* were here *passed_s* ago."""
        tally = self.tally
        ack = Spread.of(tally.ack)
        acks = f"ack p50 {ack.p50:.1f} p99 {ack.p99:.1f} ms" if ack is not None else "no ack yet"
        return (
            f"{self.connected} users  {(tally.tokens - tokens_before) / passed_s:7.0f} tokens/s  "
            f"{tally.interrupts} interrupts  {acks}  ghosts {tally.ghosts}  "
            f"gaps {tally.seq_gaps}  errors {tally.errors.total()}"
        )


@asynccontextmanager
async def gathered(
    url: str,
    users: int,
    habits: Habits,
    *,
    seed: int = 0,
    spread_s: float = 4.0,
    ear_of: Callable[[Diary], Ear] = BargeinEar,
) -> AsyncGenerator[Crowd]:
    """Connect *users* bots; they are silent until `Crowd.begin` is set, and leave at the end."""
    crowd, readers = Crowd(), Readers()
    crowd.bots = [
        Bot(
            url,
            habits,
            Random(f"{seed}-{number}"),  # noqa: S311 - no secret is drawn
            lambda: crowd.tally,
            readers,
            ear_of,
        )
        for number in range(users)
    ]
    gate = trio.CapacityLimiter(ARRIVALS)

    async def bring(bot: Bot) -> None:
        async with gate:
            nursery.start_soon(bot.run, crowd.begin, spread_s)
            await bot.live.wait()

    async with trio.open_nursery() as reading:
        reading.start_soon(readers.run)
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as arriving:
                for bot in crowd.bots:
                    arriving.start_soon(bring, bot)
            yield crowd
            nursery.cancel_scope.cancel(reason="the run is over")
        # Not before: the bots take leave of the readers.
        reading.cancel_scope.cancel(reason="the run is over")
