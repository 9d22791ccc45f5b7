"""What a supervisor counts; its workers tell it with their own figures."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

REGISTRY: Final = CollectorRegistry()
"""Apart from the figures of a server: a supervisor serves nobody."""

WORKERS: Final = Gauge(
    "bargein_workers",
    "Worker processes, by state: starting, ready, not ready, silent, draining.",
    ["state"],
    registry=REGISTRY,
)

RESTARTS: Final = Counter(
    "bargein_worker_restarts_total",
    "Workers that have ended without being asked, and were started again.",
    registry=REGISTRY,
)
