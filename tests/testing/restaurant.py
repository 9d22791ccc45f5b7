"""A restaurant in memory, its book outside of the server, and what its host says."""

from __future__ import annotations

from attrs import define, field

from bargein.agents.app import Agent, App
from bargein.testing import calls, scene
from bargein.tools.commitment import Commitment, Happened, NeverHappened, Settlement
from bargein.tools.tool import ToolContext, tool


@define(eq=False)
class Book:
    """What is booked, by key; it outlives any server."""

    booked: dict[str, int] = field(factory=dict[str, int])
    written: list[str] = field(factory=list[str])

    def app(self) -> App:
        def became(key: str) -> Settlement:
            found = self.booked.get(key)
            return NeverHappened("not in the book") if found is None else Happened(found)

        def undone(done: Commitment) -> int:
            return self.booked.pop(done.key)

        @tool(summary="Book a table for {guests}", status=became, revert=undone)
        async def book_table(guests: int, context: ToolContext) -> int:
            """Book a table."""
            assert context.key is not None
            self.written.append(context.key)
            self.booked[context.key] = guests
            return guests

        @tool(effect="read")
        def free_tables(context: ToolContext) -> list[int]:
            """List what is free: a plain function, which a server runs in a thread."""
            context.notes.progress("looking")
            return [1, 2, 3]

        return App("tables", (Agent("host", "Book tables.", tools=(book_table, free_tables)),))


HOST = (
    scene("One moment. ", calls("book_table", guests=2), said="book"),
    scene("Let me see. ", calls("free_tables"), said="free"),
    scene("There is this: {outcome}, as far as I can tell from here.", after_tool=True),
    scene("Good evening. What can I do for you tonight, or on any other night?"),
)
