"""The port of the memory: facts about a principal that outlive sessions.

A memory belongs to one principal of one tenant.  A session is handed a `FactBook`, which is
bound to its principal: whoever holds it can't name anybody else.
"""

from __future__ import annotations

import re
from typing import Final, Protocol, TypeAlias

import trio
from attrs import frozen

from bargein.memory.errors import FactRefused

MOST_FACTS: Final = 200
"""Of a principal.  More would not be told to a model anyway."""

MOST_KEY_CHARS: Final = 64
MOST_TEXT_CHARS: Final = 500
"""A fact is a sentence or two; what is longer is a document."""

MOST_CHANGES: Final = 500
"""Of a principal: how many changes can still be asked about and undone."""

KEY_PATTERN: Final = rf"^[A-Za-z0-9][A-Za-z0-9_.-]{{0,{MOST_KEY_CHARS - 1}}}$"

_KEY: Final = re.compile(KEY_PATTERN)


@frozen
class Owner:
    """Whose memory it is.  The same name in two tenants is two owners."""

    principal: str
    tenant: str | None = None


@frozen
class Source:
    """Where a fact, or a change, comes from.

    Attributes:
        done_key: The idempotency key of the action, or of its undoing.
    """

    session_id: str
    turn_id: str
    done_key: str


@frozen
class Fact:
    """Something to know about the principal.

    Attributes:
        saved_at: UTC, as in the `ts` of an event.
    """

    key: str
    text: str
    source: Source
    saved_at: str


@frozen
class Save:
    """Let *text* be what is remembered under *key*, whatever was before.

    Raises:
        FactRefused: If key or text is none that can be kept.
    """

    key: str
    text: str
    source: Source

    def __attrs_post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise FactRefused(
                f"A key has 1 to {MOST_KEY_CHARS} letters, digits, '_', '.' and '-', "
                "and begins with a letter or a digit."
            )
        if not self.text.strip():
            raise FactRefused("There is no text to remember.")
        if len(self.text) > MOST_TEXT_CHARS:
            raise FactRefused(
                f"The text has {len(self.text)} characters; {MOST_TEXT_CHARS} are the most."
            )
        try:
            self.text.encode()
        except UnicodeEncodeError:
            raise FactRefused("The text holds half a character (a lone surrogate).") from None


@frozen
class Forget:
    """Let nothing be remembered under *key*."""

    key: str
    source: Source


@frozen
class Undo:
    """Bring back what was there before the change of *done_key*."""

    done_key: str
    source: Source


Wish: TypeAlias = Save | Forget | Undo


@frozen
class Change:
    """What was done to a memory: enough to answer for it, and to undo it.

    Attributes:
        key: Of the fact.
        before: What was there; None for nothing.
        after: What is there since; None for nothing.
    """

    key: str
    before: Fact | None
    after: Fact | None
    source: Source
    at: str


@frozen
class Erased:
    """What an erasure took away: facts, and changes that could have been undone."""

    facts: int
    changes: int


class Facts(Protocol):
    """Keeps the facts of all principals; one per process, lives as long as it.

    Every call has a deadline of its own.  What a change returned is kept as safely as the
    store of the timelines keeps its events.
    """

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open the memory, serve until cancelled, and close it.

        Raises:
            FactsUnreadable: If what is there can't be served; do not start.
        """
        ...

    async def of(self, owner: Owner) -> tuple[Fact, ...]:
        """Return all that is remembered of *owner*, by key.

        Raises:
            FactsUnavailable: If it can't be read now.
        """
        ...

    async def change(self, owner: Owner, wish: Wish) -> Change:
        """Do what is wished, once: the same `done_key` again returns the first change.

        Raises:
            FactRefused: If it can't be done; nothing was.
            FactsUnavailable: If it can't be done now; nothing was.
            FactsInDoubt: If nobody knows; ask `outcome`.
        """
        ...

    async def outcome(self, owner: Owner, done_key: str) -> Change | None:
        """Return the change that was made under *done_key*; None: none was, and none will be.

        Raises:
            FactsUnavailable: If that can't be told, now or ever.
        """
        ...

    async def changes(self, owner: Owner) -> tuple[Change, ...]:
        """Return what is kept so that it can be undone, oldest first.

        Raises:
            FactsUnavailable: If it can't be read now.
        """
        ...

    async def erase(self, owner: Owner, key: str | None = None) -> Erased:
        """Take away all that is kept of *owner*, or all of *key*; nothing can bring it back.

        Raises:
            FactsUnavailable: If it can't be done now; nothing was.
            FactsInDoubt: If nobody knows whether it was; do it again.
        """
        ...


@frozen(eq=False)
class FactBook:
    """The memory of one principal, for a session of that principal; it can name nobody else.

    Raises, of all its calls: what the calls of `Facts` raise.
    """

    _facts: Facts
    _owner: Owner

    async def facts(self) -> tuple[Fact, ...]:
        """Return all that is remembered, by key."""
        return await self._facts.of(self._owner)

    async def save(self, key: str, text: str, source: Source) -> Change:
        """Remember *text* under *key*, in place of what was there."""
        return await self._facts.change(self._owner, Save(key, text, source))

    async def forget(self, key: str, source: Source) -> Change:
        """Forget what is remembered under *key*."""
        return await self._facts.change(self._owner, Forget(key, source))

    async def undo(self, done_key: str, source: Source) -> Change:
        """Bring back what was there before the change of *done_key*."""
        return await self._facts.change(self._owner, Undo(done_key, source))

    async def outcome(self, done_key: str) -> Change | None:
        """Return the change that was made under *done_key*; None: none was, and none will be."""
        return await self._facts.outcome(self._owner, done_key)
