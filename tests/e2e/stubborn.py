"""An app whose model takes its time to stop: so that a server can be killed inside a ladder."""

from __future__ import annotations

import trio
from attrs import define

from bargein.agents.app import Agent, App
from bargein.models.client import Completion, Listener, ModelRequest, Usage

UNWINDING_S = 0.2


@define(eq=False)
class Stubborn:
    """Talks for ever; interrupted, it goes on for a while before it notices."""

    name: str = "stubborn"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        listener.started(1)
        if request.messages[-1].content == "Brief, please":
            listener.heard("Very well.", 1)
            return Completion("end_turn", Usage(1, 1, estimated=False))
        try:
            while True:
                listener.heard("and on ", 1)
                await trio.sleep(0.01)
        finally:
            # Shielded, as a library would be that cleans up; the time bounds it.
            with trio.CancelScope(shield=True):
                await trio.sleep(UNWINDING_S)


app = App("stubborn", (Agent("stubborn"),), client=Stubborn())
