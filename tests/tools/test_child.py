from __future__ import annotations

import sys
from functools import partial

import pytest
import trio
from trio.testing import memory_stream_pair

from bargein.tools.child import MOST_LINE_BYTES, Lines, LineTooLong, child_process
from bargein.tools.http_client import BodyTooLong, bounded_client

# The HTTP library leaves readers that were stopped to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LIMIT_S = 20


async def test_lines_come_one_by_one_however_they_are_cut():
    ours, theirs = memory_stream_pair()
    lines = Lines(ours)
    for part in (b"on", b"e\ntwo\n\nth", b"ree\nrest"):
        await theirs.send_all(part)
    await theirs.send_eof()
    assert [await lines.next() for _ in range(5)] == [b"one", b"two", b"", b"three", None]


async def test_a_line_without_an_end_is_given_up_and_the_next_is_read():
    ours, theirs = memory_stream_pair()
    lines = Lines(ours)
    await theirs.send_all(b"x" * (MOST_LINE_BYTES + 1))
    with pytest.raises(LineTooLong):
        await lines.next()
    await theirs.send_all(b"rest\nnext\n")
    assert await lines.next() == b"rest"
    assert await lines.next() == b"next"


async def test_a_pipe_that_was_closed_has_no_more_lines():
    ours, _ = memory_stream_pair()
    await ours.aclose()
    assert await Lines(ours).next() is None


async def test_a_process_is_told_lines_and_says_lines():
    code = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
    with trio.fail_after(LIMIT_S):
        async with child_process(sys.executable, ["-c", code], {}) as child:
            assert await child.tell(b"one")
            assert await child.said.next() == b"ONE"


async def test_a_process_that_does_not_read_any_more_is_known():
    code = "import os; os.close(0); print('closed', flush=True); input"
    with trio.fail_after(LIMIT_S):
        async with child_process(sys.executable, ["-c", code], {}) as child:
            assert await child.said.next() == b"closed"
            assert not await child.tell(b"one")


async def _answer(stream: trio.SocketStream, kind: bytes, body: bytes) -> None:
    await stream.receive_some()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n\r\n" % kind
    with trio.move_on_after(LIMIT_S):
        try:
            await stream.send_all(head + body)
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # it did not want to hear all of it


@pytest.mark.parametrize(
    ("kind", "length", "is_read"),
    [
        (b"application/json", 1000, True),
        (b"application/json", 1001, False),
        (b"text/event-stream", 5000, True),
    ],
)
async def test_an_answer_is_read_up_to_its_limit(kind: bytes, length: int, is_read: bool):
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            await _answer(stream, kind, b"x" * length)

        listen = partial(trio.serve_tcp, serve, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(listen)
        port = listeners[0].socket.getsockname()[1]
        with trio.fail_after(LIMIT_S):
            async with bounded_client(
                {"x-key": "k"}, most_body_bytes=1000, silence_limit_s=LIMIT_S
            ) as client:
                assert client.headers["x-key"] == "k"
                if is_read:
                    answer = await client.get(f"http://127.0.0.1:{port}/")
                    assert len(answer.content) == length
                else:
                    with pytest.raises(BodyTooLong):
                        await client.get(f"http://127.0.0.1:{port}/")
        nursery.cancel_scope.cancel()
