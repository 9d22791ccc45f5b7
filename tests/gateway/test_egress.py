"""The way out of a connection whose stream takes what it is given slowly."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import trio
import trio.testing
from attrs import define, field

from bargein.gateway.egress import BufferOverrun, ClientStalled, Egress, WireLimits

LARGE = b"x" * 1024 * 1024


@define(eq=False)
class Slow:
    """A stream that has sent something once the client has taken it, as over TLS."""

    rate_bytes_per_s: float
    taken: list[bytes] = field(factory=list[bytes])
    taken_at_s: list[float] = field(factory=list[float])

    async def send_all(self, data: bytes) -> None:
        await trio.sleep(len(data) / self.rate_bytes_per_s)
        self.taken.append(bytes(data))
        self.taken_at_s.append(trio.current_time())


def egress_on(slow: Slow, nursery: trio.Nursery, ends: list[Exception]) -> Egress:
    stream = cast("trio.abc.Stream", slow)
    return Egress(nursery, stream, WireLimits, ends.append, ends.append)


async def test_a_slow_client_is_given_its_time_for_each_part_of_a_large_frame(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow, ends = Slow(rate_bytes_per_s=4000), list[Exception]()
    async with trio.open_nursery() as nursery:
        egress = egress_on(slow, nursery, ends)
        egress.send([b"small", LARGE])
        egress.send([b"first"], first=True)
        await egress.flushed()
    assert ends == []
    assert b"".join(slow.taken) == b"first" + b"small" + LARGE
    assert egress.outbox.taken_bytes == egress.outbox.put_bytes == len(b"small" + LARGE)
    gaps_s = [later - earlier for earlier, later in pairwise(slow.taken_at_s)]
    assert max(gaps_s) < WireLimits().stall_limit_s
    assert autojump_clock.autojump_threshold == 0


async def test_a_client_too_slow_for_any_part_of_a_large_frame_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow, ends = Slow(rate_bytes_per_s=1000), list[Exception]()
    async with trio.open_nursery() as nursery:
        egress = egress_on(slow, nursery, ends)
        egress.on_given_up = lambda error: (ends.append(error), egress.stop())[0]
        egress.send([LARGE])
        await egress.flushed()
    assert isinstance(ends[0], ClientStalled)
    assert trio.current_time() >= WireLimits().stall_limit_s
    assert slow.taken == []
    assert autojump_clock.autojump_threshold == 0


async def until_taken(egress: Egress, end: int) -> None:
    while egress.outbox.taken_bytes < end:  # noqa: ASYNC110 - nobody is told of it
        await trio.sleep(0.1)


async def past_a_large_frame(egress: Egress, kept_bytes: int, large: bytes) -> None:
    """Put *large*, and wait until it has gone; never let less than *kept_bytes* wait meanwhile."""
    egress.send([large, b"y" * 1000])
    end = egress.outbox.put_bytes
    while egress.outbox.taken_bytes < end:
        await trio.sleep(0.1)
        while egress.outbox.buffered_bytes < kept_bytes:
            egress.send([b"y" * 1000])


async def test_what_a_large_frame_was_granted_goes_with_it_though_there_never_is_room(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ends: list[Exception] = []
    async with trio.open_nursery() as nursery:
        egress = egress_on(Slow(rate_bytes_per_s=100_000), nursery, ends)
        await past_a_large_frame(egress, 40 * 1024, LARGE * 4)
        assert egress.full
        most_bytes = 0
        while not ends:
            most_bytes = max(most_bytes, egress.outbox.buffered_bytes)
            egress.send([b"y" * 1000])
        assert isinstance(ends[0], BufferOverrun)
        assert 1000 * 1024 < most_bytes <= WireLimits().most_bytes
        nursery.cancel_scope.cancel()
    assert autojump_clock.autojump_threshold == 0


async def test_a_large_frame_may_wait_on_when_a_larger_one_before_it_has_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ends: list[Exception] = []
    async with trio.open_nursery() as nursery:
        egress = egress_on(Slow(rate_bytes_per_s=100_000), nursery, ends)
        egress.send([LARGE * 4])
        end = egress.outbox.put_bytes
        await until_taken(egress, end - len(LARGE))
        egress.send([b"small", LARGE * 3, b"small"])
        await until_taken(egress, end)
        for _ in range(900):
            egress.send([b"y" * 1000])
        assert ends == []
        assert egress.outbox.buffered_bytes > 3 * len(LARGE)
        for _ in range(300):
            egress.send([b"y" * 1000])
        assert isinstance(ends[0], BufferOverrun)
        nursery.cancel_scope.cancel()
    assert autojump_clock.autojump_threshold == 0
