"""Writes the SDK's types/protocol.d.ts from /protocol.json: python -m tests.sdk.protocol_types.

What the server sends has every field that has a default; what a client sends need not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bargein.protocol.contract import document
from tests.project.tree import ROOT

PAGE: Final = ROOT / "sdk" / "javascript" / "types" / "protocol.d.ts"

_REF: Final = "#/components/schemas/"
_HEAD: Final = """\
// Generated from /protocol.json by `python -m tests.sdk.protocol_types`; a test fails when it
// drifts. Fields have their names on the wire.
"""
_PLAIN: Final = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}

Schema = Mapping[str, Any]


def type_of(schema: Schema) -> str:
    """Return the TypeScript type of a JSON Schema."""
    if "$ref" in schema:
        return schema["$ref"].removeprefix(_REF)
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(type_of, schema["anyOf"])))
    match schema.get("type"):
        case "array":
            inner = type_of(schema.get("items", {}))
            return f"({inner})[]" if "|" in inner else f"{inner}[]"
        case "object":
            return "Record<string, any>"
        case [*several]:
            return " | ".join(_PLAIN[str(name)] for name in several)
        case str(name):
            return _PLAIN[name]
        case None:
            return "any"
        case odd:
            raise TypeError(f"no type for {odd!r}")


def interface(name: str, schema: Schema, *, always_sent: bool) -> Iterator[str]:
    """Return the declaration of an object, with what it says of itself."""
    yield f"\n/** {schema['description']} */\n"
    if "enum" in schema:
        yield f"export type {name} =\n"
        yield "".join(f"  | {json.dumps(value)}\n" for value in schema["enum"]).rstrip() + ";\n"
        return
    yield f"export interface {name} {{\n"
    required = schema.get("required", ())
    for field, of_field in schema["properties"].items():
        there = field in required or (always_sent and "default" in of_field)
        yield f"  /** {of_field['description']} */\n"
        yield f"  {field}{'' if there else '?'}: {type_of(of_field)};\n"
    yield "}\n"


def union(name: str, members: list[str], sentence: str) -> Iterator[str]:
    """Return a union of types, one on each line."""
    yield f"\n/** {sentence} */\nexport type {name} =\n"
    yield "".join(f"  | {member}\n" for member in members).rstrip() + ";\n"


def generated() -> str:
    """Return the declarations as they have to be now."""
    contract = document()
    schemas: dict[str, Schema] = contract["components"]["schemas"]
    names = {
        "command": dict[str, str](),
        "frame": dict[str, str](),
        "event": dict[str, str](),
    }
    parts = [_HEAD]
    for key, schema in schemas.items():
        sort, _, wire = key.partition(".")
        if sort in names and wire:
            name = schema["title"] + ("Command" if sort == "command" else "")
            names[sort][wire] = name
            parts += interface(name, schema, always_sent=sort == "frame")
    projections = {view["$ref"].removeprefix(_REF) for view in contract["x-projections"].values()}
    shown = projections | {"ActionView", "Exchange", "TurnLatency", "Step"}
    for key, schema in schemas.items():
        if "." not in key:
            parts += interface(key, schema, always_sent=key in shown)
    parts.append("\n/** Events by their type. */\nexport interface EventMap {\n")
    parts += (f"  {json.dumps(wire)}: {name};\n" for wire, name in names["event"].items())
    parts.append("}\n")
    parts += union(
        "TimelineEvent", ["EventMap[keyof EventMap]"], "A fact of the session, by its `type`."
    )
    parts += union("Command", list(names["command"].values()), "What a client may ask for.")
    parts += union(
        "ConnectionFrame", list(names["frame"].values()), "What concerns one connection alone."
    )
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(generated(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
