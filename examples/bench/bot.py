"""One user: says something, reads the answer, and now and then cuts in.

Its task speaks, and sleeps while an answer streams.  What the server sends is read by a task that
all bots share, and no more of a token is decoded than its place and its turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final

import msgspec
import trio
from attrs import define, field, frozen

from examples.bench.ear import Asked, Ear, Turn
from examples.bench.figures import Tally
from examples.bench.link import Link, LinkLost, connect
from examples.bench.readers import Readers

ANSWER_LIMIT_S: Final = 30.0
"""A turn that is not over by then counts as an error, and the bot hangs up."""

_encode: Final = msgspec.json.Encoder().encode

_QUESTIONS: Final = (
    "Tell me how tides work, from the beginning.",
    "And what would change without a moon?",
    "Explain that again, for a child.",
    "List the ten longest rivers, with a sentence on each.",
    "Write me a long letter to a friend who moved away.",
)


@frozen
class Habits:
    """How the users behave; times in seconds.

    Attributes:
        interrupt_share: Of the turns, how many are cut in on.
        say_share: Of the interrupts, how many are a new `say`; the others are an `interrupt`.
        moments_s: Between which moments of a turn, from its `say` on, a cut-in is drawn.
        think_s: The mean pause after an answer; 0 for none.
    """

    interrupt_share: float = 0.75
    say_share: float = 0.5
    moments_s: tuple[float, float] = (0.25, 4.0)
    think_s: float = 0.0


@define(eq=False)
class Bot:
    """One user and their connection.

    Attributes:
        connected: The connection stands.
    """

    _url: str
    _habits: Habits
    _random: Random
    _tally: Callable[[], Tally]
    _readers: Readers
    connected: bool = field(default=False, init=False)
    _ear: Ear = field(init=False)
    _lost: LinkLost | None = field(default=None, init=False)
    _ids: count[int] = field(factory=lambda: count(1), init=False)

    def __attrs_post_init__(self) -> None:
        self._ear = Ear(self._tally)

    @property
    def live(self) -> trio.Event:
        """Set when the session is open, or will never be."""
        return self._ear.live

    async def run(self, begin: trio.Event, spread_s: float) -> None:
        """Connect, wait for *begin*, and talk until cancelled or cut off.

        The first words come at a moment drawn within *spread_s*, so that bots don't speak as one.
        """
        try:
            link = await connect(self._url)
        except LinkLost as lost:
            self._fail(str(lost))
            self.live.set()
            return
        try:
            with trio.CancelScope() as talking:
                hear = partial(self._hear, link, talking)
                with self._readers.calling(link.socket, hear):
                    self._ear.take(link.early(), trio.current_time())
                    await self.live.wait()
                    self.connected = True
                    await begin.wait()
                    await trio.sleep(self._random.uniform(0, spread_s))
                    await self._converse(link)
        except LinkLost as lost:
            self._lost = lost
        except trio.TooSlowError:
            self._fail(f"a turn was not over within {ANSWER_LIMIT_S:g} s")
        finally:
            self.connected = False
            self.live.set()
            # Shielded so that the server sees a goodbye; `aclose` waits for one second at most.
            with trio.CancelScope(shield=True):
                await link.aclose()
        if self._lost is not None:
            self._fail(str(self._lost))

    def _fail(self, what: str) -> None:
        self._tally().errors[what] += 1

    # --- the user speaks ------------------------------------------------------------

    async def _converse(self, link: Link) -> None:
        while True:
            turn = await self._say(link, None)
            while not await self._hear_out(turn):
                if self._random.random() < self._habits.say_share:
                    turn = await self._say(link, turn)
                    continue
                await self._interrupt(link, turn)
                with trio.fail_after(ANSWER_LIMIT_S):
                    await turn.over.wait()
            if self._habits.think_s:
                await trio.sleep(self._random.expovariate(1 / self._habits.think_s))

    async def _hear_out(self, turn: Turn) -> bool:
        """Listen until the turn is over; return False at the moment to cut in."""
        cuts_in = self._random.random() < self._habits.interrupt_share
        if cuts_in:
            with trio.move_on_after(self._random.uniform(*self._habits.moments_s)):
                await turn.over.wait()
            return turn.over.is_set()
        with trio.fail_after(ANSWER_LIMIT_S):
            await turn.over.wait()
        return True

    async def _say(self, link: Link, cut: Turn | None) -> Turn:
        turn = Turn(trio.current_time(), barged_in=cut is not None)
        text = self._random.choice(_QUESTIONS)
        await self._send(link, {"type": "say", "text": text}, Asked(turn, cut))
        return turn

    async def _interrupt(self, link: Link, cut: Turn) -> None:
        await self._send(link, {"type": "interrupt"}, Asked(None, cut))

    async def _send(self, link: Link, body: dict[str, Any], asked: Asked) -> None:
        command_id = f"c{next(self._ids)}"
        self._ear.asked[command_id] = asked
        frame = _encode({**body, "id": command_id})
        if asked.cut is not None:
            asked.cut.cut_s = trio.current_time()
        await link.send(frame)

    # --- and hears ------------------------------------------------------------------

    def _hear(self, link: Link, talking: trio.CancelScope) -> None:
        try:
            self._ear.take(link.read_now(), trio.current_time())
        except LinkLost as lost:
            self._lost = lost
            talking.cancel(reason="the connection is over")
