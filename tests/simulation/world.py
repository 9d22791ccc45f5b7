"""What a simulated process runs in: chance, time, a journal, and the moment of its death."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final

import trio
import trio.testing
from attrs import define, field

from bargein.protocol.ids import Epoch, SessionId
from bargein.testing.scheduler import seeded_scheduler
from bargein.testing.wire import GRID_S
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.store import Append, StoreUnavailable
from tests.simulation.chance import chance

__all__ = ["GRID_S", "Livelock", "World"]

BEGAN_MS: Final = 1_795_219_200_000
JUMPS_MS: Final = (3_600_000, 300, 1000)
"""How long the power was away in the other half: an hour, or less than a proposal waits."""
MOST_STEPS: Final = 400_000
"""A history takes some thousand; one that takes so many is a livelock."""


class Livelock(AssertionError):
    """A history goes on and on.

    Attributes:
        steps: After how many task steps it was given up.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(f"still running after {steps} task steps")
        self.steps = steps


@define(eq=False)
class World(trio.abc.Instrument):
    """One life of one process: what it draws, what it did, and when its power fails.

    Attributes:
        seed: Draws everything in here, the order of the tasks too.
        life: 0 before the power cut or the drain, 1 after it.
        cut: The power fails before this task step; None if it doesn't.
        dead: The power has failed: whatever runs on does nothing to the outside.
        journal: What happened, in order: the history.
    """

    seed: int
    shelf: Shelf
    life: int = 0
    cut: int | None = None
    dead: bool = field(default=False, init=False)
    steps: int = field(default=0, init=False)
    journal: list[tuple[Any, ...]] = field(factory=list[tuple[Any, ...]], init=False)
    slowest_commit_s: float = field(default=0.0, init=False)
    committed_at_s: dict[tuple[SessionId, int], float] = field(
        factory=dict[tuple[SessionId, int], float], init=False
    )
    store: MemoryStore = field(init=False)
    _commits: Random = field(init=False)
    _ids: Random = field(init=False)
    _slow_store: bool = field(init=False)
    failing_store: bool = field(init=False)
    _all: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    def __attrs_post_init__(self) -> None:
        self.store = MemoryStore(self.shelf, self._before_commit)
        self._ids = self.random("ids")
        self._commits = self.random("commits")
        self._slow_store = self._commits.random() < 0.3
        self.failing_store = self._commits.random() < 0.15

    def random(self, purpose: str) -> Random:
        """Return chance for one purpose, which no other purpose disturbs."""
        return chance(f"{self.seed}/{self.life}/{purpose}")

    def note(self, *what: Any) -> None:
        """Write into the journal, unless the world is dead."""
        if not self.dead:
            self.journal.append((round(trio.current_time(), 6), *what))

    @property
    def digest(self) -> str:
        """What tells this history from another."""
        return hashlib.sha256(repr(self.journal).encode()).hexdigest()[:16]

    # --- time and chance, as ports ---------------------------------------------------

    def now_s(self) -> float:
        return trio.current_time()

    def utc_ms(self) -> int:
        return self.utc_began_ms + round(trio.current_time() * 1000)

    @property
    def utc_began_ms(self) -> int:
        """When this life began: in half of the worlds the second one a day before the first."""
        later_ms = -86_400_000 if self.seed % 2 else JUMPS_MS[self.seed // 2 % len(JUMPS_MS)]
        return BEGAN_MS + later_ms * self.life

    def session_id(self) -> SessionId:
        return SessionId(f"sess_{self._ids.getrandbits(128):032x}")

    def epoch(self) -> Epoch:
        return Epoch(f"{self._ids.getrandbits(32):08x}")

    # --- the store --------------------------------------------------------------------

    async def _before_commit(self, group: Sequence[Append]) -> None:
        drawn = self._commits
        delays = (0, 1, 1, 2, 5, 20) if self._slow_store else (0, 0, 0, 1, 1, 2)
        delay_s = drawn.choice(delays) * GRID_S
        self.slowest_commit_s = max(self.slowest_commit_s, delay_s)
        if delay_s:
            await trio.sleep(delay_s)
        else:
            await trio.lowlevel.checkpoint()
        seqs = [(append.session_id[-4:], append.first_seq, append.last_seq) for append in group]
        if self.failing_store and drawn.random() < 0.04:
            self.note("commit.failed", seqs)
            raise StoreUnavailable("a drawn fault")
        self.note("commit", seqs)
        for append in group:
            for seq in range(append.first_seq, append.last_seq + 1):
                self.committed_at_s[append.session_id, seq] = trio.current_time()

    # --- life and death ---------------------------------------------------------------

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count, and cut the power when it is time."""
        del task
        self.steps += 1
        if self.steps == self.cut:
            pending = len(self.store._pending)  # pyright: ignore[reportPrivateUsage]
            self.store.crash(keep=self.random("cut").randint(0, pending))
            self.dead = True
            self._all.cancel()
        if self.steps == MOST_STEPS:
            self._all.cancel()

    def run(self, main: Callable[[], Awaitable[None]]) -> None:
        """Live *main* to its end or the power cut, on a clock and a schedule of its own."""

        async def mortal() -> None:
            with self._all:
                await main()
            before = self.steps
            await trio.lowlevel.checkpoint()
            # trio removes an instrument that raises, without a word.
            assert self.steps > before, "the instrument does not count any more"

        with seeded_scheduler(self.seed + 1_000_003 * self.life):
            trio.run(
                mortal,
                clock=trio.testing.MockClock(autojump_threshold=0),
                instruments=[self],
            )
        if self.steps >= MOST_STEPS:
            raise Livelock(self.steps)
