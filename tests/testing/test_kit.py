"""The kit for app authors: what it promises of a conversation, on small apps of its own."""

from __future__ import annotations

from attrs import define, field

from bargein.agents.app import Agent, App
from bargein.testing import World, calls, scene, simulate, simulated
from bargein.tools.tool import ToolContext, tool


@define(eq=False)
class Book:
    booked: dict[str, int] = field(factory=dict[str, int])

    def app(self) -> App:
        @tool(summary="Book a table for {guests}", revert=lambda done: self.booked.pop(done.key))
        async def book_table(guests: int, context: ToolContext) -> int:
            """Book a table."""
            assert context.key is not None
            self.booked[context.key] = guests
            return guests

        return App("tables", (Agent("host", "Book tables.", tools=(book_table,)),))


HOST = (
    scene("One moment. ", calls("book_table", guests=2), said="table"),
    scene("I have put that to you as a proposal, and nothing is booked yet.", after_tool=True),
    scene("Good evening. What can I do for you tonight?"),
)


@simulated
async def test_nothing_is_done_before_the_yes_and_it_is_done_once(world: World) -> None:
    book = Book()
    await world.serve(book.app(), HOST)
    guest = await world.join()
    await guest.say("A table for two")
    proposed = await guest.until("action.proposed")
    assert proposed.payload.summary == "Book a table for 2"
    await guest.until("response.end")
    assert book.booked == {}
    await guest.confirm()
    await guest.until("action.committed")
    assert list(book.booked.values()) == [2]
    await guest.revert()
    await guest.until("action.reverted")
    assert book.booked == {}
    assert world.timeline.shows("action.proposed", "action.confirmed", "action.reverted")


@simulated
async def test_power_cut(world: World) -> None:
    book = Book()
    await world.serve(book.app(), HOST)
    guest = await world.join()
    world.cut_power_within(400)
    await guest.say("A table for two")
    await guest.until("turn.trace")


def test_the_same_seed_is_the_same_run_to_the_byte():
    async def conversation(world: World) -> None:
        await world.serve(Book().app(), HOST)
        guest = await world.join()
        await guest.say("Hello")
        await guest.until("model.token", nth=3)
        await guest.interrupt()

    digests = [simulate(conversation, seed=seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]
