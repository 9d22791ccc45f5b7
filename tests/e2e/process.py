"""The real server in a process of its own: started, killed, started again on its file and port."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from tests.e2e.client import DEADLINE_S, Client, attached, dial

_SERVES = re.compile(r"bargein serves ws://127\.0\.0\.1:([0-9]+)/v1/session")

START_LIMIT_S = 60.0
"""It takes half a second; a machine on which much else runs took more than fifteen."""

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")

SCREENPLAY = """\
model = "scripted"
pace_ms = 10
first_token_ms = 5

[[scenes]]
name = "brief"
when = '^Brief'
steps = [{ say = "Very well." }]

[[scenes]]
name = "long"
steps = [{ say = "%s" }]
""" % " ".join(f"w{number}" for number in range(1000))  # noqa: UP031 - braces are TOML's here
"""Ten seconds of talk at a hundred tokens a second, for whoever does not ask for brevity."""


@define(eq=False)
class ServerProcess:
    """One server after the other, on one file and one port.

    Attributes:
        directory: Where its timelines and its log are.
        module: What is run; it takes the command line of `bargein`.
        url: Of its store, where that is not the file in its directory.
        port: 0 until the first one has chosen.
        took_s: From the start of the latest process to the first answer of `/healthz`.
    """

    directory: Path
    nursery: trio.Nursery
    settings: dict[str, str] = field(factory=dict[str, str])
    module: str = "bargein.server"
    url: str | None = None
    port: int = 0
    took_s: float = field(default=0.0, init=False)
    _process: trio.Process | None = field(default=None, init=False)

    @property
    def database(self) -> Path:
        return self.directory / "timelines.sqlite3"

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8")

    @property
    def process(self) -> trio.Process:
        assert self._process is not None
        return self._process

    async def start(self, *, until: str = "/readyz") -> None:
        """Start a server, and wait until it answers on the page *until*."""
        log = (self.directory / "log").open("ab")
        start = log.tell()
        started_s = trio.current_time()
        environ = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        command = [sys.executable, "-m", self.module, "serve", "--port", str(self.port)]
        command += ["--store", self.url or f"sqlite:///{self.database}"]
        with log:
            self._process = await trio.lowlevel.open_process(
                command, cwd=self.directory, env=environ | self.settings, stdout=log, stderr=log
            )
        with trio.fail_after(START_LIMIT_S):
            while not self.port:
                self._find_port(start)
                await trio.sleep(0.005)
            await self._until_answered("/healthz")
            self.took_s = trio.current_time() - started_s
            await self._until_answered(until)

    def _find_port(self, start: int) -> None:
        assert self.process.poll() is None, self.log
        if found := _SERVES.search(self.log, start):
            self.port = int(found[1])

    async def _until_answered(self, path: str) -> None:
        while True:
            assert self.process.poll() is None, self.log
            try:
                if (await self.get(path))[0] == 200:
                    return
            except OSError:
                pass  # it does not listen yet
            await trio.sleep(0.005)

    async def get(self, path: str) -> tuple[int, str]:
        """Ask for a page; return its status and its body."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = b"".join([piece async for piece in stream])
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()

    async def kill(self) -> None:
        """Kill it with SIGKILL, in the middle of whatever it does."""
        self.process.kill()
        assert await self.process.wait() == -signal.SIGKILL, self.log

    def terminate(self) -> None:
        """Ask it to end, as a supervisor does."""
        self.process.terminate()

    async def exit_code(self) -> int:
        """Wait until it has ended."""
        with trio.fail_after(DEADLINE_S):
            return await self.process.wait()

    async def attach(self, session_id: str | None = None, **query: Any) -> Client:
        return await attached(self.nursery, self.port, session_id, **query)

    async def dial(self, session_id: str | None = None, **query: Any) -> Client:
        return await dial(self.nursery, self.port, session_id, **query)

    async def back(self, client: Client) -> Client:
        """Let a client resume where it was cut off."""
        return await self.attach(client.session_id, after=client.last_seq, epoch=client.epoch)

    async def whole(self, session_id: str) -> list[bytes]:
        """Read a session's timeline as it is replayed to a client that has nothing."""
        reader = await self.dial(session_id, role="watch")
        live = await reader.until("live")
        await reader.leave()
        return [event.text.encode() for event in reader.frames[: live.place] if event.is_event]


@asynccontextmanager
async def server_process(
    directory: Path,
    *,
    deadline_s: float = 120.0,
    module: str = "bargein.server",
    url: str | None = None,
    **settings: str,
) -> AsyncGenerator[ServerProcess]:
    """Run servers in *directory*, with environment variables as *settings*.

    The scripted model plays `SCREENPLAY` unless they say otherwise.  None of the servers may
    have logged a traceback or an error.
    """
    play = directory / "play.toml"
    play.write_text(SCREENPLAY, encoding="utf-8")
    async with trio.open_nursery() as nursery:
        chosen = {"BARGEIN_SCREENPLAY": str(play), **settings}
        server = ServerProcess(directory, nursery, chosen, module, url)
        try:
            with trio.fail_after(deadline_s):
                await server.start()
                yield server
        finally:
            if server.process.poll() is None:
                server.process.kill()
            with trio.CancelScope(shield=True):  # a killed process ends at once
                await server.process.wait()
        nursery.cancel_scope.cancel()
    assert "Traceback" not in server.log, server.log
    assert '"level": "error"' not in server.log, server.log


__all__ = ["SCREENPLAY", "ServerProcess", "server_process"]
