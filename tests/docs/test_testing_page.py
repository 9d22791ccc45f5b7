"""The page on testing: its tests pass, under a pytest without plugins, and its names are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bargein.testing import Timeline, User, World
from tests.docs import pages
from tests.project.tree import ROOT

PAGE = pages.read(ROOT / "docs" / "testing.md")
APP, TESTS = pages.blocks(PAGE, "python")
LIMIT_S = 240

BOOKED_TWICE = 'raise ToolFailed("We are fully booked.")'
"""What keeps the last table from being booked twice."""


def run(tmp_path: Path, app: str) -> subprocess.CompletedProcess[str]:
    """Run the page's tests of an app, as its reader would."""
    (tmp_path / "tables.py").write_text(app)
    (tmp_path / "test_tables.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (command,) = pages.commands(PAGE)
    return subprocess.run(
        [sys.executable, *command.split()[1:], "-q", "-p", "no:trio", "-p", "no:cacheprovider"],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )


def test_the_tests_on_the_page_pass(tmp_path: Path):
    done = run(tmp_path, APP)
    assert done.returncode == 0, done.stdout
    assert f"{TESTS.count('@simulated')} passed" in done.stdout


def test_they_fail_for_an_app_that_books_twice_and_say_how_to_see_it_again(tmp_path: Path):
    assert BOOKED_TWICE in APP
    done = run(tmp_path, APP.replace(BOOKED_TWICE, "pass"))
    assert done.returncode == 1
    assert "1 failed, 3 passed" in done.stdout
    again = re.search(r"REPLAY: BARGEIN_SEED=0 python -m pytest '(.+)'", done.stdout)
    assert again is not None
    assert again[1] == "test_tables.py::test_the_last_table_is_booked_once"


@pytest.mark.parametrize(
    ("name", "kind"), [("guest", User), ("world", World), ("timeline", Timeline)]
)
def test_what_the_tables_name_is_there(name: str, kind: type):
    named = set(re.findall(rf"`{name}\.(\w+)", PAGE))
    own = {attribute for attribute in vars(kind) if not attribute.startswith("_")}
    assert named <= own
    assert len(named) >= 7
