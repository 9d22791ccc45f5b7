"""The process above the workers: it holds their port, starts them, and passes signals on."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.gateway.logs import say
from bargein.gateway.ports import reserve_port
from bargein.gateway.settings import Settings
from bargein.gateway.workers.crew import Crew
from bargein.gateway.workers.scaling import Bounds, Scaling
from bargein.gateway.workers.status import Row, StatusUnavailable, serve_status, socket_path
from bargein.gateway.workers.worker import Launch, Worker

LOOK_S: Final = 1.0

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@define(eq=False)
class Supervisor:
    """Runs several workers on one port.  Lives as long as the process.

    Attributes:
        settings: Those that it was started with.
        _bounds: How many workers there may be.
        _launch: Says how a worker is started for a port.
        code: What the process ends with.
    """

    settings: Settings
    _bounds: Bounds
    _launch: Callable[[int], Launch]
    code: int = field(default=0, init=False)
    _restart_asked: trio.Event = field(factory=trio.Event, init=False)
    _conducting: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    async def run(self) -> int:
        """Serve until a signal asks for the end, then drain all workers; return the exit code.

        Raises:
            PortTaken: Stop the other program, or choose another port.
            AddressUnusable: Choose an address of this machine, and a port that it lets you have.
        """
        with trio.open_signal_receiver(*SIGNALS) as signals:
            port = await reserve_port(self.settings.host, self.settings.port)
            try:
                async with trio.open_nursery() as tasks:
                    crew = Crew(self._launch(port.port), self.settings.drain_s)
                    await tasks.start(crew.run)
                    tasks.start_soon(self._tell, crew, port.port)
                    tasks.start_soon(self._conduct, crew, port.port)
                    await self._obey(crew, signals, tasks)
                    tasks.cancel_scope.cancel(reason="all workers have ended")
            finally:
                port.close()
        _log.info("supervisor.stopped", code=self.code)
        return self.code

    # --- what it does by itself ------------------------------------------------------

    async def _conduct(self, crew: Crew, port: int) -> None:
        """Start workers, and then change how many and which there are, until they are to end."""
        bounds = self._bounds
        with self._conducting:
            # What is wrong with the configuration is said once, and not by all of them.
            if not await crew.first():
                return
            while len(crew.places) < bounds.least:
                crew.add()
            self._announce(port, len(crew.places))
            await self._change(crew, Scaling(bounds))

    async def _change(self, crew: Crew, scaling: Scaling) -> None:
        """Make one change at a time."""
        while not crew.closed:
            with trio.move_on_after(LOOK_S):
                await self._restart_asked.wait()
            if self._restart_asked.is_set():
                self._restart_asked = trio.Event()
                await crew.replace_all()
            elif not self._bounds.fixed:
                self._scale(crew, scaling)

    def _scale(self, crew: Crew, scaling: Scaling) -> None:
        count = len(crew.places)
        wanted = scaling.look(trio.current_time(), count, crew.pulses, awaited=crew.awaited)
        if wanted == count:
            return
        _log.info("workers.scaled", before=count, after=wanted, load=round(scaling.load, 2))
        if wanted > count:
            crew.add()
        else:
            crew.remove()

    def _announce(self, port: int, count: int) -> None:
        settings = self.settings
        scheme = "ws" if settings.tls.certificate is None else "wss"
        where = f"{scheme}://{settings.host}:{port}/v1/session"
        _log.info("supervisor.started", url=where, workers=count, store=settings.store)
        say(f"bargein serves {where}\nworkers: {count}; `bargein workers --port {port}` shows them")

    # --- what it is told -------------------------------------------------------------

    async def _obey(self, crew: Crew, signals: AsyncIterator[int], tasks: trio.Nursery) -> None:
        """Do what signals ask for; return when all workers have ended."""
        stopping = False
        over = trio.Event()

        async def stop() -> None:
            self._conducting.cancel(reason="all workers are to end")
            await crew.close()
            over.set()

        async def give_up() -> None:
            self.code = await crew.given_up()
            self._conducting.cancel(reason="no worker can serve")
            over.set()

        async def listen() -> None:
            nonlocal stopping
            async for number in signals:
                match number:
                    case signal.SIGHUP:
                        for worker in crew.workers:
                            worker.renew()
                    case signal.SIGUSR2:
                        self._restart_asked.set()
                    case _ if stopping:
                        crew.kill()
                    case _:
                        stopping = True
                        _log.info("supervisor.stopping", workers=len(crew.workers))
                        tasks.start_soon(stop)

        tasks.start_soon(listen)
        tasks.start_soon(give_up)
        await over.wait()

    async def _tell(self, crew: Crew, port: int) -> None:
        path = socket_path(self.settings.host, port)
        try:
            await serve_status(path, lambda: rows_of(crew))
        except StatusUnavailable as error:
            _log.warning("workers.not_shown", path=str(error.path), reason=error.reason)


def rows_of(crew: Crew) -> list[Row]:
    """Return a row for each worker that lives, by number."""
    restarts = {place.worker: place.restarts for place in crew.places}
    return [
        _row(worker, restarts.get(worker, 0))
        for worker in sorted(crew.workers, key=lambda worker: worker.number)
    ]


def _row(worker: Worker, restarts: int) -> Row:
    pulse = worker.pulse
    return Row(
        worker=worker.number,
        pid=worker.pid,
        state=worker.state,
        sessions=0 if pulse is None else pulse.sessions,
        connections=0 if pulse is None else pulse.connections,
        lag_s=0.0 if pulse is None else pulse.lag_s,
        cpu_share=0.0 if pulse is None else pulse.cpu_share,
        memory_bytes=0 if pulse is None else pulse.memory_bytes,
        restarts=restarts,
        up_s=trio.current_time() - worker.started_s,
    )
