"""A worker's end of the line: it tells how it is, and ends when its supervisor has gone."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final, TypeAlias

import structlog
import trio
from attrs import define, field, frozen
from prometheus_client import REGISTRY

from bargein.gateway.memory import resident_bytes
from bargein.gateway.workers.figures import page_of_all, series_of
from bargein.gateway.workers.letters import Down, Pulse, Up
from bargein.gateway.workers.line import Line
from bargein.protocol.ids import NodeId

VARIABLE: Final = "BARGEIN_WORKER"
"""How a process is told that it is one: its number, and the descriptor of its line."""

PULSE_S: Final = 1.0
BEAT_S: Final = 0.1
"""Time between two looks at how late the loop is, and at whether the server can serve."""

ANSWER_LIMIT_S: Final = 2.0

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


Bury: TypeAlias = Callable[[NodeId], Awaitable[None]]


@frozen
class Standing:
    """How a server is, as its worker tells it.

    Attributes:
        trouble: Why it can't serve new sessions; None where it can.
        drain_s: How long turns may take when it is to end.
        node: By which name other servers know it.
    """

    trouble: str | None
    sessions: int
    connections: int
    drain_s: float | None = None
    node: str = ""


@define(eq=False)
class Tether:
    """Ties a worker to its supervisor.  Lives as long as the process.

    Attributes:
        number: Which of the workers this is; another may have had the number before.
    """

    number: int
    _socket: socket.socket
    _cpu_s: Callable[[], float] = time.process_time
    _line: Line[Down] | None = field(default=None, init=False)
    _told: trio.Event = field(factory=trio.Event, init=False)
    _all: bytes = field(default=b"", init=False)

    @classmethod
    def of(cls, environ: MutableMapping[str, str]) -> Tether | None:
        """Return that of this process, None where it is no worker.

        What it is told by is taken away: no program that it starts is one.
        """
        number, _, descriptor = environ.pop(VARIABLE, "").partition(":")
        if not (number.isdigit() and descriptor.isdigit()):
            return None
        os.set_inheritable(int(descriptor), False)  # noqa: FBT003 - it takes no keywords
        return cls(int(number), socket.socket(fileno=int(descriptor)))

    async def run(self, standing: Callable[[], Standing], bury: Bury) -> None:
        """Tell how the server is until cancelled, and end the process when nobody is told.

        Args:
            standing: Says how it is.
            bury: Called with the name of each server that the supervisor has seen end.
        """
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(self._socket))
        self._line = line = Line(stream, Down)
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._beat, line, standing)

            def hear(letter: Down) -> None:
                self._hear(letter)
                for name in letter.ended:
                    tasks.start_soon(bury, NodeId(name))

            await line.run(hear)
            if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # else it ends already
                _log.warning("supervisor.gone")
                signal.raise_signal(signal.SIGTERM)
            tasks.cancel_scope.cancel(reason="nobody is told")

    async def figures(self) -> bytes:
        """Return what all workers count; this one alone, where the supervisor does not say."""
        if self._line is not None and self._line.post(Up(asks_for_all=True)):
            with trio.move_on_after(ANSWER_LIMIT_S):
                await self._told.wait()
                return self._all
        return page_of_all({self.number: series_of(REGISTRY)})

    def _hear(self, letter: Down) -> None:
        if letter.asks_for_figures and self._line is not None:
            self._line.post(Up(figures=series_of(REGISTRY)))
        if letter.all_figures is not None:
            self._all = letter.all_figures
            self._told.set()
            self._told = trio.Event()

    async def _beat(self, line: Line[Down], standing: Callable[[], Standing]) -> None:
        """Tell how the server is, once a second and whenever it can serve or no longer can."""
        told_s, cpu_s, lag_s, said = trio.current_time(), self._cpu_s(), 0.0, ""
        while True:
            now_s, stands = trio.current_time(), standing()
            if stands.trouble != said or now_s - told_s >= PULSE_S - BEAT_S / 2:
                used_s = self._cpu_s() - cpu_s
                line.post(Up(pulse=_pulse(stands, lag_s, used_s / max(now_s - told_s, BEAT_S))))
                told_s, cpu_s, lag_s, said = now_s, cpu_s + used_s, 0.0, stands.trouble
            await trio.sleep_until(now_s + BEAT_S)
            lag_s = max(lag_s, trio.current_time() - now_s - BEAT_S)


def _pulse(standing: Standing, lag_s: float, cpu_share: float) -> Pulse:
    return Pulse(
        ready=standing.trouble is None,
        trouble=standing.trouble or "",
        sessions=standing.sessions,
        connections=standing.connections,
        lag_s=lag_s,
        cpu_share=cpu_share,
        memory_bytes=resident_bytes(),
        drain_s=standing.drain_s,
        node=standing.node,
    )
