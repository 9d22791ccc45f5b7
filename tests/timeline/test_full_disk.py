"""A disk that is really full: a small one of its own, in a namespace of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.timeline import full_disk_process

ROOT = Path(__file__).parents[2]
LIMIT_S = 60


def in_a_namespace(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", *command],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
        timeout=LIMIT_S,
    )


def may_mount(where: Path) -> bool:
    """Say whether this machine lets a test have a disk; containers often don't."""
    try:
        return in_a_namespace("mount", "-t", "tmpfs", "tmpfs", str(where)).returncode == 0
    except FileNotFoundError:
        return False


def test_a_full_disk_stops_writing_only_and_space_brings_it_back(tmp_path: Path) -> None:
    if not may_mount(tmp_path):
        pytest.skip("this machine lets nobody mount a disk of their own")
    done = in_a_namespace(sys.executable, "-m", full_disk_process.__name__, str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    said: list[dict[str, Any]] = [
        json.loads(line) for line in done.stdout.splitlines() if line[0] == "{"
    ]
    lines = said[-1]["expected_lines"]
    assert said == [
        {"full": "No space left on device"},
        {"reason": "the disk is full", "condition": "read-only"},
        {"history": [1, 2, 3]},
        {"condition": "sound", "lost": 0},
        {"history": [1, 2, 3, 4, 5, 6], "lines": lines},
        {"expected_lines": lines},
    ]
