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
from bargein.protocol.frames import Problem, problem
from bargein.protocol.gate import JsonRefused, parse
from bargein.protocol.ids import CLIENT_ID, CommandId

MOST_WAITING: Final = 64
MOST_TRIES: Final = 6
MOST_BYTES: Final = 64 * 1024
"""Of a command, until a server has said what it takes."""

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
    is_say: bool = False
    tries: int = 0
    trouble: Problem | None = None
    """Why it is to be sent again, until it is."""


@define(eq=False)
class Pending:
    """Sends commands, and sends them again under the same id where the connection broke.

    The server does each once and says what came of it, however often it is sent.  What it could
    not even read it answers without an id, and nobody would know which command that was; so such
    a command is refused here.
    """

    _send: Callable[[str], bool]
    _nursery: trio.Nursery
    _waiting: dict[CommandId, _Waiting] = field(factory=dict[CommandId, _Waiting], init=False)
    # Ids are the session's, and somebody else may be on it: they must not meet.
    _name: str = field(factory=lambda: token_hex(6), init=False)
    _count: int = field(default=0, init=False)
    _most_bytes: int = field(default=MOST_BYTES, init=False)
    _backoff: Backoff = field(factory=Backoff, init=False)

    @property
    def count(self) -> int:
        """How many wait for an answer."""
        return len(self._waiting)

    def ask(self, body: dict[str, Any], then: Then) -> CommandId | None:
        """Ask for something; *then* is called with what came of it, once.

        Returns:
            The command's id; None if it can't be sent, and *then* has been told why.
        """
        self._count += 1
        given = body.get("id")
        command_id = f"{self._name}.{self._count}" if given is None else given
        text = command_text({**body, "id": command_id})
        trouble = self._trouble(command_id, text)
        if trouble is not None:
            then(trouble)
            return None
        is_say = body.get("type") == "say"
        self._waiting[CommandId(command_id)] = _Waiting(text, then, is_say=is_say)
        self.pump()
        return CommandId(command_id)

    def _trouble(self, command_id: object, text: str) -> Problem | None:
        if len(self._waiting) >= MOST_WAITING:
            message = "Too much waits for an answer of the server's already."
            return problem(ErrorCode.OVERLOADED, message)
        if not isinstance(command_id, str) or not CLIENT_ID.fullmatch(command_id):
            message = "An id has 1 to 64 of the characters A-Z a-z 0-9 _ . -"
            return problem(ErrorCode.INVALID_COMMAND, message, param="id")
        if command_id in self._waiting:
            message = "A command with this id still waits for its answer."
            return problem(ErrorCode.DUPLICATE, message, param="id")
        if len(text.encode()) > self._most_bytes:
            return self._too_large()
        try:
            parse(text)
        except JsonRefused as refused:
            return problem(ErrorCode.INVALID_JSON, f"{refused}.")
        return None

    def _too_large(self) -> Problem:
        message = f"A command may have {self._most_bytes} bytes; send less, or in parts."
        return problem(ErrorCode.FRAME_TOO_LARGE, message)

    def limit(self, most_bytes: int) -> None:
        """Take note of how long a command may be; give up what waits and is longer."""
        self._most_bytes = most_bytes
        for command_id, waiting in list(self._waiting.items()):
            if len(waiting.text.encode()) > most_bytes:
                self._done(command_id, waiting, self._too_large())

    def give_up_words(self) -> None:
        """Try no `say` again that was refused in passing: the person wants something else now."""
        for command_id, waiting in list(self._waiting.items()):
            if waiting.is_say and waiting.trouble is not None:
                self._done(command_id, waiting, waiting.trouble)

    def pump(self) -> None:
        """Send what was not sent on this connection, in the order in which it was asked."""
        for waiting in self._waiting.values():
            if not waiting.sent:
                waiting.sent = self._send(waiting.text)
                if not waiting.sent:  # there will be another connection, and another call
                    return
                waiting.trouble = None

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
                waiting.trouble = outcome
                self._nursery.start_soon(self._again, waiting)
                return True
        self._backoff.reset()
        self._done(command_id, waiting, outcome)
        return True

    def _done(self, command_id: CommandId, waiting: _Waiting, outcome: Outcome) -> None:
        del self._waiting[command_id]
        waiting.trouble = None
        waiting.then(outcome)

    async def _again(self, waiting: _Waiting) -> None:
        await trio.sleep(self._backoff.wait_s())
        if waiting.trouble is not None:  # else it was given up, or another connection has sent it
            waiting.sent = False
            self.pump()
