"""/protocol.json against the JSON Schema that the makers of AsyncAPI publish."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator

from bargein.protocol.contract import document
from tests.project.tree import ROOT

SPECS = ROOT / "tests" / "asyncapi" / "node_modules" / "@asyncapi" / "specs" / "schemas"
THERE = SPECS.exists()

# Where everything has to be there, its absence is a failure and not a reason to skip.
pytestmark = pytest.mark.skipif(
    not THERE and os.environ.get("CI") != "true",
    reason="tests/asyncapi is not installed: `make test` does that where npm is",
)


def complaints(contract: dict[str, Any]) -> list[str]:
    """Return what AsyncAPI has against a document, and where."""
    name = f"{contract['asyncapi']}-without-$id.json"
    schema = json.loads((SPECS / name).read_text(encoding="utf-8"))
    found = Draft7Validator(schema).iter_errors(contract)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in found]


def test_the_contract_is_valid_asyncapi_3() -> None:
    assert document()["asyncapi"] == "3.0.0"
    assert complaints(document()) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("info",), {"title": "bargein"}),
        (("operations", "session.send", "action"), "shout"),
        (("channels", "session", "address"), 7),
        (("components", "schemas", "Hello"), {"type": "nothing"}),
        (("components", "messages", "event.status", "examples"), "none"),
        (("limits",), {}),
    ],
)
def test_what_is_no_asyncapi_is_seen(place: tuple[str, ...], value: Any) -> None:
    contract = document()
    *path, last = place
    node = contract
    for part in path:
        node = node[part]
    node[last] = value
    assert complaints(contract) != []
