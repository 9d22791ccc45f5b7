"""What a secret's mask means in edited arguments: the secret, or nothing that is done."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Struct
from trio.testing import MockClock

from bargein.actors.proposals import Held
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import ActionConfirmed, ActionProposed
from bargein.protocol.frames import Problem
from bargein.timeline.memory import MemoryStore, Shelf
from bargein.tools.tool import HIDDEN, SECRET, Tool, tool
from tests.actors.team import Room, call, calls, lone, room, says

SOLO = "I am solo."
CARD = {"number": "4111-canary", "pin": "0000-canary"}


class Card(Struct):
    number: str
    pin: str


def paying(seen: list[tuple[Any, int]]) -> Tool:
    @tool(name="pay")
    async def pay(card: Annotated[Card, SECRET], amount: int) -> str:
        """Pay."""
        seen.append(((card.number, card.pin), amount))
        return "paid"

    return pay


async def proposed(there: Room) -> str:
    await there.converse("Pay")
    await there.until("action.proposed")
    return there.payloads(ActionProposed)[-1].confirmation_id


def takes() -> dict[str, Any]:
    return {SOLO: [calls(call("pay", card=CARD, amount=1)), says("Shall I?")]}


async def test_a_mask_that_is_sent_back_stands_for_the_secret_that_was_proposed(
    autojump_clock: MockClock,
) -> None:
    seen: list[tuple[Any, int]] = []
    edited = {"card": HIDDEN, "amount": 2}
    shelf, tool = Shelf(), paying(seen)
    async with room(lone(tool), takes(), store=MemoryStore(shelf)) as there:
        word, session_id = await proposed(there), there.session.id
        first = await there.ask("confirm", confirmation_id=word, args=edited, id="yes")
        await there.until("action.committed")
        assert seen == [(("4111-canary", "0000-canary"), 2)]
        assert [each.args for each in there.payloads(ActionConfirmed)] == [edited]
        assert not any("canary" in str(event) for event in there.events())
    # The same id with the same body has the same answer, in the next process, too.
    async with room(lone(tool), takes(), store=MemoryStore(shelf), session_id=session_id) as there:
        again = await there.ask("confirm", confirmation_id=word, args=edited, id="yes")
        assert again["result"] == first["result"]
        other = {"card": HIDDEN, "amount": 3}
        wrong = await there.ask("confirm", confirmation_id=word, args=other, id="yes")
        assert wrong["error"]["code"] == "duplicate"
    assert len(seen) == 1


async def test_a_mask_within_a_secret_stands_for_nothing(autojump_clock: MockClock) -> None:
    seen: list[tuple[Any, int]] = []
    async with room(lone(paying(seen)), takes()) as there:
        word = await proposed(there)
        card = {"number": "4222", "pin": HIDDEN}
        wrong = await there.ask("confirm", confirmation_id=word, args={"card": card, "amount": 1})
        assert wrong["error"]["code"] == "invalid_command"
        assert wrong["error"]["param"] == "args.card.pin"
        right = {"card": {"number": "4222", "pin": "1"}, "amount": 1}
        await there.ask("confirm", confirmation_id=word, args=right)
        await there.until("action.committed")
    assert seen == [(("4222", "1"), 1)]


@pytest.mark.parametrize(
    ("held", "edited", "place"),
    [
        ({"card": HIDDEN, "amount": 1}, {"card": HIDDEN, "amount": 2}, "args.card"),
        ({"card": CARD, "amount": HIDDEN}, {"card": CARD, "amount": HIDDEN}, "args.amount"),
        ({"card": HIDDEN}, {"card": {"all": ["x", HIDDEN]}}, "args.card.all[1]"),
        ({"amount": 1}, {"card": HIDDEN, "amount": 1}, "args.card"),
    ],
    ids=["lost with a process", "not secret any more", "in a list", "never proposed"],
)
def test_a_mask_for_what_nobody_knows_is_to_be_typed_anew(
    held: dict[str, Any], edited: dict[str, Any], place: str
) -> None:
    refused = Held(paying([]), held, whole=False).with_secrets(edited)
    assert isinstance(refused, Problem)
    assert (refused.code, refused.param) == (ErrorCode.INVALID_COMMAND, place)
    assert "anew" in refused.message


def test_the_mask_is_a_word_like_any_other_where_nothing_is_secret() -> None:
    @tool(name="note")
    async def note(text: str) -> None:
        """Note."""

    edited = {"text": HIDDEN}
    assert Held(note, {"text": "x"}).with_secrets(edited) == edited
