from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.project.tree import ROOT

LIMIT_S = 60


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make as a person would, and not as a part of the make that may run these tests."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env={name: value for name, value in inherited.items() if name != "MFLAGS"},
        capture_output=True,
        check=False,
        text=True,
        timeout=LIMIT_S,
    )


def _targets_in_help() -> list[str]:
    return re.findall(r"^make ([a-z-]+)", _make().stdout, flags=re.MULTILINE)


def test_make_alone_shows_first_how_to_serve_and_how_to_test():
    assert _targets_in_help()[:2] == ["serve", "test"]


@pytest.mark.parametrize("target", _targets_in_help())
def test_every_command_in_the_help_is_there(target: str):
    planned = _make("--dry-run", target)
    assert planned.returncode == 0, planned.stderr


def test_a_command_that_is_not_there_fails():
    assert _make("--dry-run", "no-such-target").returncode != 0


def test_app_and_arguments_reach_the_server():
    planned = _make("--dry-run", "serve", "APP=shop:app", "ARGS=--port 9000")
    assert planned.stdout.splitlines()[-1].endswith("bargein serve shop:app --port 9000")


def test_verify_runs_the_tests_at_ten_times_their_size():
    planned = _make("--dry-run", "verify")
    assert "BARGEIN_TEST_SCALE=10 " in planned.stdout.splitlines()[-1]


def test_what_ci_runs_can_be_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    parsed = subprocess.run(["bash", "-n", script], check=False, timeout=LIMIT_S)
    assert parsed.returncode == 0
