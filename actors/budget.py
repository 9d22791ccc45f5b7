"""A model that is asked only while its principal has something left to spend."""

from __future__ import annotations

from attrs import frozen

from bargein.actors.allowance import Allowance
from bargein.models.client import Completion, Listener, Model, ModelCode, ModelError, ModelRequest


class BudgetSpent(ModelError):
    """What the principal may use is used up: the answer ends here, and may go on later."""

    code: ModelCode = "quota_exceeded"


@frozen(eq=False)
class Budgeted:
    """Asks before each call, so that a turn of many calls passes its budget by one at most."""

    _model: Model
    _allowance: Allowance

    @property
    def name(self) -> str:
        """The name of the model that is asked."""
        return self._model.name

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Ask the model, as it does.

        Raises:
            BudgetSpent: There is nothing left to spend; nothing was asked.
            ModelError: As the model.
        """
        refusal = self._allowance.refusal(begins_turn=False)
        if refusal is not None:
            raise BudgetSpent(refusal.message, retryable=refusal.retryable)
        return await self._model.stream(request, listener)
