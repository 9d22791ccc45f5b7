"""Whether enough replicas have what was written, where that is asked for."""

from __future__ import annotations

from typing import Final

import trio
from attrs import define, field

from bargein.timeline.health import Health, Ward
from bargein.timeline.redis.keys import PROBE
from bargein.timeline.redis.link import Link

ASKED_S: Final = 0.5
"""How long one question waits for replicas; nothing else passes on its connection meanwhile."""

TOO_FEW: Final = "too few replicas of Redis acknowledge what is written"


@define(eq=False)
class Copies:
    """Waits for replicas.  Lives as long as its store.

    Attributes:
        link: The connection that writes.
        wanted: How many have to acknowledge; with 0 nobody is waited for.
        are_short: Whether there were too few when they were last asked.
    """

    link: Link
    ward: Ward
    wanted: int
    are_short: bool = field(default=False, init=False)

    async def until_there(self, due_s: float) -> bool:
        """Wait until enough of them have all that was written so far; at most until *due_s*.

        Raises:
            LinkLost: If that can't be known.
        """
        while not await self.are_there(due_s - trio.current_time()):
            self.ward.turn(Health("read-only", TOO_FEW))
            if trio.current_time() >= due_s:
                return False
        return True

    async def are_there(self, wait_s: float = ASKED_S) -> bool:
        """Say whether they have, within *wait_s* or less.

        Raises:
            LinkLost: If that can't be known.
        """
        if self.wanted == 0:
            return True
        # Well before the connection would count as lost.
        wait_ms = max(1, round(min(wait_s, ASKED_S, self.link.answer_s / 4) * 1000))
        # WAIT goes by what its own connection has written last: without the first command it
        # would be content with nothing, where the connection is new.
        _, count = await self.link.ask(((b"SET", PROBE, b"."), (b"WAIT", self.wanted, wait_ms)))
        self.are_short = not (isinstance(count, int) and count >= self.wanted)
        return not self.are_short
