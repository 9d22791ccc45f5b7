from __future__ import annotations

import subprocess
import sys

import trio
from attrs import define
from structlog.testing import capture_logs

from bargein.gateway.collector import LITTLE, Collector

LIMIT_S = 60


@define(eq=False)
class Process:
    """As much memory and CPU as a test says, and a collector that leaves half of what there is."""

    memory: int = 1000
    cpu_s: float = 0.0
    passes: int = 0
    leaves: int | None = None

    def blocks(self) -> int:
        return self.memory

    def used_s(self) -> float:
        return self.cpu_s

    def collect(self) -> int:
        self.passes += 1
        found = 0 if self.leaves is None else self.memory - self.leaves
        self.memory -= found
        return found

    def collector(self) -> Collector:
        return Collector(self.blocks, self.collect, self.used_s)


def test_nothing_is_looked_at_while_little_has_come():
    process = Process()
    collector = process.collector()
    process.memory = 1499
    collector.look(idle=True)
    assert process.passes == 0


def test_while_little_goes_on_half_as_much_again_is_looked_at():
    process = Process()
    collector = process.collector()
    process.memory = 1500
    collector.look(idle=False)
    assert process.passes == 0
    collector.look(idle=True)
    assert process.passes == 1


def test_whatever_goes_on_twice_as_much_is_looked_at():
    process = Process()
    collector = process.collector()
    process.memory = 1999
    collector.look(idle=False)
    assert process.passes == 0
    process.memory = 2000
    collector.look(idle=False)
    assert process.passes == 1


def test_what_a_pass_has_left_is_what_growth_is_measured_by():
    process = Process()
    collector = process.collector()
    process.memory = 2000
    collector.look(idle=False)
    process.memory = 3999
    collector.look(idle=False)
    assert process.passes == 1
    process.memory = 4000
    process.leaves = 1000
    collector.look(idle=False)
    assert process.passes == 2
    process.memory = 2000
    collector.look(idle=False)
    assert process.passes == 3


def test_what_went_by_itself_allows_no_garbage_in_its_place():
    process = Process()
    collector = process.collector()
    process.memory = 100
    collector.look(idle=False)
    process.memory = 200
    collector.look(idle=False)
    assert process.passes == 1


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
            process.memory = 1600
            await work(2 * LITTLE, 10)
            assert process.passes == 0
            await work(LITTLE / 2, 3)
            assert process.passes == 1
            nursery.cancel_scope.cancel()
    assert [(line["event"], line["found"], line["left"]) for line in logs] == [
        ("collector.looked", 0, 1600)
    ]


PROGRAM = """
import gc, sys
from bargein.gateway.collector import Collector
from bargein.gateway.interpreter import tune_interpreter

class Knot:
    def __init__(self):
        self.itself = self

def knots():
    return sum(type(one) is Knot for one in gc.get_objects())

tune_interpreter()
collector = Collector()
for _ in range(3):
    many = sys.getallocatedblocks() // 3
    kept = [Knot() for _ in range(many)]
    gc.collect(0)
    del kept
    young = [[] for _ in range(100_000)]  # the interpreter looks at what is young, several times
    assert knots() == many
    collector.look(idle=True)
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
