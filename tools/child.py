"""A process of another program, spoken to in lines, that never outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio
from attrs import define, field

MOST_LINE_BYTES: Final = 4 * 2**20
"""A program that writes more without a line's end will hardly ever end it."""

GRACE_S: Final = 2.0
"""How long a process may take to end by itself, and again after it was asked to."""

INHERITED: Final = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "USER")
"""What a process gets of this one's environment: nothing in which a secret may be."""

KILL_S: Final = 1.0
"""How long the system may take to kill."""

_LOOK_S: Final = 0.01
_READ_BYTES: Final = 64 * 1024


class LineTooLong(Exception):
    """The program writes on without a line's end; give it up, or what it says."""


@define(eq=False)
class Lines:
    """Reads lines from a pipe, each of bounded length."""

    _pipe: trio.abc.ReceiveStream
    _read: bytearray = field(factory=bytearray, init=False)
    _searched_bytes: int = field(default=0, init=False)

    async def next(self) -> bytes | None:
        """Return the next line without its end; None when the other side has closed.

        What stands behind the last line's end is no line.

        Raises:
            LineTooLong: If there is no end within 4 MiB; what was read of it is gone.
        """
        while (end := self._read.find(b"\n", self._searched_bytes)) < 0:
            self._searched_bytes = len(self._read)
            if self._searched_bytes > MOST_LINE_BYTES:
                self._read.clear()
                self._searched_bytes = 0
                raise LineTooLong
            try:
                more = await self._pipe.receive_some(_READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not more:
                return None
            self._read += more
        line = bytes(self._read[:end])
        del self._read[: end + 1]
        self._searched_bytes = 0
        return line


@define(eq=False)
class Child:
    """A running process.  Lives as long as the block of `child_process`.

    Attributes:
        pid: Of the process, and of the group that it leads.
        said: What it writes to its standard output.
        complained: What it writes to its standard error.
    """

    pid: int
    said: Lines
    complained: Lines
    _stdin: trio.abc.SendStream

    async def tell(self, line: bytes) -> bool:
        """Write *line* to its standard input; say whether it still reads.

        Cancelled half way, it leaves half a line: then tell it nothing more.
        """
        try:
            await self._stdin.send_all(line + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True


@asynccontextmanager
async def child_process(
    command: str, args: Sequence[str], env: Mapping[str, str]
) -> AsyncGenerator[Child]:
    """Start *command* at the head of a process group; end all of the group afterwards.

    Its environment is *env* and the few harmless variables of `INHERITED`. At the end its
    standard input is closed, and it has 2 s to end by itself; then it is asked to, with
    another 2 s; then it is killed. What it has started itself goes the same way.

    Raises:
        OSError: If it can't be started.
    """
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    process = await trio.lowlevel.open_process(
        [command, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**inherited, **env},
        start_new_session=True,
    )
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise OSError("a process without pipes")  # pragma: no cover - it was asked for three
    try:
        yield Child(process.pid, Lines(stdout), Lines(stderr), stdin)
    finally:
        # Shielded, or a cancel would leave the process behind; each wait inside is bounded,
        # and this bounds them all.
        with trio.move_on_after(2 * GRACE_S + 2 * KILL_S, shield=True):
            await stdin.aclose()
            await _end(process)
            await stdout.aclose()
            await stderr.aclose()


async def _end(process: trio.Process) -> None:
    with trio.move_on_after(GRACE_S):
        await process.wait()
    # The group may have members when its leader is gone, and keeps its number as long.
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, KILL_S)):
        if not _signal_group(process.pid, number):
            return
        with trio.move_on_after(patience_s):
            await _group_gone(process)


async def _group_gone(process: trio.Process) -> None:
    # Nothing tells of the end of a group, so it has to be looked at. To look at the leader's
    # code takes it off the system's list, without which it counts as a member for ever.
    while process.poll() is None or _signal_group(process.pid, 0):  # noqa: ASYNC110
        await trio.sleep(_LOOK_S)


def _signal_group(group: int, number: int) -> bool:
    """Send a signal to all of the group; say whether there is anybody left in it."""
    with suppress(ProcessLookupError):
        os.killpg(group, number)
        return True
    return False
