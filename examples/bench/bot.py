"""One user: says something, reads the answer, cuts in, storms, and decides what is proposed.

Its tasks speak, and sleep while an answer streams.  What the server sends is read by a task that
all bots share, and no more of a token is decoded than its place and its turn.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, Final

import msgspec
import trio
from attrs import define, field, frozen

from examples.bench.diary import PROPOSALS_MOST, Asked, Diary, Ear, Proposal
from examples.bench.figures import Tally, Turn
from examples.bench.phone import Phone
from examples.bench.readers import Readers

ANSWER_LIMIT_S: Final = 30.0
"""A turn that is not over by then counts as an error, and the user asks something else."""

STORM_GAP_S: Final = 0.03
"""Between two interrupts of a storm: faster than anybody clicks."""

_encode: Final = msgspec.json.Encoder().encode

QUESTIONS: Final = (
    "Tell me how tides work, from the beginning.",
    "And what would change without a moon?",
    "Explain that again, for a child.",
    "List the ten longest rivers, with a sentence on each.",
    "Write me a long letter to a friend who moved away.",
)


@frozen
class Habits:
    """How the users behave; times in seconds, shares from 0 to 1.

    Attributes:
        interrupt_share: Of the turns, how many are cut in on.
        say_share: Of the interrupts, how many are a new `say`; the others are an `interrupt`.
        moments_s: Between which moments of a turn, from its `say` on, a cut-in is drawn.
        think_s: The mean pause after an answer; 0 for none.
        storm_share: Of the cut-ins, how many are storms.
        storm_length: Commands of a storm, one right after the other.
        slow_share: Of the users, how many read slowly.
        slow_bytes_per_s: And how slowly.
        confirm_share: Of the users, how many decide what is proposed.
        yes_share: Of the decisions, how many are a yes.
        decide_s: The mean time to decide.
        texts: What is said, drawn anew each time.
    """

    interrupt_share: float = 0.75
    say_share: float = 0.5
    moments_s: tuple[float, float] = (0.25, 4.0)
    think_s: float = 0.0
    storm_share: float = 0.0
    storm_length: int = 5
    slow_share: float = 0.0
    slow_bytes_per_s: float = 2000.0
    confirm_share: float = 0.0
    yes_share: float = 0.5
    decide_s: float = 0.3
    texts: tuple[str, ...] = QUESTIONS


@define(eq=False)
class Bot:
    """One user and their connection.  Lives as long as `run`."""

    _url: str
    _habits: Habits
    _random: Random
    _tally: Callable[[], Tally]
    _readers: Readers
    _ear_of: Callable[[Diary], Ear]
    _diary: Diary = field(init=False)
    _phone: Phone = field(init=False)
    _ids: count[int] = field(factory=lambda: count(1), init=False)

    def __attrs_post_init__(self) -> None:
        slow = self._random.random() < self._habits.slow_share
        self._diary = Diary(self._tally, timed=not slow)
        self._phone = Phone(
            self._url,
            self._ear_of(self._diary),
            self._diary,
            self._readers,
            self._random,
            self._habits.slow_bytes_per_s if slow else None,
        )

    @property
    def live(self) -> trio.Event:
        """Set when the session is open, or will never be."""
        return self._diary.live

    @property
    def connected(self) -> bool:
        """Whether the connection stands, and the session on it is live."""
        return self._phone.connected

    def drop(self) -> None:
        """Let the connection go without a word, and come back."""
        self._phone.drop()

    async def run(self, begin: trio.Event, spread_s: float) -> None:
        """Connect, wait for *begin*, and talk until cancelled or cut off for good.

        The first words come at a moment drawn within *spread_s*, so that bots don't speak as one.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._talk, begin, spread_s)
            if self._random.random() < self._habits.confirm_share:
                self._diary.proposals, proposed = trio.open_memory_channel[Proposal](PROPOSALS_MOST)
                nursery.start_soon(self._decide, proposed)
            await self._phone.run()
            nursery.cancel_scope.cancel(reason="there is no way back")

    # --- the user speaks ------------------------------------------------------------

    async def _talk(self, begin: trio.Event, spread_s: float) -> None:
        await self._diary.live.wait()
        await begin.wait()
        await trio.sleep(self._random.uniform(0, spread_s))
        while True:
            await self._converse()
            if self._habits.think_s:
                await trio.sleep(self._random.expovariate(1 / self._habits.think_s))

    async def _converse(self) -> None:
        """Have one conversation: from words in silence until it is silent again."""
        turn = await self._say(None)
        while not await self._hear_out(turn):
            if self._random.random() < self._habits.storm_share:
                turn = await self._storm(turn)
            elif self._random.random() < self._habits.say_share:
                turn = await self._say(turn)
            else:
                await self._interrupt(turn)
                await self._heard_to_the_end(turn)
                return

    async def _hear_out(self, turn: Turn) -> bool:
        """Listen until the turn is over; return False at the moment to cut in."""
        if self._random.random() < self._habits.interrupt_share:
            with trio.move_on_after(self._random.uniform(*self._habits.moments_s)):
                await turn.over.wait()
            return turn.over.is_set()
        await self._heard_to_the_end(turn)
        return True

    async def _heard_to_the_end(self, turn: Turn) -> None:
        with trio.move_on_after(ANSWER_LIMIT_S) as waiting:
            await turn.over.wait()
        # Who reads slowly on purpose may be told much later.
        if waiting.cancelled_caught and self._diary.timed:
            self._diary.failed(turn, f"a turn was not over within {ANSWER_LIMIT_S:g} s")

    async def _storm(self, turn: Turn) -> Turn:
        """Interrupt again and again without waiting for an answer, with new words at the end."""
        for _ in range(self._habits.storm_length - 1):
            if self._random.random() < self._habits.say_share:
                turn = await self._say(turn, hasty=True)
            else:
                await self._interrupt(turn, hasty=True)
            await trio.sleep(self._random.uniform(0, STORM_GAP_S))
        return await self._say(turn, hasty=True)

    async def _say(self, cut: Turn | None, *, hasty: bool = False) -> Turn:
        cutting = None if cut is None else self._diary.cuts_in(cut, by_words=True)
        turn = Turn(trio.current_time(), barged_in=cut is not None, cutting=cutting)
        text = self._random.choice(self._habits.texts)
        await self._send({"type": "say", "text": text}, Asked(turn, cut, hasty))
        return turn

    async def _interrupt(self, cut: Turn, *, hasty: bool = False) -> None:
        self._diary.cuts_in(cut, by_words=False)
        await self._send({"type": "interrupt"}, Asked(None, cut, hasty))

    async def _decide(self, proposed: trio.MemoryReceiveChannel[Proposal]) -> None:
        async for proposal in proposed:
            await trio.sleep(self._random.expovariate(1 / self._habits.decide_s))
            yes = self._random.random() < self._habits.yes_share
            if yes:
                self._diary.allowed[proposal.action_id] = trio.current_time()
            body = {"type": "confirm" if yes else "reject"}
            await self._send(
                {**body, "confirmation_id": proposal.confirmation_id}, Asked(None, None)
            )

    async def _send(self, body: dict[str, Any], asked: Asked) -> None:
        command_id = f"c{next(self._ids)}"
        self._diary.asked[command_id] = asked
        await self._phone.send(command_id, _encode({**body, "id": command_id}))
