"""How stub workers are started, that behave as a file says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bargein.gateway.workers.worker import SILENCE_MOST_S, Launch
from tests.project.tree import ROOT

STUB = Path(__file__).with_name("stub_worker.py")


def stub_launch(file: Path, silence_most_s: float = SILENCE_MOST_S) -> Launch:
    """Return how one is started; *file* is read at its start."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    paths = os.pathsep.join((str(ROOT / ".dev"), str(ROOT)))
    environ = {**kept, "PYTHONPATH": paths}
    return Launch((sys.executable, str(STUB), str(file)), environ, silence_most_s)
