"""What is counted of the store, for the operator: see `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

COMMIT_SECONDS: Final = Histogram(
    "bargein_store_commit_seconds",
    "Time that a group of events took to be written and fsynced.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

COMMIT_EVENTS: Final = Histogram(
    "bargein_store_commit_events",
    "Events that were committed with one fsync.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096),
)

COLD_MOVED: Final = Counter(
    "bargein_cold_sessions_total",
    "Sessions whose events this server has moved from Redis into files.",
)
COLD_BYTES: Final = Counter(
    "bargein_cold_bytes_total",
    "Bytes of events in the files that this server has written for cold sessions.",
)
COLD_FAILURES: Final = Counter(
    "bargein_cold_failures_total",
    "Moves of cold sessions that failed, and looks for them that did not come to their end.",
    ["what"],
)
for what in ("look", "move"):
    COLD_FAILURES.labels(what)
