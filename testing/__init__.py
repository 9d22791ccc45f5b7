"""Test an app as a whole: its conversations, its interrupts, its faults, on virtual time.

    from bargein.testing import World, calls, scene, simulated

    @simulated
    async def test_nothing_is_booked_before_the_yes(world: World) -> None:
        await world.serve(app, [scene(calls("book_table", guests=2), said="table"), ...])
        guest = await world.join()
        await guest.say("A table for two")
        await guest.until("action.proposed")
        assert bookings == []

The whole server runs in this process, from the codec to the store, with a network and a disk
in memory; see docs/testing.md.
"""

from __future__ import annotations

from bargein.testing.checker import broken_rules
from bargein.testing.errors import Livelock, NeverCame, Refused, RulesBroken
from bargein.testing.model import calls, fails, pauses, scene, stops
from bargein.testing.simulation import simulate, simulated
from bargein.testing.timeline import Fact, Timeline
from bargein.testing.user import User
from bargein.testing.world import World

__all__ = [
    "Fact",
    "Livelock",
    "NeverCame",
    "Refused",
    "RulesBroken",
    "Timeline",
    "User",
    "World",
    "broken_rules",
    "calls",
    "fails",
    "pauses",
    "scene",
    "simulate",
    "simulated",
    "stops",
]
