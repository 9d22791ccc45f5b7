"""A chat server with barge-in as one writes it by hand in an afternoon: FastAPI and task.cancel.

    ANTHROPIC_API_KEY=… python -m examples.bench.peers.fastapi_server --port 8720

It is what `make bench` compares with, beside node/server.mjs, which speaks the same: frames of
JSON on one WebSocket at `/ws`.

    → {"type": "say", "id", "text"}         the user's words; they stop the turn that runs
    → {"type": "interrupt", "id"}           stop the turn that runs
    ← {"type": "ready"}                     first
    ← {"type": "started", "id", "turn"}     these words are being answered
    ← {"type": "token", "turn", "text"}
    ← {"type": "stopped", "turn"}           no token of it after this
    ← {"type": "done", "turn"}              answered to the end
    ← {"type": "idle", "id"}                there was nothing to interrupt
    ← {"type": "error", "turn"?, "message"}

It keeps the history in memory and nothing else: no timeline, no resume, nothing after a restart.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any, Final

import click
import uvicorn
import uvloop
from anthropic import AnthropicError, AsyncAnthropic
from anthropic.types import MessageParam
from attrs import define, field
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

MODEL: Final = os.environ.get("MODEL", "claude-sonnet-5-5")
MOST_ANSWER_TOKENS: Final = 4096


@define(eq=False)
class Conversation:
    """One user on one connection."""

    _socket: WebSocket
    _model: AsyncAnthropic
    _history: list[MessageParam] = field(factory=list[MessageParam], init=False)
    _turn: int = field(default=0, init=False)
    _running: asyncio.Task[None] | None = field(default=None, init=False)

    async def run(self) -> None:
        """Serve until the user goes."""
        await self._socket.accept()
        await self._socket.send_json({"type": "ready"})
        try:
            while True:
                await self._take(await self._socket.receive_json())
        except WebSocketDisconnect:
            pass
        finally:
            if self._running is not None:
                self._running.cancel()

    async def _take(self, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "say", "id": str(asked), "text": str(text)}:
                await self._stop()
                self._turn += 1
                self._history.append({"role": "user", "content": text})
                await self._socket.send_json({"type": "started", "id": asked, "turn": self._turn})
                self._running = asyncio.create_task(self._answer(self._turn))
            case {"type": "interrupt", "id": str(asked)}:
                if not await self._stop():
                    await self._socket.send_json({"type": "idle", "id": asked})
            case _:
                await self._socket.send_json({"type": "error", "message": "no such frame"})

    async def _stop(self) -> bool:
        """Stop the running turn; return False if there is none."""
        task, self._running = self._running, None
        if task is None or task.done():
            return False
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        if not task.cancelled():
            return False  # it came to its end at this very moment
        await self._socket.send_json({"type": "stopped", "turn": self._turn})
        return True

    async def _answer(self, turn: int) -> None:
        said = ""
        try:
            stream = await self._model.messages.create(
                model=MODEL, max_tokens=MOST_ANSWER_TOKENS, messages=self._history, stream=True
            )
            async with stream:
                async for event in stream:
                    if event.type != "content_block_delta" or event.delta.type != "text_delta":
                        continue
                    text = event.delta.text
                    said += text
                    await self._socket.send_json({"type": "token", "turn": turn, "text": text})
            await self._socket.send_json({"type": "done", "turn": turn})
        except AnthropicError as error:
            await self._socket.send_json({"type": "error", "turn": turn, "message": str(error)})
        finally:
            if said:
                self._history.append({"role": "assistant", "content": said})


def served(model: AsyncAnthropic) -> FastAPI:
    """Return the application; *model* lives as long as it does."""
    app = FastAPI()

    @app.websocket("/ws")
    async def converse(websocket: WebSocket) -> None:
        await Conversation(websocket, model).run()

    return app


async def serve(port: int) -> None:
    """Serve on loopback until told to stop."""
    with socket.create_server(("127.0.0.1", port), backlog=2048) as listener:
        async with AsyncAnthropic(max_retries=0) as model:
            server = uvicorn.Server(uvicorn.Config(served(model), log_level="warning"))
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
            click.echo(f"peer serves {url}")
            await server.serve(sockets=[listener])


@click.command()
@click.option("--port", default=0, help="0 lets the system choose one.")
def main(port: int) -> None:
    """Serve on loopback until told to stop."""
    uvloop.run(serve(port))


if __name__ == "__main__":
    main()
