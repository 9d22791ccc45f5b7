"""Sessions that talk, those who listen, and a crowd that has come and reads nothing."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from tests.e2e.client import Client, path_of
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.test_resume import whole_frames
from tests.gateway.raw_client import RawClient, dial, request
from tests.network.traveller import OFFERED
from tests.network.vitals import vitals

SESSIONS = 8
WINDOW_BYTES = 8 * 1024
AT_ONCE = 50
"""Handshakes of the crowd that are under way at a time."""

FLOOD = 120
SCREENPLAY = f"""\
model = "scripted"
pace_ms = 20
first_token_ms = 5

[[scenes]]
name = "flood"
when = '^Flood'
steps = [{{ say = "{" ".join(["x" * 2000] * FLOOD)}", per_second = 1000 }}]

[[scenes]]
name = "long"
steps = [{{ say = "{" ".join(f"w{number}" for number in range(3000))}" }}]
"""
"""Floods of 240 kB, far more than all buffers on the way hold; and a minute of calm talk."""

NEVER_S = "3600"


@asynccontextmanager
async def talking_server(
    directory: Path,
    *,
    deadline_s: float = 600.0,
    module: str = "bargein.server",
    **settings: str,
) -> AsyncGenerator[ServerProcess]:
    """Run a server whose model can flood, and talks calmly otherwise."""
    play = directory / "flood.toml"
    play.write_text(SCREENPLAY, encoding="utf-8")
    free = {"BARGEIN_LIMITS_COMMANDS_PER_S": "100000", "BARGEIN_LIMITS_COMMANDS_BURST": "100000"}
    async with server_process(
        directory,
        deadline_s=deadline_s,
        module=module,
        BARGEIN_SCREENPLAY=str(play),
        **free,
        **settings,
    ) as server:
        yield server


@define(eq=False)
class Stalled:
    """A watcher that reads nothing until it is asked to."""

    session_id: str
    epoch: str
    raw: RawClient

    async def what_it_has(self) -> list[bytes]:
        """Read what lies in the kernel, to the end of the connection, and go."""
        try:
            with suppress(trio.BrokenResourceError):
                await self.raw.read_to_end()
        finally:
            await self.leave()
        return whole_frames(self.raw)

    async def leave(self) -> None:
        await trio.aclose_forcefully(self.raw.stream)


@define(eq=False)
class Crowd:
    """The drivers of some sessions, and the stalled watchers of all of them."""

    server: ServerProcess
    drivers: list[Client]
    stalled: list[Stalled] = field(factory=list[Stalled], init=False)

    async def come(self, count: int) -> None:
        """Attach *count* watchers that will not read, spread over the sessions."""
        places = trio.CapacityLimiter(AT_ONCE)
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    driver = self.drivers[number % len(self.drivers)]
                    nursery.start_soon(self._attach, driver, places)

    async def _attach(self, driver: Client, places: trio.CapacityLimiter) -> None:
        query = {"role": "watch", "after": driver.last_seq, "epoch": driver.epoch}
        async with places:
            raw = await dial(self.server.port, window_bytes=WINDOW_BYTES)
            self.stalled.append(Stalled(driver.session_id, driver.epoch, raw))
            await raw.send(request(path_of(driver.session_id, query), **OFFERED))
            await raw.read_head()

    async def leave(self) -> None:
        """Let the whole crowd go, without a word."""
        for one in self.stalled:
            await one.leave()
        self.stalled.clear()

    async def flood(self) -> None:
        """Let every session say more than the buffers of a stalled watcher hold."""
        with trio.fail_after(120):
            async with trio.open_nursery() as nursery:
                for driver in self.drivers:
                    nursery.start_soon(driver.converse, "Flood us")

    async def talk(self, for_s: float) -> list[float]:
        """Let every session talk; return how late each token was at its driver, in ms."""
        late_ms: list[float] = []
        async with trio.open_nursery() as nursery:
            for driver in self.drivers:
                nursery.start_soon(_listen, driver, for_s, late_ms)
        return late_ms

    async def until_descriptors(self, count: int, within_s: float) -> None:
        """Wait until the server has no more than *count* descriptors open."""
        with trio.fail_after(within_s):
            while vitals(self.server.process.pid).descriptors > count:  # noqa: ASYNC110 - the kernel's
                await trio.sleep(0.05)


async def _listen(driver: Client, for_s: float, late_ms: list[float]) -> None:
    turn_id = (await driver.say("Talk to us"))["result"]["turn_id"]
    since = len(driver.frames)
    # Frames are stamped with trio's clock when they come, events with the wall clock's time.
    offset_s = time.time() - trio.current_time()
    await trio.sleep(for_s)
    for frame in driver.frames[since:]:
        if frame.is_event and frame.type == "model.token":
            said_s = datetime.fromisoformat(frame["ts"]).timestamp()
            late_ms.append((frame.at_s + offset_s - said_s) * 1000)
    await driver.ask("interrupt", turn_id=turn_id)


async def gathered(server: ServerProcess) -> Crowd:
    """Open the sessions."""
    return Crowd(server, [await server.attach() for _ in range(SESSIONS)])


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def resumed(server: ServerProcess, one: Stalled, after: int) -> list[bytes]:
    """Resume a watcher behind *after*; return the events up to `live`."""
    query = {"role": "watch", "after": after, "epoch": one.epoch}
    raw = await dial(server.port)
    frames: list[bytes] = []
    try:
        await raw.send(request(path_of(one.session_id, query), **OFFERED))
        await raw.read_head()
        hello: dict[str, Any] = json.loads(await raw.read_text())
        assert hello["resumed"] is True
        assert hello["replay_from"] == after + 1
        while b'"type":"live"' not in (frame := await raw.read_text()):
            frames.append(frame)
    finally:
        await trio.aclose_forcefully(raw.stream)
    return frames
