"""Plays one history from end to end, and keeps all that the rules are checked on."""

# What outlives a session is seen inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import structlog.testing
import trio
from attrs import define, field

from bargein.actors.limits import Limits
from bargein.actors.registry import Sessions
from bargein.actors.session import Session
from bargein.agents.app import Apps
from bargein.gateway.client import Reception
from bargein.gateway.rates import Rates
from bargein.gateway.visit import Manners
from bargein.testing.wire import Wire
from bargein.timeline.memory import Shelf
from tests.simulation.chance import chance
from tests.simulation.client import Room, Simulated
from tests.simulation.model import HANGS_S, FakeModel
from tests.simulation.outside import Outside
from tests.simulation.rivals import Rivals
from tests.simulation.script import Script, script_of
from tests.simulation.tools import Toolbox
from tests.simulation.world import World

SETTLE_S: Final = 5.0
"""After this every command must have its answer: ladders take 250 ms, commits 200 ms.  Only
words that steer wait for the model, which may hang."""

ARRIVE_S: Final = 1.5
"""The slowest client takes all within this: it stalls for 400 ms at most."""

LEAVE_LIMIT_S: Final = 900.0
LEAVE_POLL_S: Final = 10.0

PROPOSALS_MOST: Final = 3
COMMITS_MOST: Final = 2
"""So few that they are met."""

FREE: Final = Rates(*[1_000_000] * 5)
"""What clients send here is drawn, and how fast is a matter for other tests."""


@define(eq=False)
class Life:
    """One life of the server, as it was.

    Attributes:
        open_wires: Connections that were still open when all had settled.
        sessions: Every session object that was seen.
        left_tasks: Names of the tasks that outlived their sessions.
        settled_seq: How far each session was stored when all had settled.
        later_seq: The same, a while later.
        stored_seq: How far it was stored when this life was over.
        logs: What was logged.
    """

    world: World
    script: Script
    model: FakeModel
    tools: Toolbox
    open_wires: list[Wire] = field(factory=list[Wire], init=False)
    sessions: list[Session] = field(factory=list[Session], init=False)
    left_tasks: list[str] = field(factory=list[str], init=False)
    stored_seq: dict[str, int] = field(factory=dict[str, int], init=False)
    settled_seq: dict[str, int] = field(factory=dict[str, int], init=False)
    later_seq: dict[str, int] = field(factory=dict[str, int], init=False)
    logs: list[Any] = field(factory=list[Any], init=False)
    ended: bool = field(default=False, init=False)
    raised: BaseException | None = field(default=None, init=False)

    @property
    def crashed(self) -> set[str]:
        """The sessions that crashed, and wait for somebody to revive them."""
        return {e["session"] for e in self.logs if e["event"] == "session.crashed"}


@define(eq=False)
class History:
    """Everything of one history.

    Attributes:
        shelf: What survives a power cut of what was stored.
        outside: What was done in the world, which survives it too.
    """

    seed: int
    cut: int | None
    outside: Outside
    shelf: Shelf = field(factory=Shelf, init=False)
    clients: list[Simulated] = field(factory=list[Simulated], init=False)
    lives: list[Life] = field(factory=list[Life], init=False)

    @property
    def digest(self) -> str:
        """What tells this history from another."""
        return "+".join(life.world.digest for life in self.lives)

    def life_of(self, session_id: str, seq: int) -> int:
        """Return the life in which an event was stored."""
        stored = (life.stored_seq.get(session_id, 0) >= seq for life in self.lives)
        return next(number for number, there in enumerate(stored) if there)

    @property
    def steps(self) -> int:
        """How many task steps the first life took."""
        return self.lives[0].world.steps


