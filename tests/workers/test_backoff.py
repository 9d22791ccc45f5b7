from __future__ import annotations

from bargein.gateway.workers.backoff import FIRST_S, HEALTHY_S, MOST_S, BackOff


def test_each_wait_is_twice_the_one_before_up_to_half_a_minute():
    back_off = BackOff()
    assert [back_off.after(0.0) for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_minute_of_health_begins_anew():
    back_off = BackOff()
    for _ in range(9):
        back_off.after(HEALTHY_S - 1)
    assert back_off.after(HEALTHY_S - 0.001) == MOST_S
    assert back_off.after(HEALTHY_S) == FIRST_S
    assert back_off.after(0.0) == 2 * FIRST_S
