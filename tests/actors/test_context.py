"""What the model is told of a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from bargein.actors.context import BROKE_OFF, GO_ON, Conversation
from bargein.models.client import INTERRUPTED
from bargein.protocol.events import (
    CancelRequested,
    CancelStage,
    InFlight,
    InputDropped,
    InputText,
    ModelToken,
    ResponseEnd,
    TurnStart,
)
from bargein.protocol.ids import Seq, TurnId, turn_id
from bargein.protocol.state import SessionState


class Talk:
    """A conversation in the making."""

    def __init__(self) -> None:
        self.state = SessionState()

    def add(self, turn: TurnId, payload: Any) -> None:
        seq = Seq(self.state.seq + 1)
        self.state.apply(seq, "2026-11-21T10:00:00.000Z", turn, payload)

    def turn(
        self,
        number: int,
        words: str,
        text: str = "",
        status: Any = "completed",
        heard: str | None = None,
        **start: Any,
    ) -> None:
        turn = turn_id(number)
        self.add(turn, InputText(words))
        self.add(turn, TurnStart(words, **start))
        if text:
            self.add(turn, ModelToken(text, 1))
        if heard is not None:
            self.add(turn, CancelRequested("user", "say", InFlight(model=True)))
            self.add(turn, CancelStage("transcript", "frozen", text=text, heard=heard))
        if status != "open":
            self.add(turn, ResponseEnd(status, text))

    def told(self, number: int = 99, words: str = "now", **options: Any) -> list[Any]:
        messages, _ = Conversation(self.state).told(
            turn_id(number),
            words,
            most_chars=options.pop("most_chars", 1000),
            **options,
        )
        return [message.content for message in messages]


@pytest.mark.parametrize(
    ("text", "status", "heard", "answer"),
    [
        ("All of it", "completed", None, ["All of it"]),
        ("", "completed", None, []),
        ("All of it ", "cancelled", "All of ", [f"All of {INTERRUPTED}"]),
        ("All of it", "cancelled", "", [INTERRUPTED]),
        ("All of", "failed", None, [f"All of {BROKE_OFF}"]),
        ("", "failed", None, [BROKE_OFF]),
        ("No", "refused", None, ["No"]),
        ("", "refused", None, []),
    ],
)
def test_an_answer_is_told_as_it_was_heard(
    text: str, status: str, heard: str | None, answer: list[str]
) -> None:
    talk = Talk()
    talk.turn(1, "hi", text, status, heard)
    assert talk.told() == ["hi", *answer, "now"]


def test_a_turn_that_was_rolled_back_is_not_there_at_all() -> None:
    talk = Talk()
    talk.turn(1, "one", "first")
    talk.turn(2, "two", "second", "cancelled", "sec")
    talk.turn(3, "three", "third", replaces=turn_id(2))
    assert talk.told() == ["one", "first", "three", "third", "now"]


def test_neither_is_what_waits_was_dropped_or_is_asked_now() -> None:
    talk = Talk()
    talk.turn(1, "one", "first")
    talk.add(turn_id(2), InputText("two", queued=True))
    talk.add(turn_id(3), InputText("three", queued=True))
    talk.add(turn_id(3), InputDropped(None, "interrupted"))
    talk.turn(4, "now", "so far", "open")
    assert talk.told(4) == ["one", "first", "now"]


def test_turns_are_told_in_the_order_in_which_they_began() -> None:
    talk = Talk()
    talk.add(turn_id(2), InputText("two", queued=True))
    talk.turn(1, "one", "first")
    talk.add(turn_id(2), TurnStart("two"))
    talk.add(turn_id(2), ResponseEnd("completed", ""))
    talk.turn(3, "three", "third")
    assert talk.told() == ["one", "first", "two", "three", "third", "now"]


def test_a_failed_turn_goes_on_without_its_words_again() -> None:
    talk = Talk()
    talk.turn(1, "one", "half", "failed")
    assert talk.told(2, "one", continues=turn_id(1)) == ["one", f"half {BROKE_OFF}", GO_ON]
    assert talk.told(2, "other", continues=turn_id(1))[-1] == "other"


def test_old_turns_are_left_out_where_there_is_no_room_but_the_latest_stays() -> None:
    talk = Talk()
    for number in range(1, 6):
        talk.turn(number, f"word{number}", "x" * 100)
    assert talk.told(most_chars=250) == ["word4", "x" * 100, "word5", "x" * 100, "now"]
    assert talk.told(most_chars=1) == ["word5", "x" * 100, "now"]
