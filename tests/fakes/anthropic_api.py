"""A fake of Anthropic's Messages API: a real HTTP server on loopback that plays what it is told.

In a test:

    async with serving([saying("Hello ", "you")]) as api:
        ...  # ask api.url; look at api.exchanges

On its own, for benchmarks:

    python -m tests.fakes.anthropic_api --port 0 --tokens 200 --interval-ms 20 --first-ms 200

It answers in HTTP/1.1, chunked, keeps connections alive, and notices a client that hangs up while
it sleeps between two tokens.
"""

from __future__ import annotations

import argparse
import json
import ssl
import zlib
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias, assert_never

import trio
from attrs import define, field, frozen

from tests.fakes.anthropic_answers import (
    Answer,
    Call,
    Cut,
    Fail,
    Hang,
    Leave,
    Ping,
    Plain,
    Raw,
    Refusal,
    Say,
    Silence,
    Step,
    Stop,
    Stream,
    Wait,
    saying,
)
from tests.fakes.anthropic_format import (
    LAST_CHUNK,
    block_start,
    chunk,
    event,
    head,
    message_start,
    text_chunk,
    text_event,
)

REMEMBERED: Final = 10_000
HEAD_LIMIT_BYTES: Final = 64 * 1024


@define(eq=False)
class Exchange:
    """One request and what became of its answer."""

    body: dict[str, Any]
    headers: Mapping[str, str]
    connection: int
    tokens_sent: int = 0
    finished: bool = False
    disconnected_at_s: float | None = None
    over: trio.Event = field(factory=trio.Event)
    _gone: trio.Event = field(factory=trio.Event)

    @property
    def client_gone(self) -> bool:
        """Whether the client hung up before the answer's end."""
        return self.disconnected_at_s is not None

    def note_disconnect(self) -> None:
        if self.disconnected_at_s is None and not self.finished:
            self.disconnected_at_s = trio.current_time()
            self._gone.set()

    async def gone(self) -> float:
        """Wait until the client hangs up; return when it was noticed, on trio's clock."""
        await self._gone.wait()
        assert self.disconnected_at_s is not None
        return self.disconnected_at_s


AnyStream: TypeAlias = "trio.SocketStream | trio.SSLStream[trio.SocketStream]"
Script: TypeAlias = Callable[[Exchange], Answer]


def in_turn(answers: Sequence[Answer]) -> Script:
    """Return a script that gives *answers* one after the other, and the last one for ever."""
    left = deque(answers)

    def script(_: Exchange) -> Answer:
        return left.popleft() if len(left) > 1 else left[0]

    return script


