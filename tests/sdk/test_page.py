"""The page of docs/sdk.md does what it says, and the tables there are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pages
from tests.e2e.harness import world
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words
from tests.project.tree import ROOT
from tests.sdk.node import HERE, SDK, program, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

DOCS = pages.read(ROOT / "docs" / "sdk.md")
SERVED = "http://127.0.0.1:8710/sdk/"
SOURCE = "".join(pages.read(path) for path in sorted((SDK / "src").glob("*.js")))


def script() -> str:
    """Return the script of the page."""
    (page,) = pages.blocks(DOCS, "html")
    found = re.search(r'<script type="module">\n(.*)</script>', page, re.DOTALL)
    assert found is not None
    assert page.count("\n") <= 17, "it is said to be short"
    assert found[1].count("\n") <= 15, "of fifteen lines"
    assert SERVED in found[1]
    return found[1]


async def test_the_page_talks_stops_and_goes_on(tmp_path: Path):
    async with world(by_words({"Go": FOR_EVER}, BRIEF)) as w:
        module = tmp_path / "page.mjs"
        text = script().replace(SERVED, f"{SDK.as_uri()}/src/").replace("8710", str(w.port))
        module.write_text(text, encoding="utf-8")
        async with program(HERE / "page.mjs", str(module)) as page:
            first = await page.ask(say="Go on", shows="I go on")
            assert first["left"] == "", "the field is free for the next words"
            second = await page.ask(say="Stop, and be brief", shows="Very well.")
        assert second["text"] == "> Go on\nI go on \n\n> Stop, and be brief\nVery well.\n"


def test_every_option_and_notice_of_the_page_is_the_codes():
    options = pages.read(SDK / "src" / "options.js")
    known = set(re.findall(r"@property .* \[(\w+)\]", options.partition("@typedef {{signal")[0]))
    table = DOCS.partition("| option |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == known - {"random"}
    notices = set(re.findall(r'^ \*   "?([\w*]+)"?: ', options, re.MULTILINE))
    table = DOCS.partition("| notice |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert notices == {name for cell in cells for name in re.findall(r"`([\w*]+)`", cell)}


def test_every_method_of_the_page_is_there():
    table = DOCS.partition("| | |")[2].partition("\n\n")[0]
    methods = re.findall(r"^\| `(\w+)\(", table, re.MULTILINE)
    assert len(methods) == 8
    assert [name for name in methods if f"\n  {name}(" not in SOURCE] == []
