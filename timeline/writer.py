"""The writer's thread: one group at a time, and its outcome back to the event loop.

A thread of its own beats `trio.to_thread` for each group: an urgent append is
handed over from `submit` itself and announced by the loop's next step, without a
task that has to be scheduled on either side.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter
from typing import Final, TypeAlias

import structlog
import trio
from attrs import define, field, frozen

from bargein.timeline.audit import AuditEntry
from bargein.timeline.counters import COMMIT_EVENTS, COMMIT_SECONDS
from bargein.timeline.group import GroupCommit, Refused
from bargein.timeline.jobs import Job
from bargein.timeline.store import Append, StoreDead, StoreError, StoreUnavailable

SETTLE_AFTER_S: Final = 0.05
"""A writer that had nothing to do for so long puts the journal's events where they belong."""

RETRY_S: Final = 1.0
"""When that is tried again where it could not be done."""

log = structlog.get_logger(__name__)

Group: TypeAlias = tuple[Append, ...]


@frozen
class Batch:
    """What the thread is given at a time.

    Attributes:
        group: Appends for one transaction.
        notes: Audit entries that belong to no append, for a transaction of their own.
        job: Other work, after those.
    """

    group: Group = ()
    notes: tuple[AuditEntry, ...] = ()
    job: Job[object] | None = None


@frozen
class Written:
    """What became of a batch.

    Attributes:
        refused: The appends that were not stored, by place in the group.
        unnoted: Why the notes were not stored, or None.
        failed: Why the job failed, or None.
    """

    refused: Refused
    unnoted: StoreError | None = None
    failed: StoreError | None = None

    @property
    def errors(self) -> list[StoreError]:
        """What went wrong, in the order in which it did."""
        errors = (*self.refused.values(), self.unnoted, self.failed)
        return [error for error in errors if error is not None]

    @property
    def fault(self) -> StoreError | None:
        """What kept the store from writing, if anything did."""
        errors = (*self.refused.values(), self.failed)
        passing = (error for error in errors if isinstance(error, StoreUnavailable))
        return self.unnoted or next(passing, None)


Finished: TypeAlias = Callable[[Batch, Written], None]


@define(eq=False)
class WriterThread:
    """Writes the batches it is given; lives from `start` until `stop` has been obeyed.

    Attributes:
        commits: Writes what it is given; the thread owns and closes it.
        finished: Called in the trio thread after each batch. Must not raise.
        stopped: Set in the trio thread when `stop` has been obeyed.
    """

    commits: GroupCommit
    finished: Finished
    stopped: trio.Event = field(factory=trio.Event, init=False)
    _queue: SimpleQueue[Batch | None] = field(factory=SimpleQueue[Batch | None], init=False)
    _token: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)

    def start(self) -> None:
        """Start the thread; a daemon, so that a hung disk can't hold the process."""
        Thread(target=self._work, name="timeline writer", daemon=True).start()

    def write(self, batch: Batch) -> None:
        """Hand *batch* over; never waits. The caller has at most one under way."""
        self._queue.put(batch)

    def stop(self) -> None:
        """Let the thread close its connection and end, after what it was given."""
        self._queue.put(None)

    def _work(self) -> None:
        # A function for each batch: a variable here would keep the last one, and all it leads to.
        while self._serve(self._next()):
            pass
        self.commits.close()
        self._tell(self.stopped.set)

    def _serve(self, batch: Batch | None) -> bool:
        if batch is None:
            return False
        self._tell(partial(self.finished, batch, self._write(batch)))
        return True

    def _next(self) -> Batch | None:
        journal, wait_s = self.commits.journal, SETTLE_AFTER_S
        if journal.is_long:
            self._settle()
        while journal.waits and self.commits.dead is None:
            try:
                return self._queue.get(timeout=wait_s)
            except Empty:
                wait_s = SETTLE_AFTER_S if self._settle() else RETRY_S
        return self._queue.get()

    def _settle(self) -> int:
        try:
            settled = self.commits.settle()
        except Exception as error:
            log.exception("journal.settle_raised")  # a boundary, as in `_write`
            self.commits.dead = StoreDead(f"the writer failed: {error!r}")
            settled = 0
        if self.commits.dead is not None:
            written = Written({}, failed=self.commits.dead)
            self._tell(partial(self.finished, Batch(), written))
        return settled

    def _tell(self, what: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):  # then nobody is left to be told
            self._token.run_sync_soon(what)

    def _write(self, batch: Batch) -> Written:
        group = batch.group
        try:
            refused = self._write_group(group) if group else {}
            unnoted = self.commits.note(batch.notes) if batch.notes else None
            failed = batch.job.perform(self.commits) if batch.job else None
            return Written(refused, unnoted, failed)
        except Exception as error:
            # A boundary: if the thread ended here, every session would hang.
            log.exception("group.write_raised", appends=len(group))
            dead = StoreDead(f"the writer failed: {error!r}")
            return Written(dict.fromkeys(range(len(group)), dead), dead, dead)

    def _write_group(self, group: Group) -> Refused:
        began_s = perf_counter()
        refused = self.commits.write(group)
        COMMIT_SECONDS.observe(perf_counter() - began_s)
        COMMIT_EVENTS.observe(sum(len(append.frames) for append in group))
        return refused
