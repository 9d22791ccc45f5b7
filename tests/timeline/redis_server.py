"""A real Redis server of the test's own: started, stopped, paused and killed by its pid."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest
from attrs import define, field

LATEST_S: Final = 20.0
IN_MEMORY: Final = ("--save", "", "--appendonly", "no")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@define(eq=False)
class RedisServer:
    """One server on loopback, in a directory of its own; it may be started again and again."""

    directory: Path
    options: tuple[str, ...] = IN_MEMORY
    port: int = field(factory=free_port)
    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _log: list[str] = field(factory=list[str], init=False)

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", str(self.directory), *self.options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        ready = threading.Event()
        out = self._process.stdout
        assert out is not None
        threading.Thread(target=self._listen, args=(out, ready), daemon=True).start()
        assert ready.wait(LATEST_S), "".join(self._log)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to write anything."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it answer nothing until `resume`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def say(self, *words: str | bytes | int) -> bytes:
        """Send one command over a connection of its own, and return the answer as it comes."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        sent = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        with socket.create_connection(("127.0.0.1", self.port), timeout=LATEST_S) as wire:
            wire.sendall(sent)
            answer = wire.recv(65536)
        assert not answer.startswith(b"-"), answer
        return answer

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            process.wait(LATEST_S)

    def _listen(self, out: IO[str], ready: threading.Event) -> None:
        with out:
            for line in out:
                self._log.append(line)
                if "Ready to accept connections" in line:
                    ready.set()


@contextmanager
def redis_server(directory: Path, *options: str) -> Generator[RedisServer]:
    """Run a server as long as the block; skip the test where there is none to run."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    directory.mkdir(exist_ok=True)
    server = RedisServer(directory, options or IN_MEMORY)
    server.start()
    try:
        yield server
    finally:
        server.kill()
