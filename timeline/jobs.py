"""What the writer's thread does besides groups, one job between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio
from attrs import define, field

from bargein.timeline.group import GroupCommit
from bargein.timeline.store import StoreError

T_co = TypeVar("T_co", covariant=True)


@define(eq=False)
class Job(Generic[T_co]):
    """Work for the writer's connection, and what came of it.

    Attributes:
        work: Called in the writer's thread; raises a `StoreError` where it fails.
    """

    work: Callable[[GroupCommit], T_co]
    _result: T_co | None = field(default=None, init=False)
    _error: StoreError | None = field(default=None, init=False)
    _done: trio.Event = field(factory=trio.Event, init=False)

    def perform(self, commits: GroupCommit) -> StoreError | None:
        """Do the work, in the writer's thread; return why it failed, or None."""
        try:
            self._result = self.work(commits)
        except StoreError as error:
            self._error = error
        return self._error

    def finish(self, error: StoreError | None = None) -> None:
        """Say that it is over, in the trio thread; with *error* it was never done."""
        self._error = self._error or error
        self._done.set()

    async def result(self) -> T_co:
        """Wait for the end of it.

        Raises:
            StoreError: If it failed; nothing of it was stored.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result  # pyright: ignore[reportReturnType]
