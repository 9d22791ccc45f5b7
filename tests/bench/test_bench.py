from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.project.tree import ROOT

LIMIT_S = 90
"""Far beyond the few seconds it takes: two processes start, on a machine that does a lot beside."""


def _bench(out: Path, model: str) -> dict[str, Any]:
    command = (
        *(sys.executable, "-m", "examples.bench.cost", "--sessions", "3", "--model", model),
        *("--seconds", "1", "--warm-s", "1", "--out", str(out), "--dir", str(out.parent)),
        *("--tokens", "40", "--interval-ms", "5", "--first-ms", "20", "--interrupt-share", "0.5"),
    )
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "server CPU, us a token" in done.stdout
    return json.loads(out.read_text(encoding="utf-8"))["runs"][0]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["anthropic", "scripted"])
def test_the_benchmark_measures_a_server_under_load(tmp_path: Path, model: str):
    run = _bench(tmp_path / "figures.json", model)
    report = run["report"]
    assert report["connected"] == 3
    assert report["tokens"] > 50
    assert report["interrupts"] > 0
    assert report["completed"] > 0
    assert (report["ghosts"], report["seq_gaps"], report["errors"]) == (0, 0, {})
    assert run["cpu_us"] > 0
    assert run["load_kib"] > 0
    assert report["ack_ms"]["p50"] > 0
    assert (run["model_cpu_us"] is None) == (model == "scripted")


def test_bots_say_what_went_wrong_where_there_is_no_server():
    done = subprocess.run(
        (
            *(sys.executable, "-m", "examples.bots", "--url", "ws://127.0.0.1:9/v1/session"),
            *("--users", "2", "--seconds", "0.2", "--warm-s", "0", "--json"),
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["errors"] == {"no connection": 2}
