"""The assistant that serves where no app is given."""

from __future__ import annotations

from typing import Final

from bargein.agents.app import Agent, App

ASSISTANT: Final = App(
    name="assistant",
    agents=(
        Agent(
            name="assistant",
            instructions=(
                "You are a helpful assistant in a live conversation. Your words are shown as you "
                "write them, and the user may cut in at any moment. Come to the point at once. "
                "Where an earlier answer of yours ends with a mark that it was interrupted, the "
                "user saw nothing after that place: don't refer to what they did not see, and "
                "don't take it up again unless they ask."
            ),
        ),
    ),
)
