from __future__ import annotations

from typing import cast

import trio
import trio.testing
from attrs import define, field

from bargein.gateway.connection import WireConnection
from bargein.gateway.heartbeat import keep_heartbeats

HOUR_S = 3600.0


@define(eq=False)
class Silent:
    """A connection on which nothing comes, with what was done to it and when."""

    last_heard_s: float = field(factory=trio.current_time)
    pinged_s: float = field(factory=trio.current_time)
    is_open: bool = True
    pinged_at_s: list[float] = field(factory=list[float])
    closed_at_s: float | None = None

    def ping_soon(self) -> None:
        self.pinged_s = trio.current_time()
        self.pinged_at_s.append(self.pinged_s)

    def close_soon(self, code: int, _: str) -> None:
        assert code == 4004
        self.is_open, self.closed_at_s = False, trio.current_time()


async def test_who_was_silent_for_long_is_asked_at_a_faster_beat_before_it_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    beat = HOUR_S
    silent = Silent()
    wires = [cast("WireConnection", silent)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_heartbeats, lambda: wires, lambda: beat)
        await trio.sleep(HOUR_S / 2)
        assert not silent.pinged_at_s
        beat, changed_s = 10.0, trio.current_time()
        await trio.sleep(30)
        nursery.cancel_scope.cancel()
    assert silent.pinged_at_s[0] - changed_s < 3
    assert silent.closed_at_s is not None
    assert 18 < silent.closed_at_s - changed_s <= 21
    assert autojump_clock.autojump_threshold == 0


async def test_at_a_slower_beat_who_is_silent_is_given_the_time_of_that(
    autojump_clock: trio.testing.MockClock,
) -> None:
    beat = 10.0
    silent = Silent()
    wires = [cast("WireConnection", silent)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_heartbeats, lambda: wires, lambda: beat)
        await trio.sleep(15)
        beat = HOUR_S
        await trio.sleep(HOUR_S)
        assert silent.closed_at_s is None
        await trio.sleep(HOUR_S)
        assert silent.closed_at_s is not None
        nursery.cancel_scope.cancel()
    assert autojump_clock.autojump_threshold == 0


async def passes(clock: trio.testing.MockClock, time_s: float) -> None:
    """Let time pass in steps in each of which everybody may run."""
    until_s = trio.current_time() + time_s
    while trio.current_time() < until_s:
        clock.jump(0.25)
        await trio.testing.wait_all_tasks_blocked()


async def test_time_in_which_the_server_stood_still_is_nobodys_silence(
    mock_clock: trio.testing.MockClock,
) -> None:
    answering, silent = Silent(), Silent()
    wires = [cast("WireConnection", wire) for wire in (answering, silent)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_heartbeats, lambda: wires, lambda: 10.0)
        await passes(mock_clock, 12)
        assert len(answering.pinged_at_s) == 1
        mock_clock.jump(60)  # what came meanwhile has not been read when it goes on
        await trio.testing.wait_all_tasks_blocked()
        assert answering.is_open
        assert silent.is_open
        answering.last_heard_s = went_on_s = trio.current_time()
        await passes(mock_clock, 15)
        # Seven seconds are left of the twenty to who says nothing, and no standstill later.
        assert silent.closed_at_s is not None
        assert 5 < silent.closed_at_s - went_on_s <= 8
        assert answering.is_open
        assert len(answering.pinged_at_s) >= 2
        await passes(mock_clock, 6)
        assert answering.closed_at_s is not None
        assert 18 < answering.closed_at_s - went_on_s <= 20
        nursery.cancel_scope.cancel()


async def test_who_says_nothing_is_found_however_late_each_look_is(
    mock_clock: trio.testing.MockClock,
) -> None:
    silent = Silent()
    wires = [cast("WireConnection", silent)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_heartbeats, lambda: wires, lambda: 10.0)
        for _ in range(60):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(3)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert silent.closed_at_s is not None
    assert silent.pinged_at_s
