"""Asks again what became of a doubt: who can tell may not have been reached the first time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, field

from bargein.actors.proposals import Held
from bargein.protocol.actions import DOUBTS
from bargein.protocol.ids import ActionId
from bargein.protocol.state import SessionState

PAUSES_S: Final = (1.0, 5.0, 30.0, 120.0)
"""After the last of them a person decides, or the next restart asks."""


@define(eq=False)
class AskingAgain:
    """The doubts of one session that are being asked about.  Part of the ledger."""

    _state: SessionState
    _about: set[ActionId] = field(factory=set[ActionId], init=False)

    def begin(
        self,
        action_id: ActionId,
        held: Held,
        tasks: trio.Nursery,
        settle: Callable[[ActionId, Held, bool], Awaitable[None]],
    ) -> None:
        """Ask about an action from now on, until it is settled, where its tool can tell."""
        if held.tool.status is not None and action_id not in self._about:
            self._about.add(action_id)
            tasks.start_soon(self._ask, action_id, held, settle)

    async def _ask(
        self,
        action_id: ActionId,
        held: Held,
        settle: Callable[[ActionId, Held, bool], Awaitable[None]],
    ) -> None:
        for pause_s in PAUSES_S:
            await trio.sleep(pause_s)
            if self._state.actions.by_id[action_id].status not in DOUBTS:
                break
            await settle(action_id, held, False)  # noqa: FBT003 - only a restart may repeat
        self._about.discard(action_id)
