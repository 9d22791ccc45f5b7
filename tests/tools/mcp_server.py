"""An MCP server for the tests, as a program: over stdio, or over HTTP on a given socket.

python mcp_server.py stdio|http FD [option…]
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from typing import Annotated, Any

import anyio
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

OPTIONS = frozenset(sys.argv[3:])
READ = ToolAnnotations(read_only_hint=True)

server = MCPServer("for tests", log_level="CRITICAL")
started = anyio.Event()
cancelled = anyio.Event()


class Total(BaseModel):
    total: int
    note: str


@server.tool(annotations=None if "changed" in OPTIONS else READ)
def echo(text: str) -> str:
    """Say the same."""
    return text


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
def put(amount: int, pin: Annotated[str, Field(json_schema_extra={"writeOnly": True})]) -> Total:
    """Put an amount in."""
    return Total(total=amount + 1, note=str(len(pin)))


@server.tool()
def fail() -> str:
    raise ValueError("no such account")


@server.tool(name="odd.name/here")
def odd() -> str:
    return "odd"


@server.tool(annotations=READ)
async def hang(context: Context) -> str:
    started.set()
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled.set()
        raise
    return "never"


@server.tool(annotations=READ)
async def hanging() -> str:
    """Answer as soon as `hang` runs."""
    with anyio.fail_after(10):
        await started.wait()
    return "yes"


@server.tool(annotations=READ)
async def was_cancelled() -> str:
    """Answer as soon as `hang` was cancelled."""
    with anyio.fail_after(10):
        await cancelled.wait()
    return "yes"


@server.tool(annotations=READ)
async def count(context: Context) -> str:
    await context.report_progress(1, 4, "a quarter")
    await context.report_progress(2)
    return "counted"


@server.tool(annotations=READ)
async def key(context: Context) -> str:
    meta: Any = context.request_context.meta
    return str(dict(meta or {}).get("idempotencyKey"))


@server.tool(annotations=READ, structured_output=False)
def picture() -> list[Any]:
    return ["look:", Image(data=b"12345", format="png")]


@server.tool(annotations=READ)
def environment() -> str:
    return ",".join(sorted(os.environ))


@server.tool(annotations=READ)
def die() -> str:
    os._exit(3)


@server.tool(annotations=READ)
def pids() -> list[int]:
    return [os.getpid(), *(child.pid for child in children)]


@server.tool(annotations=READ)
def long(chars: int) -> str:
    return "x" * chars


@server.tool(annotations=READ)
def complain() -> str:
    os.write(2, b"a complaint\n" + b"y" * 5_000_000)
    return "complained"


children: list[subprocess.Popen[bytes]] = []

if __name__ == "__main__":
    if "children" in OPTIONS:
        # It ignores what a polite end would be, and outlives its parent where it may.
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        children.append(subprocess.Popen([sys.executable, "-c", code]))
    if "stubborn" in OPTIONS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.argv[1] == "stdio":
        server.run()
        if "stubborn" in OPTIONS:
            while True:
                signal.pause()
    else:
        import uvicorn

        app = server.streamable_http_app(json_response="json" in OPTIONS)
        listener = socket.socket(fileno=int(sys.argv[2]))
        uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
