"""`bargein serve --workers` as an operator runs it: a supervisor, its workers, a real Redis."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define, field

from bargein.gateway.workers.status import Row, StatusUnavailable, asked
from bargein.protocol.ids import NOTHING, SessionId
from bargein.timeline.redis.store import RedisStore
from bargein.timeline.redis_address import Address
from tests.e2e.client import Client, attached
from tests.e2e.process import SCREENPLAY
from tests.timeline.redis_server import RedisServer

START_LIMIT_S = 60.0
"""It takes two seconds; this machine may have much else to do."""

LOOK_S = 0.02
PAGE_EVENTS = 1000
PAGE_BYTES = 1024 * 1024

_SERVES = re.compile(r"bargein serves ws://127\.0\.0\.1:([0-9]+)/v1/session")


@define(eq=False)
class CrewProcess:
    """A supervisor and all that it has started.

    Attributes:
        directory: Where its log and its socket are.
        port: 0 until it has said which.
        pids: Of all workers that were ever seen.
    """

    directory: Path
    process: trio.Process
    nursery: trio.Nursery
    redis: RedisServer
    port: int = 0
    pids: set[int] = field(factory=set[int], init=False)

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8")

    def rows(self) -> list[Row]:
        """Return how the workers are; none where nobody answers."""
        path = self.directory / f"bargein-{os.getuid()}" / f"127.0.0.1_{self.port}.sock"
        try:
            rows = asked(path)
        except StatusUnavailable:
            return []
        self.pids |= {row.pid for row in rows if row.pid}
        return rows

    async def until(
        self, holds: Callable[[list[Row]], bool], within_s: float = START_LIMIT_S
    ) -> list[Row]:
        """Wait until the rows are as wanted; return them."""
        rows: list[Row] = []
        with trio.move_on_after(within_s):
            while True:
                rows = await trio.to_thread.run_sync(self.rows)
                if holds(rows):
                    return rows
                await trio.sleep(LOOK_S)
        raise AssertionError(f"never so: {rows}\n{self.log}")

    async def until_ready(self, count: int) -> list[Row]:
        """Wait until there are so many workers, all ready, and no others."""
        return await self.until(
            lambda rows: len(rows) == count and all(row.state == "ready" for row in rows)
        )

    async def says(self, text: str, times: int = 1) -> None:
        """Wait until the log has *text* so many times."""
        with trio.move_on_after(START_LIMIT_S):
            while self.log.count(text) < times:  # noqa: ASYNC110 - a file does not tell
                await trio.sleep(LOOK_S)
            return
        raise AssertionError(f"never said {times} times: {text}\n{self.log}")

    async def opened(self) -> None:
        """Wait until it has said where it serves."""
        with trio.fail_after(START_LIMIT_S):
            while (found := _SERVES.search(self.log)) is None:
                assert self.process.poll() is None, self.log
                await trio.sleep(LOOK_S)
        self.port = int(found[1])

    async def exit_code(self) -> int:
        with trio.fail_after(START_LIMIT_S):
            return await self.process.wait()

    async def until_gone(self) -> None:
        """Wait until no process is left of all that were seen."""
        with trio.move_on_after(START_LIMIT_S):
            while any(map(_lives, self.pids)):  # noqa: ASYNC110 - none is a child of ours
                await trio.sleep(LOOK_S)
            return
        raise AssertionError(f"left: {list(filter(_lives, self.pids))}\n{self.log}")

    async def attach(self, session_id: str | None = None, **query: object) -> Client:
        return await attached(self.nursery, self.port, session_id, **query)

    async def whole(self, session_id: str) -> list[bytes]:
        """Read a session's timeline, from Redis."""
        address = Address.of(f"redis://127.0.0.1:{self.redis.port}/0")
        store = RedisStore(address, is_server=False)
        frames: list[bytes] = []
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            after = NOTHING
            while page := await store.read(
                SessionId(session_id), after, limit=PAGE_EVENTS, most_bytes=PAGE_BYTES
            ):
                frames += [stored.frame for stored in page]
                after = page[-1].seq
            nursery.cancel_scope.cancel()
        return frames

    async def get(self, path: str) -> str:
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = b"".join([piece async for piece in stream])
        return answer.partition(b"\r\n\r\n")[2].decode()


def _lives(pid: int) -> bool:
    """Say whether a process runs; one that only nobody has asked about yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


@asynccontextmanager
async def crew_process(
    directory: Path,
    redis: RedisServer,
    *arguments: str,
    opened: bool = True,
    deadline_s: float = 180.0,
    **settings: str,
) -> AsyncGenerator[CrewProcess]:
    """Run `bargein serve` with *arguments*; nothing of it is left when the block ends."""
    play = directory / "play.toml"
    play.write_text(SCREENPLAY, encoding="utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environ = {
        **kept,
        "XDG_RUNTIME_DIR": str(directory),
        "BARGEIN_SCREENPLAY": str(play),
        "BARGEIN_STORE": f"redis://127.0.0.1:{redis.port}/0",
        **settings,
    }
    command = [sys.executable, "-m", "bargein.server", "serve", "--port", "0", *arguments]
    async with trio.open_nursery() as nursery:
        with (directory / "log").open("ab") as log:
            process = await trio.lowlevel.open_process(
                command, cwd=directory, env=environ, stdout=log, stderr=log
            )
        crew = CrewProcess(directory, process, nursery, redis)
        try:
            with trio.fail_after(deadline_s):
                if opened:
                    await crew.opened()
                yield crew
        finally:
            if process.poll() is None:
                crew.rows()
                process.kill()
            # It is killed, and those below it are then: nothing is waited for long.
            with trio.move_on_after(START_LIMIT_S, shield=True):
                await process.wait()
            for pid in filter(_lives, crew.pids):
                os.kill(pid, signal.SIGKILL)
        nursery.cancel_scope.cancel()
    assert "Traceback" not in crew.log, crew.log
