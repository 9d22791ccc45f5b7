"""What a session counts, for the operator: see `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

RECOVERIES: Final = Counter(
    "bargein_recoveries_total", "Failures that were healed within a turn, by kind.", ["kind"]
)

OVERRUNS: Final = Counter(
    "bargein_budgets_exceeded_total",
    "Turns that took longer than their budget, by which.",
    ["budget"],
)

SHAPING_FAILED: Final = Counter(
    "bargein_shaping_failed_total", "Events that a phase could not shape.", ["phase"]
)
