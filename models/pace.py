"""How often many streams are read: rarely enough that the core is not all spent on it.

What is paid for each event (its encoding, its place in the store, its frames to the clients) is
shared by all pieces of a stream that are read at once.  So the fuller the core, the longer the
streams are left alone between two reads, up to a bound that nobody sees.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from attrs import define, field

TARGET_SHARE: Final = 0.6
"""Of a core, for all threads of the process, since one of them runs at a time: a task that becomes
runnable waits the shorter, the more of the time nothing runs."""

LOOK_S: Final = 0.25
"""How often the share is looked at, and over how long it is measured."""

GAIN_S: Final = 0.08
"""By how much the period grows at a look, for a whole core too much."""

LONGEST_S: Final = 0.08
"""The longest period.  What comes twelve times a second still looks as if it flowed, and nobody
reads or speaks so fast."""

SHORTEST_S: Final = 0.001
"""Below this it is none: too short for two pieces to meet."""


@define(eq=False)
class Pace:
    """Steers the time from one reading of all streams to the next by how busy the process is.

    Attributes:
        period_s: That time; 0 while the core has room.
        _clock_s: A clock that goes on.
        _spent_s: What the process has used of the processor.
    """

    _clock_s: Callable[[], float] = time.perf_counter
    _spent_s: Callable[[], float] = time.process_time
    period_s: float = field(default=0.0, init=False)
    _steered_s: float = field(default=0.0, init=False)
    _looked_s: float = field(init=False)
    _spent_then_s: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._looked_s, self._spent_then_s = self._clock_s(), self._spent_s()

    def look(self) -> None:
        """Adjust the period, if it is time for that.  Call it at each reading."""
        now_s = self._clock_s()
        since_s = now_s - self._looked_s
        if since_s < LOOK_S:
            return
        spent_s = self._spent_s()
        share = (spent_s - self._spent_then_s) / since_s
        self._looked_s, self._spent_then_s = now_s, spent_s
        # A look that comes late says how it was for so long.
        steered_s = self._steered_s + GAIN_S * (share - TARGET_SHARE) * min(since_s / LOOK_S, 4.0)
        self._steered_s = min(max(steered_s, 0.0), LONGEST_S)
        self.period_s = self._steered_s if self._steered_s >= SHORTEST_S else 0.0
