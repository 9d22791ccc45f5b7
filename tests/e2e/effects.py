"""The world outside: a process of its own that does what tools ask for, and remembers it.

It survives every kill of the server, and keeps a ledger in a file that is synced line by line:
what was started, what was done, what was asked for again.  What is done under a key that honours
keys is done once; what does not honour them is done as often as somebody starts it, so that a
second start would be seen.

    python -m tests.e2e.effects LEDGER

One JSON object a line goes each way.  Who asks for the ledger gets every line of it, for ever.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import trio
from attrs import define, field

LIFETIME_S: Final = 3600.0
"""Nobody needs it for longer; a test that died must not leave it behind."""

LINE_BYTES: Final = 64 * 1024
DEADLINE_S: Final = 15.0
PORT: Final = "EFFECTS_PORT"
"""The environment variable under which tools find it."""


class NotDone(Exception):
    """The world says that it did not do this, and will not."""


@define(eq=False)
class Ledger:
    """What was done under which key, in memory and in a file.

    Attributes:
        lines: All that happened, oldest first.
    """

    _file: IO[bytes]
    lines: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    done: dict[str, int] = field(factory=dict[str, int])
    fenced: set[str] = field(factory=set[str])
    under_way: Counter[str] = field(factory=Counter[str])
    _changed: trio.Event = field(factory=trio.Event)

    def note(self, what: str, key: str, **more: Any) -> None:
        """Write a line down, and sync it, before anybody is told."""
        line = {"n": len(self.lines), "what": what, "key": key, **more}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.lines.append(line)
        self.tell()

    def tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def change(self) -> None:
        await self._changed.wait()

    def apply(self, key: str, *, honours_keys: bool) -> None:
        """Have the effect; a key that is honoured has it once."""
        if honours_keys and key in self.done:
            self.note("repeated", key)
            return
        self.done[key] = self.done.get(key, 0) + 1
        self.note("applied", key)


@define(eq=False)
class Caller:
    """One connection: a question, and its answer if there is one."""

    ledger: Ledger
    stream: trio.SocketStream

    async def run(self) -> None:
        async with self.stream:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                line = await read_line(self.stream)
                if not line.endswith(b"\n"):
                    return  # whoever asked was killed before the question was out
                asked = json.loads(line)
                match asked["ask"]:
                    case "perform":
                        await self._perform(asked)
                    case "status":
                        await self._status(asked["key"])
                    case _:
                        await self._follow()

    async def _say(self, **answer: Any) -> None:
        await self.stream.send_all(json.dumps(answer).encode() + b"\n")

    async def _perform(self, asked: dict[str, Any]) -> None:
        key: str = asked["key"]
        if key in self.ledger.fenced:
            self.ledger.note("refused", key)
            await self._say(state="refused")
            return
        self.ledger.note("started", key)
        self.ledger.under_way[key] += 1
        try:
            applied = await self._work(asked)
        finally:
            self.ledger.under_way[key] -= 1
            self.ledger.tell()
        if not applied:
            return
        await trio.sleep(asked["lag_ms"] / 1000)
        if asked["answers"]:
            await self._say(state="done", number=self.ledger.done[key])
            self.ledger.note("answered", key)
        else:
            await trio.sleep_forever()

    async def _work(self, asked: dict[str, Any]) -> bool:
        """Work, then have the effect; some work is given up where its caller hangs up."""
        key = asked["key"]
        gone = False

        async def listen(scope: trio.CancelScope) -> None:
            nonlocal gone
            with suppress(trio.BrokenResourceError):
                await self.stream.receive_some()
            if not asked["goes_on"]:
                gone = True
                scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, nursery.cancel_scope)
            await trio.sleep(asked["work_ms"] / 1000)
            nursery.cancel_scope.cancel()
        if gone:
            self.ledger.note("dropped", key)
            return False
        self.ledger.apply(key, honours_keys=asked["honours_keys"])
        return True

    async def _status(self, key: str) -> None:
        """Say what became of a key, once that is certain; what was not done never will be."""
        self.ledger.note("asked", key)
        while self.ledger.under_way[key]:
            await self.ledger.change()
        if key in self.ledger.done:
            await self._say(state="happened", number=self.ledger.done[key])
            return
        self.ledger.fenced.add(key)
        await self._say(state="never")

    async def _follow(self) -> None:
        told = 0
        while True:
            change = self.ledger.change
            for line in self.ledger.lines[told:]:
                await self._say(**line)
                told += 1
            if told == len(self.ledger.lines):
                await change()


async def read_line(stream: trio.SocketStream) -> bytes:
    """Return the one line that a stream begins with; empty where it ends before."""
    read = bytearray()
    while not read.endswith(b"\n") and len(read) < LINE_BYTES:
        piece = await stream.receive_some()
        if not piece:
            return b""
        read += piece
    return bytes(read)


async def serve(path: Path) -> None:
    """Serve on loopback for as long as anybody may need it; say the port on stdout."""
    with path.open("ab") as file, trio.move_on_after(LIFETIME_S):
        ledger = Ledger(file)
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        print(listeners[0].socket.getsockname()[1], flush=True)  # noqa: T201

        async def connected(stream: trio.SocketStream) -> None:
            await Caller(ledger, stream).run()

        await trio.serve_listeners(connected, listeners)


# --- who asks ---------------------------------------------------------------------


async def ask(port: int, **question: Any) -> dict[str, Any]:
    """Ask the world one thing.

    Raises:
        NotDone: It refuses; nothing was done.
        OSError: Nobody knows what it did.
    """
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(json.dumps(question).encode() + b"\n")
        line = await read_line(stream)
    if not line:
        raise ConnectionResetError("the world hung up")
    answer = json.loads(line)
    if answer["state"] == "refused":
        raise NotDone("it was said before that this will never be done")
    return answer


@define(eq=False)
class World:
    """The process, and all that it has written down so far."""

    port: int
    ledger: Path
    lines: list[dict[str, Any]] = field(factory=list[dict[str, Any]])
    _changed: trio.Event = field(factory=trio.Event)

    async def follow(self) -> None:
        """Read the ledger on, until cancelled."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            await stream.send_all(b'{"ask": "ledger"}\n')
            rest = b""
            async for piece in stream:
                *whole, rest = (rest + piece).split(b"\n")
                self.lines += map(json.loads, whole)
                self._changed.set()
                self._changed = trio.Event()

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for the first line of which *holds* is true; one that came already counts."""
        with trio.fail_after(DEADLINE_S):
            while True:
                changed = self._changed
                found = next(filter(holds, self.lines), None)
                if found is not None:
                    return found
                await changed.wait()

    async def happened(self, key: str) -> bool:
        """Ask whether what has this key was done, as a person would who looks at the account."""
        with trio.fail_after(DEADLINE_S):
            return (await ask(self.port, ask="status", key=key))["state"] == "happened"

    def written(self) -> list[dict[str, Any]]:
        """Read the ledger from its file."""
        return [json.loads(line) for line in self.ledger.read_bytes().splitlines()]


@asynccontextmanager
async def outside(directory: Path) -> AsyncGenerator[World]:
    """Run the world in a process of its own, for as long as the context lasts."""
    ledger = directory / "ledger.jsonl"
    command = [sys.executable, "-m", "tests.e2e.effects", str(ledger)]
    root = Path(__file__).resolve().parents[2]
    async with trio.open_nursery() as nursery:
        with trio.fail_after(DEADLINE_S):
            process = await trio.lowlevel.open_process(command, cwd=root, stdout=-1)
            assert process.stdout is not None
            port = int((await process.stdout.receive_some()).decode())
        world = World(port, ledger)
        nursery.start_soon(world.follow)
        try:
            yield world
            assert process.poll() is None  # it outlives everybody
        finally:
            process.kill()
            with trio.CancelScope(shield=True):  # a killed process ends at once
                await process.wait()
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(serve, Path(sys.argv[1]))
