"""A model's API that costs next to nothing: for benchmarks, where it shares the machine.

    python -m examples.bench.model_api --tokens 200 --interval-ms 20 --first-ms 200

It speaks Anthropic's format, prints its port, and gives everyone the same answer.  One task sends
the tokens of all answers, each when it is due and in a packet of its own.  The first says how long
it took since the request had come: what the API waits for its own core is no server's fault.

For anything but load there is tests/fakes/anthropic_api.py, which checks what it is asked and can
fail in every way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import count

import click
import trio
from attrs import define, field

from examples.bench.arrival import ANCILLARY_BYTES, arrived_s, first_word, stamp
from tests.fakes.anthropic_format import (
    LAST_CHUNK,
    block_start,
    chunk,
    event,
    head,
    message_start,
    text_event,
)

READ_BYTES = 64 * 1024

RETRY_S = 0.001
"""When to try again a socket that takes nothing."""

HEADERS = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


def opening(model: str) -> bytes:
    """Return what is sent at once: the head of the response, and that a message starts."""
    return head(200, HEADERS) + chunk(message_start(model))


def pieces(tokens: int) -> tuple[bytes, ...]:
    """Return an answer, one piece a token; the first has room for its time, the last the end."""
    words = [first_word(0.0), *(f"token{number % 100:02d} " for number in range(1, tokens))]
    texts = [text_event(0, word) for word in words]
    texts[0] = block_start(0, {"type": "text", "text": ""}) + texts[0]
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    end = event({"type": "content_block_stop", "index": 0})
    end += event({"type": "message_delta", "delta": stop, "usage": {"output_tokens": tokens}})
    end += event({"type": "message_stop"})
    return (*map(chunk, texts[:-1]), chunk(texts[-1]) + chunk(end) + LAST_CHUNK)


@define(eq=False)
class Answer:
    """One answer on its way.

    Attributes:
        over: All is sent, or nobody listens any more.
    """

    _fd: int
    _pieces: Sequence[bytes]
    _asked_s: float
    over: bool = field(default=False, init=False)
    _next: int = field(default=0, init=False)
    _rest: bytes = field(default=b"", init=False)

    def send(self) -> bool:
        """Send the next piece; return False if the socket did not take all of it."""
        data = self._rest or self._pieces[self._next]
        if self._next == 0 and not self._rest:
            took_s = trio.current_time() - self._asked_s
            data = data.replace(first_word(0.0).encode(), first_word(took_s).encode())
        try:
            taken = os.write(self._fd, data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.over = True
            return True
        self._rest = data[taken:]
        if self._rest:
            return False
        self._next += 1
        self.over = self._next == len(self._pieces)
        return True


@define(eq=False)
class Metronome:
    """Sends the tokens of all answers, each when it is due."""

    _interval_s: float
    _due: list[tuple[float, int, Answer]] = field(
        factory=list[tuple[float, int, Answer]], init=False
    )
    _ids: count[int] = field(factory=count, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    def play(self, answer: Answer, first_s: float) -> None:
        """Send the first token of *answer* in *first_s*, and the others at the interval."""
        self._put(trio.current_time() + first_s, answer)
        self._news.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            if not self._due:
                self._news = trio.Event()
                await self._news.wait()
            with trio.move_on_at(self._due[0][0]):
                # A new answer may be due sooner than all others.
                self._news = trio.Event()
                await self._news.wait()
            self._send_due(trio.current_time())

    def _send_due(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            due_s, _, answer = heappop(self._due)
            if answer.over:
                continue
            if not answer.send():
                self._put(now_s + RETRY_S, answer)
            elif not answer.over:
                # On a schedule, so that a busy machine doesn't stretch the whole answer.
                self._put(max(due_s + self._interval_s, now_s - 1), answer)

    def _put(self, due_s: float, answer: Answer) -> None:
        heappush(self._due, (due_s, next(self._ids), answer))


@define(eq=False)
class ModelApi:
    """Answers every request with the same words."""

    _metronome: Metronome
    _pieces: Sequence[bytes]
    _first_s: float

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection until its client hangs up."""
        answer: Answer | None = None
        read = bytearray()
        try:
            stamp(stream.socket)
            while True:
                data, beside, *_ = await stream.socket.recvmsg(READ_BYTES, ANCILLARY_BYTES)
                if not data:
                    break
                read += data
                if (end := _end_of_request(read)) is not None:
                    del read[:end]
                    await stream.send_all(opening("fake"))
                    asked_s = arrived_s(beside)
                    answer = Answer(stream.socket.fileno(), self._pieces, asked_s)
                    self._metronome.play(answer, self._first_s)
        except (OSError, trio.BrokenResourceError):
            pass  # as good as a goodbye
        finally:
            if answer is not None:
                answer.over = True
            await trio.aclose_forcefully(stream)


def _end_of_request(read: bytearray) -> int | None:
    end = read.find(b"\r\n\r\n")
    if end < 0:
        return None
    for line in bytes(read[:end]).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            end += int(line[len("content-length:") :])
    return end + 4 if len(read) >= end + 4 else None


async def run(port: int, tokens: int, interval_s: float, first_s: float) -> None:
    """Serve on loopback until cancelled; print the port."""
    metronome = Metronome(interval_s)
    api = ModelApi(metronome, pieces(tokens), first_s)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(metronome.run)
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=2048)
        click.echo(listeners[0].socket.getsockname()[1])
        await trio.serve_listeners(api.serve, listeners)


@click.command()
@click.option("--port", default=0)
@click.option("--tokens", default=200, type=click.IntRange(1))
@click.option("--interval-ms", default=20.0)
@click.option("--first-ms", default=200.0)
def main(port: int, tokens: int, interval_ms: float, first_ms: float) -> None:
    """Serve on loopback until killed."""
    trio.run(run, port, tokens, interval_ms / 1000, first_ms / 1000)


if __name__ == "__main__":
    main()
