"""Who is there: what happens to the turn when nobody is, and when the session may sleep.

Stop is not disconnect: a turn outlives its clients for a while, or for good,
as the session's `on_disconnect` says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, field

from bargein.actors.audience import Audience, Client
from bargein.actors.limits import Limits
from bargein.actors.mailbox import Address
from bargein.actors.messages import (
    Attended,
    Deserted,
    Draft,
    OutputMessage,
    PlannerMessage,
    Record,
)
from bargein.actors.turn import ResponseSlot
from bargein.protocol.commands import OnDisconnect
from bargein.protocol.events import SessionAttached, SessionDetached
from bargein.protocol.state import SessionState

DEFAULT: Final[OnDisconnect] = "grace"


@define(eq=False)
class Attendance:
    """Part of the input actor: called by its task, or on its behalf while that waits.

    Nothing here waits but the watch, a task of its own that changes nothing of this.

    Attributes:
        _until_settled: Waits until no action waits for a decision or is being done.
        _on_idle: Asked when nobody has been there for long; ends the session
            unless somebody came in that very moment.
    """

    _audience: Audience
    _planner: Address[PlannerMessage]
    _output: Address[OutputMessage]
    _slot: ResponseSlot
    _state: SessionState
    _limits: Callable[[], Limits]
    _until_settled: Callable[[], Awaitable[None]]
    _on_idle: Callable[[], None]
    _watch: trio.CancelScope | None = field(default=None, init=False)
    _driverless_s: float | None = field(default=None, init=False)

    def begin(self, tasks: trio.Nursery) -> None:
        """Start to watch: the session may have been revived with nobody there."""
        self._driverless_s = trio.current_time()
        self._look_around(tasks)

    def joined(self, client: Client, tasks: trio.Nursery) -> None:
        """Note that a client is attached."""
        self._note(SessionAttached(client.role, self._audience.size), tasks)
        self._look_around(tasks)

    def left(self, client: Client, tasks: trio.Nursery) -> None:
        """Note that a client is gone."""
        self._note(SessionDetached(client.role, self._audience.size), tasks)
        self._look_around(tasks)

    def _note(self, draft: Draft, tasks: trio.Nursery) -> None:
        record = Record(None, (draft,))
        if not self._state.closed and not self._output.offer(record):
            tasks.start_soon(self._output.tell, record)

    def _look_around(self, tasks: trio.Nursery) -> None:
        if self._watch is not None:
            self._watch.cancel(reason="somebody came or went")
            self._watch = None
        if self._audience.drivers:
            if self._driverless_s is not None and not self._planner.offer(Attended()):
                tasks.start_soon(self._planner.tell, Attended())
            self._driverless_s = None
            return
        # A watcher that comes or goes does not begin the driver's grace anew.
        if self._driverless_s is None:
            self._driverless_s = trio.current_time()
        self._watch = trio.CancelScope()
        tasks.start_soon(self._keep_watch, self._watch, self._driverless_s)

    async def _keep_watch(self, scope: trio.CancelScope, driverless_s: float) -> None:
        with scope:
            idle_s = trio.current_time() + self._limits().idle_s
            await self._follow_policy(driverless_s)
            if self._audience.size:
                return  # watchers; when the last of them leaves, there is another watch
            await trio.sleep_until(idle_s)
            await self._slot.until_free()
            await self._until_settled()
            if not self._audience.size:
                self._on_idle()

    async def _follow_policy(self, driverless_s: float) -> None:
        policy = self._state.config.get("on_disconnect", DEFAULT)
        if policy == "continue":
            await self._planner.tell(Attended())
            return
        if policy == "grace":
            await trio.sleep_until(driverless_s + self._limits().grace_s)
        await self._planner.tell(Deserted())
        self._slot.interrupt("disconnected", f"on_disconnect: {policy}")
