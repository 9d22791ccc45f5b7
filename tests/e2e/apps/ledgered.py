"""An app whose tools act in another process, slowly at whatever place they are told to be slow.

`charge` can be asked about, `ship` can't, `note` may be repeated.  The first two can be undone.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec
import trio
from attrs import frozen

from bargein.agents.app import Agent, App
from bargein.tools.commitment import Commitment, Happened, NeverHappened, Settlement
from bargein.tools.tool import ToolContext, ToolFailed, tool
from tests.e2e.apps.obedient import Obedient
from tests.e2e.effects import PORT, NotDone, ask

TIMEOUT_S: Final = 1.0
"""How long a tool waits for an answer that may never come."""


@frozen
class Pace:
    """How long each part of an effect takes, and what its world is like.

    Attributes:
        lead_ms: In the tool, before the world is asked.
        work_ms: In the world, before the effect.
        lag_ms: In the world, between effect and answer.
        rest_ms: In the tool, after the answer.
        answers: The world says that it is done.
        goes_on: The world has the effect even if whoever asked has hung up.
    """

    lead_ms: int = 0
    work_ms: int = 0
    lag_ms: int = 0
    rest_ms: int = 0
    answers: bool = True
    goes_on: bool = True


async def act(key: str | None, pace: Pace, *, honours_keys: bool = False) -> str:
    """Have the effect that has this key; what the tool says of it is the world's word."""
    assert key is not None
    await trio.sleep(pace.lead_ms / 1000)
    try:
        done = await ask(
            int(os.environ[PORT]),
            ask="perform",
            key=key,
            honours_keys=honours_keys,
            work_ms=pace.work_ms,
            lag_ms=pace.lag_ms,
            answers=pace.answers,
            goes_on=pace.goes_on,
        )
    except NotDone as refused:
        raise ToolFailed(str(refused)) from None
    await trio.sleep(pace.rest_ms / 1000)
    return f"done {done['number']} times"


async def asked(key: str) -> Settlement:
    """Ask the world what became of a key."""
    found = await ask(int(os.environ[PORT]), ask="status", key=key)
    if found["state"] == "happened":
        return Happened(f"done {found['number']} times")
    return NeverHappened("the world never did it")


async def undone(done: Commitment) -> str:
    """Have the effect of the undoing, at the pace that the action was given for it."""
    return await act(done.revert_key, msgspec.convert(done.args["undo"], Pace))


@tool(effect="side_effect", summary="Charge {number}", status=asked, revert=undone,
      timeout_s=TIMEOUT_S)  # fmt: skip
async def charge(number: int, do: Pace, undo: Pace, context: ToolContext) -> str:
    """Charge a card; its bank can be asked."""
    return await act(context.key, do)


@tool(effect="side_effect", summary="Ship {number}", revert=undone, timeout_s=TIMEOUT_S)
async def ship(number: int, do: Pace, undo: Pace, context: ToolContext) -> str:
    """Ship a parcel; nobody can be asked, but a person may look."""
    return await act(context.key, do)


@tool(effect="idempotent", summary="Note {number}", timeout_s=TIMEOUT_S)
async def note(number: int, do: Pace, undo: Pace, context: ToolContext) -> str:
    """Note a number; it may be noted again."""
    return await act(context.key, do, honours_keys=True)


app = App("ledgered", (Agent("clerk", tools=(charge, ship, note)),), client=Obedient())
