"""How much longer an interrupt takes through a server that does not own the session.

    python -m examples.bench.nodes --sessions 50 --rounds 20

Two servers and a `redis-server` of its own, all on this machine.  Each session has a client on
either server; they interrupt in turn.  Measured is from the command to the frames at who sent it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio
from attrs import define, field

from examples.bench.link import Link, LinkLost, connect
from examples.bench.processes import Running, running

START_S: Final = 60.0
STEP_S: Final = 30.0
"""Longer than anything here takes on a machine that can be measured on."""

PACE_S: Final = 0.02
SCREENPLAY: Final = """\
model = "scripted"
pace_ms = 20
first_token_ms = 20

[[scenes]]
name = "long"
steps = [{ say = "%s" }]
""" % " ".join(f"w{number}" for number in range(500))  # noqa: UP031 - braces are TOML's here

RATES: Final = (
    "COMMANDS_PER_S",
    "COMMANDS_BURST",
    "SPEECH_PER_S",
    "SPEECH_BURST",
    "INTERRUPTS_PER_S",
)
FREE: Final = {f"BARGEIN_LIMITS_{name}": "100000" for name in RATES}


@define(eq=False)
class Party:
    """A client, and what it has not looked at."""

    link: Link
    _waiting: list[bytes] = field(factory=list[bytes], init=False)

    async def until(self, mark: bytes) -> bytes:
        """Return the first frame with *mark* in it; those before it are gone."""
        with trio.fail_after(STEP_S):
            while True:
                while self._waiting:
                    frame = self._waiting.pop(0)
                    if mark in frame:
                        return frame
                self._waiting += self.link.early() or await self.link.read()

    async def send(self, **command: Any) -> None:
        """Send a command."""
        await self.link.send(json.dumps(command).encode())


@define(eq=False)
class Delays:
    """What was measured, in ms, by who asked and what came."""

    taken_ms: dict[tuple[str, str], list[float]] = field(
        factory=dict[tuple[str, str], list[float]], init=False
    )

    def note(self, where: str, what: str, since_s: float) -> None:
        """Keep how long something took."""
        took_ms = (trio.current_time() - since_s) * 1000
        self.taken_ms.setdefault((where, what), []).append(took_ms)


async def talk(right: Party, wrong: Party, rounds: int, offset: int, delays: Delays) -> None:
    """Let one session be interrupted through either server in turn."""
    for number in range(rounds):
        where, party = (("right", right), ("wrong", wrong))[(number + offset) % 2]
        asked_s = trio.current_time()
        await party.send(type="say", text="talk", id=f"say{number}")
        await party.until(b'"command_id":"say%d"' % number)
        delays.note(where, "reply to say", asked_s)
        await party.until(b'"type":"model.token"')
        await trio.sleep(PACE_S * (1 + (number * 7 + offset) % 5))
        asked_s = trio.current_time()
        await party.send(type="interrupt", id=f"stop{number}")
        await party.until(b'"type":"flush"')
        delays.note(where, "flush", asked_s)
        await party.until(b'"type":"cancel.ack"')
        delays.note(where, "cancel.ack", asked_s)
        other = wrong if party is right else right
        await other.until(b'"type":"cancel.ack"')


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def _until_open(port: int, process: Running) -> None:
    with trio.fail_after(START_S):
        while process.alive:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.05)
            else:
                await trio.aclose_forcefully(stream)
                return
    raise SystemExit(f"the {process.name} did not start:\n{process.output}")


@asynccontextmanager
async def servers(directory: Path) -> AsyncGenerator[tuple[int, int]]:
    """Run a Redis and two servers on it; yield the ports of the two."""
    play = directory / "play.toml"
    play.write_text(SCREENPLAY)
    environ = {**os.environ, **FREE, "BARGEIN_SCREENPLAY": str(play)}
    redis_port, *ports = free_port(), free_port(), free_port()
    store = f"redis://127.0.0.1:{redis_port}/0"
    only_here = ["--bind", "127.0.0.1", "--dir", str(directory), "--save", ""]
    redis = ["redis-server", "--port", str(redis_port), *only_here, "--appendonly", "no"]
    async with AsyncExitStack() as stack:
        commands = [("redis", redis, redis_port)]
        for port in ports:
            serve = [sys.executable, "-m", "bargein.server", "serve", "--port", str(port)]
            commands.append((f"server {port}", [*serve, "--store", store], port))
        for name, command, port in commands:
            log = directory / f"{port}.log"
            process = running(name, command, log, environ=environ, core=None)
            await _until_open(port, await stack.enter_async_context(process))
        yield ports[0], ports[1]


async def measure(sessions: int, rounds: int) -> Delays:
    """Run it all; return what was measured."""
    delays = Delays()
    with TemporaryDirectory() as folder:
        async with servers(Path(folder)) as ports, trio.open_nursery() as nursery:
            for number in range(sessions):
                own, other = ports[number % 2], ports[(number + 1) % 2]
                right = Party(await connect(f"ws://127.0.0.1:{own}/v1/session"))
                session_id = json.loads(await right.until(b'"type":"hello"'))["session_id"]
                await right.until(b'"type":"session.attached"')
                path = f"/v1/session/{session_id}?after=0"
                wrong = Party(await connect(f"ws://127.0.0.1:{other}{path}"))
                await wrong.until(b'"type":"live"')
                nursery.start_soon(talk, right, wrong, rounds, number // 2, delays)
    return delays


def percentile(sorted_ms: Sequence[float], share: float) -> float:
    """Return the value below which *share* of all lie."""
    return sorted_ms[min(len(sorted_ms) - 1, int(len(sorted_ms) * share))]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=20, help="interrupts of each session")
    given = parser.parse_args()
    try:
        delays = trio.run(measure, given.sessions, given.rounds)
    except* LinkLost as group:
        raise SystemExit(str(group.exceptions[0])) from None
    print(f"{'':24}{'count':>8}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}")
    for (where, what), taken_ms in sorted(delays.taken_ms.items(), key=lambda item: item[0][::-1]):
        ordered = sorted(taken_ms)
        shares = "".join(f"{percentile(ordered, share):>10.2f}" for share in (0.5, 0.95, 0.99))
        print(f"{what + ', ' + where:24}{len(ordered):>8}{shares}")


if __name__ == "__main__":
    main()
