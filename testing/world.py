"""What a simulated conversation happens in: a server, its users, and what goes wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, Final

import structlog.testing
import trio
import trio.testing
from attrs import define, evolve, field

from bargein.actors.clock import utc_text
from bargein.actors.limits import Limits
from bargein.agents.app import App, AppInvalid
from bargein.gateway.client import Manners
from bargein.memory.volatile import VolatileFacts
from bargein.models.screenplay import default_screenplay, screenplay_at
from bargein.protocol.codec import decode_event
from bargein.protocol.commands import Role
from bargein.protocol.ids import NOTHING, SessionId
from bargein.testing.effects import Ledger
from bargein.testing.errors import Livelock, NeverCame
from bargein.testing.life import Disk, Life, Served
from bargein.testing.model import Script, model_of
from bargein.testing.ports import Nature
from bargein.testing.scheduler import seeded_scheduler, threads_on_the_spot
from bargein.testing.timeline import Timeline
from bargein.testing.user import User

Conversation = Callable[["World"], Awaitable[None]]
"""What a test is: it gets a world, and what happens in it is up to the test."""

LONGEST_S: Final = 1_000_000.0
"""Virtual seconds: who waits for longer waits for ever."""

LEAVE_S: Final = 900.0
"""How long sessions may take to leave memory when everybody has gone."""

MOST_STEPS: Final = 3_000_000
"""A conversation takes some thousand."""

LAGGING_EVENTS: Final = 64
MOST_EVENTS: Final = 1_000_000


@define(eq=False, repr=False)
class World(trio.abc.Instrument):
    """One run of a conversation: what its seed draws, and all that happened.

    Attributes:
        seed: Draws the order of tasks, the time that commits and commands take, and what a
            power cut leaves.
        users: Everybody who has joined, also those who left.
        logs: What the server logged.
        failure: What the conversation raised; None where it came to its end.
        steps: How many task steps it took.
        store_failed: Whether the store was ever made to.
        left_over: Something still went on when everybody had long left.
    """

    seed: int
    users: list[User] = field(factory=list[User], init=False)
    logs: list[Any] = field(factory=list[Any], init=False)
    failure: Exception | None = field(default=None, init=False)
    steps: int = field(default=0, init=False)
    store_failed: bool = field(default=False, init=False)
    left_over: bool = field(default=False, init=False)
    _nature: Nature = field(init=False)
    _disk: Disk = field(init=False)
    _ledger: Ledger = field(init=False)
    _served: Served | None = field(default=None, init=False)
    _life: Life | None = field(default=None, init=False)
    _lives: int = field(default=0, init=False)
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    _tasks: trio.Nursery | None = field(default=None, init=False)
    _cut_at: int | None = field(default=None, init=False)
    _down_s: float = field(default=0.0, init=False)
    _journal: Any = field(factory=hashlib.sha256, init=False)

    def __attrs_post_init__(self) -> None:
        self._nature = Nature(self.seed)
        self._disk = Disk(self.random("disk"))
        self._ledger = Ledger(self._disk.shelf)

    def __repr__(self) -> str:
        return f"World(seed={self.seed})"

    def random(self, purpose: str) -> Random:
        """Return chance for one purpose; the same in every run of this seed."""
        return self._nature.random(purpose)

    @property
    def digest(self) -> str:
        """What tells this run from others: equal where every frame came at the same time."""
        return self._journal.hexdigest()[:16]

    # --- the server ---------------------------------------------------------------------

    async def serve(
        self,
        app: App,
        model: Script | None = None,
        *,
        limits: Limits | None = None,
        lagging_events: int = LAGGING_EVENTS,
    ) -> None:
        """Start the server, and wait until it takes connections.

        Args:
            app: As it is served; without tool sources, which are programs of their own.
            model: What the model does; by default the app's own, or what its screenplay says.
            limits: How long things may take.
            lagging_events: So far behind a client's tokens are merged.

        Raises:
            AppInvalid: If an agent has tool sources: give it tools in their place.
        """
        if self._served is not None:
            raise RuntimeError("a world has one server")
        for agent in app.agents:
            if agent.sources:
                raise AppInvalid(agent.name, "a simulation can't open its sources; give it tools")
        if model is not None:
            app = evolve(app, client=None)  # or it would be asked in the place of *model*
        elif app.client is not None:
            model = app.client
        else:
            play = app.screenplay
            model = default_screenplay() if play is None else screenplay_at(play)
        self._served = Served(
            self._ledger.watching(app),
            model_of(model),
            Limits() if limits is None else limits,
            Manners("simulated/1", {"durability": "none"}, lagging_events=lagging_events),
            VolatileFacts(lambda: utc_text(self._nature.utc_ms())),
        )
        self._begin_life()
        await self.until_up()

    async def until_up(self) -> Life:
        """Wait until there is a server that takes connections."""
        while self._life is None or not self._life.up.is_set():
            await self._changed.park()
        return self._life

    def _begin_life(self) -> None:
        assert self._tasks is not None  # noqa: S101 - `serve` is called inside a run
        assert self._served is not None  # noqa: S101 - as above
        self._life = Life(self._lives, self._disk, self._served, self._note)
        self._lives += 1
        self._tasks.start_soon(self._live, self._life, name=f"life {self._life.number}")
        self._tasks.start_soon(self._announce, self._life.up)

    async def _announce(self, up: trio.Event) -> None:
        await up.wait()
        self._changed.unpark_all()

    async def _live(self, life: Life) -> None:
        await life.run(self._nature, self._nature)
        if life.dead:
            await trio.sleep(self._down_s)
            self._begin_life()

    # --- users --------------------------------------------------------------------------

    async def join(
        self,
        name: str | None = None,
        *,
        beside: User | None = None,
        role: Role = "drive",
        principal: str | None = None,
    ) -> User:
        """Let somebody connect, and wait until the session is theirs.

        Args:
            name: For messages; by default user1, user2, ….
            beside: In whose session; None opens a new one.
            role: `watch` sees everything, and says nothing.
            principal: Whose sessions these are; by default as *beside*, else `anonymous`.
        """
        name = name or f"user{len(self.users) + 1}"
        principal = principal or (beside.principal if beside is not None else "anonymous")
        session_id = None if beside is None else beside.session_id
        user = User(name, role, principal, session_id, self, self.random(f"user/{name}"))
        assert self._tasks is not None  # noqa: S101 - there is a server, so there is a run
        self.users.append(user)
        self._tasks.start_soon(user.stay, self._tasks, name=name)
        await user.frame("live")
        await user.until("session.opened")
        return user

    # --- what goes wrong ------------------------------------------------------------------

    def lock_store(self, for_s: float) -> None:
        """Let somebody else hold the database: commits wait, and fail after 5 s."""
        self.store_failed = True
        self._disk.locked_until_s = trio.current_time() + for_s

    def fill_store(self, for_s: float) -> None:
        """Let the disk be full: commits fail at once."""
        self.store_failed = True
        self._disk.full_until_s = trio.current_time() + for_s

    def cut_connections(self) -> None:
        """Break every connection; users come back by themselves."""
        for user in self.users:
            user.cut()

    async def cut_power(self, *, down_s: float = 0.1) -> None:
        """Let the server die, and return when its successor takes connections."""
        self._down_s = down_s
        life = await self.until_up()
        life.cut_power()
        await life.over.wait()
        await self.until_up()

    def cut_power_within(self, steps: int, *, down_s: float = 0.1) -> None:
        """Let the server die before one of its next *steps* task steps; the seed draws which.

        Its successor starts *down_s* later.  A conversation of a few turns has some hundred
        steps, so that many seeds try every moment.
        """
        self._down_s = down_s
        self._cut_at = self.steps + self.random(f"cut/{self.steps}").randint(1, steps)

    async def restart(self, *, grace_s: float = 30.0) -> None:
        """Restart the server in order: turns may finish, everybody is sent away and comes back."""
        life = await self.until_up()
        await life.drain(grace_s)
        if not life.dead:  # if its power failed meanwhile, a successor is on its way
            self._begin_life()
        await self.until_up()

    # --- what happened -------------------------------------------------------------------

    @property
    def timeline(self) -> Timeline:
        """What is stored of the one session that there is.

        Raises:
            ValueError: If there are none or several: say which, by `timeline_of`.
        """
        rows = self._disk.shelf.rows()
        if len(rows) != 1:
            raise ValueError(f"there are {len(rows)} sessions; say which with timeline_of(user)")
        return self._stored(rows[0].session_id)

    def timeline_of(self, user: User) -> Timeline:
        """Return what is stored of the session that *user* is in."""
        return self._stored(user.session_id or "")

    @property
    def timelines(self) -> dict[str, Timeline]:
        """What is stored of each session, by its id."""
        return {row.session_id: self._stored(row.session_id) for row in self._disk.shelf.rows()}

    @property
    def ledger(self) -> Ledger:
        """What tools were started with."""
        return self._ledger

    def frames_of(self, session_id: str) -> list[bytes]:
        """Return the stored bytes of a session's events."""
        found = self._disk.shelf.events(SessionId(session_id), NOTHING, MOST_EVENTS)
        return [stored.frame for stored in found]

    def _stored(self, session_id: str) -> Timeline:
        return Timeline.of_events([decode_event(frame) for frame in self.frames_of(session_id)])

    def _note(self, *what: Any) -> None:
        line = (round(trio.current_time(), 6), *what)
        self._journal.update(repr(line).encode())

    # --- from the start to the end ---------------------------------------------------------

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count, and cut the power when it is time."""
        del task
        self.steps += 1
        if self.steps == self._cut_at and self._life is not None:
            self._life.cut_power()
        if self.steps == MOST_STEPS and self._tasks is not None:
            self._tasks.cancel_scope.cancel(reason="it never ends")

    def run(self, conversation: Conversation) -> None:
        """Let *conversation* happen, from its first step until everybody has gone.

        What it raises is kept in `failure`.

        Raises:
            Livelock: If it never ends.
        """
        with (
            structlog.testing.capture_logs() as self.logs,
            seeded_scheduler(self.seed),
            threads_on_the_spot(),
        ):
            trio.run(
                partial(self._whole, conversation),
                clock=trio.testing.MockClock(autojump_threshold=0),
                instruments=[self],
            )
        if self.steps >= MOST_STEPS:
            raise Livelock(self.steps)

    async def _whole(self, conversation: Conversation) -> None:
        async with trio.open_nursery() as self._tasks:
            try:
                with trio.move_on_after(LONGEST_S) as limit:
                    await conversation(self)
                    await self._end()
                if limit.cancelled_caught:
                    self.failure = NeverCame("the end of the conversation", LONGEST_S, [])
            except Exception as error:  # noqa: BLE001 - it is the test's own, and shown there
                self.failure = error
            before = self.steps
            await trio.lowlevel.checkpoint()
            if self.steps == before:  # trio removes an instrument that raises, without a word
                raise RuntimeError("the steps are not counted any more")
            self._tasks.cancel_scope.cancel(reason="the conversation is over")

    async def _end(self) -> None:
        """Let everybody leave, and all that was begun come to its end."""
        if self._life is None:
            return
        self._cut_at = None
        self._disk.heal()
        if any(line["event"] == "session.crashed" for line in self.logs):
            await self.restart(grace_s=0.0)
        for user in self.users:
            user.leave()
        life = await self.until_up()
        with trio.move_on_after(LEAVE_S):
            while life.busy:  # noqa: ASYNC110 - nobody says so
                await trio.sleep(1.0)
        self.left_over = life.busy
