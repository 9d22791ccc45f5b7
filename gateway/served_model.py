from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from bargein.models.client import Model


@frozen
class ServedModel:
    """The model that answers, and what is to be said of it.

    Attributes:
        origin: Where it comes from, for the line that the server says at its start.
        warm: Does what its first call would wait for; None where there is nothing.
        trouble: Says what an operator has to mend before it answers anybody; empty if nothing.
    """

    model: Model
    origin: str
    warm: Callable[[], Awaitable[None]] | None = None
    trouble: Callable[[], str] = str
