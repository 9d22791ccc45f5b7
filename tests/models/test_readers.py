from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from itertools import pairwise
from selectors import DefaultSelector, SelectorKey
from typing import TypeAlias

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from bargein.models.pace import LONGEST_S, Pace
from bargein.models.readers import (
    FEW,
    MOST_AT_ONCE,
    PAUSE_S,
    SLOTS,
    ReaderBroken,
    Readers,
    ReadersClosed,
)
from tests.models.ears import LIMIT_S


@contextmanager
def pair() -> Generator[tuple[socket.socket, socket.socket]]:
    """Lend two ends of a connection; neither blocks."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def until_empty(near: socket.socket, got: list[bytes]) -> Callable[[], bool]:
    """Return a reader that notes what comes, until the other end has closed."""

    def read() -> bool:
        try:
            got.append(near.recv(4096))
        except BlockingIOError:
            return True
        return bool(got[-1])

    return read


async def test_each_reader_is_called_for_its_own_connection_until_it_has_enough() -> None:
    readers = Readers()
    with pair() as (a, far_a), pair() as (b, far_b), trio.fail_after(LIMIT_S):
        got_a: list[bytes] = []
        got_b: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.until, a, until_empty(a, got_a))
            nursery.start_soon(readers.until, b, until_empty(b, got_b))
            far_a.send(b"one")
            far_b.send(b"two")
            await trio.testing.wait_all_tasks_blocked()
            far_a.shutdown(socket.SHUT_WR)
            far_b.shutdown(socket.SHUT_WR)
    assert b"".join(got_a) == b"one"
    assert b"".join(got_b) == b"two"
    readers.close()


async def test_what_one_reader_raises_reaches_its_own_task_and_no_other() -> None:
    readers = Readers()
    with pair() as (a, far_a), pair() as (b, far_b), trio.fail_after(LIMIT_S):
        got: list[bytes] = []

        def fails() -> bool:
            raise LookupError("it is gone")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.until, b, until_empty(b, got))
            far_a.send(b"x")
            with pytest.raises(LookupError):
                await readers.until(a, fails)
            far_b.send(b"still read")
            far_b.shutdown(socket.SHUT_WR)
    assert b"".join(got) == b"still read"
    readers.close()


Selected: TypeAlias = list[tuple[SelectorKey, int]]


class Bug(BaseException):
    """What no `except Exception` catches."""


async def test_not_even_a_bug_that_is_no_exception_reaches_another_task() -> None:
    readers = Readers()
    with pair() as (a, far_a), pair() as (b, far_b), trio.fail_after(LIMIT_S):
        got: list[bytes] = []

        def fails() -> bool:
            raise Bug("planted")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.until, b, until_empty(b, got))
            far_a.send(b"x")
            with pytest.raises(ReaderBroken, match="by Bug: planted"):
                await readers.until(a, fails)
            far_b.send(b"still read")
            far_b.shutdown(socket.SHUT_WR)
    assert b"".join(got) == b"still read"
    readers.close()


async def test_a_bug_in_the_reader_itself_fails_who_is_read_and_not_who_comes_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planted, select = ["planted"], DefaultSelector.select

    def breaks_once(self: DefaultSelector, timeout: float | None = None) -> Selected:
        if planted:
            raise LookupError(planted.pop())
        return select(self, timeout)

    monkeypatch.setattr(DefaultSelector, "select", breaks_once)
    readers = Readers()
    failed: list[ReaderBroken] = []

    async def waiting(near: socket.socket) -> None:
        try:
            await readers.until(near, lambda: True)
        except ReaderBroken as error:
            failed.append(error)

    with capture_logs() as logs, trio.fail_after(LIMIT_S):
        with pair() as (a, far_a), pair() as (b, _):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waiting, a)
                nursery.start_soon(waiting, b)
                await trio.testing.wait_all_tasks_blocked()
                far_a.send(b"x")
            assert [type(error.error) for error in failed] == [LookupError] * 2
        with pair() as (c, far_c):
            got: list[bytes] = []
            far_c.send(b"read")
            far_c.shutdown(socket.SHUT_WR)
            await readers.until(c, until_empty(c, got))
    assert b"".join(got) == b"read"
    assert [line["event"] for line in logs] == ["readers.broken"]
    readers.close()
    with pytest.raises(ReadersClosed):
        await readers.until(far_c, lambda: True)


async def test_a_cancelled_reader_is_not_called_again_even_if_its_number_is_used_again() -> None:
    readers = Readers()
    calls: list[int] = []
    with trio.fail_after(LIMIT_S):
        with pair() as (a, _):
            old = a.fileno()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(readers.until, a, lambda: bool(calls.append(1)) or True)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
        with pair() as (b, far_b):
            assert old in (b.fileno(), far_b.fileno())
            got: list[bytes] = []
            far_b.send(b"for the new one")
            far_b.shutdown(socket.SHUT_WR)
            await readers.until(b, until_empty(b, got))
    assert not calls
    assert b"".join(got) == b"for the new one"
    readers.close()


async def test_who_has_enough_leaves_the_rest_in_the_socket() -> None:
    readers = Readers()
    with pair() as (a, far_a), pair() as (b, far_b), trio.fail_after(LIMIT_S):
        calls: list[bytes] = []

        def once() -> bool:
            calls.append(a.recv(2))
            return False

        far_a.send(b"abcd")
        await readers.until(a, once)
        far_b.send(b"x")
        far_b.shutdown(socket.SHUT_WR)
        await readers.until(b, until_empty(b, []))  # the task has looked at all that is ready
        assert calls == [b"ab"]
        await readers.until(a, once)
        assert calls == [b"ab", b"cd"]
    readers.close()


async def test_closing_tells_who_waits() -> None:
    readers = Readers()
    told: list[str] = []

    async def waiting(near: socket.socket) -> None:
        try:
            await readers.until(near, lambda: True)
        except ReadersClosed:
            told.append("closed")

    with pair() as (a, _), pair() as (b, _), trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waiting, a)
            nursery.start_soon(waiting, b)
            await trio.testing.wait_all_tasks_blocked()
            readers.close()
    assert told == ["closed", "closed"]


CROWD = 5 * MOST_AT_ONCE


@contextmanager
def crowd() -> Generator[list[tuple[socket.socket, socket.socket]]]:
    with ExitStack() as stack:
        yield [stack.enter_context(pair()) for _ in range(CROWD)]


async def test_others_have_their_turn_while_many_are_read() -> None:
    readers = Readers()
    got: list[bytes] = []
    seen = [0]
    with crowd() as pairs, trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            for near, _ in pairs:
                nursery.start_soon(readers.until, near, until_empty(near, got))
            await trio.testing.wait_all_tasks_blocked()
            for _, far in pairs:
                far.send(b"x")
            while len(got) < CROWD:
                await trio.lowlevel.checkpoint()
                seen.append(len(got))
            nursery.cancel_scope.cancel()
    steps = [after - before for before, after in pairwise(seen)]
    assert max(steps) <= 2 * MOST_AT_ONCE  # first in one pass of the loop, last in the next
    readers.close()


async def test_who_gives_up_between_the_reads_of_many_is_not_called_any_more() -> None:
    readers = Readers()
    happened: list[tuple[str, int]] = []
    with crowd() as pairs, trio.fail_after(LIMIT_S):

        def read(number: int) -> bool:
            happened.append(("read", number))
            return bool(pairs[number][0].recv(10))

        async def until_cancelled(number: int) -> None:
            try:
                await readers.until(pairs[number][0], partial(read, number))
            finally:
                happened.append(("gone", number))

        async with trio.open_nursery() as nursery:
            for number in range(CROWD):
                nursery.start_soon(until_cancelled, number)
            await trio.testing.wait_all_tasks_blocked()
            for _, far in pairs:
                far.send(b"x")
            while not happened:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
    gone = {number: happened.index(("gone", number)) for number in range(CROWD)}
    reads = [place for place, (what, _) in enumerate(happened) if what == "read"]
    assert 0 < len(reads) < CROWD
    assert all(place < gone[happened[place][1]] for place in reads)
    readers.close()


@pytest.mark.parametrize("streams", [FEW, 5 * FEW])
async def test_of_many_streams_more_is_read_at_a_time(streams: int) -> None:
    readers = Readers()
    got: list[bytes] = []
    sent = 0
    with ExitStack() as stack, trio.fail_after(LIMIT_S):
        pairs = [stack.enter_context(pair()) for _ in range(streams)]
        async with trio.open_nursery() as nursery:
            for near, _ in pairs:
                nursery.start_soon(readers.until, near, until_empty(near, got))
            await trio.testing.wait_all_tasks_blocked()
            began_s = trio.current_time()
            while sent < 200:
                pairs[0][1].send(b"x")
                sent += 1
                await trio.lowlevel.checkpoint()
            took_s = trio.current_time() - began_s
            while len(b"".join(got)) < sent:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    if streams > FEW:
        assert len(got) <= took_s / (PAUSE_S * streams) + 2  # a slow machine reads less often
    else:
        assert len(got) >= 50  # at every third pass of the loop, whatever the clock says
    readers.close()


def steady(period_s: float) -> Pace:
    """Return a pace that stays as it is, because its clock stands still."""
    pace = Pace(lambda: 0.0, lambda: 0.0)
    pace.period_s = period_s
    return pace


async def settled() -> None:
    """Let what is in the sockets be read, if anybody wants to."""
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked()


async def test_in_a_long_period_each_is_read_once_and_never_many_at_a_time(
    mock_clock: trio.testing.MockClock,
) -> None:
    readers = Readers(steady(LONGEST_S))
    reads: list[int] = []
    began: set[int] = set()
    with crowd() as pairs, ExitStack() as stack:

        def read(number: int) -> bool:
            reads.append(number)
            with suppress(BlockingIOError):
                began.add(number) if pairs[number][0].recv(10) else None
            return True

        async with trio.open_nursery() as nursery:
            for number, (near, far) in enumerate(pairs):
                hurries = partial(_is_missing, began, number)
                nursery.start_soon(readers.until, near, partial(read, number), hurries)
                far.send(b"first")
                await settled()
                mock_clock.jump(LONGEST_S / CROWD)
                await settled()
            assert began == set(range(CROWD))
            chatty, far = stack.enter_context(pair())  # out of silence all may speak at once
            far.send(b"x" * 1000)
            nursery.start_soon(readers.until, chatty, lambda: bool(chatty.recv(1)))
            await settled()
            mock_clock.jump(LONGEST_S / SLOTS / 4)  # so that no slot begins when a window ends
            await settled()
            for period in range(4):
                times: Counter[int] = Counter()
                for _, far in pairs:
                    far.send(b"more")
                for _ in range(2 * SLOTS):
                    reads.clear()
                    mock_clock.jump(LONGEST_S / SLOTS / 2)
                    await settled()
                    assert len(reads) <= 3 * CROWD / SLOTS
                    times.update(reads)
                if period:  # the first begins after what was said into silence
                    assert times == Counter(range(CROWD))
            nursery.cancel_scope.cancel()
    readers.close()


async def test_who_goes_on_while_all_speak_into_silence_waits_for_no_two_periods(
    mock_clock: trio.testing.MockClock,
) -> None:
    readers = Readers(steady(LONGEST_S))
    heard: dict[int, float] = {}
    with crowd() as pairs:

        def read(number: int) -> bool:
            with suppress(BlockingIOError):
                piece = pairs[number][0].recv(10)
                if piece == b"again":
                    heard[number] = trio.current_time()
                elif number == CROWD - 1:
                    pairs[0][1].send(b"so that it does not end in silence")
            return True

        async with trio.open_nursery() as nursery:
            for number, (near, far) in enumerate(pairs):
                nursery.start_soon(readers.until, near, partial(read, number))
                far.send(b"first")
            await settled()
            began_s = trio.current_time()
            for _, far in pairs[1:]:
                far.send(b"again")
            for _ in range(4 * SLOTS):
                mock_clock.jump(LONGEST_S / SLOTS / 2)
                await settled()
            nursery.cancel_scope.cancel()
    readers.close()
    assert set(heard) == set(range(1, CROWD))
    assert max(heard.values()) - began_s <= LONGEST_S * (1 + 1 / SLOTS)


async def test_who_has_just_begun_waits_for_one_period_and_not_for_two(
    mock_clock: trio.testing.MockClock,
) -> None:
    for late in range(SLOTS):
        readers = Readers(steady(LONGEST_S))
        reads: list[float] = []
        with ExitStack() as stack:
            pairs = [stack.enter_context(pair()) for _ in range(FEW + 2)]
            near, far = pairs.pop()

            def read(near: socket.socket = near, reads: list[float] = reads) -> bool:
                with suppress(BlockingIOError):
                    near.recv(10)
                    reads.append(trio.current_time())
                return True

            async with trio.open_nursery() as nursery:
                for other, _ in pairs:
                    nursery.start_soon(readers.until, other, until_empty(other, []))
                pairs[0][1].send(b"so that a period begins")
                await settled()
                mock_clock.jump(LONGEST_S * late / SLOTS)
                await settled()
                nursery.start_soon(readers.until, near, read, partial(_is_empty, reads))
                far.send(b"first")
                await settled()
                far.send(b"second")
                for _ in range(3 * SLOTS):
                    for _, other in pairs:
                        other.send(b"x")
                    mock_clock.jump(LONGEST_S / SLOTS)
                    await settled()
                nursery.cancel_scope.cancel()
        readers.close()
        first_s, second_s = reads
        assert 0 < second_s - first_s <= LONGEST_S * (1 + 2 / SLOTS), late


def _is_missing(numbers: set[int], number: int) -> bool:
    return number not in numbers


def _is_empty(reads: list[float]) -> bool:
    return not reads


@pytest.mark.parametrize("period_s", [LONGEST_S, 0.0])
async def test_a_stream_waits_for_others_as_long_as_the_core_is_busy_and_no_longer(
    mock_clock: trio.testing.MockClock, period_s: float
) -> None:
    readers = Readers(steady(period_s))
    most_s = max(period_s, PAUSE_S * (FEW + 1))
    got: list[bytes] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(pair()) for _ in range(FEW + 1)]
        async with trio.open_nursery() as nursery:
            for near, _ in pairs:
                nursery.start_soon(readers.until, near, until_empty(near, got))
            pairs[0][1].send(b"a")
            await settled()
            assert got == [b"a"]
            pairs[0][1].send(b"b")
            await settled()
            mock_clock.jump(most_s * 0.9)
            pairs[0][1].send(b"c")
            await settled()
            assert got == [b"a"]
            mock_clock.jump(most_s * 0.11)
            await settled()
            assert got == [b"a", b"bc"]  # what came meanwhile is read at once
            nursery.cancel_scope.cancel()
    readers.close()


async def test_who_hurries_waits_for_nobody_and_then_like_all_others(
    mock_clock: trio.testing.MockClock,
) -> None:
    readers = Readers(steady(LONGEST_S))
    others: list[bytes] = []
    got: list[bytes] = []
    with ExitStack() as stack:
        pairs = [stack.enter_context(pair()) for _ in range(FEW + 2)]
        async with trio.open_nursery() as nursery:
            for near, _ in pairs[1:]:
                nursery.start_soon(readers.until, near, until_empty(near, others))
            pairs[1][1].send(b"x")
            await settled()
            near, far = pairs[0]
            nursery.start_soon(
                readers.until, near, until_empty(near, got), lambda: b"".join(got) != b"ping word"
            )
            pairs[1][1].send(b"y")
            for piece in (b"ping ", b"word"):
                far.send(piece)
                await settled()
            assert (got, others) == ([b"ping ", b"word"], [b"x"])
            far.send(b", and more")
            await settled()
            assert got == [b"ping ", b"word"]
            mock_clock.jump(LONGEST_S)
            await settled()
            assert (got, others) == ([b"ping ", b"word", b", and more"], [b"x", b"y"])
            nursery.cancel_scope.cancel()
    readers.close()


async def test_who_hurries_is_told_of_the_end_and_may_give_up() -> None:
    readers = Readers()
    with pair() as (a, far_a), pair() as (b, far_b), trio.fail_after(LIMIT_S):
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(readers.until, b, lambda: bool(b.recv(10)), lambda: True)
            await trio.testing.wait_all_tasks_blocked()
            far_a.send(b"x")
            far_a.shutdown(socket.SHUT_WR)
            await readers.until(a, until_empty(a, got), lambda: True)
            nursery.cancel_scope.cancel()
        far_b.send(b"for nobody")
        await settled()
        assert b.recv(20) == b"for nobody"
        far_b.send(b"y")
        with pytest.raises(LookupError):
            await readers.until(b, partial(dict[str, bool]().__getitem__, "x"), lambda: True)
    assert b"".join(got) == b"x"
    readers.close()
