"""Who asks how the workers are: a socket of the file system, for the supervisor's user alone."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import trio
from attrs import frozen

ANSWER_LIMIT_S: Final = 2.0
_BACKLOG: Final = 16
_READ_BYTES: Final = 65_536
_RUNTIME: Final = "XDG_RUNTIME_DIR"


class StatusUnavailable(Exception):
    """Nobody can be asked, or nobody can ask: start a supervisor, or mend the directory.

    Attributes:
        path: The socket.
        reason: What is in the way.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@frozen
class Row:
    """A worker, for whoever asks.

    Attributes:
        restarts: How often a worker at its place has ended without being asked.
        up_s: Since its start.
    """

    worker: int
    pid: int
    state: str
    sessions: int
    connections: int
    lag_s: float
    cpu_share: float
    memory_bytes: int
    restarts: int
    up_s: float


def socket_path(host: str, port: int) -> Path:
    """Return where the supervisor of this user that serves on a port is asked."""
    base = os.environ.get(_RUNTIME) or tempfile.gettempdir()
    return Path(base) / f"bargein-{os.getuid()}" / f"{host.strip('[]')}_{port}.sock"


async def serve_status(path: Path, rows: Callable[[], list[Row]]) -> None:
    """Answer whoever connects, until cancelled; the socket is then taken away.

    Raises:
        StatusUnavailable: If the socket can't be there, or others could reach it.
    """
    listening = _open(path)

    async def answer(stream: trio.SocketStream) -> None:
        with trio.move_on_after(ANSWER_LIMIT_S):
            with suppress(trio.BrokenResourceError):
                await stream.send_all(msgspec.json.encode(rows()))
            await stream.aclose()

    try:
        await trio.serve_listeners(answer, [trio.SocketListener(listening)])
    finally:
        _remove(path)


def asked(path: Path) -> list[Row]:
    """Return how the workers are.  Blocks, for two seconds at most.

    Raises:
        StatusUnavailable: If no supervisor answers there.
    """
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(ANSWER_LIMIT_S)
        try:
            wire.connect(str(path))
            answer = b"".join(iter(lambda: wire.recv(_READ_BYTES), b""))
            return msgspec.json.decode(answer, type=list[Row])
        except (OSError, msgspec.MsgspecError) as error:
            raise StatusUnavailable(path, "no supervisor answers there") from error


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _open(path: Path) -> trio.socket.SocketType:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.parent.lstat()
        # A directory for temporary files is everybody's: whoever came first may have made it.
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise StatusUnavailable(path, "its directory is not this user's alone")
        path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        try:
            listening.bind(str(path))
            path.chmod(0o600)
            listening.listen(_BACKLOG)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise StatusUnavailable(path, error.strerror or str(error)) from error
    return trio.socket.from_stdlib_socket(listening)
