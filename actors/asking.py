"""Asks a model for what the user does not see: a plan, a title, a verdict."""

from __future__ import annotations

from attrs import define

from bargein.actors.exchange import UNHEARD_TRIES, Exchange, may_repeat_unheard
from bargein.actors.messages import Noted, Outlet
from bargein.actors.turn import Turn
from bargein.models.client import Message, Model, ModelError, ModelRefused, ModelRequest
from bargein.protocol.events import ModelRetry


@define(eq=False)
class Asking:
    """One who asks on behalf of a turn; several questions may be open at the same time.

    Attributes:
        _role: Who asks, as it stands on the timeline: `planner`, `titler`, `guardrail:<name>`.
        _model_name: Of the model that is asked; None for the model's own.
    """

    _turn: Turn
    _model: Model
    _output: Outlet
    _role: str
    _model_name: str | None = None

    async def ask(self, system: str, messages: tuple[Message, ...]) -> str:
        """Return the whole answer to *messages*; none of it is shown to the user.

        So an answer that breaks off is asked for again, within the caller's deadline.

        Raises:
            ModelError: It did not come, or not to its end, or the model declined.
        """
        request = ModelRequest(self._model_name, system, messages)
        tries_made = 0
        while True:
            exchange = Exchange(self._turn, self._model, self._output, self._role, speaks=False)
            try:
                completion = await exchange.run(request)
            except ModelError as error:
                tries_made += 1
                if tries_made == UNHEARD_TRIES or not may_repeat_unheard(error):
                    raise
                retry = ModelRetry(tries_made + 1, 0.0, error.code)
                await self._output.tell(Noted(self._turn, (retry,)))
            else:
                if completion.stop_reason == "refusal":
                    raise ModelRefused(began=True)
                return "".join(exchange.hearing.said)

    async def answer(self, instructions: str, words: str) -> str:
        """Return the whole answer to *words* alone: what `bargein.agents.guardrail.Ask` is.

        Raises:
            ModelError: As for `ask`.
        """
        return await self.ask(instructions, (Message("user", words),))
