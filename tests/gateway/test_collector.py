from __future__ import annotations

import gc
import subprocess
import sys

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs

from bargein.gateway.collector import ALL, LITTLE, NEW, STEP_BLOCKS, YOUNG_S, Collector

LIMIT_S = 60


@define(eq=False)
class Process:
    """As much memory and CPU as a test says, and a collector that leaves what a test says."""

    memory: int = 10 * STEP_BLOCKS
    cpu_s: float = 0.0
    passes: list[int] = field(factory=list[int])
    leaves: int | None = None

    def blocks(self) -> int:
        return self.memory

    def used_s(self) -> float:
        return self.cpu_s

    def collect(self, generation: int) -> int:
        self.passes.append(generation)
        found = 0 if self.leaves is None else self.memory - self.leaves
        self.memory -= found
        return found

    def collector(self) -> Collector:
        return Collector(self.blocks, self.collect, self.used_s)

    def look(self, collector: Collector, steps: float, *, idle: bool) -> list[int]:
        """Have so much memory and let it be looked at; return the passes that made."""
        self.memory = int(steps * STEP_BLOCKS)
        self.passes.clear()
        collector.look(idle=idle)
        return list(self.passes)


@pytest.mark.parametrize("idle", [True, False])
def test_what_has_come_is_looked_at_a_step_at_a_time(idle: bool):
    process = Process()
    collector = process.collector()
    assert process.look(collector, 10.99, idle=idle) == []
    assert process.look(collector, 11, idle=idle) == [NEW]
    assert process.look(collector, 11.99, idle=idle) == []
    assert process.look(collector, 12.5, idle=idle) == [NEW]
    assert process.look(collector, 13.4, idle=idle) == []


def test_twice_as_much_is_looked_at_whole_while_little_goes_on():
    process = Process()
    collector = process.collector()
    assert process.look(collector, 20, idle=False) == [NEW]
    assert process.look(collector, 20, idle=True) == [ALL]
    assert process.look(collector, 39, idle=True) == [NEW]
    assert process.look(collector, 40, idle=True) == [ALL]


def test_four_times_as_much_is_looked_at_whole_whatever_goes_on():
    process = Process()
    collector = process.collector()
    assert process.look(collector, 39.99, idle=False) == [NEW]
    assert process.look(collector, 40, idle=False) == [ALL]
    assert process.look(collector, 41, idle=False) == [NEW]
    assert process.look(collector, 159, idle=False) == [NEW]
    assert process.look(collector, 160, idle=False) == [ALL]


def test_what_a_pass_has_left_is_what_growth_is_measured_by():
    process = Process(leaves=5 * STEP_BLOCKS)
    collector = process.collector()
    assert process.look(collector, 20, idle=True) == [ALL]
    process.leaves = None
    assert process.look(collector, 9.9, idle=True) == [NEW]
    assert process.look(collector, 10, idle=True) == [ALL]


def test_what_went_by_itself_allows_no_garbage_in_its_place():
    process = Process()
    collector = process.collector()
    assert process.look(collector, 1, idle=True) == []
    assert process.look(collector, 1.9, idle=True) == []
    assert process.look(collector, 2, idle=True) == [ALL]


async def test_it_looks_every_second_and_sees_by_the_cpu_whether_little_goes_on(
    autojump_clock: trio.testing.MockClock,
):
    process = Process()
    collector = process.collector()

    async def work(share: float, seconds: int) -> None:
        for _ in range(seconds):
            await trio.sleep(0.9)
            process.cpu_s += share
            await trio.sleep(0.1)

    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collector.run)
            process.memory *= 2
            await work(2 * LITTLE, 10)
            assert process.passes == [NEW]
            await work(LITTLE / 2, 3)
            assert process.passes == [NEW, ALL]
            nursery.cancel_scope.cancel()
    told = [(line["event"], line["at"], line["found"], line["left"]) for line in logs]
    left = 20 * STEP_BLOCKS
    assert told == [("collector.looked", at, 0, left) for at in ("new", "all")]


async def test_what_is_young_is_looked_at_all_the_time_while_something_goes_on_and_rarely_else(
    autojump_clock: trio.testing.MockClock,
):
    process, looks = Process(), [0]

    def look() -> int:
        looks[0] += 1
        return 0

    collector = Collector(process.blocks, process.collect, process.used_s, look)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collector.run)
        await trio.sleep(5.5)
        assert looks == [5]  # an idle server wakes up once in a second
        process.cpu_s += 1
        await trio.sleep(0.5)
        before = looks[0]
        for _ in range(10):
            process.cpu_s += 2 * LITTLE
            await trio.sleep(1)
        assert looks[0] - before >= 0.9 * 10 / YOUNG_S
        await trio.sleep(1)
        before = looks[0]
        await trio.sleep(5)
        assert looks[0] - before == 5
        nursery.cancel_scope.cancel()


async def test_what_is_young_is_left_alone_while_the_collector_is_switched_off(
    autojump_clock: trio.testing.MockClock,
):
    process = Process()
    collector = process.collector()
    starts: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            starts.append(info["generation"])

    was_enabled = gc.isenabled()
    gc.disable()
    gc.callbacks.append(note)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collector.run)
            await trio.sleep(3.5)
            assert starts == []
            gc.enable()
            await trio.sleep(1)
            assert 0 in starts
            nursery.cancel_scope.cancel()
    finally:
        gc.callbacks.remove(note)
        (gc.enable if was_enabled else gc.disable)()


PROGRAM = """
import gc, sys
from bargein.gateway.collector import STEP_BLOCKS, Collector
from bargein.gateway.interpreter import tune_interpreter

class Knot:
    def __init__(self):
        self.itself = self

def knots():
    return sum(type(one) is Knot for one in gc.get_objects())

tune_interpreter()
collector = Collector()
for _ in range(3):
    kept = [Knot() for _ in range(STEP_BLOCKS)]
    gc.collect(0)
    del kept
    young = [[] for _ in range(100_000)]  # the interpreter looks at what is young, several times
    assert knots() == STEP_BLOCKS
    collector.look(idle=False)
    assert knots() == 0
kept = [Knot() for _ in range(4 * sys.getallocatedblocks())]
gc.collect(1)  # as such passes would while it is kept
many = len(kept)
del kept
gc.collect(1)
assert knots() == many
collector.look(idle=False)
assert knots() == 0
"""


def test_garbage_that_is_old_is_found_only_by_a_pass():
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM),
        capture_output=True,
        check=False,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
