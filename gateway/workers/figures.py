"""What workers count, told as one page: the same series as ever, each with its worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Protocol, cast

from attrs import frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric

from bargein.gateway.workers.letters import Series

LABEL: Final = "worker"


class Collects(Protocol):
    """What has figures."""

    def collect(self) -> Iterable[Metric]:
        """Return them."""
        ...


def series_of(registry: Collects) -> tuple[Series, ...]:
    """Return all that a registry has now."""
    return tuple(
        Series(
            metric.name,
            metric.type,
            metric.documentation,
            tuple((one.name, dict(one.labels), one.value) for one in metric.samples),
        )
        for metric in registry.collect()
    )


def page_of_all(workers: Mapping[int, Iterable[Series]], own: Collects | None = None) -> bytes:
    """Return one page of what all *workers* count, and of what *own* has beside.

    Nothing is added up: a sum falls when a worker ends, which whoever reads it takes for a restart
    of all, and counts what is left once more.
    """
    merged: dict[str, Metric] = {}
    for number, told in sorted(workers.items()):
        for series in told:
            metric = merged.setdefault(series.name, Metric(series.name, series.text, series.kind))
            for name, labels, value in series.samples:
                metric.add_sample(name, {**labels, LABEL: str(number)}, value)
    page = generate_latest(cast("CollectorRegistry", _Told(tuple(merged.values()))))
    return page if own is None else page + generate_latest(cast("CollectorRegistry", own))


@frozen
class _Told:
    metrics: tuple[Metric, ...]

    def collect(self) -> Iterator[Metric]:
        yield from self.metrics
