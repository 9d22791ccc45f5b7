"""A till in this process, with tools that take money out of it: the world outside of a server.

It outlives the servers of a test.  To whom is paid says what happens: `nobody` is refused,
`lost` gets the money and the answer is lost, `unclear` gets none and nobody says so, `slow`
waits for `Till.open`.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any

import trio
from attrs import define, field, frozen
from msgspec import Meta

from bargein.agents.app import Agent, App
from bargein.tools.commitment import (
    AutoConfirm,
    Commitment,
    Happened,
    NeverHappened,
    Settlement,
)
from bargein.tools.tool import Tool, ToolContext, ToolFailed, tool
from tests.e2e.apps.obedient import order
from tests.e2e.client import Client, Frame
from tests.e2e.harness import World

Amount = Annotated[int, Meta(ge=1, le=1000)]


@frozen
class Payment:
    """What went out: under which key, how much, to whom."""

    key: str
    amount: int
    to: str


@define(eq=False)
class Till:
    """What was paid and taken back.

    Attributes:
        open: Those who are slow may go on.
        entered: How many calls have reached the tool, whatever became of them.
        waiting: How many of them wait for `open`.
    """

    paid: list[Payment] = field(factory=list[Payment])
    back: list[str] = field(factory=list[str])
    open: trio.Event = field(factory=trio.Event)
    entered: int = 0
    waiting: int = 0

    @contextmanager
    def _waits(self) -> Generator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def pay(self, amount: int, to: str, context: ToolContext) -> str:
        self.entered += 1
        assert context.key is not None
        if to.startswith("nobody"):
            raise ToolFailed("Nobody is not to be paid.")
        if to.startswith("unclear"):
            raise RuntimeError("the line went dead")
        if to.startswith("slow"):
            with self._waits():
                await self.open.wait()
        self.paid.append(Payment(context.key, amount, to))
        if to.startswith("lost"):
            raise RuntimeError("the line went dead")
        return f"paid {amount}"

    def became(self, key: str) -> Settlement:
        """Say what became of a payment, or of taking it back."""
        if key in self.back or any(payment.key == key for payment in self.paid):
            return Happened("it is in the books")
        return NeverHappened("it is not in the books")

    def take_back(self, done: Commitment) -> str:
        if done.args["to"] == "keeps":
            raise ToolFailed("It is spent.")
        self.back.append(done.revert_key)
        if done.args["to"] == "gives":
            raise RuntimeError("the line went dead")
        return f"took {done.args['amount']} back"

    def tools(self, **declared: Any) -> tuple[Tool, ...]:
        """Make the tools; *declared* is said of `pay` beside what always is."""

        async def pay(amount: Amount, to: str, context: ToolContext) -> str:
            """Pay somebody."""
            return await self.pay(amount, to, context)

        async def give(amount: Amount, to: str, context: ToolContext) -> str:
            """Give somebody money; nobody can be asked about it, nothing undoes it."""
            return await self.pay(amount, to, context)

        async def lend(amount: Amount, to: str, context: ToolContext) -> str:
            """Lend somebody money; nobody can be asked, but it can be taken back."""
            return await self.pay(amount, to, context)

        async def note(amount: Amount, to: str, context: ToolContext) -> str:
            """Write a payment down; it may be written again."""
            return await self.pay(amount, to, context)

        def count() -> int:
            """Count what was paid."""
            return sum(payment.amount for payment in self.paid)

        pays: dict[str, Any] = {"status": self.became, "revert": self.take_back, **declared}
        return (
            tool(effect="side_effect", summary="Pay {amount} to {to}", **pays)(pay),
            tool(effect="side_effect", summary="Give {amount} to {to}")(give),
            tool(effect="side_effect", summary="Lend {amount} to {to}", revert=self.take_back)(
                lend
            ),
            tool(effect="idempotent", summary="Note {amount} for {to}")(note),
            tool(effect="read")(count),
        )

    def app(self, **declared: Any) -> App:
        return App("till", (Agent("cashier", tools=self.tools(**declared), tool_limit=40),))


def policy(budget: float, most: int) -> AutoConfirm:
    """Confirm payments up to *most* each, and up to *budget* in all."""
    return AutoConfirm(
        budget, when=lambda args: args["amount"] <= most, cost=lambda args: args["amount"]
    )


async def propose(client: Client, name: str, amount: int = 5, to: str = "Ann") -> Frame:
    """Have one action proposed, and its turn ended; return `action.proposed`."""
    turn_id = await client.converse(order(name, amount=amount, to=to))
    return await client.until("action.proposed", turn_id=turn_id)


def kinds(client: Client, action_id: str, since: int = 0) -> list[str]:
    """Return what the client saw of an action from a place on, without the `action.` in front."""
    return [
        event.type.removeprefix("action.")
        for event in client.frames[since:]
        if event.type.startswith("action.") and event.payload["action_id"] == action_id
    ]


def refused(answer: Frame) -> str:
    """Return the code of an error."""
    assert answer.type == "error", answer.text
    return answer["error"]["code"]


def payload_of(client: Client, type_: str, action_id: str) -> dict[str, Any]:
    found = client.find(type_, action_id=action_id)
    assert found is not None, kinds(client, action_id)
    return found.payload


async def ask(client: Client, type_: str, proposed: Frame, **fields: Any) -> Frame:
    """Confirm, reject or revert what was proposed."""
    name = "action_id" if type_ == "revert" else "confirmation_id"
    return await client.ask(type_, **{name: proposed.payload[name]}, **fields)


async def until(client: Client, kind: str, proposed: Frame, since: int = 0) -> Frame:
    return await client.until(
        f"action.{kind}", since=since, action_id=proposed.payload["action_id"]
    )


async def committed(client: Client, proposed: Frame) -> Frame:
    """Have done what was proposed."""
    answer = await ask(client, "confirm", proposed)
    assert answer["result"]["state"] == "confirmed"
    return await until(client, "committed", proposed)


async def states(client: Client) -> dict[str, str]:
    view = (await client.ask("projection", name="actions"))["result"]
    return {action["action_id"]: action["state"] for action in view["actions"]}


async def restarted(w: World, client: Client) -> Client:
    await w.stop()
    await client.closed.wait()
    await w.start()
    return await w.back(client)
