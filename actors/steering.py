"""Words that reach a running turn: taken in at its next boundary."""

from __future__ import annotations

from typing import Any, Final

from bargein.actors.mailbox import Receipt
from bargein.actors.messages import Noted, Outlet
from bargein.actors.turn import Steer, Turn
from bargein.protocol.events import InputText
from bargein.protocol.ids import Seq

RECORD_LIMIT_S: Final = 30.0


async def take_steers(turn: Turn, output: Outlet) -> tuple[str, ...]:
    """Return the words that wait for this boundary, once they are on the timeline.

    Where the turn is interrupted first they stay where they were, and the
    turn's keeper puts them into the queue.
    """
    taken: list[str] = []
    for steer in tuple(turn.steers):
        await output.ask(_Consumption(turn, steer).noted, within_s=RECORD_LIMIT_S)
        taken.append(steer.text)
    return tuple(taken)


class _Consumption:
    """One steer on its way: it is consumed in the moment in which it is written."""

    def __init__(self, turn: Turn, steer: Steer) -> None:
        self._turn = turn
        self._steer = steer

    def noted(self, receipt: Receipt[Seq]) -> Noted:
        event = InputText(self._steer.text, self._steer.command_id, steered=True)

        def consumed(seq: Seq) -> None:
            self._turn.steers.remove(self._steer)
            self._steer.answer.reply(self._result(), seq)
            receipt.send(seq)

        return Noted(self._turn, (event,), consumed)

    def _result(self) -> dict[str, Any]:
        return {"turn_id": self._turn.id, "outcome": "consumed", "interrupted": None}
