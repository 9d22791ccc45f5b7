from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog.testing


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged; a crash's traceback with all its locals takes a minute to print."""
    with structlog.testing.capture_logs() as captured:
        yield captured
