"""A worker, as its supervisor sees it: a process, and the line to it."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Collection, Mapping
from subprocess import DEVNULL
from typing import Final, Literal, TypeAlias

import structlog
import trio
from attrs import define, field, frozen

from bargein.gateway.workers.letters import Down, Pulse, Series, Up
from bargein.gateway.workers.line import Line
from bargein.gateway.workers.tether import VARIABLE

SILENT_S: Final = 5.0
"""A worker that has not said for so long how it is has something in the way."""

SILENCE_MOST_S: Final = 30.0
"""After that it is not left to itself: its clients and sessions have long been elsewhere."""

LOOK_S: Final = 1.0

KILL_LIMIT_S: Final = 10.0
"""A killed process ends at once, unless the kernel holds it."""

State: TypeAlias = Literal["starting", "ready", "not ready", "silent", "draining", "ended"]

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@frozen
class Launch:
    """How workers are started.

    Attributes:
        command: What is run.
        environ: With what.
        silence_most_s: How long one that has spoken may say nothing before it is killed.
    """

    command: tuple[str, ...]
    environ: Mapping[str, str]
    silence_most_s: float = SILENCE_MOST_S


@define(eq=False)
class Worker:
    """One process, from its start to its end.

    Attributes:
        number: Which of the workers it is; no two have the same at the same time.
        pid: 0 before it was started.
        pulse: What it said last of itself.
        ready: It could serve for the first time.
        ended: It is gone.
        code: What it ended with, negative by a signal; None before.
        draining: Whether it was asked to end.
    """

    number: int
    _launch: Launch
    _on_all_asked: Callable[[Worker], None]
    pid: int = field(default=0, init=False)
    pulse: Pulse | None = field(default=None, init=False)
    ready: trio.Event = field(factory=trio.Event, init=False)
    ended: trio.Event = field(factory=trio.Event, init=False)
    code: int | None = field(default=None, init=False)
    draining: bool = field(default=False, init=False)
    started_s: float = field(factory=trio.current_time, init=False)
    _ready_s: float | None = field(default=None, init=False)
    _pulse_s: float = field(default=0.0, init=False)
    _silence_s: float = field(default=0.0, init=False)
    _renewal_due: bool = field(default=False, init=False)
    _signal_due: signal.Signals | None = field(default=None, init=False)
    _process: trio.Process | None = field(default=None, init=False)
    _line: Line[Up] | None = field(default=None, init=False)
    _figures: tuple[Series, ...] = field(default=(), init=False)
    _told: trio.Event = field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start it, and return when it has ended; cancelled, it is killed."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = process = await trio.lowlevel.open_process(
                    self._launch.command,
                    env={
                        **self._launch.environ,
                        VARIABLE: f"{self.number}:{theirs.fileno()}",
                    },
                    pass_fds=(theirs.fileno(),),
                    stdin=DEVNULL,
                    # A Ctrl-C at the terminal is for the supervisor, which passes it on once.
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                self.ended.set()
                raise
        self.pid = process.pid
        _log.info("worker.started", number=self.number, pid=self.pid)
        if self._signal_due is not None:
            process.send_signal(self._signal_due)
        task_status.started()
        try:
            async with trio.open_nursery() as tasks:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
                self._line = Line(stream, Up)
                tasks.start_soon(self._line.run, self._hear)
                tasks.start_soon(self._watch, process)
                self.code = await process.wait()
                tasks.cancel_scope.cancel(reason="it has ended")
        finally:
            await self._bury(process)
            ours.close()
            self.ended.set()

    async def _watch(self, process: trio.Process) -> None:
        """Kill it when it has said nothing for too long.

        Looks are counted, and not the time on a clock: what it said while this process was
        stopped itself is read before the next one.
        """
        while self._silence_s < self._launch.silence_most_s:
            await trio.sleep(LOOK_S)
            if self.pulse is not None and not self.draining:
                self._silence_s += LOOK_S
        _log.error("worker.killed", number=self.number, reason="it says nothing any more")
        process.kill()

    async def _bury(self, process: trio.Process) -> None:
        if process.poll() is None:
            process.kill()
            # It has been killed: nothing but its entry in the table of processes is left.
            with trio.move_on_after(KILL_LIMIT_S, shield=True):
                await process.wait()
        self.code = process.poll()
        _log.info("worker.ended", number=self.number, pid=self.pid, code=self.code)

    @property
    def state(self) -> State:
        """How it is."""
        if self.ended.is_set():
            return "ended"
        if self.draining:
            return "draining"
        if self.pulse is None:
            return "starting"
        if trio.current_time() - self._pulse_s > SILENT_S:
            return "silent"
        if self.pulse.ready:
            return "ready"
        return "not ready" if self.ready.is_set() else "starting"

    @property
    def healthy_s(self) -> float:
        """For how long it could serve."""
        return 0.0 if self._ready_s is None else trio.current_time() - self._ready_s

    def renew(self) -> None:
        """Have it read its settings anew; as soon as it can, if it is only starting."""
        if self.pulse is None:
            self._renewal_due = True
        else:
            self._send(signal.SIGHUP)

    def drain(self) -> None:
        """Ask it to end in order: its clients go elsewhere, its turns may finish."""
        self.draining = True
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.draining = True
        self._send(signal.SIGKILL)

    async def figures(self) -> tuple[Series, ...]:
        """Return what it counts."""
        if self._line is None or not self._line.post(Down(asks_for_figures=True)):
            return ()
        await self._told.wait()
        return self._figures

    def tell_all(self, page: bytes) -> None:
        """Tell it what all workers count."""
        if self._line is not None:
            self._line.post(Down(all_figures=page))

    def tell_ended(self, nodes: Collection[str]) -> None:
        """Tell it which servers have ended without a goodbye; it need not wait for their leases."""
        if self._line is not None and nodes:
            self._line.post(Down(ended=tuple(nodes)))

    def _send(self, number: signal.Signals) -> None:
        if self._process is None:  # it is just being made
            if self._signal_due is not signal.SIGKILL:
                self._signal_due = number
        elif self._process.poll() is None:
            self._process.send_signal(number)

    def _hear(self, letter: Up) -> None:
        if letter.pulse is not None:
            self._take(letter.pulse)
        if letter.figures is not None:
            self._figures = letter.figures
            self._told.set()
            self._told = trio.Event()
        if letter.asks_for_all:
            self._on_all_asked(self)

    def _take(self, pulse: Pulse) -> None:
        self.pulse, self._pulse_s, self._silence_s = pulse, trio.current_time(), 0.0
        if self._renewal_due:
            self._renewal_due = False
            self.renew()
        if pulse.ready and not self.ready.is_set():
            self._ready_s = self._pulse_s
            self.ready.set()
            _log.info("worker.ready", number=self.number, pid=self.pid)
