"""Commands: each is taken as it stands in the protocol, and refused by the field at fault."""

from __future__ import annotations

import json
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bargein.protocol.codec import (
    MOST_QUOTED_CHARS,
    MOST_STRING_BYTES,
    CommandRefused,
    decode_command,
)
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import ASKS, COMMANDS, FOR_WATCHERS, Command, Heard, Interrupt, Say
from bargein.protocol.events import PAYLOADS
from bargein.protocol.frames import FRAMES, Problem
from tests.protocol.strategies import SETTLED, instances

KINDS = list(COMMANDS.values())

LEAST: dict[str, dict[str, Any]] = {
    "say": {"text": "Hello?"},
    "interrupt": {},
    "speech.start": {"utterance_id": "u1"},
    "speech.stop": {"utterance_id": "u1"},
    "audio.chunk": {"utterance_id": "u1", "index": 0, "format": "pcm16", "data": "AAAA"},
    "asr.partial": {"utterance_id": "u1", "revision": 0, "text": "Hel"},
    "asr.final": {"utterance_id": "u1", "revision": 1, "text": "Hello?"},
    "turn.end": {},
    "playback.start": {"turn_id": "turn_1"},
    "playback.progress": {"turn_id": "turn_1"},
    "playback.stop": {"turn_id": "turn_1"},
    "confirm": {"confirmation_id": "conf_1"},
    "reject": {"confirmation_id": "conf_1"},
    "revert": {"action_id": "act_1"},
    "configure": {},
    "ack": {"seq": 0},
    "history": {},
    "projection": {"name": "plan"},
    "auth": {"token": "eyJ.e30.c2ln"},
    "ping": {},
    "close": {},
}
"""The least that each command needs."""


def _refusal(body: object) -> tuple[str | None, Problem]:
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(CommandRefused) as refused:
        decode_command(text)
    assert str(refused.value) == refused.value.problem.message
    return refused.value.command_id, refused.value.problem


def test_every_command_is_in_the_table_of_this_test() -> None:
    assert LEAST.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", LEAST)
def test_a_command_is_taken_with_the_least_it_needs(name: str) -> None:
    body = {"type": name, **LEAST[name]}
    command, read = decode_command(json.dumps(body))
    assert isinstance(command, COMMANDS[name])
    assert command.id is None
    assert read == body


@pytest.mark.parametrize("name", LEAST)
@pytest.mark.parametrize("command_id", ["c9", None])
def test_a_command_may_have_an_id(name: str, command_id: str | None) -> None:
    body = {"type": name, "id": command_id, **LEAST[name]}
    assert decode_command(json.dumps(body))[0].id == command_id


@pytest.mark.parametrize(("name", "field"), [(n, f) for n in LEAST for f in LEAST[n]])
def test_a_command_without_a_field_that_it_needs_is_refused(name: str, field: str) -> None:
    body = {"type": name, "id": "c9", **LEAST[name]}
    del body[field]
    command_id, trouble = _refusal(body)
    assert command_id == "c9"
    assert (trouble.code, trouble.param) == (ErrorCode.INVALID_COMMAND, field)


ALL_FIELDS = [(kind.type, field.name) for kind in KINDS for field in attrs.fields(kind)]
WRONG: list[Any] = [{"a": [1]}, [], True, -1, 1.5]
RIGHT: list[tuple[str, Any]] = [
    ("heard", {"a": [1]}),
    ("args", {"a": [1]}),
    ("voice", True),
    ("nonce", -1),
    ("offset_ms", 1.5),
    ("words_ms", []),
]


