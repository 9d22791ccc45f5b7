"""A real server, really killed while it does things.  `BARGEIN_TEST_SEED` sets at which moments.

What was done is known by a process that no kill reaches (`tests.e2e.effects`).  At the end its
ledger is held against the timelines: nothing was done twice, and nothing that was done is
forgotten or called a failure.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio
from attrs import define, field

from tests.e2e.apps import ledgered
from tests.e2e.attempts import Attempt, Moment, moments
from tests.e2e.books import audit
from tests.e2e.effects import PORT, World, outside
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.user import User, users
from tests.scale import scaled

SEED = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
KILLS = scaled(200)
SESSIONS = 4
ROOT = Path(__file__).resolve().parents[2]


def settings_for(world: World) -> dict[str, str]:
    """Return what a server needs to know to act in *world*."""
    return {
        "BARGEIN_APP": f"{ledgered.__file__}:app",
        "BARGEIN_LIMITS_INTERRUPTS_PER_S": "1000",
        "PYTHONPATH": str(ROOT),
        PORT: str(world.port),
    }


@define(eq=False)
class Toll:
    """What the kills came to."""

    met: Counter[str] = field(factory=Counter[str])
    ends: Counter[str] = field(factory=Counter[str])

    def __str__(self) -> str:
        met = ", ".join(f"{count} {state}" for state, count in sorted(self.met.items()))
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.ends.items()))
        return f"actions met by a kill: {met}; how they ended: {ends}"


@define(eq=False)
class Killer:
    """Users who have things done, and a server that dies of it again and again."""

    server: ServerProcess
    world: World
    chance: random.Random
    everyone: list[User]
    toll: Toll = field(factory=Toll)
    number: int = 0

    async def run(self, deck: Iterable[Moment]) -> None:
        for moment in deck:
            attempts = [self._attempt(user, moment) for user in self.everyone[:1]]
            attempts += [
                self._attempt(user, self.chance.choice(moments())) for user in self.everyone[1:]
            ]
            await self._die(attempts)
            await self.server.start()
            async with trio.open_nursery() as nursery:
                for attempt in attempts:
                    nursery.start_soon(self._end, attempt)

    def _attempt(self, user: User, moment: Moment) -> Attempt:
        self.number += 1
        return Attempt(user, self.world, self.number, moment.drawn(self.chance))

    async def _die(self, attempts: list[Attempt]) -> None:
        """Begin all attempts, and kill the server at the first one's moment."""
        async with trio.open_nursery() as nursery:
            for attempt in attempts[1:]:
                nursery.start_soon(attempt.begin)
            await attempts[0].begin()
            await trio.sleep(attempts[0].moment.jitter_s)
            nursery.cancel_scope.cancel()
        await self.server.kill()

    async def _end(self, attempt: Attempt) -> None:
        await attempt.user.come_back()
        self.toll.met[attempt.met()] += 1
        self.toll.ends[await attempt.settle()] += 1


def deck(chance: random.Random) -> Iterable[Moment]:
    """Deal every moment in a drawn order, again and again."""
    dealt = 0
    while True:
        for moment in chance.sample(moments(), len(moments())):
            if dealt == KILLS:
                return
            dealt += 1
            yield moment


@pytest.mark.slow
async def test_no_kill_doubles_an_effect_or_loses_an_outcome(tmp_path: Path):
    chance = random.Random(SEED)  # noqa: S311
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    async with outside(tmp_path) as world:
        settings = settings_for(world)
        async with server_process(tmp_path, deadline_s=60 + 15 * KILLS, **settings) as server:
            killer = Killer(server, world, chance, await users(server, SESSIONS))
            await killer.run(deck(chance))
            timelines = [await server.whole(u.client.session_id) for u in killer.everyone]
            for user in killer.everyone:
                await user.check()
        found = audit(timelines, world.written())
    print(f"{KILLS} kills, {killer.number} actions; {killer.toll}; {found}")  # noqa: T201
    assert found.broken == []
    assert found.effects > KILLS  # at least every target but those before the confirm had one
    assert found.asked > 0
    assert found.by_person > 0
    assert found.repeated > 0
    assert found.reverted > 0


async def test_what_was_in_doubt_is_asked_about_at_the_start_and_not_when_someone_comes(
    tmp_path: Path,
):
    async with (
        outside(tmp_path) as world,
        server_process(tmp_path, deadline_s=120, **settings_for(world)) as server,
    ):
        (user,) = await users(server, 1)
        landed = next(m for m in moments() if (m.tool, m.landmark) == ("charge", "applied"))
        attempt = Attempt(user, world, 1, landed.drawn(random.Random(SEED)))  # noqa: S311
        await attempt.begin()
        await server.kill()
        await server.start()
        await world.until(lambda line: line["what"] == "asked")  # nobody is attached
        await user.come_back()
        assert await attempt.settle() == "committed"
        found = audit([await server.whole(user.client.session_id)], world.written())
    assert found.broken == []
    assert (found.effects, found.asked) == (1, 1)
