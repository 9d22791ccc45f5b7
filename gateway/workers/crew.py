"""The workers that there are, each at a place that is filled again when its worker has ended."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.gateway.flags import BAD_CONFIGURATION
from bargein.gateway.workers.backoff import BackOff
from bargein.gateway.workers.counters import REGISTRY, RESTARTS, WORKERS
from bargein.gateway.workers.figures import page_of_all
from bargein.gateway.workers.letters import Pulse, Series
from bargein.gateway.workers.worker import Launch, Worker

START_LIMIT_S: Final = 60.0
"""For one that is to take another's place; it takes a second."""

DRAIN_MORE_S: Final = 15.0
"""Beyond what turns may take: actions are given 5 s, and clients some to hear of it."""

ENDED_KNOWN_S: Final = 10.0
"""After that everybody knows by the lease that a server is gone."""

FIGURES_LIMIT_S: Final = 1.0
FIGURES_LIFE_S: Final = 1.0

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@define(eq=False)
class Place:
    """One worker's place, whoever has it.

    Attributes:
        worker: Who has it now; None between two.
        restarts: How often its worker has ended without being asked.
        closed: Nobody is to have it any more.
    """

    worker: Worker | None = None
    restarts: int = 0
    closed: trio.Event = field(factory=trio.Event, init=False)
    _back_off: BackOff = field(factory=BackOff, init=False)

    def wait_s(self) -> float:
        """Return how long to wait for the next worker, now that this one has ended."""
        return self._back_off.after(0.0 if self.worker is None else self.worker.healthy_s)


