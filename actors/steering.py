"""Words that reach a running turn: taken in at its next boundary."""

from __future__ import annotations

from typing import Final

from attrs import define, field

from bargein.actors.mailbox import Receipt
from bargein.actors.messages import Noted, Outlet
from bargein.actors.turn import Steer, Turn
from bargein.protocol.events import InputText, Payload
from bargein.protocol.ids import Seq
from bargein.protocol.state import SessionState

RECORD_LIMIT_S: Final = 30.0


async def take_steers(turn: Turn, output: Outlet) -> tuple[str, ...]:
    """Return the words that wait for this boundary, once they are on the timeline.

    Each is taken once, also where stages that run at the same time reach their
    boundaries together.  Where the turn is interrupted first they stay where
    they were, and the turn's keeper puts them into the queue.
    """
    taken: list[str] = []
    for steer in tuple(turn.steers):
        consumption = _Consumption(turn, steer)
        await output.ask(consumption.noted, within_s=RECORD_LIMIT_S)
        if consumption.done:
            taken.append(steer.text)
    return tuple(taken)


@define(eq=False)
class _Consumption:
    """One steer on its way: it is consumed in the moment in which it is written.

    Attributes:
        done: It was consumed here.
    """

    _turn: Turn
    _steer: Steer
    done: bool = field(default=False, init=False)

    def noted(self, receipt: Receipt[Seq]) -> Noted:
        """Return the message that consumes it, if nobody has before."""

        def then(seq: Seq) -> None:
            if self.done:
                result = {"turn_id": self._turn.id, "outcome": "consumed", "interrupted": None}
                self._steer.answer.reply(result, seq)
            receipt.send(seq)

        return Noted(self._turn, (self._event,), then)

    def _event(self, state: SessionState) -> Payload | None:
        del state
        if self._steer not in self._turn.steers:
            return None
        self._turn.steers.remove(self._steer)
        self.done = True
        return InputText(self._steer.text, self._steer.command_id, steered=True)