@pytest.mark.parametrize(
    ("name", "field", "wrong"),
    [
        (name, field, wrong)
        for name, field in ALL_FIELDS
        for wrong in WRONG
        if (field, wrong) not in RIGHT
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_its_path(
    name: str, field: str, wrong: object
) -> None:
    _, trouble = _refusal({"type": name, **LEAST[name], field: wrong})
    assert (trouble.code, trouble.param) == (ErrorCode.INVALID_COMMAND, field)
    assert not trouble.retryable


NAMES = [
    (name, field)
    for name, field in ALL_FIELDS
    if field == "id" or field.endswith("_id") or field in ("resume", "format", "agent")
]


@pytest.mark.parametrize(
    "bad",
    ["", "a" * 65, "a b", "tür", "a\n", "\na", "a\x00", "\u202ea", "a/b"],
    ids=ascii,
)
@pytest.mark.parametrize(("name", "field"), NAMES)
def test_an_id_with_anything_odd_in_it_is_refused(name: str, field: str, bad: str) -> None:
    _, trouble = _refusal({"type": name, **LEAST[name], field: bad})
    assert (trouble.code, trouble.param) == (ErrorCode.INVALID_COMMAND, field)
    assert "A-Z a-z 0-9" in trouble.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"type": "say", "text": None}, "text"),
        ({"type": "say", "text": ""}, "text"),
        ({"type": "say"}, "text"),
        ({"type": "say", "text": " \n\t\u3000"}, "text"),
        ({"type": "say", "text": "x", "when_busy": "now"}, "when_busy"),
        ({"type": "say", "text": "x", "when_busy": "x\ny - at `$.id`"}, "when_busy"),
        ({"type": "say", "text": "x", "heard": {"chars": -1}}, "heard.chars"),
        ({"type": "say", "text": "x", "heard": {"chars": None}}, "heard.chars"),
        ({"type": "say", "text": "x", "heard": {"chunk_id": "a b"}}, "heard.chunk_id"),
        ({"type": "say", "text": "x", "heard": {"offset_ms": -0.1}}, "heard.offset_ms"),
        ({"type": "interrupt", "queue": "clear"}, "queue"),
        ({"type": "asr.final", **LEAST["asr.final"], "confidence": 1.1}, "confidence"),
        ({"type": "audio.chunk", **LEAST["audio.chunk"], "format": "gramophone"}, "format"),
        ({"type": "audio.chunk", **LEAST["audio.chunk"], "format": "pcm16_1"}, "format"),
        ({"type": "audio.chunk", **LEAST["audio.chunk"], "data": "AAA"}, "data"),
        ({"type": "audio.chunk", **LEAST["audio.chunk"], "data": "AA-_"}, "data"),
        ({"type": "audio.chunk", **LEAST["audio.chunk"], "data": "\u00fc"}, "data"),
        ({"type": "asr.final", **LEAST["asr.final"], "revision": 1.0}, "revision"),
        ({"type": "history", "limit": 0}, "limit"),
        ({"type": "projection", "name": "secrets"}, "name"),
        ({"type": "ping", "nonce": "x" * 257}, "nonce"),
        ({"type": "configure", "on_disconnect": "never"}, "on_disconnect"),
        ({"type": "configure", "colour": "red"}, "colour"),
        ({"type": 5}, "type"),
        ({}, "type"),
        ({"type": None}, "type"),
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused_by_its_path(body: object, param: str) -> None:
    _, trouble = _refusal(body)
    assert (trouble.code, trouble.param) == (ErrorCode.INVALID_COMMAND, param)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"', "true"])
def test_json_that_is_no_object_is_no_command(text: str) -> None:
    command_id, trouble = _refusal(text)
    assert command_id is None
    assert (trouble.code, trouble.param) == (ErrorCode.INVALID_COMMAND, None)


def test_malformed_json_is_refused_with_its_position() -> None:
    command_id, trouble = _refusal('{"type":"say","id":"c9",}')
    assert command_id is None
    assert trouble.code is ErrorCode.INVALID_JSON
    assert "character 24" in trouble.message


@pytest.mark.parametrize(
    "name", sorted((PAYLOADS.keys() | FRAMES.keys() | {"", "Say", "shout"}) - COMMANDS.keys())
)
def test_a_type_that_is_no_command_is_unknown(name: str) -> None:
    command_id, trouble = _refusal({"type": name, "id": "c9"})
    assert command_id == "c9"
    assert (trouble.code, trouble.param) == (ErrorCode.UNKNOWN_COMMAND, "type")


