"""How many sessions one core holds in pace: what that means, and how the number is found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from examples.bench.report import Report

LEAST_RATE: Final = 0.98
"""Of the model's pace, what the median answer is to reach; a person sees no difference."""

LEAST_SLOW_RATE: Final = 0.9
"""And what the slowest 5 % of the answers are to reach."""

MOST_GAP_MS: Final = 250.0
"""p99 between two tokens of an answer: longer, and it stands still for whoever reads."""

MOST_FIRST_MS: Final = 250.0
"""p95 of what is added to the first token."""


def why_not_in_pace(report: Report, interval_ms: float) -> str | None:
    """Say in what *report* falls behind a model of that pace; None if in nothing."""
    if report.errors:
        return "errors"
    if report.rate_per_s is None or report.gap_ms is None or report.added_first_token_ms is None:
        return "too few tokens"
    usual, slow = (rate * interval_ms / 1000 for rate in report.rate_per_s)
    if usual < LEAST_RATE:
        return f"an answer at {usual:.0%} of the model's pace"
    if slow < LEAST_SLOW_RATE:
        return f"the slowest answers at {slow:.0%} of the model's pace"
    if report.gap_ms.p99 > MOST_GAP_MS:
        return f"{report.gap_ms.p99:.0f} ms between two tokens (p99)"
    if report.added_first_token_ms.p95 > MOST_FIRST_MS:
        return f"{report.added_first_token_ms.p95:.0f} ms added to the first token (p95)"
    return None


async def most_that_hold(
    holds: Callable[[int], Awaitable[bool]], least: int, most: int, step: int
) -> int:
    """Return the largest number between *least* and *most* for which *holds* says yes, by halving.

    To the nearest *step*; 0 where not even *least* holds.  It asks a handful of times, and trusts
    that what holds for a number holds for a smaller one.
    """
    low, high = 0, (most - least) // step + 1
    # What is below `low` is known to hold, and what is at `high` or above is taken not to.
    while low < high:
        middle = (low + high) // 2
        if await holds(least + middle * step):
            low = middle + 1
        else:
            high = middle
    return least + (low - 1) * step if low else 0
