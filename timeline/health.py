"""Whether a store can write at the moment, for those who have to know before they try."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import structlog
import trio
from attrs import define, field, frozen

log = structlog.get_logger(__name__)

RETRY_S: Final = 1.0
"""How often a store that could not write tries again: back well within 5 s."""

Condition: TypeAlias = Literal["sound", "read-only", "dead"]


@frozen
class Health:
    """How a store is.

    Attributes:
        condition: `sound`; `read-only` while it can't write, which passes; `dead` for
            good. Reads go on in all of them.
        reason: What stands in the way, as a few words; empty while it is sound.
    """

    condition: Condition = "sound"
    reason: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether an append is likely to be stored."""
        return self.condition == "sound"


SOUND: Final = Health()


@define(eq=False)
class Ward:
    """Keeps the health of one store, and those who wait for it to change."""

    health: Health = field(default=SOUND, init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)

    def turn(self, health: Health) -> None:
        """Note that the store is now as *health* says."""
        if health == self.health:
            return
        if health.is_sound:
            log.info("store.recovered", after=self.health.reason)
        elif self.health.is_sound:
            log.error("store.failed", condition=health.condition, reason=health.reason)
        self.health = health
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, *, sound: bool) -> None:
        """Wait until the store is sound, or until it is not."""
        while self.health.is_sound is not sound:
            await self._changed.wait()
