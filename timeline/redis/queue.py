"""What waits to be written to Redis, and which of it goes next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field

from bargein.protocol.ids import SessionId
from bargein.timeline.notebook import Notebook
from bargein.timeline.redis.parcel import Held, Parcel
from bargein.timeline.store import Append

MOST_GROUP_EVENTS: Final = 2048
"""Sent together at most, so that others' first events don't wait for all of a flood."""

MOST_GROUP_BYTES: Final = 4 * 2**20
"""The same for large events."""


@define(eq=False)
class Queue:
    """Appends and notes in the order in which they came.

    Attributes:
        linger_s: How long an append that isn't urgent waits for others to share a round trip.
        hold_s: How long an append waits for a Redis that is away.
        appends: What waits; bounded by what sessions may have in flight.
        closing: No more is awaited, so all of it is urgent.
    """

    linger_s: float
    hold_s: float
    appends: deque[Held] = field(factory=deque[Held], init=False)
    notebook: Notebook = field(factory=Notebook, init=False)
    closing: bool = field(default=False, init=False)
    _due_s: float = field(default=0.0, init=False)
    _urgent: trio.Event = field(factory=trio.Event, init=False)
    _some: trio.Event = field(factory=trio.Event, init=False)

    def put(self, append: Append) -> None:
        """Take *append* in."""
        now_s = trio.current_time()
        self.appends.append(Held(append, now_s + self.hold_s))
        self._arrived(now_s)
        if append.urgent:
            self._urgent.set()

    def wake(self) -> None:
        """Note that there is something else to write."""
        self._arrived(trio.current_time())

    async def until_due(self) -> None:
        """Wait until there is something, and until it has waited long enough for company."""
        await self._some.wait()
        if not self.closing:
            with trio.move_on_at(self._due_s):
                await self._urgent.wait()
        self._some, self._urgent = trio.Event(), trio.Event()

    def next_group(self) -> list[Parcel]:
        """Take what goes next: a parcel for each session, as large as it may be."""
        parcels: dict[SessionId, Parcel] = {}
        stopped: set[SessionId] = set()
        rest: deque[Held] = deque()
        events = size_bytes = 0
        while self.appends:
            held = self.appends.popleft()
            append = held.append
            size_bytes += sum(map(len, append.frames))
            events += len(append.frames)
            if parcels and (events > MOST_GROUP_EVENTS or size_bytes > MOST_GROUP_BYTES):
                self.appends.appendleft(held)
                break
            parcel = parcels.setdefault(append.session_id, Parcel(append.session_id))
            if append.session_id not in stopped and parcel.takes(append):
                parcel.add(held)
            else:
                stopped.add(append.session_id)
                rest.append(held)
        rest.extend(self.appends)
        self.appends = rest
        if rest:
            self._some.set()
            self._urgent.set()
        for parcel in parcels.values():
            parcel.seal()
        return list(parcels.values())

    def take_out(self, is_meant: Callable[[Held], bool]) -> list[Held]:
        """Take out all appends that are meant."""
        taken = [held for held in self.appends if is_meant(held)]
        if taken:
            self.appends = deque(held for held in self.appends if not is_meant(held))
        return taken

    def _arrived(self, now_s: float) -> None:
        if not self._some.is_set():
            self._due_s = now_s + self.linger_s
            self._some.set()
