"""Several real servers, each at the end of a wire of its own to one Redis."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define

from tests.cluster_faults.redis_pair import RedisPair
from tests.cluster_faults.wire import Wire
from tests.e2e.process import ServerProcess

FREE = {
    "BARGEIN_LIMITS_COMMANDS_PER_S": "100000",
    "BARGEIN_LIMITS_COMMANDS_BURST": "100000",
    "BARGEIN_LIMITS_SPEECH_PER_S": "100000",
    "BARGEIN_LIMITS_SPEECH_BURST": "100000",
}
PLAY = """\
model = "scripted"
pace_ms = {pace_ms}
first_token_ms = 5

[[scenes]]
name = "brief"
when = '^Brief'
steps = [{{ say = "Very well." }}]

[[scenes]]
name = "story"
steps = [{{ say = "{story}" }}]
"""
STORY = " ".join(f"w{number}" for number in range(20))
EXPECTED = frozenset(
    {"client.turned_away", "session.crashed", "session.flush_failed", "store.failed"}
)
"""What servers may log as errors where their Redis, or the owner of a session, is away."""


@define(eq=False)
class Place:
    """One server, come what may, and its wire."""

    server: ServerProcess
    wire: Wire

    def stop(self) -> None:
        """Let it stand still, as a machine does that is put to sleep."""
        os.kill(self.server.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on where it stood."""
        os.kill(self.server.process.pid, signal.SIGCONT)

    def wrong_lines(self) -> list[str]:
        """Return what it should not have logged."""
        lines = self.server.log.splitlines()
        return [line for line in lines if "Traceback" in line or _is_unexpected(line)]


def _is_unexpected(line: str) -> bool:
    if not line.startswith("{"):
        return False
    logged = json.loads(line)
    return logged["level"] in ("error", "critical") and logged["event"] not in EXPECTED


@define(eq=False)
class Fleet:
    """All of them, and the Redis that they share."""

    pair: RedisPair
    places: list[Place]
    nursery: trio.Nursery


@asynccontextmanager
async def fleet(
    directory: Path, pair: RedisPair, count: int, *, pace_ms: int, deadline_s: float
) -> AsyncGenerator[Fleet]:
    """Run *count* servers as long as the block; none may log what it should not."""
    play = directory / "play.toml"
    play.write_text(PLAY.format(pace_ms=pace_ms, story=STORY), encoding="utf-8")
    settings = {"BARGEIN_SCREENPLAY": str(play), **FREE}
    async with trio.open_nursery() as nursery:
        places: list[Place] = []
        for number in range(count):
            wire, own = Wire(pair.primary.port), directory / f"server-{number}"
            await nursery.start(wire.run)
            own.mkdir()
            pair.wires.append(wire)
            url = f"redis://127.0.0.1:{wire.port}/0"
            places.append(Place(ServerProcess(own, nursery, settings, url=url), wire))
        try:
            with trio.fail_after(deadline_s):
                async with trio.open_nursery() as starting:
                    for place in places:
                        starting.start_soon(place.server.start)
                yield Fleet(pair, places, nursery)
        finally:
            for place in places:
                await _end(place.server)
        nursery.cancel_scope.cancel()
    wrong = [line for place in places for line in place.wrong_lines()]
    assert not wrong, "\n".join(wrong)


async def _end(server: ServerProcess) -> None:
    if server.process.poll() is None:
        server.process.kill()
    with trio.CancelScope(shield=True):  # a killed process ends at once
        await server.process.wait()
