"""The smallest app: one agent, one call of a model for each turn.

    make serve APP=examples/chat.py:app

The user's words reach the model unchanged, as the last user message.
"""

from bargein.agents.app import Agent, App

app = App(
    name="chat",
    agents=(
        Agent(
            name="chat",
            instructions=(
                "You are a friendly assistant in a live conversation. Answer briefly; the user "
                "may cut in at any moment, and then only what was shown before counts."
            ),
        ),
    ),
)
