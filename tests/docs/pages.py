"""The pages of the documentation, as tests see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.project.tree import ROOT

PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a language, in order."""
    return [text for found, text in _FENCE.findall(page) if found == language]


def links(page: str) -> Iterator[str]:
    """Return where the links and pictures of a page lead, code apart."""
    prose = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page))
    for found in _LINK.finditer(prose):
        yield found[1]


def anchors(page: str) -> set[str]:
    """Return the names under which the headings of a page can be linked to."""
    prose = _FENCE.sub("", page)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in _HEADING.findall(prose)
    }


def commands(page: str) -> list[str]:
    """Return the lines of the shell blocks, without comments and blank ones."""
    lines = "\n".join(blocks(page, "bash")).splitlines()
    stripped = (re.sub(r"\s+#.*$", "", line).strip() for line in lines)
    return [line for line in stripped if line]
