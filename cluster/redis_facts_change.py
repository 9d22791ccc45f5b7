"""A change of a memory on Redis: planned here, made there, tried again where an answer was lost."""

from __future__ import annotations

from typing import Any

from attrs import define, field

from bargein.cluster.redis_facts_rows import Shelf
from bargein.memory.changes import change_for
from bargein.memory.errors import FactsUnavailable
from bargein.memory.facts import Change, Undo, Wish
from bargein.timeline.redis.copies import TOO_FEW, Copies
from bargein.timeline.redis.link import Link, LinkLost, Refused


@define(eq=False)
class Attempts:
    """Tries to make one change, as often as it takes; whoever holds it says for how long.

    Attributes:
        at: The time of the change, UTC.
        unanswered: The version of the memory for which the change is under way, without an
            answer; None: it is not, and what was sent before can't be made any more.
        is_made: Whether it was made when that was last seen, though it may not be safe yet.
        trouble: What stood in the way last, as a few words; "" for nothing yet.
    """

    link: Link
    copies: Copies
    shelf: Shelf
    wish: Wish
    at: str
    unanswered: bytes | None = field(default=None, init=False)
    is_made: bool = field(default=False, init=False)
    trouble: str = field(default="", init=False)

    @property
    def is_in_doubt(self) -> bool:
        """Whether it may have been made, or may still be."""
        return self.is_made or self.unanswered is not None

    async def made(self) -> Change:
        """Make the change, and return it; one that was made before is returned as it was.

        Raises:
            FactRefused: If it can't be made.
            FactsUnavailable: If Redis or what is there doesn't let it.
        """
        while True:
            await self.link.until_up()
            try:
                change = await self._once()
                if change is None:
                    self.trouble = "others change it all the time"
                    continue
                self.is_made = True
                if await self.copies.are_there():
                    return change
                self.trouble = TOO_FEW
            except LinkLost as lost:
                self.trouble = lost.reason

    async def _once(self) -> Change | None:
        """Return the change; None if somebody else's came in between."""
        done_key = self.wish.source.done_key
        undone = (self.wish.done_key,) if isinstance(self.wish, Undo) else ()
        version, rows, *found = answered(await self.link.ask(self.shelf.reads(done_key, *undone)))
        version = version or b""
        if version != self.unanswered:
            self.unanswered = None
        self.is_made = False
        made = whole_change(self.shelf, done_key, found[0])
        if made is not None:
            return made
        done = whole_change(self.shelf, undone[0], found[1]) if undone else None
        facts = {fact.key: fact for fact in self.shelf.facts_in(rows)}
        change = change_for(self.wish, facts, done, self.at)

        before, self.unanswered = self.unanswered, version
        (answer,) = await self.link.ask((self.shelf.change_call(version, change),))
        self.unanswered = before if isinstance(answer, Refused) else None
        (is_made, *row) = answered([answer])[0]
        return whole_change(self.shelf, done_key, row[0]) if is_made else None


def answered(answers: list[Any]) -> list[Any]:
    """Return *answers* if none of them is a refusal.

    Raises:
        FactsUnavailable: If one is.
    """
    for answer in answers:
        if isinstance(answer, Refused):
            raise FactsUnavailable(answer.text)
    return answers


def whole_change(shelf: Shelf, done_key: str, row: bytes | None) -> Change | None:
    """Return the change that was found under *done_key*; None where nothing was.

    Raises:
        FactsUnavailable: If it is damaged.
    """
    if row is None:
        return None
    change = shelf.change_in(done_key, row)
    if change is None:
        raise FactsUnavailable("what was noted of this change is damaged")
    return change
