"""What makes a store on Redis well again, and finishes what was cut off."""

from __future__ import annotations

import structlog
import trio
from attrs import define, field

from bargein.timeline.health import RETRY_S, SOUND, Ward
from bargein.timeline.redis.chain import Chain
from bargein.timeline.redis.copies import Copies
from bargein.timeline.redis.keys import PROBE
from bargein.timeline.redis.lease import LEASE_S
from bargein.timeline.redis.link import Link, LinkLost, Refused
from bargein.timeline.redis.writer import Writer
from bargein.timeline.store import StoreError

log = structlog.get_logger(__name__)


@define(eq=False)
class Care:
    """Looks after a store that could not write.  Lives as long as it.

    Attributes:
        is_sweeping: Whether what was left in outboxes is being delivered.
    """

    link: Link
    chain: Chain
    writer: Writer
    ward: Ward
    copies: Copies
    is_sweeping: bool = field(default=False, init=False)

    async def convalesce(self) -> None:
        """Try to write once in a while when that was refused, until it is not."""
        while True:
            await self.ward.until(sound=False)
            await trio.sleep(RETRY_S)
            try:
                (answer,) = await self.link.ask(((b"SET", PROBE, b"."),))
                are_there = await self.copies.are_there()
            except LinkLost:
                continue
            is_noted = await self.writer.write_notes()
            if is_noted and are_there and not isinstance(answer, Refused):
                self._turn_sound()

    async def sweep(self) -> None:
        """Deliver what is left in outboxes, whenever something may be.

        What other servers have left is looked for now and then: they go without a word.
        """
        while True:
            with trio.move_on_after(LEASE_S):
                await self.writer.rest.wait()
            # Before it begins: what is left meanwhile needs another sweep.
            self.writer.rest, self.is_sweeping = trio.Event(), True
            await self.link.until_up()
            try:
                await self.chain.sweep()
            except LinkLost:
                self.writer.rest.set()
            except (StoreError, ValueError, TypeError) as error:
                self.writer.rest.set()
                log.warning("redis.outbox_not_swept", error=str(error))
                await trio.sleep(RETRY_S)
            self.is_sweeping = False

    def on_rest(self) -> None:
        """Have outboxes swept: something may be left in them."""
        self.writer.rest.set()

    def _turn_sound(self) -> None:
        if self.ward.health.condition != "dead":
            self.ward.turn(SOUND)
