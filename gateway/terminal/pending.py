"""Commands that wait for their answer, over broken connections too."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from typing import Any, Final, TypeAlias

import trio
from attrs import define, field

from bargein.gateway.terminal.backoff import Backoff
from bargein.gateway.terminal.link import command_text
from bargein.protocol.codes import ErrorCode
from bargein.protocol.frames import Problem
from bargein.protocol.ids import CommandId

MOST_WAITING: Final = 64
MOST_TRIES: Final = 6

PASSING: Final = frozenset({
    ErrorCode.RATE_LIMITED,
    ErrorCode.OVERLOADED,
    ErrorCode.STORE_UNAVAILABLE,
    ErrorCode.INTERNAL,
})  # fmt: skip
"""Nothing was done, and nothing but time is needed to try again."""

Outcome: TypeAlias = "dict[str, Any] | Problem"
Then: TypeAlias = Callable[[Outcome], None]


@define(eq=False)
class _Waiting:
    text: str
    then: Then
    sent: bool = False
    tries: int = 0


@define(eq=False)
class Pending:
    """Sends commands, and sends them again under the same id where the connection broke.

    The server does each once and says what came of it, however often it is sent.
    """

    _send: Callable[[str], bool]
    _nursery: trio.Nursery
    _waiting: dict[CommandId, _Waiting] = field(factory=dict[CommandId, _Waiting], init=False)
    # Ids are the session's, and somebody else may be on it: they must not meet.
    _name: str = field(factory=lambda: token_hex(6), init=False)
    _count: int = field(default=0, init=False)
    _backoff: Backoff = field(factory=Backoff, init=False)

    @property
    def count(self) -> int:
        """How many wait for an answer."""
        return len(self._waiting)

    def ask(self, body: dict[str, Any], then: Then) -> CommandId | None:
        """Ask for something; *then* is called with what came of it, once.

        Returns:
            The command's id; None if too many wait already, and then nothing is sent.
        """
        if len(self._waiting) >= MOST_WAITING:
            return None
        self._count += 1
        command_id = CommandId(str(body.get("id") or f"{self._name}.{self._count}"))
        self._waiting[command_id] = _Waiting(command_text({**body, "id": command_id}), then)
        self.pump()
        return command_id

    def pump(self) -> None:
        """Send what was not sent on this connection, in the order in which it was asked."""
        for waiting in self._waiting.values():
            if not waiting.sent:
                waiting.sent = self._send(waiting.text)
                if not waiting.sent:  # there will be another connection, and another call
                    return

    def lost(self) -> None:
        """Take note that the connection is gone, and with it what was on its way."""
        for waiting in self._waiting.values():
            waiting.sent = False

    def settle(self, command_id: CommandId | None, outcome: Outcome) -> bool:
        """Take the answer to a command; return False if it is none of ours."""
        waiting = None if command_id is None else self._waiting.get(command_id)
        if waiting is None or command_id is None:
            return False
        if isinstance(outcome, Problem) and outcome.retryable and outcome.code in PASSING:
            waiting.tries += 1
            if waiting.tries < MOST_TRIES:
                self._nursery.start_soon(self._again, waiting)
                return True
        del self._waiting[command_id]
        self._backoff.reset()
        waiting.then(outcome)
        return True

    async def _again(self, waiting: _Waiting) -> None:
        await trio.sleep(self._backoff.wait_s())
        waiting.sent = False
        self.pump()