@define(eq=False)
class Crew:
    """Keeps as many workers as it is told to.  Lives as long as the supervisor.

    Attributes:
        _drain_s: How long a worker may take to end that has not said how long it needs.
        places: As many as there should be workers; one that is closed is not among them.
        closed: Nobody is started any more.
    """

    _launch: Launch
    _drain_s: float
    places: list[Place] = field(factory=list[Place], init=False)
    closed: bool = field(default=False, init=False)
    _hopeless: trio.Event = field(factory=trio.Event, init=False)
    _workers: list[Worker] = field(factory=list[Worker], init=False)
    _tasks: trio.Nursery | None = field(default=None, init=False)
    _asking: list[Worker] = field(factory=list[Worker], init=False)
    _page: tuple[float, bytes] = field(default=(float("-inf"), b""), init=False)
    _ended: dict[str, float] = field(factory=dict[str, float], init=False)

    @property
    def workers(self) -> tuple[Worker, ...]:
        """All that live, those included that are to end."""
        return tuple(self._workers)

    @property
    def pulses(self) -> list[Pulse]:
        """The latest of all that can serve and are to stay."""
        return [w.pulse for w in self._workers if w.pulse is not None and w.state == "ready"]

    @property
    def awaited(self) -> int:
        """How many are likely to be ready soon."""
        soonest_s = trio.current_time() - START_LIMIT_S
        workers = [place.worker for place in self.places if place.worker is not None]
        return sum(w.state == "starting" and w.started_s > soonest_s for w in workers)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run workers until all places are closed; cancelled, it kills them."""
        async with trio.open_nursery() as tasks:
            self._tasks = tasks
            task_status.started()
            await trio.sleep_forever()

    # --- how many ------------------------------------------------------------------

    async def first(self) -> bool:
        """Open the first place, and wait until its worker can serve, or has ended.

        Return whether others are to follow.
        """
        worker = self.add().worker
        if worker is None:
            return False
        await _first_of(worker.ready, worker.ended)
        return worker.code != BAD_CONFIGURATION and not self.closed

    def add(self) -> Place:
        """Open one more place; a crew that is closed leaves it empty."""
        place = Place()
        if not self.closed:
            self.places.append(place)
            self._fill(place, self._start())
        return place

    def remove(self) -> None:
        """Close one place whose worker is not ready, else that with the fewest connections.

        Its worker ends when they are gone.
        """

        def connections(place: Place) -> int:
            worker = place.worker
            if worker is None or worker.pulse is None or worker.state != "ready":
                return -1
            return worker.pulse.connections

        place = min(reversed(self.places), key=connections)
        self._close(place)
        if place.worker is not None:
            place.worker.drain()
            self._nursery.start_soon(self.send_away, place.worker)

    async def close(self) -> None:
        """Close all places, and return when all workers have ended in order."""
        self._close_all()
        async with trio.open_nursery() as tasks:
            for worker in self.workers:
                tasks.start_soon(self.send_away, worker)

    def kill(self) -> None:
        """End all workers at once."""
        self._close_all()
        for worker in self._workers:
            worker.kill()

    def _close_all(self) -> None:
        self.closed = True
        for place in tuple(self.places):
            self._close(place)

    def _close(self, place: Place) -> None:
        place.closed.set()
        self.places.remove(place)

    async def send_away(self, worker: Worker) -> None:
        """End one in order; return when it has."""
        if not worker.draining:
            worker.drain()
        said_s = None if worker.pulse is None else worker.pulse.drain_s
        drain_s = self._drain_s if said_s is None else said_s
        with trio.move_on_after(drain_s + DRAIN_MORE_S):
            await worker.ended.wait()
        if not worker.ended.is_set():
            _log.error("worker.killed", number=worker.number, reason="it did not end in time")
            worker.kill()
            await worker.ended.wait()

    async def given_up(self) -> int:
        """Wait until no worker can ever serve; return the exit code of the one that said so."""
        await self._hopeless.wait()
        for worker in self.workers:
            await worker.ended.wait()
        return BAD_CONFIGURATION

    # --- one after the other -------------------------------------------------------

    async def replace_all(self) -> bool:
        """Put a new worker into each place, which is ready before the old one goes.

        Where one does not get ready the old one stays, and so do all after it.  Return whether
        all are new.
        """
        _log.info("workers.restarting", count=len(self.places))
        for place in tuple(self.places):
            if not await self._replace(place):
                _log.error("workers.not_restarted", reason="a new worker did not get ready")
                return False
        if self.places:  # else all of them end
            _log.info("workers.restarted", count=len(self.places))
        return True

    async def _replace(self, place: Place) -> bool:
        old = place.worker
        if old is None or place.closed.is_set():
            return True  # whoever comes into this place next is new
        new = self._start()
        with trio.move_on_after(START_LIMIT_S):
            await _first_of(new.ready, new.ended)
        if new.ended.is_set() or not new.ready.is_set() or place.closed.is_set():
            new.kill()
            return place.closed.is_set()
        if place.worker not in (old, None):  # that one has ended, and was followed by another
            await self.send_away(new)
            return True
        self._fill(place, new)
        await self.send_away(old)
        return True

    # --- one place -----------------------------------------------------------------

    def _fill(self, place: Place, worker: Worker) -> None:
        """Give a place to a worker, which is followed by another if it is lost there."""
        place.worker = worker
        self._nursery.start_soon(self._follow, place, worker)

    async def _follow(self, place: Place, worker: Worker) -> None:
        await worker.ended.wait()
        if place.worker is not worker:
            return  # another had taken over before this one went
        wait_s = place.wait_s()
        place.worker = None
        if place.closed.is_set() or self._gives_up(worker):
            return
        place.restarts += 1
        RESTARTS.inc()
        _log.error("worker.lost", number=worker.number, code=worker.code, again_in_s=wait_s)
        with trio.move_on_after(wait_s):
            await place.closed.wait()
        if not place.closed.is_set() and place.worker is None:
            self._fill(place, self._start())

    def _gives_up(self, worker: Worker) -> bool:
        """Stop all if a configuration is wrong that nobody serves with."""
        if worker.code != BAD_CONFIGURATION or any(w.ready.is_set() for w in self._workers):
            return False
        self.kill()
        self._hopeless.set()
        return True

    def _start(self) -> Worker:
        taken = {worker.number for worker in self._workers}
        number = next(number for number in count(1) if number not in taken)
        worker = Worker(number, self._launch, self._all_asked)
        self._workers.append(worker)
        self._nursery.start_soon(self._attend, worker)
        self._nursery.start_soon(self._brief, worker)
        return worker

    async def _attend(self, worker: Worker) -> None:
        try:
            await worker.run()
        except OSError as error:  # no process, or no descriptor, is to be had
            _log.error("worker.not_started", number=worker.number, reason=str(error))
        finally:
            self._workers.remove(worker)
            worker.ended.set()
            self._announce_end(worker)

    def _announce_end(self, worker: Worker) -> None:
        """Tell those who stay of one that said no goodbye: they need not wait for its lease.

        One that could not be killed has not ended, and may go on.
        """
        if worker.code is None or worker.code == 0:
            return
        if worker.pulse is None or not worker.pulse.node:
            return
        self._ended[worker.pulse.node] = trio.current_time()
        for other in self._workers:
            if not other.draining:
                other.tell_ended((worker.pulse.node,))

    async def _brief(self, worker: Worker) -> None:
        """Tell a new one of those that have ended while it started."""
        await _first_of(worker.ready, worker.ended)
        since_s = trio.current_time() - ENDED_KNOWN_S
        self._ended = {node: ended_s for node, ended_s in self._ended.items() if ended_s >= since_s}
        if not worker.draining:
            worker.tell_ended(self._ended)

    @property
    def _nursery(self) -> trio.Nursery:
        if self._tasks is None:
            raise RuntimeError("the crew does not run")
        return self._tasks

    # --- what they count -----------------------------------------------------------

    async def figures(self) -> bytes:
        """Return what all workers count, and this crew; those who say nothing are left out."""
        told: dict[int, tuple[Series, ...]] = {}

        async def ask(worker: Worker) -> None:
            told[worker.number] = await worker.figures()

        with trio.move_on_after(FIGURES_LIMIT_S):
            async with trio.open_nursery() as tasks:
                for worker in self._workers:
                    tasks.start_soon(ask, worker)
        for state, number in _counted(self._workers):
            WORKERS.labels(state).set(number)
        return page_of_all(told, REGISTRY)

    def _all_asked(self, worker: Worker) -> None:
        self._asking.append(worker)
        if len(self._asking) == 1:
            self._nursery.start_soon(self._tell_all)

    async def _tell_all(self) -> None:
        made_s, page = self._page
        if trio.current_time() - made_s >= FIGURES_LIFE_S:
            page = await self.figures()
            self._page = trio.current_time(), page
        asking, self._asking = self._asking, []
        for worker in asking:
            worker.tell_all(page)


def _counted(workers: Collection[Worker]) -> Iterator[tuple[str, int]]:
    states = [worker.state for worker in workers]
    for state in ("starting", "ready", "not ready", "silent", "draining"):
        yield state, states.count(state)


async def _first_of(*events: trio.Event) -> None:
    async with trio.open_nursery() as tasks:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            tasks.cancel_scope.cancel(reason="one has happened")

        for event in events:
            tasks.start_soon(wait, event)
