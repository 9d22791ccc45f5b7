"""What waits for the writer's thread, and which of it goes next."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field

from bargein.timeline.jobs import Job
from bargein.timeline.notebook import Notebook
from bargein.timeline.store import Append
from bargein.timeline.writer import Batch, Group

MOST_GROUP_EVENTS: Final = 2048
"""Bounds how long one transaction takes: about 20 ms, and others wait behind it."""

MOST_GROUP_BYTES: Final = 4 * 2**20
"""The same for large events."""


@define(eq=False)
class Waiting:
    """Appends, notes and jobs in the order in which they came.

    Attributes:
        due_at: When the first of them has waited long enough for others.
        urgent: It goes as soon as the thread is free.
        closing: No more is awaited, so all of it is urgent.
    """

    appends: deque[Append] = field(factory=deque[Append], init=False)
    # Not bounded: who asks for a job waits for it.
    jobs: deque[Job[object]] = field(factory=deque[Job[object]], init=False)
    notebook: Notebook = field(factory=Notebook, init=False)
    due_at: float = field(default=0.0, init=False)
    urgent: bool = field(default=False, init=False)
    closing: bool = field(default=False, init=False)

    def is_empty(self, *, sound: bool) -> bool:
        """Say whether there is nothing to write for a store that is *sound* or not."""
        # Notes that could not be written wait for a group or a probe, or the
        # writer would do nothing but fail.
        return not (self.appends or self.jobs or (self.notebook and sound))

    def next_batch(self) -> Batch:
        """Take what goes next; the notes in it stay until they are stored."""
        job = self.jobs.popleft() if self.jobs else None
        group, rest_is_overdue = self._next_group()
        self.urgent = rest_is_overdue or self.closing or bool(self.jobs)
        return Batch(group, self.notebook.first(), job)

    def clear(self) -> tuple[list[Append], list[Job[object]]]:
        """Take all appends and jobs, which nobody will write any more."""
        taken = [*self.appends], [*self.jobs]
        self.appends.clear()
        self.jobs.clear()
        return taken

    def _next_group(self) -> tuple[Group, bool]:
        group: list[Append] = []
        events, size_bytes = 0, 0
        while self.appends:
            frames = self.appends[0].frames
            events += len(frames)
            size_bytes += sum(map(len, frames))
            if group and (events > MOST_GROUP_EVENTS or size_bytes > MOST_GROUP_BYTES):
                return tuple(group), True
            group.append(self.appends.popleft())
        return tuple(group), False