def play(
    seed: int, *, cut: int | None = None, script: Callable[[int, int], Script] = script_of
) -> History:
    """Play the history of *seed*; with *cut* the power fails before that task step."""
    history = History(seed, cut, Outside(seed))
    first = script(seed, 0)
    drawn = chance(f"{seed}/roles")
    for index in range(first.clients):
        alone = index == 0 or drawn.random() < 0.15
        room = Room(index) if alone else history.clients[0].room
        role = "watch" if index > 0 and drawn.random() < 0.15 else "drive"
        history.clients.append(Simulated(index, role, room))
    _live(history, World(seed, history.shelf, 0, cut), first)
    if history.lives[0].world.dead or first.drains or history.lives[0].crashed:
        _live(history, World(seed, history.shelf, 1), script(seed, 1))
    return history


def _live(history: History, world: World, script: Script) -> None:
    life = Life(world, script, FakeModel(world), Toolbox(world, history.outside))
    history.lives.append(life)
    with structlog.testing.capture_logs() as logs:
        try:
            world.run(lambda: _main(history, life))
        except BaseException as error:  # whatever it is, it is a finding
            if isinstance(error, KeyboardInterrupt):
                raise
            life.raised = error
    life.logs = list(logs)
    life.stored_seq = {row.session_id: row.last_seq for row in world.shelf.rows()}


async def _main(history: History, life: Life) -> None:
    world, script = life.world, life.script
    limits = Limits(
        queue_most=2,
        playback_silence_s=0.3,
        grace_s=script.grace_s,
        idle_s=script.idle_s,
        confirm_s=script.confirm_s,
        proposals_most=PROPOSALS_MOST,
        commits_most=COMMITS_MOST,
    )
    rivals = Rivals.of(world.random("rivals"))
    sessions = Sessions(
        world.store,
        Apps(life.tools.app()),
        life.model,
        world,
        world,
        limits,
        allowance=rivals.allowance,
    )
    manners = Manners("simulated/1", {"durability": "none"}, lagging_events=8, rates=FREE)
    reception = Reception(sessions, manners)
    async with trio.open_nursery() as ports:
        await ports.start(world.store.run)
        async with trio.open_nursery() as inner:
            await inner.start(sessions.run)
            if world.life:
                inner.start_soon(sessions.recover)
            inner.start_soon(rivals.run)
            async with trio.open_nursery() as visits:
                await _play_script(history, life, reception, sessions, visits)
                await _end(history, life, sessions, visits)
            inner.cancel_scope.cancel()
        ports.cancel_scope.cancel()
    life.ended = not world.dead


async def _play_script(
    history: History, life: Life, reception: Reception, sessions: Sessions, visits: trio.Nursery
) -> None:
    def note_sessions() -> None:
        for session in sessions._live.values():
            if session not in life.sessions:
                life.sessions.append(session)

    async with trio.open_nursery() as scripts:
        for client in history.clients:
            client.enter(life.world, reception, visits, note_sessions)
            steps = [step for step in life.script.steps if step.client == client.index]
            scripts.start_soon(client.run, steps, name=f"script {client.index}")
    await trio.sleep(SETTLE_S)
    with trio.move_on_after(HANGS_S):
        while any(c.awaits_a_decision for c in history.clients):  # noqa: ASYNC110 - as below
            await trio.sleep(1)


async def _end(history: History, life: Life, sessions: Sessions, visits: trio.Nursery) -> None:
    for client in history.clients:
        if (wire := client.wire) is not None:
            life.open_wires.append(wire)
    life.settled_seq = {row.session_id: row.last_seq for row in life.world.shelf.rows()}
    await trio.sleep(ARRIVE_S)
    life.later_seq = {row.session_id: row.last_seq for row in life.world.shelf.rows()}
    if life.script.drains:
        await sessions.drain(0.3, "drained")
        await trio.sleep(1)
    for client in history.clients:
        client.leave_for_good()
    with trio.move_on_after(LEAVE_LIMIT_S):
        while sessions.live or visits.child_tasks:  # noqa: ASYNC110 - nobody says so
            await trio.sleep(LEAVE_POLL_S)
    assert sessions._nursery is not None
    life.left_tasks = [task.name for task in (*sessions._nursery.child_tasks, *visits.child_tasks)]
    visits.cancel_scope.cancel()
