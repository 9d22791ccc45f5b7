"""Wakes whoever has something to do at a time that changes."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field


@define(eq=False)
class Alarm:
    """Calls `ring` when the time has come; costs nothing while none is set.

    Attributes:
        _due_s: When that is, in the time of trio; None: never, as it stands.
        _ring: Must not wait; what it does may set another time.
    """

    _due_s: Callable[[], float | None]
    _ring: Callable[[], None]
    _set: bool = field(default=False, init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)

    def look(self, tasks: trio.Nursery) -> None:
        """Look again when that is: something has happened."""
        self._changed.set()
        self._changed = trio.Event()
        if not self._set and self._due_s() is not None:
            self._set = True
            tasks.start_soon(self._keep_time)

    async def _keep_time(self) -> None:
        while (due_s := self._due_s()) is not None:
            with trio.move_on_at(due_s):
                await self._changed.wait()
            self._ring()
        self._set = False
