"""What so many sessions take, and the page that shows it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from attrs import evolve

from examples.bench.sizing import Load, Measured, Need, Room, needs_of, table
from tests.docs import pages
from tests.project.tree import ROOT

USUAL = Load(100_000)
LIMIT_S = 60


def test_the_page_shows_what_the_command_prints():
    done = subprocess.run(
        [sys.executable, "-m", "examples.bench.sizing"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.stdout.strip() in pages.read(ROOT / "docs" / "operations.md")
    assert done.stdout.count("\n") == 11


def test_one_column_reckoned_by_hand():
    need = Need(Load(100_000), Measured(), Room())
    assert need.talking == 2000
    assert need.tokens_per_s == 100_000
    assert need.turns_per_s == 500
    assert need.events_per_s == pytest.approx(100_000 / 1.06 + 10_000)
    assert need.workers == 20  # 12 cores' worth at 60 %, and ten for the connections
    assert need.redis_servers == 7  # 3.4 cores' worth at 50 %
    assert need.memory_gib == pytest.approx((98_000 * 54.5 + 2000 * 502) / 1024**2)


def test_what_redis_is_asked_for_by_hand():
    need = Need(Load(100_000))
    letters = need.events_per_s * 0.25 * 4
    assert need.redis_commands_per_s == pytest.approx(need.events_per_s + letters + 20 * 6)
    alone = Need(Load(2000))
    assert alone.workers == 1
    assert alone.redis_commands_per_s == pytest.approx(alone.events_per_s + 6)


def test_where_nobody_talks_workers_are_needed_for_connections_alone():
    idle = Need(Load(100_000, talking_share=0.0))
    assert (idle.workers, idle.redis_servers, idle.events_per_s) == (10, 1, 0)


@pytest.mark.parametrize("sessions", [0, 1, 1000])
def test_there_is_always_one_of_each(sessions: int):
    need = Need(Load(sessions))
    assert (need.workers, need.redis_servers) == (1, 1)


def test_what_costs_twice_as_much_takes_twice_as_many():
    once = Need(USUAL, room=Room(connections=10**9))
    twice = evolve(once, measured=Measured(token_us=240.0, append_us=66.0, event_bytes=582))
    assert twice.workers == 2 * once.workers
    assert 0 <= 2 * once.redis_servers - twice.redis_servers <= 1
    assert twice.redis_gib == pytest.approx(2 * once.redis_gib)


def test_the_table_has_a_cell_for_each_load():
    lines = list(table(needs_of(0.02, 10)))
    assert {line.count("|") for line in lines} == {6}
