"""What is known of a conversation in JSON spares time, and changes nothing that is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from bargein.models import anthropic_request
from bargein.models.anthropic_request import encoded
from bargein.models.client import Message, ModelRequest, Past, Text, ToolSpec, ToolUse, plain_json
from bargein.protocol.ids import CallId

WORDS = st.lists(st.text(max_size=20), min_size=1, max_size=6)
SAID = tuple(Message(("user", "assistant")[n % 2], f"words {n}") for n in range(5))
CALL = Message("assistant", (Text("Let me see."), ToolUse(CallId("c"), "look", {"at": "it"})))


def past_of(messages: tuple[Message, ...]) -> Past:
    pieces = (plain_json(each.role, str(each.content)) for each in messages)
    return Past(messages, b",".join(pieces))


def sent(request: ModelRequest) -> dict[str, Any]:
    return json.loads(b"".join(encoded(request, "claude-test")))


@given(WORDS, st.integers(0, 6), st.text(max_size=20), st.booleans(), st.booleans())
def test_what_is_known_already_changes_nothing(
    words: list[str], known: int, system: str, calls: bool, tools: bool
) -> None:
    said = tuple(Message("user", each) for each in words)
    request = ModelRequest(
        None,
        system,
        (*said, CALL) if calls else said,
        (ToolSpec("look", "Look.", {"type": "object"}),) if tools else (),
    )
    beginning = said[:known]
    past = past_of(beginning) if beginning else None
    assert sent(evolve(request, past=past)) == sent(request)


def test_what_is_known_already_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    def noting(role: str, content: str) -> bytes:
        written.append(content)
        return plain_json(role, content)

    request = ModelRequest(None, "", SAID, past=past_of(SAID[:4]))
    monkeypatch.setattr(anthropic_request, "plain_json", noting)
    assert [each["content"] for each in sent(request)["messages"]] == [
        each.content for each in SAID
    ]
    assert written == [SAID[4].content]


@pytest.mark.parametrize(
    "messages", [SAID[1:], SAID[:3], (), (*SAID[:1], CALL, *SAID[2:]), (CALL, *SAID)]
)
def test_a_conversation_that_begins_otherwise_is_sent_as_it_is(
    messages: tuple[Message, ...],
) -> None:
    request = ModelRequest(None, "", messages)
    assert sent(evolve(request, past=past_of(SAID[:4]))) == sent(request)


def test_what_is_known_already_makes_no_other_request() -> None:
    request = ModelRequest(None, "", SAID)
    assert evolve(request, past=past_of(SAID)) == request
