"""Facts in memory, for tests and demos: gone when the process ends."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field

from bargein.memory.changes import change_for
from bargein.memory.errors import FactsUnavailable
from bargein.memory.facts import MOST_CHANGES, Change, Erased, Fact, Owner, Undo, Wish


@define(eq=False)
class _Kept:
    facts: dict[str, Fact] = field(factory=dict[str, Fact])
    changes: dict[str, Change] = field(factory=dict[str, Change])
    forgot_changes: bool = False


@define(eq=False)
class VolatileFacts:
    """Keeps facts as long as the process lives; see `Facts` for what the calls promise.

    Attributes:
        _now: The time in UTC, as text.
    """

    _now: Callable[[], str]
    _owners: dict[Owner, _Kept] = field(factory=dict[Owner, _Kept], init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; there is nothing to open."""
        task_status.started()
        await trio.sleep_forever()

    async def of(self, owner: Owner) -> tuple[Fact, ...]:
        """Return all that is remembered of *owner*; see `Facts.of`."""
        facts = self._of(owner).facts
        return tuple(facts[key] for key in sorted(facts))

    async def change(self, owner: Owner, wish: Wish) -> Change:
        """Do what is wished, once; see `Facts.change`."""
        kept = self._of(owner)
        if (earlier := kept.changes.get(wish.source.done_key)) is not None:
            return earlier
        done = kept.changes.get(wish.done_key) if isinstance(wish, Undo) else None
        change = change_for(wish, kept.facts, done, self._now())
        if change.after is None:
            kept.facts.pop(change.key, None)
        else:
            kept.facts[change.key] = change.after
        kept.changes[change.source.done_key] = change
        if len(kept.changes) > MOST_CHANGES:
            del kept.changes[next(iter(kept.changes))]
            kept.forgot_changes = True
        self._owners[owner] = kept
        return change

    async def outcome(self, owner: Owner, done_key: str) -> Change | None:
        """Return the change that was made under *done_key*; see `Facts.outcome`."""
        kept = self._of(owner)
        found = kept.changes.get(done_key)
        if found is None and kept.forgot_changes:
            raise FactsUnavailable("older changes are not kept")
        return found

    async def changes(self, owner: Owner) -> tuple[Change, ...]:
        """Return what can be undone; see `Facts.changes`."""
        return tuple(self._of(owner).changes.values())

    async def erase(self, owner: Owner, key: str | None = None) -> Erased:
        """Take away what is kept; see `Facts.erase`."""
        kept = self._of(owner)
        if key is None:
            self._owners.pop(owner, None)
            return Erased(len(kept.facts), len(kept.changes))
        facts = 0 if kept.facts.pop(key, None) is None else 1
        about = [done for done, change in kept.changes.items() if change.key == key]
        for done in about:
            del kept.changes[done]
        return Erased(facts, len(about))

    def _of(self, owner: Owner) -> _Kept:
        return self._owners.get(owner) or _Kept()
