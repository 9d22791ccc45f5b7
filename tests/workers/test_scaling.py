"""How many workers there are, on a clock that a table turns."""

from __future__ import annotations

import random

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bargein.gateway.workers.letters import Pulse
from bargein.gateway.workers.scaling import (
    ADD_AFTER_S,
    FULL,
    REMOVE_AFTER_S,
    SETTLE_S,
    Bounds,
    Scaling,
)


def pulse(cpu: float = 0.0, lag_s: float = 0.0, sessions: int = 0, connections: int = 0) -> Pulse:
    return Pulse(
        ready=True,
        trouble="",
        sessions=sessions,
        connections=connections,
        lag_s=lag_s,
        cpu_share=cpu,
        memory_bytes=0,
    )


@frozen
class Act:
    """So many seconds in which all workers together do so much, and how many there are then."""

    length_s: int
    work: float
    count: int


def counts(bounds: Bounds, acts: list[Act]) -> list[int]:
    """Play acts, one look a second; work is spread evenly.  Return the count of each second."""
    scaling = Scaling(bounds)
    count, now_s, seen = bounds.least, 0.0, list[int]()
    for act in acts:
        for _ in range(act.length_s):
            now_s += 1.0
            each = pulse(cpu=min(1.0, act.work / count))
            count = scaling.look(now_s, count, [each] * count)
            seen.append(count)
        assert count == act.count, (act, seen)
    return seen


@pytest.mark.parametrize(
    ("bounds", "acts"),
    [
        pytest.param(Bounds(1, 4), [Act(3600, 0.5, 1)], id="enough-room"),
        pytest.param(Bounds(1, 4), [Act(60, 1.0, 2)], id="one-is-full"),
        pytest.param(Bounds(1, 4), [Act(300, 2.6, 4)], id="three-would-be-full"),
        pytest.param(Bounds(1, 4), [Act(600, 9.0, 4)], id="never-more-than-the-most"),
        pytest.param(Bounds(2, 4), [Act(3600, 0.0, 2)], id="never-fewer-than-the-least"),
        pytest.param(Bounds(3, 3), [Act(600, 9.0, 3), Act(600, 0.0, 3)], id="fixed"),
        pytest.param(Bounds(1, 4), [Act(4, 1.0, 1), Act(600, 0.3, 1)], id="a-short-peak"),
        pytest.param(
            Bounds(1, 4), [Act(120, 2.6, 4), Act(100, 0.1, 4)], id="a-pause-takes-none-away"
        ),
        pytest.param(
            Bounds(1, 4), [Act(120, 2.6, 4), Act(900, 0.1, 1)], id="quiet-for-long-takes-all-away"
        ),
        pytest.param(
            Bounds(1, 4), [Act(60, 1.0, 2), Act(3600, 0.6, 2)], id="not-away-for-what-it-relieved"
        ),
    ],
)
def test_workers_come_and_go_with_the_work(bounds: Bounds, acts: list[Act]):
    counts(bounds, acts)


def test_a_worker_is_added_after_a_while_and_the_next_one_when_that_has_settled():
    seen = counts(Bounds(1, 8), [Act(60, 8.0, 4)])
    first, second = seen.index(2), seen.index(3)
    assert first >= ADD_AFTER_S
    assert second - first >= SETTLE_S


def test_a_worker_is_taken_away_after_a_long_while():
    seen = counts(Bounds(1, 2), [Act(60, 1.4, 2), Act(600, 0.0, 1)])
    assert seen.index(1, 60) - 60 >= REMOVE_AFTER_S


@pytest.mark.parametrize(
    "each",
    [
        pytest.param(pulse(lag_s=0.2), id="late"),
        pytest.param(pulse(sessions=80), id="sessions"),
        pytest.param(pulse(connections=80), id="connections"),
        pytest.param(pulse(cpu=0.9), id="cpu"),
    ],
)
def test_whatever_is_short_counts(each: Pulse):
    scaling = Scaling(Bounds(1, 2, sessions_most=100, connections_most=100))
    assert 2 in [scaling.look(float(second), 1, [each]) for second in range(30)]


def test_while_one_is_not_ready_no_other_comes():
    scaling = Scaling(Bounds(1, 8))
    full = pulse(cpu=1.0)
    assert {scaling.look(float(second), 2, [full], awaited=1) for second in range(300)} == {2}


def test_one_that_never_gets_ready_stops_nobody_from_being_added():
    scaling, count = Scaling(Bounds(2, 5)), 3
    seen = [
        count := scaling.look(float(s), count, [pulse(cpu=1.0)] * (count - 1)) for s in range(60)
    ]
    assert seen[-1] == 5


def test_where_one_is_not_ready_none_is_taken_away_that_the_ready_ones_need():
    scaling = Scaling(
        Bounds(1, 3)
    )  # four tenths of three would be less than what is empty, of two not
    seen = {scaling.look(float(s), 3, [pulse(cpu=0.29)] * 2) for s in range(600)}
    assert seen == {3}
    rid = Scaling(Bounds(1, 3))
    assert 2 in {rid.look(float(s), 3, [pulse(cpu=0.2)] * 2) for s in range(600)}


def test_without_any_word_nothing_changes():
    scaling = Scaling(Bounds(1, 8))
    assert {scaling.look(float(second), 3, []) for second in range(600)} == {3}


@hypothesis_settings(max_examples=60, deadline=None)
@given(st.floats(0.0, 6.0), st.floats(0.0, 0.1), st.integers(0, 2**32))
def test_under_a_steady_load_with_noise_it_settles_and_does_not_flap(
    work: float, noise: float, seed: int
):
    chance = random.Random(seed)  # noqa: S311 - a load drawn by chance
    scaling, count, changes = Scaling(Bounds(1, 6)), 1, list[int]()
    for second in range(3600):
        share = min(1.0, work / count + chance.uniform(-noise, noise))
        wanted = scaling.look(float(second), count, [pulse(cpu=max(0.0, share))] * count)
        if wanted != count:
            changes.append(wanted - count)
        count = wanted
    assert all(change == 1 for change in changes), changes
    assert count == 6 or work / count <= FULL + 0.03
