from __future__ import annotations

from typing import Any, cast

import pytest

from bargein.protocol.ids import Epoch, SessionId
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore
from tests.actors.stage import Viewer


@pytest.fixture
def viewer() -> Viewer:
    """A client of an empty timeline."""
    store = cast("Any", MemoryStore)()
    return Viewer(Timeline(SessionId("sess_00"), Epoch("e0"), store))
