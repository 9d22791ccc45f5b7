from __future__ import annotations

import pytest
import trio
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from examples.bench.figures import Spread, Tally
from examples.bench.pace import most_that_hold, why_not_in_pace
from examples.bench.report import Report

FINE = evolve(
    Report.of(Tally(), users=1, connected=1, now_s=1.0, seconds=1.0, cpu_s=0.1, model_first_s=0.2),
    rate_per_s=(50.0, 49.0),
    gap_ms=Spread(100, 20.0, 22.0, 40.0, 400.0),
    added_first_token_ms=Spread(100, 4.0, 20.0, 30.0, 90.0),
)


@given(limit=st.integers(0, 700), step=st.integers(1, 50))
def test_the_search_finds_the_largest_that_holds(limit: int, step: int):
    asked: list[int] = []

    async def holds(count: int) -> bool:
        asked.append(count)
        return count <= limit

    found = trio.run(most_that_hold, holds, 60, 600, step)
    tried = range(60, 601, step)
    assert found == max((count for count in tried if count <= limit), default=0)
    assert len(asked) <= len(tried).bit_length()
    assert set(asked) <= set(tried)


def test_a_report_at_the_models_pace_is_in_pace():
    assert why_not_in_pace(FINE, 20.0) is None


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (evolve(FINE, rate_per_s=(48.0, 47.0)), "an answer at 96% of the model's pace"),
        (evolve(FINE, rate_per_s=(50.0, 40.0)), "the slowest answers at 80% of the model's pace"),
        (
            evolve(FINE, gap_ms=Spread(9, 20.0, 90.0, 300.0, 301.0)),
            "300 ms between two tokens (p99)",
        ),
        (
            evolve(FINE, added_first_token_ms=Spread(9, 4.0, 400.0, 500.0, 500.0)),
            "400 ms added to the first token (p95)",
        ),
        (evolve(FINE, errors={"connection cut": 1}), "errors"),
        (evolve(FINE, rate_per_s=None), "too few tokens"),
    ],
)
def test_a_report_that_falls_behind_says_in_what(report: Report, why: str):
    assert why_not_in_pace(report, 20.0) == why
