"""The validator that all clients of the tests hold the wire to: what it takes, and what not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings

from bargein.protocol.codec import encode_event, encode_frame, session_prefix
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import COMMANDS, Command, ProjectionName, Say
from bargein.protocol.events import Event, Payload
from bargein.protocol.frames import FRAMES, Flush, Frame, Hello, Refused, You, problem
from bargein.protocol.ids import Epoch, Seq, TurnId
from bargein.protocol.projections import project
from bargein.protocol.state import fold
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore
from tests import contract
from tests.actors.stage import Viewer
from tests.contract import ContractBroken
from tests.protocol.strategies import SETTLED, instances
from tests.protocol.timelines import SESSION, barge_in, long_session

NOW = b"2026-11-21T10:12:33.120Z"
LIMITS = {
    "durability": "fsync",
    "command_bytes": 65536,
    "frame_bytes": 262144,
    "queue_most": 8,
    "history_events": 1000,
}
YOU = You("ann", "drive", "standard")
HELLO = Hello(
    "bargein.v1", "bargein/0", SESSION, Epoch("e"), False, Seq(1), Seq(0), 20.0, LIMITS, YOU
)  # fmt: skip


def frame_of(event: Event) -> dict[str, Any]:
    """Return an event as it is sent."""
    fields = event.seq, event.ts.encode(), event.turn_id, event.parent_event_id, event.payload
    return json.loads(encode_event(session_prefix(SESSION), *fields))


def sent(frame: Frame) -> dict[str, Any]:
    return json.loads(encode_frame(frame))


def event(name: str) -> dict[str, Any]:
    """Return an event of that type, out of a conversation with a barge-in."""
    return next(frame_of(event) for event in barge_in() if event.type == name)


# --- what fits -------------------------------------------------------------------------


def test_whole_conversations_fit() -> None:
    seen: set[str] = set()
    for timeline in (barge_in(), long_session()):
        for each in timeline:
            contract.check_sent(frame_of(each))
            seen.add(each.type)
    assert {"model.token", "cancel.ack", "turn.trace", "tool.result"} <= seen


def test_merged_tokens_and_a_page_of_history_fit() -> None:
    merged = {**event("model.token"), "first_seq": 3}
    contract.check_sent(merged)
    page = {"events": [merged, event("turn.start")], "next": None}
    contract.check_sent({"type": "reply", "command_id": "h", "result": page, "at_seq": 9})


@pytest.mark.parametrize("name", FRAMES)
def test_whatever_the_server_may_say_to_one_connection_fits(name: str) -> None:
    @settings(SETTLED, max_examples=20)
    @given(instances(FRAMES[name]))
    def fits(frame: Frame) -> None:
        contract.check_sent(sent(frame))

    fits()


@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_the_server_takes_fits(name: str) -> None:
    @settings(SETTLED, max_examples=20)
    @given(instances(COMMANDS[name]))
    def fits(command: Command) -> None:
        body = {"type": name, **msgspec.to_builtins(command), "of_a_newer": "client"}
        if name == "configure":
            del body["of_a_newer"]
        contract.check_command(json.dumps(body))

    fits()


def test_what_the_server_refuses_is_nobodys_promise() -> None:
    for text in ("", "Hello", "[]", '{"type":"say","text":7}', '{"type":"no.such"}'):
        assert contract.check_command(text) is None


def test_every_view_fits_and_is_known_by_the_command_that_asks_for_it() -> None:
    state = fold(barge_in())
    for name in get_args(ProjectionName):
        asked = contract.check_command(json.dumps({"type": "projection", "name": name}))
        assert asked == name
        view = json.loads(msgspec.json.encode(project(state, name)))
        contract.check_view(name, view)
        with pytest.raises(ContractBroken, match="drift"):
            contract.check_view(name, {**view, "drift": 1})


# --- planted drift -----------------------------------------------------------------------


def _more(body: dict[str, Any]) -> None:
    body["payload"]["surprise"] = 1


def _less(body: dict[str, Any]) -> None:
    del body["payload"]["outcome"]


def _other_enum(body: dict[str, Any]) -> None:
    body["payload"]["outcome"] = "vanished"


def _other_type(body: dict[str, Any]) -> None:
    body["payload"]["ms"] = "soon"


def _other_name(body: dict[str, Any]) -> None:
    body["type"] = "cancel.stages"


def _in_the_envelope(body: dict[str, Any]) -> None:
    body["surprise"] = 1


def _no_turn(body: dict[str, Any]) -> None:
    body["turn_id"] = "seven"


@pytest.mark.parametrize(
    ("change", "at", "rule"),
    [
        (_more, "/payload", "additionalProperties"),
        (_less, "/payload", "required"),
        (_other_enum, "/payload/outcome", "enum"),
        (_other_type, "/payload/ms", "type"),
        (_other_name, "/type", "#/components/schemas/*"),
        (_in_the_envelope, "", "additionalProperties"),
        (_no_turn, "/turn_id", "pattern"),
    ],
)
def test_drift_of_an_event_is_named_with_its_place(
    change: Callable[[dict[str, Any]], None], at: str, rule: str
) -> None:
    body = event("cancel.stage")
    contract.check_sent(body)
    change(body)
    with pytest.raises(ContractBroken) as found:
        contract.check_sent(body)
    assert (found.value.at, found.value.name) == (at, f"event.{body['type']}")
    assert found.value.rule.endswith(rule)
    assert f"event.{body['type']}" in str(found.value)


def test_drift_deep_in_a_payload_is_found() -> None:
    traced = event("turn.trace")
    traced["payload"]["spans"][0]["colour"] = "red"
    opened = event("session.opened")
    opened["payload"]["config"]["colour"] = "red"
    acked = event("cancel.ack")
    del acked["payload"]["tokens"]["delivered"]
    for body, at in (
        (traced, "/payload/spans/0"),
        (opened, "/payload/config"),
        (acked, "/payload/tokens"),
    ):
        with pytest.raises(ContractBroken) as found:
            contract.check_sent(body)
        assert found.value.at == at


def test_drift_of_a_connection_frame_is_found() -> None:
    refused = sent(Refused(None, problem(ErrorCode.BUSY)))
    refused["error"]["code"] = "tired"
    hello = sent(HELLO)
    contract.check_sent(hello)
    hello["limits"]["durability"] = "hopefully"
    flushed = sent(Flush(TurnId("turn_1"), Seq(3)))
    del flushed["seq"]
    for body in (refused, hello, flushed, {"type": "surprise"}):
        with pytest.raises(ContractBroken, match=f"frame.{body['type']}"):
            contract.check_sent(body)


def test_drift_within_a_page_of_history_is_found() -> None:
    drifted = event("turn.start")
    drifted["payload"]["surprise"] = 1
    page = {"events": [event("input.text"), drifted], "next": None}
    with pytest.raises(ContractBroken, match=r"event\.turn\.start"):
        contract.check_sent({"type": "reply", "command_id": "h", "result": page, "at_seq": 9})


def test_a_command_that_is_taken_and_not_in_the_contract_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decode_loosely(text: str) -> tuple[Say, dict[str, Any]]:
        body = json.loads(text)
        return Say(body["text"]), body

    monkeypatch.setattr(contract, "decode_command", decode_loosely)
    contract.check_command('{"type":"say","text":"Hi"}')
    with pytest.raises(ContractBroken, match=r"command\.say.*when_busy"):
        contract.check_command('{"type":"say","text":"Hi","when_busy":"shout"}')


def test_the_clients_of_the_tests_ask_it() -> None:
    viewer = Viewer(Timeline(SESSION, Epoch("e"), MemoryStore()))
    viewer.show(encode_frame(HELLO))
    payload: Payload = barge_in()[0].payload
    drifted = encode_event(session_prefix(SESSION), Seq(1), NOW, None, None, payload)
    viewer.show(drifted)
    with pytest.raises(ContractBroken):
        viewer.show(drifted.replace(b'"agent"', b'"agents"'))
