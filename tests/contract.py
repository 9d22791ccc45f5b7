"""The project's own validator: what goes over the wire in a test, against `/protocol.json`.

The document binds the server and forgives it new fields, as a client has to.  Here nothing is
forgiven: a field that the contract does not name is drift, of the server or of the contract.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

from jsonschema_rs import Draft7Validator, ValidationError

from bargein.protocol.codec import CommandRefused, decode_command
from bargein.protocol.contract import document
from bargein.protocol.projections import PROJECTIONS
from bargein.protocol.schemas import SCHEMAS

DOCUMENT: Final = document()


class ContractBroken(AssertionError):
    """What went over the wire is not what `/protocol.json` says.

    Attributes:
        name: Of the schema that it should fit.
        at: The part of the frame that does not.
        rule: The part of the schema that says so.
    """

    def __init__(self, name: str, at: str, rule: str, why: str, body: object) -> None:
        shown = json.dumps(body, default=str)[:500]
        super().__init__(f"{name}: at {at or 'the frame itself'} against {rule}: {why}\n  {shown}")
        self.name = name
        self.at = at
        self.rule = rule


def check_sent(body: Mapping[str, Any]) -> None:
    """Check an event or frame of the server's.

    Raises:
        ContractBroken: It is not as the contract says; mend one of the two.
    """
    sort = "event" if "event_id" in body else "frame"
    check(f"{sort}.{body.get('type')}", body)
    match body:
        case {"type": "reply", "result": {"events": [*events], "next": _}}:
            for event in cast("list[dict[str, Any]]", events):
                check_sent(event)
        case _:
            pass


def check_view(name: str, view: object) -> None:
    """Check the answer to a `projection`.

    Raises:
        ContractBroken: As above.
    """
    check(PROJECTIONS[name].__name__, view)


def check_command(text: str) -> str | None:
    """Check a command that the server takes; return which view it asks for, if one.

    One that the server refuses, or a line of a person, is nobody's promise.

    Raises:
        ContractBroken: The server takes it, and the contract does not allow it.
    """
    try:
        command, body = decode_command(text)
    except CommandRefused:
        return None
    # Null is the same as none at all.
    given = {key: value for key, value in body.items() if value is not None}
    check(f"command.{command.type}", given)
    return body["name"] if command.type == "projection" else None


def check(name: str, body: object) -> None:
    """Check *body* against the schema called *name*.

    Raises:
        ContractBroken: As above.
    """
    schemas: dict[str, Any] = DOCUMENT["components"]["schemas"]
    if name not in schemas:
        raise ContractBroken(name, "/type", f"{SCHEMAS}*", "there is no such schema", body)
    try:
        _validator(name).validate(body)
    except ValidationError as error:
        at = "".join(f"/{part}" for part in error.instance_path)
        rule = "/".join(map(str, error.schema_path))
        raise ContractBroken(name, at, f"{name}/{rule}", error.message, body) from None


@cache
def _validator(name: str) -> Draft7Validator:
    # A command may have fields that the server ignores.
    components = DOCUMENT["components"] if name.startswith("command.") else _strict()
    return Draft7Validator({"$ref": SCHEMAS + name, "components": components})


@cache
def _strict() -> Any:
    return _without_more(DOCUMENT["components"])


def _without_more(node: Any) -> Any:
    """Return *node* with every object in it closed to fields that it does not name."""
    if isinstance(node, list):
        return [_without_more(value) for value in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    below = {key: _without_more(value) for key, value in fields.items()}
    if isinstance(below.get("properties"), dict) and below.get("type") == "object":
        below["additionalProperties"] = False
    return below
