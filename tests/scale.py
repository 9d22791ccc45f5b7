"""How often a test repeats what it repeats: in full by `make verify`, a tenth by `make test`."""

from __future__ import annotations

import os
from math import ceil

AT_VERIFY = 10.0
"""What `make verify` sets BARGEIN_TEST_SCALE to: how many times the size of `make test`."""


def scaled(count_at_verify: int) -> int:
    """Return how often to repeat here what `make verify` repeats *count_at_verify* times.

    At least once; without BARGEIN_TEST_SCALE a tenth, rounded up.
    """
    scale = float(os.environ.get("BARGEIN_TEST_SCALE") or 1)
    return max(1, ceil(count_at_verify * scale / AT_VERIFY))
