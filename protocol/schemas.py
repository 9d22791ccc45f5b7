"""JSON Schemas of everything that is said on the wire, made from the classes themselves.

They bind the server: what it sends fits.  They don't forbid fields that they don't name, because
a client has to ignore what it doesn't know.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bargein.protocol.commands import COMMANDS
from bargein.protocol.events import PAYLOADS
from bargein.protocol.frames import FRAMES
from bargein.protocol.ids import TURN_ID
from bargein.protocol.projections import PROJECTIONS
from bargein.protocol.wording import sentence_of

SCHEMAS: Final = "#/components/schemas/"
"""Where a schema stands in the document, in front of its name."""

Schema = dict[str, Any]


def all_schemas() -> dict[str, Schema]:
    """Return every schema by its name: `command.…`, `event.…`, `frame.…`, or that of a class."""
    kinds = (*COMMANDS.values(), *PAYLOADS.values(), *FRAMES.values(), *PROJECTIONS.values())
    _, parts = msgspec.json.schema_components(kinds, ref_template=SCHEMAS + "{name}")
    # Through JSON, because a default may be a tuple.
    parts = msgspec.json.decode(msgspec.json.encode(parts), type=dict[str, Schema])
    by_name = _classes_within(kinds)
    parts = {name: _readable(by_name.get(name, name), parts[name]) for name in sorted(parts)}
    whole: dict[str, Schema] = {}
    for sort, kinds_of_sort in (("command", COMMANDS), ("frame", FRAMES)):
        for name, kind in kinds_of_sort.items():
            # A command or frame is flat: its type stands among its fields.
            whole[f"{sort}.{name}"] = _with_type(name, parts.pop(kind.__name__))
    for name, kind in PAYLOADS.items():
        whole[f"event.{name}"] = _envelope(name, kind)
    return {**whole, **parts}


def opening(docstring: str | None) -> str:
    """Return the first sentence of *docstring*; nothing where the interpreter strips them."""
    return " ".join((docstring or "").partition("\n\n")[0].split())


def _classes_within(kinds: tuple[type[Any], ...]) -> dict[str, type[Any]]:
    """Return the classes that *kinds* are made of, themselves included, by name."""
    found: dict[str, type[Any]] = {}
    waiting = list[msgspec.inspect.Type](msgspec.inspect.multi_type_info(kinds))
    while waiting:
        match waiting.pop():
            case msgspec.inspect.DataclassType(cls=cls, fields=fields):
                if cls.__name__ not in found:
                    found[cls.__name__] = cls
                    waiting += [field.type for field in fields]
            case msgspec.inspect.UnionType(types=types):
                waiting += types
            case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.Metadata(type=item):
                waiting.append(item)
            case _:
                pass
    return found


def _readable(kind: type[Any] | str, schema: Schema) -> Schema:
    schema = {**schema, "description": opening(schema.get("description"))}
    if "properties" not in schema:
        return schema
    # A field whose wire name is a Python keyword ends with an underscore here.
    properties = {name.rstrip("_"): field for name, field in schema["properties"].items()}
    properties = {name: _told(kind, name, field) for name, field in properties.items()}
    required = [name.rstrip("_") for name in schema["required"]]
    return {**schema, "properties": properties, "required": required}


def _told(kind: type[Any] | str, name: str, field: Schema) -> Schema:
    sentence = sentence_of(kind, name)
    return field if sentence is None else {"description": sentence, **field}


def _with_type(name: str, schema: Schema) -> Schema:
    properties = {"type": _told("", "type", {"const": name}), **schema["properties"]}
    return {**schema, "properties": properties, "required": ["type", *schema["required"]]}


def _envelope(name: str, kind: type[Any]) -> Schema:
    properties: Schema = {
        "session_id": {"type": "string"},
        "seq": {"type": "integer", "minimum": 1},
        "event_id": {"type": "string"},
        "ts": {"type": "string", "format": "date-time"},
        "type": {"const": name},
        "turn_id": {"type": ["string", "null"], "pattern": TURN_ID},
        "parent_event_id": {"type": ["string", "null"]},
        "payload": {"$ref": SCHEMAS + kind.__name__},
    }
    required = list(properties)
    if name == "model.token":
        properties["first_seq"] = {"type": "integer", "minimum": 1}
    return {
        "title": f"{kind.__name__}Event",
        "description": opening(kind.__doc__),
        "type": "object",
        "properties": {key: _told("Event", key, field) for key, field in properties.items()},
        "required": required,
    }
