"""What a soak measures, and whether that is flat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median

import trio
from attrs import frozen

from tests.e2e.process import ServerProcess
from tests.network.vitals import MIB, Vitals, vitals

_TASKS = re.compile(r"^soak_tasks (\S+)$", re.MULTILINE)

GROWTH_SHARE = 0.02
GROWTH_BYTES = 2 * MIB
"""From the second to the last quarter, besides its share: what the allocator's pages may do."""

SHORT_S = 600.0
SHORT_GROWTH_BYTES = 12 * MIB
"""Within minutes the allocator and SQLite's caches are still finding their size."""


@frozen
class Sample:
    """What the server held at one moment.

    Attributes:
        at_s: Since the start of the load.
        tasks: With the one that answered, which every sample has.
    """

    at_s: float
    vitals: Vitals
    tasks: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """What has to be back exactly: descriptors, threads, tasks."""
        return self.vitals.descriptors, self.vitals.threads, self.tasks

    def __str__(self) -> str:
        held = self.vitals
        return (
            f"RSS {held.rss_bytes / MIB:6.1f} MiB, {held.descriptors:4} descriptors, "
            f"{held.threads:2} threads, {self.tasks:4} tasks"
        )


async def sample(server: ServerProcess, since_s: float) -> Sample:
    """Look at the server now."""
    _, page = await server.get("/metrics")
    found = _TASKS.search(page)
    assert found is not None, page
    now_s = trio.current_time() - since_s
    return Sample(now_s, vitals(server.process.pid), int(float(found[1])))


def growth_bytes(samples: Sequence[Sample]) -> float:
    """Return how much the RSS grew from the second quarter to the last."""
    quarter = max(1, len(samples) // 4)
    second = median(one.vitals.rss_bytes for one in samples[quarter : 2 * quarter])
    last = median(one.vitals.rss_bytes for one in samples[-quarter:])
    return last - second


def allowed_bytes(samples: Sequence[Sample], for_s: float) -> float:
    """Return how much it may grow and still be called flat."""
    largest = max(one.vitals.rss_bytes for one in samples)
    least = SHORT_GROWTH_BYTES if for_s < SHORT_S else GROWTH_BYTES
    return least + GROWTH_SHARE * largest
