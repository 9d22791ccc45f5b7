"""The writer's thread: one group at a time, and its outcome back to the event loop.

A thread of its own beats `trio.to_thread` for each group: an urgent append is
handed over from `submit` itself and announced by the loop's next step, without a
task that has to be scheduled on either side.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

import structlog
import trio
from attrs import define, field

from bargein.timeline.group import GroupCommit, Refused
from bargein.timeline.store import Append, StoreDead

log = structlog.get_logger(__name__)

Group: TypeAlias = tuple[Append, ...]
Finished: TypeAlias = Callable[[Group, Refused], None]


@define(eq=False)
class WriterThread:
    """Writes the groups it is given; lives from `start` until `stop` has been obeyed.

    Attributes:
        commits: Writes what it is given; the thread owns and closes it.
        finished: Called in the trio thread after each group. Must not raise.
        stopped: Set in the trio thread when `stop` has been obeyed.
    """

    commits: GroupCommit
    finished: Finished
    stopped: trio.Event = field(factory=trio.Event, init=False)
    _queue: SimpleQueue[Group | None] = field(factory=SimpleQueue[Group | None], init=False)
    _token: trio.lowlevel.TrioToken = field(factory=trio.lowlevel.current_trio_token, init=False)

    def start(self) -> None:
        """Start the thread; a daemon, so that a hung disk can't hold the process."""
        Thread(target=self._work, name="timeline writer", daemon=True).start()

    def write(self, group: Group) -> None:
        """Hand *group* over; never waits. The caller has at most one under way."""
        self._queue.put(group)

    def stop(self) -> None:
        """Let the thread close its connection and end, after what it was given."""
        self._queue.put(None)

    def _work(self) -> None:
        while (group := self._queue.get()) is not None:
            refused = self._write(group)
            self._tell(partial(self.finished, group, refused))
        self.commits.close()
        self._tell(self.stopped.set)

    def _tell(self, what: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):  # then nobody is left to be told
            self._token.run_sync_soon(what)

    def _write(self, group: Group) -> Refused:
        try:
            return self.commits.write(group)
        except Exception as error:
            # A boundary: if the thread ended here, every session would hang.
            log.exception("group.write_raised", appends=len(group))
            return dict.fromkeys(range(len(group)), StoreDead(f"the writer failed: {error!r}"))
