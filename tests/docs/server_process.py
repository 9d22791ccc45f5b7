"""The server as a user starts it: a process of its own, on a port that the system chose."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import trio
from attrs import define, field

from tests.project.tree import ROOT

START_LIMIT_S = 30.0
"""It takes half a second; this machine may have much else to do."""

STOP_LIMIT_S = 15.0

_OPEN = re.compile(r"^bargein serves ws://127\.0\.0\.1:(\d+)/v1/session$", re.MULTILINE)

COMMAND = str(Path(sys.executable).with_name("bargein"))
"""What `make serve` runs."""


class DidNotStart(AssertionError):
    """The process ended, or said nothing; what it wrote says why."""


@define(eq=False)
class ServerProcess:
    """A running server.

    Attributes:
        said: All that it wrote so far, both streams.
    """

    process: trio.Process
    said: str = ""
    port: int = 0
    _opened: trio.Event = field(factory=trio.Event, init=False)
    _more: trio.Event = field(factory=trio.Event, init=False)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/session"

    async def read(self) -> None:
        """Collect what it writes until its end."""
        assert self.process.stdout is not None
        async for some in self.process.stdout:
            self.said += some.decode()
            self._more.set()
            self._more = trio.Event()
            if not self._opened.is_set() and (found := _OPEN.search(self.said)):
                self.port = int(found[1])
                self._opened.set()
        self._opened.set()

    async def opened(self) -> None:
        with trio.move_on_after(START_LIMIT_S):
            await self._opened.wait()
        if not self.port:
            raise DidNotStart(self.said)

    async def says(self, text: str) -> None:
        """Wait until it has written *text*."""
        with trio.fail_after(START_LIMIT_S):
            while text not in self.said:
                await self._more.wait()

    async def stop(self) -> int:
        """Ask it to end as `kill` does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(STOP_LIMIT_S):
            return await self.process.wait()

    async def kill(self) -> None:
        """End it as a power cut does."""
        self.process.kill()
        with trio.fail_after(STOP_LIMIT_S):
            await self.process.wait()


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a user who has configured nothing."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BARGEIN_", "ANTHROPIC_", "COV_"))
    }
    return {**kept, **more}


@asynccontextmanager
async def running(
    *arguments: str,
    directory: Path = ROOT,
    store: str = "memory:",
    variables: Mapping[str, str] | None = None,
    port: int = 0,
) -> AsyncGenerator[ServerProcess]:
    """Run `bargein serve` with *arguments*; it is gone when the block ends."""
    command = [COMMAND, "serve", *arguments, "--port", str(port), "--store", store]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,  # into the same pipe, in the order in which a terminal would show it
            cwd=directory,
            env=environment(**(variables or {})),
        )
        server = ServerProcess(process)
        try:
            nursery.start_soon(server.read)
            await server.opened()
            yield server
        finally:
            if process.returncode is None:
                process.kill()
            # Shielded so that no process is left behind a failed test; a killed one ends at once.
            with trio.move_on_after(STOP_LIMIT_S, shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
