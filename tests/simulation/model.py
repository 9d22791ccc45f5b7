"""A model on the virtual clock: quick, slow, silent, failing, or deaf to a cancel."""

from __future__ import annotations

from random import Random
from typing import Final, Literal, TypeAlias

import trio
from attrs import define, field, frozen

from bargein.models.client import (
    Completion,
    ContextOverflow,
    Listener,
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelRefused,
    ModelRequest,
    ModelTimeout,
    StreamTruncated,
    ToolUse,
    Usage,
)
from bargein.protocol.ids import CallId, TurnId
from tests.simulation.tools import HOW_OFTEN as HOW_OFTEN_CALLED
from tests.simulation.tools import NAMES, arguments_for
from tests.simulation.world import GRID_S, World

Temper: TypeAlias = Literal["plain", "calling", "failing", "broken", "deaf", "hanging", "refusing"]

TEMPERS: Final[tuple[Temper, ...]] = (
    "plain",
    "calling",
    "deaf",
    "failing",
    "broken",
    "hanging",
    "refusing",
)
HOW_OFTEN: Final = (5, 8, 2, 2, 1, 1, 1)

HANGS_S: Final = 20.0
"""Every adapter has a deadline, so even a silent vendor comes to an end."""


@frozen
class Asked:
    """One request, and the turn for which it was made."""

    turn_id: TurnId
    request: ModelRequest
    at_s: float


@define(eq=False)
class FakeModel:
    """Answers with words of which no two are alike, so that each can be found again."""

    _world: World
    asked: list[Asked] = field(factory=list[Asked], init=False)
    deaf_calls: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        return "fake"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        number = len(self.asked)
        turn_id = TurnId(trio.lowlevel.current_task().name)
        if not self._world.dead:
            self.asked.append(Asked(turn_id, request, trio.current_time()))
        chance = self._world.random(f"model/{number}")
        temper = chance.choices(TEMPERS, HOW_OFTEN)[0]
        self._world.note("model", number, turn_id, temper)
        call = Call(f"{self._world.life}.{number}", chance, listener)
        match temper:
            case "plain":
                await call.talk(chance.randint(1, 14))
            case "calling":
                await call.talk(chance.randint(0, 4))
                call.use_tools(chance.choice((1, 1, 2, 5)))
                await trio.lowlevel.checkpoint()
                return Completion("tool_use", call.usage(estimated=False))
            case "refusing":
                await call.talk(chance.randint(0, 3))
                return Completion("refusal", call.usage(estimated=False))
            case "failing":
                listener.retrying(2, 0.01, "model_overloaded")
                await call.talk(chance.choice((0, 0, 3, 6)))
                raise call.failure()
            case "broken":
                await call.talk(chance.randint(0, 4))
                raise RuntimeError("a bug of the adapter")
            case "hanging":
                await call.talk(chance.randint(0, 3))
                await trio.sleep(HANGS_S)
                raise ModelTimeout("gap", HANGS_S, began=True)
            case "deaf":
                await call.talk(chance.randint(1, 6))
                await self._ignore_cancels(call, chance)
        await trio.lowlevel.checkpoint()
        return Completion("end_turn", call.usage(estimated=chance.random() < 0.2))

    async def _ignore_cancels(self, call: Call, chance: Random) -> None:
        self.deaf_calls += 1
        with trio.CancelScope(shield=True):  # bounded: at most 600 ms
            await call.talk(chance.randint(5, 60), room=False)


@define(eq=False)
class Call:
    """One stream of words, a tick apart, sometimes several at once."""

    _name: str
    _chance: Random
    _listener: Listener
    _words: int = field(default=0, init=False)

    async def talk(self, count: int, *, room: bool = True) -> None:
        """Say *count* words."""
        if count:
            await trio.sleep(self._chance.randint(0, 2) * GRID_S)
            if not self._words:
                self._listener.started(7)
        while count > 0:
            together = min(count, self._chance.choice((1, 1, 1, 2, 3)))
            words = [f"w{self._name}.{self._words + i}" for i in range(together)]
            self._listener.heard("".join(f"{word}ä " for word in words), together)
            self._words += together
            count -= together
            if room:
                await self._listener.room()
            await trio.sleep(GRID_S)

    def use_tools(self, count: int) -> None:
        """Call *count* tools, some of them wrongly."""
        for index in range(count):
            malformed = "{" if self._chance.random() < 0.1 else None
            ticks = self._chance.choice((0, 1, 3, 6))
            call_id = CallId(f"call{self._name}.{index}")
            name = self._chance.choices(NAMES, HOW_OFTEN_CALLED)[0]
            args = arguments_for(name, ticks)
            if malformed is not None or self._chance.random() < 0.1:
                args.clear()
            self._listener.tool_called(ToolUse(call_id, name, args, malformed))

    def usage(self, *, estimated: bool) -> Usage:
        return Usage(7, self._words, estimated)

    def failure(self) -> ModelError:
        began = self._words > 0
        error = self._chance.choice(
            (
                ModelOverloaded(1.0, began=began),
                ModelFailed(500, began=began),
                ModelFailed(400, retryable=False, began=began),
                ModelTimeout("first_token", 1.0, began=began),
                StreamTruncated(began=began),
                ContextOverflow(began=began),
                ModelRefused(began=began),
            )
        )
        if self._chance.random() < 0.5:
            error.usage = self.usage(estimated=True)
        return error
