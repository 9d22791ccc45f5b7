"""docs/reliability.md: every invariant has its row, and every test that it names is there."""

from __future__ import annotations

import re

import pytest

from tests.docs import pages
from tests.project.tree import ROOT

PAGE = pages.read(ROOT / "docs" / "reliability.md")
ROWS = dict(re.findall(r"^\| (I\d+) \| (.+) \|$", PAGE, re.MULTILINE))
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
WHY_CHARS = 20


def test_every_invariant_has_one_row_in_order():
    assert list(ROWS) == [f"I{number}" for number in range(1, 53)]
    assert len(re.findall(r"^\| I\d+ \|", PAGE, re.MULTILINE)) == 52


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)))
def test_a_test_that_the_page_names_is_there(path: str, name: str):
    assert name.startswith("test_")
    assert re.search(rf"^(async )?def {name}\(", pages.read(ROOT / path), re.MULTILINE)


@pytest.mark.parametrize("invariant", ROWS)
def test_a_row_names_a_test_or_says_why_there_is_none(invariant: str):
    _, _, shown = ROWS[invariant].partition(" | ")
    reason = re.search(r"(not yet[^:]*: |being built: |not yet, )(.+)", shown)
    assert "::test_" in shown or reason is not None, shown
    if "not yet" in shown and reason is not None and "::test_" not in shown:
        assert len(reason[2]) > WHY_CHARS


def test_every_command_of_the_page_is_a_target():
    makefile = pages.read(ROOT / "Makefile")
    for target in set(re.findall(r"`make ([a-z]+)`", PAGE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
