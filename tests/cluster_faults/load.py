"""Talkers on a fleet: they are begun, waited for, and in the end held against what is stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import pairwise
from random import Random

import trio
from attrs import define, field

from bargein.protocol.codes import CloseCode
from tests.cluster_faults.fleet import Fleet, Place
from tests.cluster_faults.talker import Talker
from tests.e2e.client import DEADLINE_S, NeverCame

SETTLED_S = 60.0


@define(eq=False)
class Toll:
    """What it all came to.

    Attributes:
        sessions: Checked.
        events: Of their timelines.
        connections: That clients had.
        epochs: How often a loss was declared to a client.
        refusals: Words that were refused, by code; they were said again.
    """

    sessions: int = 0
    events: int = 0
    connections: int = 0
    epochs: int = 0
    refusals: Counter[str] = field(factory=Counter[str])

    def __str__(self) -> str:
        return (
            f"{self.sessions} sessions with {self.events} events over {self.connections} "
            f"connections, {self.epochs} losses declared, refused meanwhile: {dict(self.refusals)}"
        )


@define(eq=False)
class Load:
    """Everybody who talks.

    Attributes:
        settled_s: How long what they have said may take to be answered.
    """

    fleet: Fleet
    talkers: list[Talker]
    toll: Toll
    settled_s: float

    def counted(self) -> dict[Talker, int]:
        """Return how often each was sent a history so far."""
        return {talker: len(talker.lives) for talker in self.talkers}

    def replayed(self, before: dict[Talker, int]) -> list[str]:
        """Say who was sent all from its first event since it was counted, and how."""
        return [
            f"{talker.name} had {earlier.last_seq}, got {life.clients[0].hello.text}"
            for talker in self.talkers
            for earlier, life in pairwise(talker.lives[before[talker] - 1 :])
        ]

    async def settled(self) -> None:
        """Wait until everybody has said something from now on, and seen the end of its turn."""
        # The turn that is under way now may have begun before.
        goals = {talker: talker.turns + 2 for talker in self.talkers}
        with trio.move_on_after(self.settled_s):
            while any(talker.turns < goal for talker, goal in goals.items()):  # noqa: ASYNC110
                await trio.sleep(0.05)
            return
        late = [talker for talker, goal in goals.items() if talker.turns < goal]
        raise AssertionError([(t.name, t.session_id, t.turns, t.refusals) for t in late])

    def away_s(self, since_s: float) -> float:
        """Return the longest time for which anybody was cut off who was so after *since_s*."""
        gaps = [gap for talker in self.talkers for gap in talker.gaps if gap[0] >= since_s]
        return max((back_s - left_s for left_s, back_s in gaps), default=0.0)

    def taken_over_s(self, since: datetime) -> float:
        """Return how long after *since* the last turn was closed of a server that had died."""
        closed = [
            (datetime.fromisoformat(event["ts"]) - since).total_seconds()
            for talker in self.talkers
            for event in talker.lives[-1].events
            if event.type == "error" and event.payload["code"] == "server_restarted"
        ]
        return max(closed, default=0.0)

    async def finish(self) -> None:
        """Let everybody stop, and check all that was ever seen."""
        async with trio.open_nursery() as nursery:
            for talker in self.talkers:
                nursery.start_soon(talker.finish)
        for number, talker in enumerate(self.talkers):
            place = self.fleet.places[number % len(self.fleet.places)]
            with trio.fail_after(2 * DEADLINE_S):
                stored = await stored_of(place, talker.session_id)
            try:
                talker.check(stored)
            except AssertionError as error:
                message = f"{talker.name} in {talker.session_id}: {error}"
                raise AssertionError("\n".join([message, *talker.story()])) from error
            self._count(talker, len(stored))

    def _count(self, talker: Talker, events: int) -> None:
        self.toll.sessions += 1
        self.toll.events += events
        self.toll.connections += sum(len(life.clients) for life in talker.lives)
        self.toll.epochs += len(talker.lives) - 1
        self.toll.refusals += talker.refusals


async def stored_of(place: Place, session_id: str) -> list[bytes]:
    """Read a whole session, and come back as anybody would who is sent away in the middle."""
    while True:
        try:
            return await place.server.whole(session_id)
        except NeverCame as cut:
            if cut.close_code not in {CloseCode.DRAIN, CloseCode.MOVED}:
                raise


@asynccontextmanager
async def load(
    fleet: Fleet, count: int, chance: Random, toll: Toll, *, settled_s: float = SETTLED_S
) -> AsyncGenerator[Load]:
    """Let *count* people talk as long as the block, and check them at its end."""
    async with trio.open_nursery() as nursery:
        talkers = [Talker(fleet, Random(chance.random()), f"t{n}") for n in range(count)]  # noqa: S311
        everyone = Load(fleet, talkers, toll, settled_s)
        for talker in talkers:
            nursery.start_soon(talker.run)
        await everyone.settled()
        yield everyone
        await everyone.finish()
