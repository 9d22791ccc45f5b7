"""The line on how a run goes."""

from __future__ import annotations

import re

import pytest
import trio
from trio.testing import MockClock

from examples.bench.crowd import Crowd
from examples.bots import Watch


async def test_the_pace_is_of_the_window_and_not_of_the_warm_up(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
):
    assert autojump_clock.autojump_threshold == 0
    crowd = Crowd()
    watch = Watch(crowd)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        crowd.tally.tokens = 500
        await trio.sleep(1.25)
        crowd.tally.tokens = 600
        crowd.open_window()
        watch.restart()
        crowd.tally.tokens = 40
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    shown = capsys.readouterr().err
    assert re.findall(r"(-?\d+) tokens/s", shown) == ["500", "40"]
    assert [glance.tokens for glance in watch.glances] == [0, 40, 40]
