"""Turns of a higher tier, which take the model slots of a history's sessions and give them back."""

from __future__ import annotations

from random import Random
from typing import Final

import trio
from attrs import frozen

from bargein.actors.allowance import Allowance, Unlimited
from bargein.actors.slot_queue import SlotTerms, Standing
from bargein.actors.slots import FREE, LocalSlots, Slots, Wish
from bargein.testing.wire import GRID_S
from bargein.timeline.log import Timeline

RIVALLED: Final = 0.25
"""The part of all lives in which slots are short."""

GOLD: Final = Standing("rival", tier="gold", rank=1)


@frozen(eq=False)
class Rivals:
    """In some lives there are few slots, and others want them too.

    Attributes:
        waits: In steps, until each comes, from when the one before has gone.
        holds: For how many it keeps its slot.
    """

    slots: Slots
    waits: tuple[int, ...] = ()
    holds: tuple[int, ...] = ()

    @classmethod
    def of(cls, drawn: Random) -> Rivals:
        """Draw those of one life: in most there are none."""
        if drawn.random() > RIVALLED:
            return cls(FREE)
        slots = LocalSlots(SlotTerms(drawn.choice((1, 2)), aging_s=0.2, preempted_most=2))
        count = drawn.randint(1, 6)
        waits = drawn.choices((0, 1, 2, 5, 10), k=count)
        return cls(slots, tuple(waits), tuple(drawn.choices((0, 1, 3, 10), k=count)))

    def allowance(self, _: str, __: str | None, ___: Timeline) -> Allowance:
        """Give a session as much as it likes, but for slots."""
        return Unlimited(slots=self.slots)

    async def run(self) -> None:
        """Take slots and give them back, until none wants any more."""
        for wait, hold in zip(self.waits, self.holds, strict=True):
            await trio.sleep(wait * GRID_S)
            claim = self.slots.ask(GOLD, Wish(yields=lambda: False))
            try:
                await claim.until_granted()
                await trio.sleep(hold * GRID_S)
            finally:
                claim.release()
