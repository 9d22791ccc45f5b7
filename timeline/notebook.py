"""Audit entries that belong to no append and wait for the store's next group."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Final

from attrs import define, field

from bargein.timeline.audit import AuditEntry

MOST_NOTED: Final = 10_000
"""Some 5 MB; a store that can't write must not fill the memory instead."""

MOST_AT_ONCE: Final = 1000
"""Bounds how long the appends of sessions wait behind a flood of refusals."""


@define(eq=False)
class Notebook:
    """Keeps entries until they are stored; what there is no room for is counted."""

    _entries: deque[AuditEntry] = field(factory=deque[AuditEntry], init=False)
    _dropped: int = field(default=0, init=False)
    _dropped_at: str = field(default="", init=False)

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Iterable[AuditEntry]) -> None:
        """Take *entries* in, behind those that wait."""
        for entry in entries:
            if len(self._entries) < MOST_NOTED:
                self._tell_of_dropped()
                self._entries.append(entry)
            else:
                self._dropped += 1
                self._dropped_at = entry.ts

    def first(self) -> tuple[AuditEntry, ...]:
        """Return the oldest entries; they stay until they are `stored`."""
        return tuple(islice(self._entries, MOST_AT_ONCE))

    def stored(self, count: int) -> None:
        """Forget the *count* oldest entries."""
        for _ in range(count):
            self._entries.popleft()
        self._tell_of_dropped()

    def _tell_of_dropped(self) -> None:
        if self._dropped and len(self._entries) < MOST_NOTED:
            self._entries.append(
                AuditEntry(ts=self._dropped_at, act="audit.dropped", subject=str(self._dropped))
            )
            self._dropped = 0
