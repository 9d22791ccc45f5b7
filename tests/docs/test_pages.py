"""What the pages say of the tree: links, pictures, names."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bargein.server import BAD_CONFIGURATION, STORE_DIED
from tests.docs import pages
from tests.project.test_settings import UNREAD
from tests.project.tree import ROOT, product_files

README = pages.read(ROOT / "README.md")
OPERATIONS = pages.read(ROOT / "docs" / "operations.md")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", pages.PAGES, ids=named)
def test_every_link_leads_somewhere(path: Path):
    page = pages.read(path)
    for target in pages.links(page):
        if target.startswith("https://"):
            continue  # whether others keep their pages is not for these tests
        place, _, anchor = target.partition("#")
        there = (path.parent / place).resolve() if place else path
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        if anchor:
            assert anchor in pages.anchors(pages.read(there)), target


def test_every_page_can_be_reached_from_the_readme():
    reached, waiting = {ROOT / "README.md"}, [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        for target in pages.links(pages.read(path)):
            there = (path.parent / target.partition("#")[0]).resolve()
            if there.suffix == ".md" and there.exists() and there not in reached:
                reached.add(there)
                waiting.append(there)
    left_out = set(pages.PAGES) - reached - {ROOT / "docs" / "README.md"}
    assert left_out == set()


def test_every_decision_is_listed():
    listed = set(pages.links(pages.read(ROOT / "docs" / "adr" / "README.md")))
    decisions = {path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md")}
    assert listed == decisions


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=named)
def test_a_picture_is_an_svg_that_loads_nothing(path: Path):
    picture = ET.parse(path).getroot()  # noqa: S314 - a file of our own
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert "href" not in pages.read(path)
    assert "<script" not in pages.read(path)


def test_the_conversation_in_the_readme_is_the_one_in_the_picture():
    found = re.search(r"<!-- wscat -->\n```text\n(.*?)```", README, re.DOTALL)
    assert found is not None
    drawn = ET.parse(ROOT / "docs" / "images" / "wscat.svg").getroot()  # noqa: S314 - our own
    group = drawn.findall("{http://www.w3.org/2000/svg}g")[-1]
    lines: dict[float, str] = {}
    for run in group:
        y_px = float(run.attrib["y"])
        lines[y_px] = lines.get(y_px, "") + (run.text or "")
    assert [lines[y_px] for y_px in sorted(lines)] == found[1].splitlines()
    assert len(lines) > 20


def test_every_promise_names_a_test_that_is_there():
    promises = [line for line in README.splitlines() if "`test_" in line]
    assert len(promises) >= 5
    for line in promises:
        found = re.search(r"\]\((tests/[^)]+)\) `(test_\w+)`", line)
        assert found is not None, line
        assert f"def {found[2]}(" in pages.read(ROOT / found[1]), line


def test_the_lines_that_operators_look_for_are_logged_by_the_code():
    table = OPERATIONS.partition("Lines to look at:")[2].partition("##")[0]
    names = re.findall(r"`([a-z_]+\.[a-z_]+)`", table)
    assert len(names) >= 5
    code = "\n".join(pages.read(path) for path in product_files())
    assert [name for name in names if f'"{name}"' not in code] == []


def test_the_exit_codes_of_the_server_are_explained():
    explained = re.findall(r"^\| (\d+) \|", OPERATIONS, re.MULTILINE)
    assert explained == ["0", "1", "2", str(STORE_DIED), str(BAD_CONFIGURATION)]


def test_the_settings_without_effect_are_listed():
    listed = OPERATIONS.partition("without effect:")[2].partition(". ")[0]
    assert set(re.findall(r"`([\w.]+)`", listed)) == UNREAD
