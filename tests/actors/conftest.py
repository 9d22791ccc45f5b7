from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any, cast

import pytest
import structlog.testing

from bargein.protocol.ids import Epoch, SessionId
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore
from tests.actors.stage import Viewer


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged; a crash's traceback with all its locals takes a minute to print."""
    with structlog.testing.capture_logs() as captured:
        yield captured


@pytest.fixture
def viewer() -> Viewer:
    """A client of an empty timeline."""
    store = cast("Any", MemoryStore)()
    return Viewer(Timeline(SessionId("sess_00"), Epoch("e0"), store))
