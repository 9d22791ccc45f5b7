"""The contract as data: an AsyncAPI 3 document, generated from the protocol's own classes.

Served at `/protocol.json`; the JavaScript SDK's types come from it.  It says what the
server sends and takes, and nothing that the classes don't say, so that it can't drift.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, get_args

import msgspec

from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import COMMANDS, FOR_WATCHERS, Role
from bargein.protocol.events import PAYLOADS
from bargein.protocol.frames import FRAMES
from bargein.protocol.gate import MOST_DEPTH, MOST_KEYS, MOST_NODES, SAFE_INTEGER
from bargein.protocol.projections import PROJECTIONS
from bargein.protocol.schemas import SCHEMAS, Schema, all_schemas, opening

VERSION: Final = "1.0.0"
SUBPROTOCOL: Final = "bargein.v1"
JWT_SUBPROTOCOL: Final = "bargein.jwt."
DEFAULT_HOST: Final = "127.0.0.1:8710"

_NEW, _ATTACHED = "new_session", "session"

HTTP: Final[dict[str, dict[str, str]]] = {
    "/": {
        "summary": "The web console; where it is switched off, a page for people with a terminal.",
        "content": "text/html",
    },
    "/healthz": {
        "summary": "200 while the process lives.",
        "content": "text/plain",
    },
    "/readyz": {
        "summary": "200 while new sessions can be served, else 503 and one sentence that says why.",
        "content": "text/plain",
    },
    "/metrics": {
        "summary": "Counters and gauges in the text format of Prometheus.",
        "content": "text/plain",
    },
    "/protocol.json": {
        "summary": "This document.",
        "content": "application/json",
    },
    "/v1/sessions": {
        "summary": "The principal's own sessions, by pages, newest activity first.",
        "content": "application/json",
    },
    "/sdk/index.js": {
        "summary": "The JavaScript SDK, its other modules beside it; any page may import it.",
        "content": "text/javascript",
    },
}
"""What a plain GET on the same port finds; AsyncAPI has no words for it."""


@cache
def encoded() -> bytes:
    """Return the document as JSON that people can read.  Lives as long as the process."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=2) + b"\n"


def document() -> dict[str, Any]:
    """Return the contract, the same at every call; the caller may change its copy."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "bargein",
            "version": VERSION,
            "description": (
                "Real-time agent sessions over WebSocket. One JSON object per text frame. "
                "A frame is a timeline event exactly if it has an event_id; "
                "ignore types and fields that you do not know."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": DEFAULT_HOST,
                "protocol": "ws",
                "description": "A server with its default settings.",
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": all_schemas()},
        "x-subprotocol": SUBPROTOCOL,
        "x-jwt-subprotocol-prefix": JWT_SUBPROTOCOL,
        "x-limits": {
            "depth": MOST_DEPTH,
            "keys": MOST_KEYS,
            "values": MOST_NODES,
            "integer": SAFE_INTEGER,
        },
        "x-error-codes": {
            code.value: {"description": code.sentence, "retryable": code.retryable}
            for code in ErrorCode
        },
        "x-close-codes": {
            str(code.value): {
                "name": code.name.lower(),
                "description": code.sentence,
                "reconnect": code.reconnect,
            }
            for code in CloseCode
        },
        "x-projections": {
            name: {"$ref": SCHEMAS + kind.__name__} for name, kind in PROJECTIONS.items()
        },
        "x-watcher-commands": [kind.type for kind in FOR_WATCHERS],
        "x-http": {path: dict(said) for path, said in HTTP.items()},
    }


# --- where to connect ----------------------------------------------------------------


def _channels() -> dict[str, Any]:
    view = {
        "enum": ["json", "text"],
        "default": "json",
        "description": "`text` sends lines for a person to read instead of JSON.",
    }
    role = {
        "enum": list(get_args(Role)),
        "default": "drive",
        "description": "`watch` gets every event and changes nothing.",
    }
    after = {
        "type": "integer",
        "minimum": 0,
        "description": "Replay what comes after this seq; without it, everything.",
    }
    epoch = {
        "type": "string",
        "description": "The epoch that `hello` named when that seq was received.",
    }
    return {
        _NEW: {
            "address": "/v1/session",
            "description": "Opens a new session.",
            "messages": _messages_of_channel(),
            "bindings": _websocket({"view": view, "role": role}),
        },
        _ATTACHED: {
            "address": "/v1/session/{session_id}",
            "description": "Attaches to a session, or resumes it.",
            "parameters": {"session_id": {"description": "As `hello` named it."}},
            "messages": _messages_of_channel(),
            "bindings": _websocket({"after": after, "epoch": epoch, "view": view, "role": role}),
        },
    }


def _websocket(query: dict[str, Schema]) -> dict[str, Any]:
    schema: Schema = {"type": "object", "properties": query}
    return {"ws": {"method": "GET", "query": schema, "bindingVersion": "0.1.0"}}


def _messages_of_channel() -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in _messages()}


def _operations() -> dict[str, Any]:
    # An operation is named from the server's side.
    operations: dict[str, Any] = {}
    for channel in (_NEW, _ATTACHED):
        names = {
            name: {"$ref": f"#/channels/{channel}/messages/{name}"}
            for name in _messages_of_channel()
        }
        of_commands = [ref for name, ref in names.items() if name.startswith("command.")]
        operations[f"{channel}.receive"] = {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": "Takes a command.",
            "messages": of_commands,
            "reply": {
                "channel": {"$ref": f"#/channels/{channel}"},
                "messages": [names["frame.reply"], names["frame.error"]],
            },
        }
        operations[f"{channel}.send"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": "Sends events of the timeline, and frames of this connection alone.",
            "messages": [ref for ref in names.values() if ref not in of_commands],
        }
    return operations


# --- what is said --------------------------------------------------------------------


def _messages() -> dict[str, Any]:
    said: tuple[tuple[str, dict[str, type[Any]]], ...] = (
        ("command", dict(COMMANDS)),
        ("event", dict(PAYLOADS)),
        ("frame", dict(FRAMES)),
    )
    return {
        f"{sort}.{name}": {
            "name": name,
            "title": kind.__name__,
            "summary": opening(kind.__doc__),
            "payload": {"$ref": f"{SCHEMAS}{sort}.{name}"},
        }
        for sort, kinds in said
        for name, kind in kinds.items()
    }
