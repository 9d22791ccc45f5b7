from __future__ import annotations

import pytest
from attrs import define

from bargein.models.pace import LONGEST_S, LOOK_S, TARGET_SHARE, Pace


@define(eq=False)
class Core:
    """A processor, and a clock beside it."""

    now_s: float = 100.0
    spent_s: float = 7.0

    def pace(self) -> Pace:
        return Pace(lambda: self.now_s, lambda: self.spent_s)

    def passes(self, seconds: float, share: float) -> None:
        self.now_s += seconds
        self.spent_s += seconds * share


def test_streams_are_read_whenever_they_have_something_while_the_core_has_room() -> None:
    core = Core()
    pace = core.pace()
    for _ in range(100):
        core.passes(LOOK_S, TARGET_SHARE - 0.05)
        pace.look()
    assert pace.period_s == 0


def test_a_busy_core_has_pauses_that_grow_to_their_bound_and_end_when_it_is_idle() -> None:
    core = Core()
    pace = core.pace()
    periods = [0.0]
    while pace.period_s < LONGEST_S:
        core.passes(LOOK_S, 0.95)
        pace.look()
        assert periods[-1] < pace.period_s <= LONGEST_S
        periods.append(pace.period_s)
    assert 3 <= len(periods) <= 1 + 2.0 / LOOK_S  # within two seconds, and not at one look
    for _ in range(3):
        core.passes(LOOK_S, 0.1)
        pace.look()
    assert pace.period_s == 0


def test_it_looks_at_a_quarter_of_a_second_and_at_nothing_shorter() -> None:
    core = Core()
    pace = core.pace()
    core.passes(LOOK_S / 2, 1.0)
    pace.look()
    assert pace.period_s == 0
    core.passes(LOOK_S / 2, 1.0)
    pace.look()
    assert 0 < pace.period_s < LONGEST_S / 2


@pytest.mark.parametrize("load", [0.8, 0.9, 1.1])
def test_it_settles_where_the_core_is_as_busy_as_it_should_be(load: float) -> None:
    # Of the load two thirds are paid for each event, of which there are the fewer, the longer the
    # period: with a piece every 20 ms, one event for each reading at most.
    core = Core()
    pace = core.pace()
    shares: list[float] = []
    for _ in range(400):
        pieces = max(1.0, pace.period_s / 0.02)
        share = min(1.0, load / 3 + load * 2 / 3 / pieces)
        core.passes(LOOK_S, share)
        pace.look()
        shares.append(share)
    reachable = load / 3 + load * 2 / 3 / (LONGEST_S / 0.02)
    wanted = max(TARGET_SHARE, reachable)
    assert sum(shares[-40:]) / 40 == pytest.approx(wanted, abs=0.05)
