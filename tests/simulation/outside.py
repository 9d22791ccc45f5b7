"""The world outside: what is done there stays done, whatever becomes of the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any, Final, Literal, TypeAlias

import trio
from attrs import define, field

from bargein.protocol.ids import SessionId
from bargein.tools.commitment import Commitment, Happened, NeverHappened, Settlement
from bargein.tools.tool import ToolContext, ToolFailed
from tests.checker import Deed
from tests.simulation.chance import chance
from tests.simulation.world import GRID_S, World

Way: TypeAlias = Literal["does", "refuses", "breaks", "loses", "hangs", "does_and_hangs"]

WAYS: Final[tuple[Way, ...]] = (
    "does",
    "refuses",
    "breaks",
    "loses",
    "hangs",
    "does_and_hangs",
)
HOW_OFTEN: Final = (9, 2, 1, 3, 1, 2)

HANGS_S: Final = 30.0
"""Longer than any tool here may take."""


@define(eq=False)
class Outside:
    """Keeps the ledger of effects: it is asked about them, and outlives both lives of a server.

    Attributes:
        deeds: What was started and done under which key, oldest first.
        starts: How often each key was started in each life.
    """

    seed: int
    deeds: list[Deed] = field(factory=list[Deed], init=False)
    starts: Counter[tuple[str, int]] = field(factory=Counter[tuple[str, int]], init=False)

    async def do(self, world: World, context: ToolContext, ticks: int, args: dict[str, Any]) -> str:
        """Do what a tool is for, in one of the ways in which that can go."""
        return await self._perform(world, context.session_id, context.key or "", ticks, args)

    async def undo(self, world: World, session_id: SessionId, done: Commitment) -> str:
        """Undo what was done under the key of *done*."""
        if not self.happened(done.key):
            world.note("undoes nothing", done.key)
        args = dict(done.args)
        return await self._perform(world, session_id, done.revert_key, 1, args)

    async def _perform(
        self, world: World, session_id: SessionId, key: str, ticks: int, args: Mapping[str, Any]
    ) -> str:
        row = world.shelf.row(session_id)
        self._note(world, Deed(key, "started", dict(args), 0 if row is None else row.last_seq))
        count = sum(deed.key == key and deed.what == "started" for deed in self.deeds)
        drawn = self._chance(f"{key}/{count}")
        way = drawn.choices(WAYS, HOW_OFTEN)[0]
        world.note("outside", key, way)
        await trio.sleep(ticks * GRID_S)
        match way:
            case "refuses":
                raise ToolFailed("that can't be done")
            case "breaks":
                raise RuntimeError("a bug of the tool, before anything was done")
            case "hangs":
                await trio.sleep(HANGS_S)
            case _:
                pass
        self._note(world, Deed(key, "done"))
        await trio.sleep(drawn.choice((0, 0, 1, 3)) * GRID_S)
        match way:
            case "loses":
                raise ConnectionError("the answer was lost")
            case "does_and_hangs":
                await trio.sleep(HANGS_S)
            case _:
                pass
        return f"done {key[-6:]}"

    async def settlement(self, world: World, key: str) -> Settlement:
        """Say what became of a key: truly, not at all, or late."""
        drawn = self._chance(f"{key}/asked/{world.life}")
        await trio.sleep(drawn.choice((0, 0, 1, 4)) * GRID_S)
        answer = drawn.choices(("knows", "says nothing", "breaks", "hangs"), (6, 2, 1, 1))[0]
        world.note("asked", key, answer)
        match answer:
            case "says nothing":
                return None
            case "breaks":
                raise RuntimeError("a bug of the tool, asked about a key")
            case "hangs":
                await trio.sleep(HANGS_S)
            case _:
                pass
        return Happened(f"found {key[-6:]}") if self.happened(key) else NeverHappened()

    def happened(self, key: str) -> bool:
        """Whether what has this key was done."""
        return any(deed.key == key and deed.what == "done" for deed in self.deeds)

    def _note(self, world: World, deed: Deed) -> None:
        # A dead process does nothing any more; what runs on in it is not real.
        if not world.dead:
            self.deeds.append(deed)
            self.starts[deed.key, world.life] += deed.what == "started"

    def _chance(self, purpose: str) -> Random:
        return chance(f"{self.seed}/outside/{purpose}")
