"""Many sessions stream, and the server is killed.  `BARGEIN_TEST_SEED` sets at which moments."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pytest
import trio
from attrs import define, field

from tests.e2e.client import Frame
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.scripts import assert_ladder
from tests.e2e.user import User, failed_with_token, start_turn, users
from tests.scale import scaled

SEED = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
KILLS = 20 if scaled(10) == 1 else scaled(1000)
"""Not a tenth of what `make verify` does: that would take two minutes."""

SESSIONS = 20
SERVERS_A_SESSION = 10
"""After so many servers users open new sessions: only so much talk is read back at a start."""

RECOVERED_S = 2.0
"""From the start of the process to the last session settled.  The promise is held by the median:
single starts may meet the work of other programs, and get `LATE_S`."""

LATE_S = 10.0
SHARE_INTERRUPTED = 0.3


@define(eq=False)
class Toll:
    """What the kills came to."""

    recovered_s: list[float] = field(factory=list[float])
    ends: Counter[str] = field(factory=Counter[str])
    events: int = 0


@define(eq=False)
class Load:
    """Users of one server, each in the middle of an answer, or of its interrupt."""

    server: ServerProcess
    chance: random.Random
    everyone: list[User]
    turns: dict[User, str] = field(factory=dict[User, str])

    async def talk(self, kill: int) -> None:
        """Start an answer for everybody, and interrupt some."""
        async with trio.open_nursery() as nursery:
            for user in self.everyone:
                nursery.start_soon(self._start, user, kill)
        await trio.sleep(self.chance.uniform(0, 0.3))
        for user in self.everyone:
            if self.chance.random() < SHARE_INTERRUPTED:
                await user.client.send("interrupt")
        # Some ladders are stored whole, some in part, and some were never begun.
        await trio.sleep(self.chance.uniform(0, 0.02))

    async def _start(self, user: User, kill: int) -> None:
        self.turns[user] = await start_turn(user, f"Long story {kill}")

    async def come_back(self, toll: Toll) -> None:
        """Let everybody resume, and check how each turn was closed."""
        for user in self.everyone:
            await user.come_back()
            events = user.of_turn(self.turns[user])
            toll.ends[how_closed(user, events)] += 1
            toll.events += len(events)

    async def renew(self) -> None:
        """Check all that was seen in these sessions, close them, and open others."""
        for user in self.everyone:
            await user.check()
            await user.client.send("close")
            assert await user.client.until_closed() == 4102
        self.everyone = await users(self.server, SESSIONS)


def how_closed(user: User, events: Sequence[Frame]) -> str:
    """Check the end of a turn that a kill met, and say which it was."""
    last = events[-1].type
    if any(event.type == "cancel.requested" for event in events):
        assert last == "cancel.ack"
        assert_ladder(list(events))
        return "ladder"
    assert last == "turn.trace"
    failed_with_token(user, events[-1].turn_id or "")
    return "failed"


@pytest.mark.slow
async def test_many_sessions_lose_nothing_when_their_server_is_killed_again_and_again(
    tmp_path: Path,
):
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    toll = Toll()
    chance = random.Random(SEED)  # noqa: S311
    async with server_process(tmp_path, deadline_s=120 + 20 * KILLS) as server:
        load = Load(server, chance, await users(server, SESSIONS))
        for kill in range(KILLS):
            await load.talk(kill)
            await server.kill()
            started_s = trio.current_time()
            await server.start(until="/readyz")
            toll.recovered_s.append(trio.current_time() - started_s)
            await load.come_back(toll)
            if kill % SERVERS_A_SESSION == SERVERS_A_SESSION - 1:
                await load.renew()
        for user in load.everyone:
            await user.check()
    print(  # noqa: T201
        f"{KILLS} kills with {SESSIONS} sessions: {toll.events} events of turns seen, "
        f"{dict(toll.ends)}; ready again after {median(toll.recovered_s):.2f} s (median), "
        f"{max(toll.recovered_s):.2f} s (worst)"
    )
    assert toll.ends["failed"] > 0
    assert toll.ends["ladder"] > 0
    assert median(toll.recovered_s) < RECOVERED_S
    assert max(toll.recovered_s) < LATE_S
