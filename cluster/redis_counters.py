"""What is counted of the letters that don't arrive."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

LETTERS_DROPPED: Final = Counter(
    "bargein_letters_dropped_total",
    "Letters to other servers that were dropped: Redis was away too long, or refused them.",
)
LETTERS_MISSED: Final = Counter(
    "bargein_letters_missed_total",
    "Batches of letters from other servers that were gone before this one could read them.",
)
