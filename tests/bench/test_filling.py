"""Waves of sessions before a measurement: when they have filled what can be filled."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from examples.bench.memory_scenarios import STILL_KIB, Filling, filled

LITTLE_KIB = STILL_KIB / 2


async def waves(left_kib: Sequence[float], most: int) -> Filling:
    coming = iter(left_kib)

    async def wave_left_kib() -> float:
        return next(coming)

    return await filled(wave_left_kib, most)


@pytest.mark.parametrize(
    ("left_kib", "taken"),
    [
        ((1.6, LITTLE_KIB, LITTLE_KIB, 9.0), 3),
        ((LITTLE_KIB, 0.9, LITTLE_KIB, -0.2, 9.0), 4),
        ((LITTLE_KIB, STILL_KIB, LITTLE_KIB, STILL_KIB, LITTLE_KIB, 0.0), 6),
    ],
)
async def test_waves_come_until_two_in_a_row_leave_next_to_nothing(
    left_kib: tuple[float, ...], taken: int
):
    filling = await waves(left_kib, 10)
    assert filling.left_kib == left_kib[:taken]
    assert filling.is_full


async def test_the_bound_of_waves_ends_them_and_is_named_with_what_the_last_one_left():
    filling = await waves((2.0, 0.5, LITTLE_KIB, 0.21, 0.0), 4)
    assert not filling.is_full
    assert filling.text(1024) == (
        "hibernated: 4,096 sessions before left 2.7 MiB, the last wave 0.21 KiB a session:"
        " caches not full when the bound of 4 waves was reached"
    )


async def test_where_the_caches_are_full_the_last_wave_is_told_too():
    filling = await waves((2.0, 0.04, 0.04), 4)
    assert filling.text(1000) == (
        "hibernated: 3,000 sessions before left 2.0 MiB, the last wave 0.04 KiB a session:"
        " caches full"
    )
