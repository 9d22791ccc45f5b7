"""What is declared of a tool that does something: how it is confirmed, asked about and undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from bargein.tools.context import ToolContext


@frozen
class Commitment:
    """Something that was done, for whoever is to undo it.

    Attributes:
        key: The idempotency key with which it was done.
        revert_key: The key of the undoing: `key` with `:revert` appended.
        result: What the tool returned, as the timeline has it.
    """

    key: str
    revert_key: str
    args: Mapping[str, Any]
    result: Any


@frozen
class Happened:
    """What was asked about under a key has happened, and came to *result*."""

    result: Any = None


@frozen
class NeverHappened:
    """What was asked about under a key has not happened, and will not."""

    reason: str = "it was not done"


Settlement: TypeAlias = Happened | NeverHappened | None
"""What a tool knows of a key; None where it can't tell."""

Status: TypeAlias = (
    Callable[[str], Settlement | Awaitable[Settlement]]
    | Callable[[str, ToolContext], Settlement | Awaitable[Settlement]]
)
"""Says what became of the call, or of the undoing, that had this key.

A parameter annotated `ToolContext` is given the context, as a tool is.
"""

Revert: TypeAlias = Callable[[Commitment], Any] | Callable[[Commitment, ToolContext], Any]
"""Undoes what was done; honours `Commitment.revert_key` where it can.

A parameter annotated `ToolContext` is given the context, as a tool is.
"""

Summary: TypeAlias = str | Callable[[Mapping[str, Any]], str]
"""What a person confirms: a text with `{argument}` in it, or a function of the arguments."""


def _always(_: Mapping[str, Any]) -> bool:
    return True


def _one(_: Mapping[str, Any]) -> float:
    return 1.0


@frozen
class AutoConfirm:
    """A policy that confirms a tool's actions in the user's place, within a budget.

    Only what the policy holds for is confirmed; all else waits for a person.  What a
    function of the policy raises counts as no.

    Attributes:
        budget: How much it may confirm in one session, over restarts too; of `cost`.
        when: Whether it holds for these arguments.
        cost: What an action with these arguments takes of the budget, more than 0; 1 each
            by default, so that the budget is a number of actions.
    """

    budget: float
    when: Callable[[Mapping[str, Any]], bool] = field(default=_always)
    cost: Callable[[Mapping[str, Any]], float] = field(default=_one)
