"""The way out of a connection whose stream takes what it is given slowly."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import trio
import trio.testing
from attrs import define, field

from bargein.gateway.egress import ClientStalled, Egress, WireLimits

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
