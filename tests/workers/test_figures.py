from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.parser import text_string_to_metric_families

from bargein.gateway.workers.figures import page_of_all, series_of


def registry_of(number: int) -> CollectorRegistry:
    registry = CollectorRegistry()
    Gauge("rooms", "Rooms.", registry=registry).set(number)
    Counter("guests_total", "Guests.", ["of"], registry=registry).labels('a"b\\c').inc(10 * number)
    Histogram("stay_seconds", "Stays.", registry=registry, buckets=(1, 2)).observe(number)
    Gauge("odd", "Odd.", registry=registry).set(math.nan if number == 1 else math.inf)
    return registry


def samples_of(page: bytes) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_each_series_is_told_once_for_each_worker_and_nothing_is_added_up():
    page = page_of_all({2: series_of(registry_of(2)), 1: series_of(registry_of(1))})
    told = samples_of(page)
    assert (told["rooms", "1"], told["rooms", "2"]) == (1, 2)
    assert (told["guests_total", 'a"b\\c', "1"], told["guests_total", 'a"b\\c', "2"]) == (10, 20)
    assert told["stay_seconds_bucket", "1.0", "1"] == 1
    assert told["stay_seconds_bucket", "1.0", "2"] == 0
    assert told["stay_seconds_sum", "2"] == 2
    assert math.isnan(told["odd", "1"])
    assert told["odd", "2"] == math.inf
    assert page.count(b"# TYPE guests_total counter") == 1


def test_what_the_supervisor_counts_stands_beside_them():
    own = CollectorRegistry()
    Gauge("crew", "Crew.", registry=own).set(3)
    told = samples_of(page_of_all({1: series_of(registry_of(1))}, own))
    assert told["crew",] == 3
    assert told["rooms", "1"] == 1
