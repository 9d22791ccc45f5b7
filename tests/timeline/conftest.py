"""Both stores, for what each of them promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from bargein.timeline.memory import MemoryStore, Shelf
from bargein.timeline.sqlite import SqliteStore
from tests.timeline.appends import Opener


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Return what opens the same store again and again."""
    if request.param == "memory":
        shelf = Shelf()
        return lambda: MemoryStore(shelf)
    return lambda: SqliteStore(tmp_path / "timelines.sqlite3")
