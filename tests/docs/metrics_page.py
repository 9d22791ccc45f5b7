"""Writes docs/metrics.md from the registry of figures: `make docs`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

import bargein.actors.counters
import bargein.cluster.counters
import bargein.cluster.redis_counters
import bargein.gateway.admission
import bargein.gateway.counters
import bargein.gateway.workers.counters
import bargein.models.counters
import bargein.timeline.counters
from tests.project.tree import ROOT

PAGE: Final = ROOT / "docs" / "metrics.md"

KINDS: Final[dict[type[Any], str]] = {
    Counter: "counter",
    Gauge: "gauge",
    Histogram: "histogram",
}

HEAD: Final = """\
<!-- Generated from the registry by `make docs`; a test fails when it drifts. -->

# Metrics

What `/metrics` tells, beside Python's and the process's own. Names follow Prometheus's
conventions: a counter ends in `_total`, a unit is in the name. A histogram `x` has the series
`x_bucket`, `x_sum` and `x_count`. No label takes what a client sends: tools, models and guardrails
are those of the app, and of each kind at most 100 are told apart; the rest is `other`.

Sessions, turns, interrupts, tokens, calls and actions are counted from the events of the timelines,
once the store has them: what a crash took back was never counted. All counts begin anew with the
process; over longer times ask [`bargein report`](operations.md#report). The text is made at most
once a second, and takes as long with 10,000 sessions as with one. [Alerts](operations.md#alerts)
watch these figures, and [a dashboard](grafana.json) shows them. Where several workers serve, each
of them answers for all: every series then has the label `worker` beside its own.

| name | kind | labels | what it counts |
|---|---|---|---|
"""

MODULES: Final = (
    bargein.actors.counters,
    bargein.cluster.counters,
    bargein.cluster.redis_counters,
    bargein.gateway.admission,
    bargein.gateway.counters,
    bargein.gateway.workers.counters,
    bargein.models.counters,
    bargein.timeline.counters,
)
"""Those that declare figures."""


def figures() -> list[Any]:
    """Return every figure of ours, by name."""
    registered: dict[str, Any] = {}
    for registry in (REGISTRY, bargein.gateway.workers.counters.REGISTRY):
        registered |= dict(registry._names_to_collectors)  # pyright: ignore[reportPrivateUsage]
    ours = {id(one): one for name, one in registered.items() if name.startswith("bargein_")}
    return sorted(ours.values(), key=name_of)


def name_of(figure: Any) -> str:
    """Return the name as it is asked for."""
    return figure._name + ("_total" if isinstance(figure, Counter) else "")


def series() -> frozenset[str]:
    """Return the names of all series that are told."""
    names: set[str] = set()
    for figure in figures():
        name = name_of(figure)
        if isinstance(figure, Histogram):
            names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            names.add(name)
    return frozenset(names)


def labels_of(figure: Any) -> tuple[str, ...]:
    """Return the labels by which it is split."""
    return figure._labelnames


def page() -> str:
    """Return the whole page."""
    return HEAD + "".join(_rows())


def _rows() -> Iterator[str]:
    for figure in figures():
        labels = ", ".join(f"`{label}`" for label in labels_of(figure))
        text = figure._documentation.replace("|", "\\|")
        yield f"| `{name_of(figure)}` | {KINDS[type(figure)]} | {labels} | {text} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
