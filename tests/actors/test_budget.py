"""A principal whose tokens are used up is not answered any further, in the middle of a turn too."""

from __future__ import annotations

from attrs import define, field
from trio.testing import MockClock

from bargein.actors.allowance import Unlimited
from bargein.actors.slot_queue import Standing
from bargein.actors.slots import FREE, Slots
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import Fault, ModelFallback
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import TurnId
from bargein.protocol.recovery import resume_token
from bargein.tools.tool import tool
from tests.actors.team import call, calls, lone, room, says

SOLO = "I am solo."


@define(eq=False)
class Purse:
    """So many tokens, and no more."""

    left: int
    refused: int = field(default=0, init=False)
    slots: Slots = field(default=FREE, init=False)
    standing: Standing = field(factory=Standing, init=False)

    @property
    def takes_words(self) -> bool:
        return self.left > 0

    def refusal(self, *, begins_turn: bool) -> Problem | None:
        if self.left > 0:
            return None
        self.refused += 1
        return problem(ErrorCode.QUOTA_EXCEEDED, param="tokens")

    def refusal_to_grow(self) -> Problem | None:
        return None

    def begin_turn(self) -> None:
        pass

    def end_turn(self) -> None:
        pass

    def spend(self, tokens: int) -> None:
        self.left -= tokens

    def renewed(self, tier: str) -> None:
        pass

    def close(self) -> None:
        pass


@tool(effect="read")
async def look() -> str:
    """Look."""
    return "seen"


async def test_a_turn_of_many_calls_passes_its_budget_by_one(autojump_clock: MockClock) -> None:
    takes = {SOLO: [calls(call("look", 1)), calls(call("look", 2)), says("Never said.")]}
    purse = Purse(left=20)  # each call costs 12
    async with room(lone(look, fallbacks=("other",)), takes, allowance=purse) as there:
        assert await there.converse() == "failed"
        assert len(there.model.asked(SOLO)) == 2
        assert there.payloads(ModelFallback) == []
        (fault,) = there.payloads(Fault)
        assert fault.code == "quota_exceeded"
        assert fault.recover.resume_token == resume_token(TurnId("turn_1"))
        assert purse.left == 20 - 24


async def test_whom_nobody_counts_is_never_refused() -> None:
    assert Unlimited().refusal(begins_turn=True) is None
    assert Unlimited().refusal_to_grow() is None
