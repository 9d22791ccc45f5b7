"""Says and quotes what a page must not take for a part of itself."""

from __future__ import annotations

from pathlib import Path

from bargein.agents.app import Agent, App
from bargein.protocol.events import Object
from bargein.tools.tool import ToolContext, tool

CITATIONS = (
    {"n": 1, "title": "The handbook", "heading": "The handbook > Costs", "snippet": "It costs <b>"},
    {"n": 2, "title": "A trap", "source": "javascript:alert(2)"},
    {"n": 3, "title": "A file", "source": "costs.md"},
)


@tool(effect="read")
def look_up(question: str, context: ToolContext) -> str:
    """Look something up.

    Args:
        question: What is asked.
        context: Of the call.
    """
    first = {**CITATIONS[0], "source": "https://example.com/handbook?a=1&b=2"}
    context.notes.note(Object("citations", [first, *CITATIONS[1:]]))
    return f'<script>alert("{question}")</script><img src=x onerror=alert(1)>'


app = App(
    name="quoting",
    agents=(Agent("desk", "Look things up.", tools=(look_up,)),),
    screenplay=Path(__file__).with_suffix(".toml"),
)
