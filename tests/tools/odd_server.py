"""An MCP server that misbehaves in the way that it is told, written without the SDK.

python odd_server.py ODDITY
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

ODDITY = sys.argv[1]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}

CONTENT: list[dict[str, Any]] = [
    {"type": "text", "text": "one"},
    {"type": "image", "data": "MTIzNDU=", "mimeType": "image/png"},
    {"type": "audio", "data": "MTIzNDU=", "mimeType": "audio/wav"},
    {"type": "resource_link", "uri": "file:///a.txt", "name": "a"},
    {"type": "resource", "resource": {"uri": "file:///b.txt", "text": "inside"}},
    {"type": "resource", "resource": {"uri": "file:///c.bin", "blob": "MTIz"}},
]

RESULTS: dict[str, dict[str, Any]] = {
    "wrong": {"content": 5},
    "mismatch": {"content": [], "structuredContent": {"n": "three"}},
    "blocks": {"content": CONTENT},
    "texts": {"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    "wordless": {"content": [], "isError": True},
}


def _tools() -> list[dict[str, Any]]:
    tools: list[dict[str, Any]] = [{"name": "act", "title": "Act!", "inputSchema": SCHEMA}]
    if ODDITY == "mismatch":
        tools[0]["outputSchema"] = {"type": "object", "properties": {"n": {"type": "integer"}}}
    if ODDITY == "many":
        tools = [{"name": f"t{n}", "inputSchema": SCHEMA} for n in range(300)]
    if ODDITY == "names":
        names = ("a.b", "a/b", "x" * 65, "")
        tools = [{"name": name, "inputSchema": SCHEMA} for name in names]
    return tools


def _answer(message: dict[str, Any]) -> dict[str, Any] | None:
    match message["method"]:
        case "initialize":
            return {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "odd", "version": "1"},
            }
        case "tools/list":
            return {"tools": _tools()} | ({"nextCursor": "on"} if ODDITY == "pages" else {})
        case "tools/call":
            return RESULTS.get(ODDITY, {"content": [{"type": "text", "text": "done"}]})
        case _:
            return None


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _misbehave(method: str) -> None:
    match ODDITY, method:
        case "mute", _:
            time.sleep(600)  # noqa: TID251 - it is the fault that is played
        case "flood", "tools/call":
            _write("no JSON at all\n" * 200)
        case "stray", _:
            _write("starting…\n\n{}\n[1]\n")
        case "endless", "tools/call":
            _write("x" * 5_000_000)
        case "deaf", "tools/list":
            pass
        case "gone", "tools/call":
            os._exit(1)
        case "shut", "tools/call":
            os.close(0)
            time.sleep(600)  # noqa: TID251 - as above
        case _:
            pass


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        _misbehave(message["method"])
        result = _answer(message)
        answer = {"result": result} if result else {"error": {"code": -32601, "message": "no"}}
        if message["method"] == "tools/call" and ODDITY == "refuses":
            answer = {"error": {"code": -32602, "message": "not so"}}
        _write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}) + "\n")
        if ODDITY == "deaf" and message["method"] == "tools/list":
            time.sleep(600)  # noqa: TID251 - as above


main()
