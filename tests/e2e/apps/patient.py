"""An app with one tool that acts in another process, and waits for it longer than any server."""

from __future__ import annotations

from typing import Final

from bargein.agents.app import Agent, App
from bargein.tools.tool import ToolContext, tool
from tests.e2e.apps.ledgered import Pace, act, asked
from tests.e2e.apps.obedient import Obedient

TIMEOUT_S: Final = 60.0


@tool(effect="side_effect", summary="Charge {number}", status=asked, timeout_s=TIMEOUT_S)
async def charge(number: int, do: Pace, undo: Pace, context: ToolContext) -> str:
    """Charge a card at a bank that takes its time."""
    return await act(context.key, do)


app = App("patient", (Agent("clerk", tools=(charge,)),), client=Obedient())
