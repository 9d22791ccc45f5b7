from __future__ import annotations

import subprocess
import sys

LIMIT_S = 60

PROGRAM = """
import gc, sys, trio
from bargein.gateway.interpreter import SWITCH_INTERVAL_S, YOUNG_OBJECTS, tune_interpreter
from bargein.gateway.interpreter import warm_for_good

loaded = []

async def warm():
    loaded.extend([] for _ in range(10_000))

tune_interpreter()
assert gc.get_threshold()[0] == YOUNG_OBJECTS
assert abs(sys.getswitchinterval() - SWITCH_INTERVAL_S) < 1e-6
before = gc.get_freeze_count()
assert before > 10_000, before
trio.run(warm_for_good, warm)
assert len(loaded) == 10_000
assert gc.get_freeze_count() - before >= 10_000, gc.get_freeze_count()
"""
"""In a process of its own: what is frozen here would be hidden from the other tests."""


def test_what_is_loaded_is_no_longer_looked_at_by_the_collector():
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM),
        capture_output=True,
        check=False,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