@define(eq=False)
class FakeAnthropic:
    """The server.  Lives as long as its nursery."""

    script: Script
    tls: ssl.SSLContext | None = None
    port: int = 0
    connections: int = 0
    open_connections: int = 0
    exchanges: deque[Exchange] = field(factory=lambda: deque[Exchange](maxlen=REMEMBERED))
    _changed: trio.Event = field(factory=trio.Event)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [exchange.body for exchange in self.exchanges]

    async def exchange(self, index: int = 0) -> Exchange:
        """Wait for request number *index*."""
        while len(self.exchanges) <= index:
            await self._changed.wait()
        return self.exchanges[index]

    async def serve(
        self, port: int = 0, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=2048)
        self.port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(
            self._connected,
            listeners,
            task_status=_Started(task_status),  # pyright: ignore[reportArgumentType]
        )

    async def _connected(self, stream: trio.SocketStream) -> None:
        number = self.connections
        self.connections += 1
        self.open_connections += 1
        try:
            async with stream:
                plain_or_not: AnyStream = stream
                if self.tls is not None:
                    plain_or_not = trio.SSLStream(
                        stream, self.tls, server_side=True, https_compatible=True
                    )
                await _Connection(self, plain_or_not, number).run()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the exchange knows
        finally:
            self.open_connections -= 1
            self._tell()

    async def closed(self) -> None:
        """Wait until no connection is open."""
        while self.open_connections:
            await self._changed.wait()

    def record(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@frozen
class _Started:
    """Says that the server has started, without handing its listeners around."""

    _status: trio.TaskStatus[None]

    def started(self, _: object = None) -> None:
        self._status.started()


@define(eq=False)
class _Connection:
    """One connection: requests in, answers out."""

    _api: FakeAnthropic
    _stream: AnyStream
    _number: int
    _read: bytearray = field(factory=bytearray, init=False)

    async def run(self) -> None:
        while True:
            exchange = await self._request()
            if exchange is None:
                return
            self._api.record(exchange)
            keep = False
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, exchange, nursery.cancel_scope)
                try:
                    keep = await _Playing(self._stream, exchange).play(self._api.script(exchange))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    exchange.note_disconnect()
                nursery.cancel_scope.cancel()
            exchange.over.set()
            if not keep:
                return

    async def _watch(self, exchange: Exchange, playing: trio.CancelScope) -> None:
        """Read on while the answer is played: this is how a hang-up is noticed at once."""
        try:
            while piece := await self._stream.receive_some():
                self._read += piece
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        exchange.note_disconnect()
        playing.cancel()

    async def _request(self) -> Exchange | None:
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            piece = await self._stream.receive_some()
            if not piece or len(self._read) > HEAD_LIMIT_BYTES:
                return None
            self._read += piece
        lines = self._read[:end].decode("ascii").split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        whole = end + 4 + int(headers.get("content-length", "0"))
        while len(self._read) < whole:
            piece = await self._stream.receive_some()
            if not piece:
                return None
            self._read += piece
        body = json.loads(self._read[end + 4 : whole] or b"{}")
        del self._read[:whole]
        return Exchange(body, headers, self._number)


class Compressor(Protocol):
    """What `zlib.compressobj` returns."""

    def compress(self, body: bytes, /) -> bytes: ...

    def flush(self, mode: int = ..., /) -> bytes: ...


