"""The contract as data: a sound AsyncAPI 3 document that what is on the wire agrees with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, Protocol, cast

import msgspec
import pytest
from hypothesis import given, settings
from jsonschema import Draft7Validator

from bargein.protocol.codec import encode_event, encode_frame, session_prefix
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import COMMANDS
from bargein.protocol.contract import document, encoded
from bargein.protocol.events import PAYLOADS, ModelToken
from bargein.protocol.frames import FRAMES
from bargein.protocol.ids import EventId, Seq, TurnId, event_id, turn_id
from bargein.protocol.projections import PROJECTIONS, project
from bargein.protocol.state import fold
from bargein.protocol.wording import WORDING
from tests.protocol.strategies import SETTLED, instances
from tests.protocol.timelines import SESSION, barge_in, long_session

DOCUMENT = document()
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
KINDS = {
    **{f"command.{name}": kind for name, kind in COMMANDS.items()},
    **{f"event.{name}": kind for name, kind in PAYLOADS.items()},
    **{f"frame.{name}": kind for name, kind in FRAMES.items()},
}
TS = b"2026-11-21T10:12:33.120Z"


class Validator(Protocol):
    """What is used of `jsonschema`, which has no types of its own."""

    def validate(self, instance: object) -> None: ...

    def is_valid(self, instance: object) -> bool: ...


@cache
def _validator(name: str) -> Validator:
    # The whole document stands beside the reference, so that others resolve too.
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return cast("Validator", Draft7Validator(schema))


def _fits(name: str, body: object) -> bool:
    return _validator(name).is_valid(body)


def _refs(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():  # pyright: ignore[reportUnknownVariableType]
            if key == "$ref":
                yield value
            else:
                yield from _refs(value)
    elif isinstance(node, list):
        for value in node:  # pyright: ignore[reportUnknownVariableType]
            yield from _refs(value)


def _resolve(ref: str) -> Any:
    node: Any = DOCUMENT
    for part in ref.removeprefix("#/").split("/"):
        node = node[part]
    return node


# --- the document ------------------------------------------------------------------


def test_the_document_is_the_same_every_time() -> None:
    assert json.dumps(document()) == json.dumps(DOCUMENT)
    assert document() is not document()
    assert encoded() is encoded()
    assert json.loads(encoded()) == DOCUMENT


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_makes_the_same_bytes(seed: str) -> None:
    code = "import sys, bargein.protocol.contract as c; sys.stdout.buffer.write(c.encoded())"
    made = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert made.stdout == encoded()


def test_it_has_what_asyncapi_requires() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"]
    known = {"asyncapi", "id", "info", "servers", "defaultContentType", "channels", "operations"}
    for key in DOCUMENT:
        assert key in {*known, "components"} or key.startswith("x-")
    for server in DOCUMENT["servers"].values():
        assert {"host", "protocol"} <= server.keys()
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        messages = _resolve(operation["channel"]["$ref"])["messages"]
        for ref in operation["messages"]:
            assert _resolve(ref["$ref"]) in messages.values()
    for group in DOCUMENT["components"].values():
        for key in group:
            assert re.fullmatch(r"[a-zA-Z0-9._-]+", key)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_says_what_it_means(name: str) -> None:
    for field, schema in SCHEMAS[name].get("properties", {}).items():
        told = schema.get("description", "")
        assert re.search(r"\w.*[.]$", told), f"say of {name}.{field} what it means: {told!r}"
        assert "\n" not in told


def test_nothing_is_said_of_fields_that_are_not_there() -> None:
    used: set[str] = set()
    for name, schema in SCHEMAS.items():
        kind = KINDS[name].__name__ if name in KINDS else name
        kind = "Event" if name.startswith("event.") else kind
        for field in schema.get("properties", {}):
            used |= {field} if f"{kind}.{field}" not in WORDING else {f"{kind}.{field}"}
    assert WORDING.keys() - used == set()


def test_every_reference_resolves() -> None:
    refs = set(_refs(DOCUMENT))
    assert len(refs) > 100
    for ref in refs:
        assert _resolve(ref) is not None


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_valid_one_with_a_description(name: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["description"].strip()
    assert "\n" not in SCHEMAS[name]["description"]


def test_no_schema_stands_there_for_nothing() -> None:
    used = {ref.rpartition("/")[2] for ref in _refs(DOCUMENT)}
    assert SCHEMAS.keys() <= used


def test_every_type_of_the_protocol_is_a_message() -> None:
    assert DOCUMENT["components"]["messages"].keys() == KINDS.keys()
    for name, message in DOCUMENT["components"]["messages"].items():
        of_type = _resolve(message["payload"]["$ref"])["properties"]["type"]
        assert of_type["const"] == name.partition(".")[2]
        assert message["summary"] in (KINDS[name].__doc__ or "").replace("\n    ", " ")


def test_commands_are_received_and_the_rest_is_sent_on_both_channels() -> None:
    for channel in ("new_session", "session"):
        for action, sorts in (("receive", {"command"}), ("send", {"event", "frame"})):
            operation = DOCUMENT["operations"][f"{channel}.{action}"]
            assert operation["action"] == action
            names = {ref["$ref"].rpartition("/")[2] for ref in operation["messages"]}
            assert names == {name for name in KINDS if name.partition(".")[0] in sorts}


def test_the_channels_are_the_protocols_addresses() -> None:
    new, attached = DOCUMENT["channels"].values()
    assert new["address"] == "/v1/session"
    assert attached["address"] == "/v1/session/{session_id}"
    assert attached["parameters"].keys() == {"session_id"}
    assert _query(new) == {"view", "role"}
    assert _query(attached) == {"view", "role", "after", "epoch"}
    assert DOCUMENT["x-subprotocol"] == "bargein.v1"


def _query(channel: dict[str, Any]) -> set[str]:
    return set(channel["bindings"]["ws"]["query"]["properties"])


def test_every_code_is_there_with_its_sentence() -> None:
    assert DOCUMENT["x-error-codes"] == {
        code.value: {"description": code.sentence, "retryable": code.retryable}
        for code in ErrorCode
    }
    assert {int(code) for code in DOCUMENT["x-close-codes"]} == set(CloseCode)
    assert DOCUMENT["x-close-codes"]["4000"]["reconnect"] is True
    assert DOCUMENT["x-close-codes"]["4102"]["reconnect"] is False


# --- what is on the wire -------------------------------------------------------------


def _event(
    payload: Any, turn: TurnId | None = None, parent: EventId | None = None
) -> dict[str, Any]:
    return json.loads(encode_event(session_prefix(SESSION), Seq(7), TS, turn, parent, payload))


@pytest.mark.parametrize("name", KINDS)
def test_whatever_the_codec_writes_fits_its_schema(name: str) -> None:
    validator = _validator(name)
    sort, _, wire_name = name.partition(".")

    @settings(SETTLED, max_examples=25)
    @given(instances(KINDS[name]))
    def fits(value: Any) -> None:
        match sort:
            case "event":
                validator.validate(_event(value))
                validator.validate(_event(value, turn_id(3), event_id(Seq(5))))
            case "frame":
                validator.validate(json.loads(encode_frame(value)))
            case _:
                validator.validate({"type": wire_name, **json.loads(msgspec.json.encode(value))})

    fits()


def _example(name: str) -> dict[str, Any]:
    """The least that a schema requires, made up from the schema alone."""
    schema = SCHEMAS[name]
    body = {key: _made_up(schema["properties"][key]) for key in schema["required"]}
    assert _fits(name, body)
    return body


def _made_up(schema: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _made_up(_resolve(schema["$ref"]))
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _made_up(schema["anyOf"][-1])
    match schema.get("type"):
        case "object":
            fields: dict[str, Any] = schema.get("properties", {})
            return {key: _made_up(fields[key]) for key in schema.get("required", [])}
        case "string":
            return "x" if "pattern" not in schema else "turn_1"
        case "integer" | "number":
            return 1
        case "array":
            return []
        case "boolean":
            return True
        case _:
            return None


FIELDS = [(name, field) for name in KINDS for field in SCHEMAS[name]["required"]]


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_frame_without_a_required_field_does_not_fit(name: str, field: str) -> None:
    body = _example(name)
    del body[field]
    assert not _fits(name, body)


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_a_frame_with_a_wrong_field_does_not_fit(name: str, field: str) -> None:
    schema = SCHEMAS[name]["properties"][field]
    if schema.keys() <= {"description"}:  # anything at all
        return
    assert not _fits(name, {**_example(name), field: [{"no": "such"}, [1]]})


def test_a_payload_with_a_wrong_field_does_not_fit() -> None:
    body = _event(ModelToken("x"))
    assert _fits("event.model.token", body)
    assert not _fits("event.model.token", {**body, "payload": {"text": None}})
    assert not _fits("event.model.token", {**body, "payload": {"n": 1}})
    assert not _fits("event.model.token", {**body, "type": "model.end"})
    assert not _fits("event.model.token", {**body, "turn_id": "seven"})
    assert _fits("event.model.token", {**body, "first_seq": 3, "of_a_newer": "version"})


def test_a_fallback_says_from_in_the_schema_too() -> None:
    assert SCHEMAS["ModelFallback"]["required"] == ["from", "to"]


def test_what_may_be_unset_is_not_required() -> None:
    assert SCHEMAS["PlaybackProgress"]["required"] == []
    assert SCHEMAS["event.playback.progress"]["properties"]["turn_id"]["type"] == ["string", "null"]


@pytest.mark.parametrize("name", PROJECTIONS)
def test_every_view_fits_its_schema(name: Any) -> None:
    schema = DOCUMENT["x-projections"][name]["$ref"].rpartition("/")[2]
    for events in (barge_in(), barge_in()[:16], long_session()):
        view = msgspec.to_builtins(project(fold(events), name))
        _validator(schema).validate(json.loads(json.dumps(view)))
    assert not _fits(schema, {})
