"""A server process with whatever stderr and limits a test wants; its port is chosen beforehand."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from attrs import define

from tests.e2e.client import DEADLINE_S

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


@define(eq=False)
class EdgeProcess:
    """A running server.

    Attributes:
        directory: Where its log is, if its stderr goes there.
    """

    directory: Path
    port: int
    process: trio.Process

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8")


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def running(
    directory: Path,
    *,
    stderr: int | None = None,
    descriptors_most: int | None = None,
    settings: dict[str, str] | None = None,
) -> AsyncGenerator[EdgeProcess]:
    """Run a server until it is left, then make sure that it has ended.

    Args:
        directory: For its files.
        stderr: A descriptor; by default a file in the directory.
        descriptors_most: As by `ulimit -n`.
        settings: Environment variables.
    """
    port = free_port()
    environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    command = [sys.executable, "-m", "bargein.server", "serve", f"--port={port}", "--store=memory:"]
    if descriptors_most is not None:
        command = ["sh", "-c", f'ulimit -n {descriptors_most}; exec "$@"', "sh", *command]
    with (directory / "log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            command,
            cwd=directory,
            env=environ | (settings or {}),
            stdout=log,
            stderr=log if stderr is None else stderr,
        )
    server = EdgeProcess(directory, port, process)
    try:
        with trio.fail_after(4 * DEADLINE_S):
            await _until_it_listens(server)
            yield server
    finally:
        if process.poll() is None:
            process.kill()
            with trio.move_on_after(DEADLINE_S, shield=True):  # bounded: it was killed
                await process.wait()


async def _until_it_listens(server: EdgeProcess) -> None:
    while True:
        assert server.process.poll() is None, server.log
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        except OSError:
            await trio.sleep(0.02)
        else:
            await stream.aclose()
            return
