"""What is counted of the store, for the operator: see `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Histogram

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
