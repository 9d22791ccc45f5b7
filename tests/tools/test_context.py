from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from bargein.tools.commitment import Commitment, Happened, Settlement
from bargein.tools.context import with_context
from bargein.tools.running import Workbench
from bargein.tools.tool import ToolContext, tool
from tests.tools.notes import context

DONE = Commitment("k", "k:revert", {}, None)


def plain_status(key: str, call: ToolContext) -> Settlement:
    return Happened(f"{key} of {call.principal}")


async def async_status(key: str, call: ToolContext) -> Settlement:
    return Happened(f"{key} of {call.principal}")


def short_status(key: str) -> Settlement:
    return Happened(key)


class Asked:
    def __call__(self, key: str, call: ToolContext) -> Settlement:
        return plain_status(key, call)


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (plain_status, "k of somebody"),
        (async_status, "k of somebody"),
        (Asked(), "k of somebody"),
        (short_status, "k"),
    ],
)
async def test_a_status_that_declares_the_context_is_given_it(status: Any, told: str):
    @tool(status=status)
    async def act() -> None:
        """Act."""

    assert await Workbench().settlement(act, "k", context()) == Happened(told)


async def test_a_revert_that_declares_the_context_is_given_it():
    async def undo(done: Commitment, call: ToolContext) -> str:
        return f"{done.revert_key} of {call.principal}"

    @tool(revert=undo)
    async def act() -> None:
        """Act."""

    assert (await Workbench().revert(act, DONE, context())).result == "k:revert of somebody"


async def test_a_revert_that_declares_none_is_given_what_was_done_alone():
    @tool(revert=lambda done: done.key)
    async def act() -> None:
        """Act."""

    assert (await Workbench().revert(act, DONE, context())).result == "k"


def test_a_bound_function_is_looked_through():
    def far(more: int, call: ToolContext) -> str:
        return f"{more} {call.principal}"

    assert with_context(partial(far, 1), context())() == "1 somebody"


def test_a_return_type_is_no_parameter():
    def odd() -> ToolContext:
        return context()

    assert with_context(odd, context()) is odd
