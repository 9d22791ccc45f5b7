"""Several real server processes on one Redis, whose turns share few model slots."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio
from attrs import define, field

from bargein.timeline.redis.keys import SLOTS
from tests.cluster.slot_desk import Wire
from tests.e2e.client import Client
from tests.e2e.process import ServerProcess
from tests.e2e.scripts import assert_ladder
from tests.fakes.tokens import SECRET, SHARED
from tests.timeline.redis_server import RedisServer

GOLD = SHARED.sign("midas", tier="gold")
WORDS = " ".join(f"w{number}" for number in range(15))
LONG = " ".join(f"w{number}" for number in range(400))
PLAY = f"""\
model = "scripted"
pace_ms = 20
first_token_ms = 5

[[scenes]]
name = "brief"
when = '^Brief'
steps = [{{ say = "Very well." }}]

[[scenes]]
name = "long"
when = '^Long'
steps = [{{ say = "{LONG}" }}]

[[scenes]]
name = "work"
steps = [{{ say = "{WORDS}" }}]
"""
MUCH = {
    "BARGEIN_QUOTAS_CONNECTIONS_MOST": "1000",
    "BARGEIN_QUOTAS_SESSIONS_MOST": "1000",
    "BARGEIN_QUOTAS_NEW_SESSIONS_PER_MINUTE_MOST": "10000",
    "BARGEIN_QUOTAS_TURNS_MOST": "1000",
    "BARGEIN_QUOTAS_TOKENS_PER_HOUR_MOST": "1000000000",
    "BARGEIN_LIMITS_COMMANDS_PER_S": "100000",
    "BARGEIN_LIMITS_COMMANDS_BURST": "100000",
    "BARGEIN_TIERS": json.dumps({"gold": {"rank": 1}}),
    "BARGEIN_AUTH_SECRET": SECRET,
}


def token(name: str) -> str:
    """Return the token of a user of the usual tier."""
    return SHARED.sign(name)


@define(eq=False)
class Servers:
    """All of them, and what Redis knows of slots.

    Attributes:
        most_run: How many had a slot at the same time.
    """

    redis: RedisServer
    places: list[ServerProcess]
    most_run: int = field(default=0, init=False)

    async def watch(self) -> None:
        """Count again and again who has a slot, as long as there is a Redis."""
        while True:
            with suppress(OSError):
                self.most_run = max(self.most_run, self.count("running"))
            await trio.sleep(0.01)

    def count(self, what: str) -> int:
        """Return how many are `running` or `waiting`."""
        wire = Wire(self.redis)
        try:
            return int(wire.ask("ZCARD", f"{SLOTS}:{what}")[1:])
        finally:
            wire.close()

    async def until_nobody_wants_one(self) -> None:
        with trio.fail_after(20):
            while self.count("running") or self.count("waiting"):  # noqa: ASYNC110
                await trio.sleep(0.02)


async def seen_through(client: Client, turn_id: str) -> int:
    """Wait until a turn, or the last that goes on from it, is completed; count the others."""
    times = 0
    while True:
        end = await client.until("response.end", turn_id=turn_id, within_s=60.0)
        if end.payload["status"] == "completed":
            await client.until("turn.trace", turn_id=turn_id)
            return times
        assert client.find("cancel.requested", turn_id=turn_id, by="preempted")
        await client.until("cancel.ack", turn_id=turn_id)
        assert_ladder(client.of_turn(turn_id))
        times += 1
        again = await client.until("turn.start", continues=turn_id, within_s=60.0)
        assert again.turn_id is not None
        turn_id = again.turn_id


@asynccontextmanager
async def servers(
    directory: Path,
    redis: RedisServer,
    count: int,
    model_slots: int,
    *,
    may_log: Collection[str] = (),
    **settings: str,
) -> AsyncGenerator[Servers]:
    """Run *count* servers as long as the block; none may log an error but those named."""
    play = directory / "play.toml"
    play.write_text(PLAY, encoding="utf-8")
    chosen = {
        "BARGEIN_SCREENPLAY": str(play),
        "BARGEIN_MODEL_SLOTS": str(model_slots),
        **MUCH,
        **settings,
    }
    async with trio.open_nursery() as nursery:
        places: list[ServerProcess] = []
        for number in range(count):
            own = directory / f"server-{number}"
            own.mkdir()
            url = f"redis://127.0.0.1:{redis.port}/0"
            places.append(ServerProcess(own, nursery, chosen, url=url))
        there = Servers(redis, places)
        try:
            with trio.fail_after(120):
                async with trio.open_nursery() as starting:
                    for place in places:
                        starting.start_soon(place.start)
                nursery.start_soon(there.watch)
                yield there
        finally:
            for place in places:
                if place.process.poll() is None:
                    place.process.kill()
                with trio.CancelScope(shield=True):  # a killed process ends at once
                    await place.process.wait()
        nursery.cancel_scope.cancel()
    assert [line for place in places for line in wrong_lines(place, may_log)] == []


def wrong_lines(place: ServerProcess, may_log: Collection[str]) -> list[str]:
    """Return what a server should not have logged."""
    lines = [line for line in place.log.splitlines() if '"level": "error"' in line]
    wrong = [line for line in lines if json.loads(line)["event"] not in may_log]
    return wrong + [line for line in place.log.splitlines() if "Traceback" in line]