def test_a_field_that_nobody_knows_is_ignored_except_in_configure() -> None:
    for name, least in LEAST.items():
        body = {"type": name, **least, "colour": "red"}
        if name == "configure":
            assert _refusal(body)[1].param == "colour"
        else:
            assert decode_command(json.dumps(body))[1]["colour"] == "red"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"type": "say", "text": "x" * (MOST_STRING_BYTES + 1)}, "text"),
        ({"type": "say", "text": "ä" * (MOST_STRING_BYTES // 2 + 1)}, "text"),
        ({"type": "auth", "token": "x" * (MOST_STRING_BYTES + 1)}, "token"),
        ({"type": "ping", "extra": "x" * (MOST_STRING_BYTES + 1)}, "extra"),
        (
            {"type": "confirm", "confirmation_id": "c", "args": {"a": ["x" * 40_000]}},
            "args.a.0",
        ),
        ({"type": "confirm", "confirmation_id": "c", "args": {"x" * 40_000: 1}}, "args"),
        ({"type": "audio.chunk", **LEAST["audio.chunk"], "format": "x" * 40_000}, "format"),
    ],
    ids=["ascii", "bytes", "token", "unknown", "nested", "key", "beside-data"],
)
def test_a_string_over_the_limit_is_refused(body: object, param: str) -> None:
    _, trouble = _refusal(body)
    assert (trouble.code, trouble.param) == (ErrorCode.INVALID_COMMAND, param)
    assert str(MOST_STRING_BYTES) in trouble.message


def test_a_string_at_the_limit_and_audio_beyond_it_are_taken() -> None:
    text = "ä" * (MOST_STRING_BYTES // 2)
    command, _ = decode_command(json.dumps({"type": "say", "text": text}))
    assert isinstance(command, Say)
    assert command.text == text
    data = "A" * (MOST_STRING_BYTES + 4)
    decode_command(json.dumps({"type": "audio.chunk", **LEAST["audio.chunk"], "data": data}))


def test_what_a_client_sent_is_quoted_only_in_part() -> None:
    long = "x" * 20_000
    for body in (
        {"type": "say", "text": "x", "when_busy": long},
        {"type": "configure", long: 1},
    ):
        _, trouble = _refusal(body)
        assert len(trouble.message) < MOST_QUOTED_CHARS + 40
        assert len(trouble.param or "") <= MOST_QUOTED_CHARS


def test_free_text_keeps_control_and_bidi_characters() -> None:
    text = "a\x00b\u202ec\n"
    assert decode_command(json.dumps({"type": "say", "text": text}))[1]["text"] == text


def test_words_may_be_missing_where_a_turn_is_resumed() -> None:
    command, _ = decode_command('{"type":"say","resume":"resume.turn_3"}')
    assert command == Say(resume="resume.turn_3")


def test_an_interrupt_says_what_was_heard() -> None:
    command, _ = decode_command('{"type":"interrupt","heard":{"chars":13}}')
    assert command == Interrupt(heard=Heard(chars=13))


@SETTLED
@given(st.one_of([instances(kind) for kind in KINDS]))
def test_every_command_survives_the_wire(command: Command) -> None:
    if isinstance(command, Say) and not command.text.strip() and command.resume is None:
        command = attrs.evolve(command, resume="r")
    body = {"type": command.type, **msgspec.to_builtins(command)}
    assert decode_command(json.dumps(body))[0] == command


def test_watchers_may_send_what_changes_nothing() -> None:
    assert {kind.type for kind in FOR_WATCHERS} == {"ping", "ack", "auth", "history", "projection"}


def test_what_asks_for_something_is_always_answered() -> None:
    assert {kind.type for kind in ASKS} == {"interrupt", "history", "projection"}
