"""The line between a supervisor and a worker, and what may go wrong on it."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest
import trio

from bargein.gateway.workers.letters import Down, Pulse, Series, Up
from bargein.gateway.workers.line import MOST_LETTERS, Line
from bargein.gateway.workers.tether import VARIABLE, Tether

PULSE = Pulse(True, "", 3, 2, 0.001, 0.5, 10**8)
LIMIT_S = 10.0


def ends() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = map(trio.socket.from_stdlib_socket, socket.socketpair())
    return trio.SocketStream(ours), trio.SocketStream(theirs)


def ignore(_: object) -> None:
    pass


async def test_letters_come_whole_and_in_order():
    ours, theirs = ends()
    upper, lower = Line(ours, Up), Line(theirs, Down)
    many = tuple(
        Series(f"s{n}", "gauge", "x" * 100, ((f"s{n}", {"of": "y" * 50}, float("inf")),))
        for n in range(5000)
    )
    letters = [Up(pulse=PULSE), Up(figures=many), Up(asks_for_all=True)]
    came: list[Up] = []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as tasks:

            def hear(letter: Up) -> None:
                came.append(letter)
                if len(came) == len(letters):
                    tasks.cancel_scope.cancel()

            tasks.start_soon(upper.run, hear)
            tasks.start_soon(lower.run, ignore)
            assert all(lower.post(letter) for letter in letters)
    assert came == letters
    await ours.aclose()
    await theirs.aclose()


async def test_it_ends_when_the_other_end_has_gone():
    ours, theirs = ends()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(Line(ours, Up).run, ignore)
            await theirs.aclose()


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"\xff\xff\xff\xff", id="too-long"),
        pytest.param(b"\x00\x00\x00\x01\xc1", id="no-msgpack"),
        pytest.param(
            (body := msgspec.msgpack.encode({"pulse": 5})) and len(body).to_bytes(4, "big") + body,
            id="another-shape",
        ),
    ],
)
async def test_what_can_not_be_read_ends_it(bad: bytes):
    ours, theirs = ends()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(Line(ours, Up).run, ignore)
            await theirs.send_all(bad)
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"x" * 10**6)
    await theirs.aclose()


async def test_what_a_later_version_says_is_read_without_what_is_not_known():
    ours, theirs = ends()
    later = {"pulse": {**msgspec.to_builtins(PULSE), "mood": [1]}, "news": {"a": 1}}
    older = {"pulse": {key: value for key, value in later["pulse"].items() if key != "drain_s"}}
    came: list[Up] = []
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as tasks:
            tasks.start_soon(Line(ours, Up).run, came.append)
            for letter in (later, older):
                body = msgspec.msgpack.encode(letter)
                await theirs.send_all(len(body).to_bytes(4, "big") + body)
            await theirs.aclose()
    assert came == [Up(pulse=PULSE), Up(pulse=PULSE)]


async def test_an_end_that_reads_nothing_gets_no_more_than_there_is_room_for():
    ours, theirs = ends()
    line = Line(ours, Up)
    assert [line.post(Up(pulse=PULSE)) for _ in range(MOST_LETTERS + 3)] == (
        [True] * MOST_LETTERS + [False] * 3
    )
    await ours.aclose()
    await theirs.aclose()


def test_the_line_is_no_business_of_what_a_worker_starts():
    ours, theirs = socket.socketpair()
    with ours:
        descriptor = theirs.detach()
        os.set_inheritable(descriptor, True)
        environ = {VARIABLE: f"7:{descriptor}", "PATH": "/bin"}
        tether = Tether.of(environ)
        assert tether is not None
        assert tether.number == 7
        assert environ == {"PATH": "/bin"}
        assert not os.get_inheritable(descriptor)
        tether._socket.close()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("text", ["", "x", "1:", ":3", "1:x"])
def test_a_process_that_is_told_nothing_of_it_is_no_worker(text: str):
    assert Tether.of({VARIABLE: text} if text else {}) is None
