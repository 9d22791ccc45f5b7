"""The ladder's table: the order of the rungs, and what may follow a cancel."""

from __future__ import annotations

import pytest

from bargein.protocol.events import (
    PAYLOADS,
    CancelStage,
    ModelToken,
    ToolResult,
    Unknown,
)
from bargein.protocol.ids import CallId
from bargein.protocol.ladder import may_follow_ack, may_follow_cancel, rung, tool_target
from tests.protocol.timelines import barge_in

LADDER = [
    "cancel.requested",
    "playback.stop",
    "cancel.stage",
    "model.end",
    "cancel.stage",
    "tool.result",
    "cancel.stage",
    "response.end",
    "turn.trace",
    "cancel.ack",
]


def test_the_rungs_of_a_ladder_stand_in_order() -> None:
    events = [event for event in barge_in() if event.turn_id == "turn_1"]
    first = next(place for place, event in enumerate(events) if event.type == LADDER[0])
    assert [event.type for event in events[first:]] == LADDER
    assert [rung(event.payload) for event in events[first:]] == [0, 1, 2, 3, 4, 5, 5, 6, 7, 8]


def test_the_stages_are_told_apart_by_their_target() -> None:
    assert rung(CancelStage("transcript", "frozen")) == 2
    assert rung(CancelStage("model", "stopped")) == 4
    assert rung(CancelStage(tool_target("call_1"), "stopped")) == 5
    assert rung(ToolResult(CallId("call_1"), "cancelled")) == 5


def test_what_may_come_anywhere_is_no_rung() -> None:
    assert rung(ModelToken("x")) is None
    assert rung(Unknown("action.audited", {})) is None


@pytest.mark.parametrize("name", PAYLOADS)
def test_only_what_the_protocol_lists_follows_a_cancel(name: str) -> None:
    listed = name in LADDER[1:] or name.startswith("action.")
    assert may_follow_cancel(name) is listed
    assert may_follow_ack(name) is name.startswith("action.")
