"""How long to stay away from a server that is not there."""

from __future__ import annotations

from random import Random
from typing import Final

from attrs import define, field

BASE_S: Final = 0.5
MOST_S: Final = 15.0
"""A person looks at the screen: a server that is back is to be noticed within half a minute."""


@define(eq=False)
class Backoff:
    """Wait longer after each failure, with full jitter, so that not all clients come at once."""

    _chance: Random = field(factory=Random)
    _failures: int = field(default=0, init=False)

    def wait_s(self) -> float:
        """Return how long to wait now; the next wait may be twice as long."""
        most_s = min(MOST_S, BASE_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return self._chance.uniform(0, most_s)

    def reset(self) -> None:
        """Begin with short waits again: it worked."""
        self._failures = 0
