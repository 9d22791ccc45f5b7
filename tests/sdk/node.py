"""Node, for tests that need it: where it is, and how a program of it is run."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import trio
from attrs import define, field

from tests.docs.server_process import environment
from tests.project.tree import ROOT

SDK = ROOT / "sdk" / "javascript"
HERE = ROOT / "tests" / "sdk"
RUN_LIMIT_S = 120.0
ANSWER_LIMIT_S = 30.0
STOP_LIMIT_S = 5.0


def why_not() -> str | None:
    """Say what is missing for the SDK to be tested; None where all is there."""
    if shutil.which("node") is None:
        return "node is not installed"
    if not (SDK / "node_modules").exists():
        return "sdk/javascript is not installed: `make test` does that where npm is"
    return None


async def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    """Run a command to its end and return what it wrote; it has to succeed."""
    with trio.fail_after(RUN_LIMIT_S):
        done = await trio.run_process(
            [str(part) for part in command],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=cwd,
            env=environment(**variables),
        )
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    return done.stdout.decode()


class NeverSaid(AssertionError):
    """A Node program ended or fell silent before it answered; what it wrote says why."""


@define(eq=False)
class Program:
    """A Node program that is asked things: a line of JSON in, a line of JSON out."""

    process: trio.Process
    complaints: str = ""
    _buffer: bytes = field(default=b"", init=False)

    async def ask(self, within_s: float = ANSWER_LIMIT_S, **question: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        with trio.move_on_after(within_s):
            await self.process.stdin.send_all(json.dumps(question).encode() + b"\n")
            return json.loads(await self._line())
        raise NeverSaid(f"{question} was not answered in {within_s} s: {self.complaints}")

    async def _line(self) -> bytes:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            some = await self.process.stdout.receive_some()
            if not some:
                await self.process.wait()
                raise NeverSaid(self.complaints or self._buffer.decode())
            self._buffer += some
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    async def complain(self) -> None:
        """Keep what it writes to its other stream."""
        assert self.process.stderr is not None
        async for some in self.process.stderr:
            self.complaints += some.decode()


@asynccontextmanager
async def program(path: Path, *arguments: str, **variables: str) -> AsyncGenerator[Program]:
    """Run a Node program that is asked things; it is gone when the block ends."""
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            ["node", str(path), *arguments],
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=environment(**variables),
        )
        running = Program(process)
        nursery.start_soon(running.complain)
        try:
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            # Shielded so that no process is left behind a failed test; a killed one ends at once.
            with trio.move_on_after(STOP_LIMIT_S, shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