@define(eq=False)
class _Playing:
    """One answer on its way out."""

    _stream: AnyStream
    _exchange: Exchange
    _index: int = field(default=-1, init=False)
    _texting: bool = field(default=False, init=False)
    _due_s: float = field(factory=trio.current_time, init=False)
    _gzip: Compressor | None = field(default=None, init=False)

    async def play(self, answer: Answer) -> bool:
        """Play *answer*; return whether the connection may be used again."""
        match answer:
            case Stream():
                return await self._play_stream(answer)
            case Refusal(status, kind, message):
                failure = {"type": "error", "error": {"type": kind, "message": message}}
                body = json.dumps(failure).encode()
                extra = {"content-type": "application/json", "content-length": str(len(body))}
                await self._stream.send_all(head(status, {**extra, **answer.headers}) + body)
                self._exchange.finished = True
                return True
            case Plain(response):
                await self._stream.send_all(response)
                self._exchange.finished = True
                return False
            case Silence():
                await trio.sleep_forever()
                return False
            case _:
                assert_never(answer)

    async def _play_stream(self, answer: Stream) -> bool:
        framing = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        if answer.gzipped:
            framing["content-encoding"] = "gzip"
            self._gzip = zlib.compressobj(wbits=31)
        model = str(self._exchange.body.get("model"))
        opening = head(200, {**framing, **answer.headers})
        await self._stream.send_all(opening + self._framed(message_start(model)))
        if answer.first_s:
            await self._wait(answer.first_s)
        spoke = False
        for step in answer.steps:
            if isinstance(step, Say):
                if spoke and answer.interval_s:
                    await self._wait(answer.interval_s)
                spoke = True
                await self._say(step.text)
                continue
            over = await self._do(step)
            if over is not None:
                return over
        return await self._end("end_turn")

    async def _do(self, step: Step) -> bool | None:
        """Do *step*; return None to go on, else whether the connection may be used again."""
        match step:
            case Say(text):
                await self._say(text)
            case Wait(s):
                await self._wait(s)
            case Call():
                await self._call(step)
            case Raw(body):
                await self._send(body)
            case Ping():
                await self._send(event({"type": "ping"}))
            case Fail(kind):
                error = {"type": kind, "message": "a fake error"}
                await self._send(event({"type": "error", "error": error}), last=True)
                return True
            case Cut():
                self._exchange.finished = True
                return False
            case Leave():
                await self._send(b"", last=True)
                return True
            case Hang():
                await trio.sleep_forever()
            case Stop(reason):
                return await self._end(reason)
            case _:
                assert_never(step)
        return None

    async def _wait(self, s: float) -> None:
        # On a schedule, so that a busy machine doesn't stretch the whole answer.
        self._due_s = max(self._due_s + s, trio.current_time() - 1)
        await trio.sleep_until(self._due_s)

    async def _say(self, text: str) -> None:
        opening = b""
        if not self._texting:
            self._index += 1
            self._texting = True
            opening = block_start(self._index, {"type": "text", "text": ""})
        if self._gzip is None and not opening:
            await self._stream.send_all(text_chunk(self._index, text))
        else:
            await self._send(opening + text_event(self._index, text))
        self._exchange.tokens_sent += 1

    async def _call(self, call: Call) -> None:
        await self._close_text()
        self._index += 1
        block: dict[str, Any] = {
            "type": "tool_use",
            "id": call.call_id,
            "name": call.tool,
            "input": {},
        }
        await self._send(block_start(self._index, block))
        for piece in call.pieces:
            delta = {"type": "input_json_delta", "partial_json": piece}
            piece_of_json = {"type": "content_block_delta", "index": self._index, "delta": delta}
            await self._send(event(piece_of_json))
        await self._send(event({"type": "content_block_stop", "index": self._index}))

    async def _close_text(self) -> None:
        if self._texting:
            self._texting = False
            await self._send(event({"type": "content_block_stop", "index": self._index}))

    async def _end(self, reason: str) -> bool:
        await self._close_text()
        delta = {"stop_reason": reason, "stop_sequence": None}
        usage = {"output_tokens": self._exchange.tokens_sent}
        summary = event({"type": "message_delta", "delta": delta, "usage": usage})
        await self._send(summary + event({"type": "message_stop"}), last=True)
        return True

    async def _send(self, body: bytes, *, last: bool = False) -> None:
        if last:
            self._exchange.finished = True
        await self._stream.send_all(self._framed(body, last=last) + (LAST_CHUNK if last else b""))

    def _framed(self, body: bytes, *, last: bool = False) -> bytes:
        if self._gzip is not None:
            mode = zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH
            body = self._gzip.compress(body) + self._gzip.flush(mode)
        return chunk(body) if body else b""


@asynccontextmanager
async def serving(
    script: Script | Sequence[Answer], port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[FakeAnthropic]:
    """Serve for as long as the context lasts; *script* is asked for each request's answer."""
    api = FakeAnthropic(script if callable(script) else in_turn(script), tls)
    async with trio.open_nursery() as nursery:
        await nursery.start(api.serve, port)
        try:
            yield api
        finally:
            nursery.cancel_scope.cancel()


async def _serve_alone(arguments: argparse.Namespace) -> None:
    words = tuple(f"token{number % 100:02d} " for number in range(arguments.tokens))
    answer = saying(
        *words, interval_s=arguments.interval_ms / 1000, first_s=arguments.first_ms / 1000
    )
    with trio.move_on_after(arguments.lifetime_s):
        async with serving([answer], arguments.port) as api:
            print(api.port, flush=True)  # noqa: T201
            await trio.sleep_forever()


def main() -> None:
    """Serve on loopback until killed, or for `--lifetime-s`."""
    parser = argparse.ArgumentParser(description="A fake of Anthropic's Messages API.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--interval-ms", type=float, default=20)
    parser.add_argument("--first-ms", type=float, default=200)
    parser.add_argument("--lifetime-s", type=float, default=3600)
    trio.run(_serve_alone, parser.parse_args())


if __name__ == "__main__":
    main()
