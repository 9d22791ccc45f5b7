"""The source tree as the tests of the project itself see it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

NOT_PRODUCT = frozenset({"build", "deploy", "dist", "docs", "examples", "sdk", "tests"})
"""Directories at the root that hold no part of the package."""


def pyproject() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def product_files() -> Iterator[Path]:
    """Walk the Python files of the package, links aside."""
    if (ROOT / "server.py").exists():
        yield ROOT / "server.py"
    for top in sorted(ROOT.iterdir()):
        if top.is_dir() and top.name not in NOT_PRODUCT and top.name.isidentifier():
            yield from sorted(top.rglob("*.py"))


def packages_in_tree() -> set[str]:
    """Name each directory that holds Python files of the product, with `bargein` itself."""
    parents = {path.parent.relative_to(ROOT).parts for path in product_files()}
    return {".".join(("bargein", *parts)) for parts in parents} | {"bargein"}


def top_level_packages() -> set[str]:
    """Name the directories at the root that are packages."""
    return {name.split(".")[1] for name in packages_in_tree() if "." in name}
