"""What a yes or no, or edited arguments, are for: the question that stands, and no other."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from attrs import evolve

from bargein.gateway.terminal.decisions import Decisions
from bargein.gateway.terminal.face import Sheet, Told
from bargein.gateway.terminal.painter import Painter
from bargein.gateway.terminal.pending import Then
from bargein.gateway.terminal.pipe import Pipe
from bargein.gateway.terminal.reports import Reports
from bargein.protocol.actions import ActionState
from bargein.protocol.ids import ActionId, CommandId, ConfirmationId, Seq, TurnId
from bargein.protocol.state import SessionState

PAYING = ActionState(
    action_id=ActionId("act_1"),
    turn_id=TurnId("turn_1"),
    action="pay",
    args={"sum": 1},
    digest="",
    summary="Pay",
    effect="side_effect",
    confirmation_id=ConfirmationId("conf_1"),
    expires_at="",
    proposed_at="",
    call_id=None,
    proposed_seq=Seq(1),
    latest_seq=Seq(1),
)
SENDING = evolve(
    PAYING,
    action_id=ActionId("act_2"),
    summary="Send",
    confirmation_id=ConfirmationId("conf_2"),
)


def open_with(*actions: ActionState) -> SessionState:
    state = SessionState()
    for action in actions:
        state.actions.by_id[action.action_id] = action
        state.actions.open[action.action_id] = None
    return state


class Asked:
    """Decisions, what they told, and what they sent."""

    def __init__(self) -> None:
        self.sheet = Sheet()
        self.sent: list[dict[str, Any]] = []
        self.decisions = Decisions(self.sheet, self.send)

    def send(self, body: dict[str, Any], then: Then) -> CommandId:
        self.sent.append(body)
        return CommandId("c")

    def told(self) -> list[str]:
        return [shown.line for shown in self.sheet.take() if isinstance(shown, Told)]


def test_arguments_edited_for_a_question_that_is_gone_change_nothing_and_show_what_is_asked():
    asked = Asked()
    decisions = asked.decisions
    decisions.look(open_with(PAYING), asks=True)
    decisions.look(open_with(SENDING), asks=True)
    asked.told()
    assert not decisions.edited(PAYING, '{"sum": 2}')
    said = asked.told()
    assert said[0] == "--  That is not asked any more; nothing changed."
    assert said[1] == "?  Send"
    assert decisions.args_of(PAYING) == {"sum": 1}
    decisions.look(open_with(), asks=True)
    assert not decisions.edited(SENDING, '{"sum": 2}')
    assert asked.told() == ["--  That is not asked any more; nothing changed."]


def test_a_slash_decides_nothing_that_was_not_asked():
    asked = Asked()
    decisions = asked.decisions
    decisions.look(open_with(PAYING), asks=False)
    decisions.decide(decisions.asked, confirm=True)
    decisions.look(open_with(PAYING), asks=True)
    before = decisions.asked
    decisions.look(open_with(SENDING), asks=True)
    decisions.decide(before, confirm=True)
    assert asked.sent == []
    decisions.decide(decisions.asked, confirm=False)
    assert asked.sent == [{"type": "reject", "confirmation_id": "conf_2"}]


@contextmanager
def reading() -> Generator[tuple[int, int]]:
    """Open a pipe; return both its ends."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


async def test_a_question_is_seen_when_it_is_written_and_not_before():
    asked = Asked()
    decisions = asked.decisions
    with reading() as (_, end):
        pipe = Pipe(end, end)
        painter = Painter(pipe, Reports(lambda _: True), lambda: decisions.asked)
        decisions.look(open_with(PAYING), asks=True)
        pipe.sheet.tell("?  Pay")
        assert painter.seen is None
        await painter.paint()
        assert painter.seen == decisions.asked == "conf_1 proposed"
        decisions.look(open_with(), asks=True)
        await painter.paint()
        assert painter.seen is None
