"""One answer for each command, and the memory that makes a re-sent one harmless."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from attrs import define, field

from bargein.actors.audience import Client
from bargein.protocol.codec import encode_frame
from bargein.protocol.frames import Problem, Refused, Reply
from bargein.protocol.ids import CommandId, Seq

MOST_OUTCOMES: Final = 1000


@define(eq=False)
class Answer:
    """What a command will be answered with: exactly one `reply` or `error`.

    A command without an `id` gets an `error` when it is refused, and a `reply`
    only where it asked for something (`asked`).  What is large and can be asked
    again (a page, a view) is not kept, so that 1000 outcomes stay small.
    """

    command_id: CommandId | None
    asked: bool
    digest: bytes
    _clients: list[Client]
    _kept: bool = True
    _reply: tuple[Seq, bytes] | None = field(default=None, init=False)
    _error: bytes | None = field(default=None, init=False)
    retryable_error: bool = field(default=False, init=False)

    @property
    def settled(self) -> bool:
        """Whether the answer is known."""
        return self._reply is not None or self._error is not None

    def reply(self, result: Any, at_seq: Seq) -> None:
        """Answer with *result*, after the events up to *at_seq*."""
        if self.settled:
            return
        self._reply = (at_seq, encode_frame(Reply(self.command_id, result, at_seq)))
        self._deliver()

    def refuse(self, problem: Problem) -> None:
        """Answer that it is not done."""
        if self.settled:
            return
        self.retryable_error = problem.retryable
        self._error = encode_frame(Refused(self.command_id, problem))
        self._deliver()

    def also_to(self, client: Client) -> None:
        """Give the same answer to a client that sent the command again."""
        self._clients.append(client)
        if self.settled:
            self._deliver()

    def _deliver(self) -> None:
        clients, self._clients = self._clients, []
        for client in clients:
            if self._error is not None:
                client.show(self._error)
            elif self._reply is not None and self.asked:
                client.show_at(*self._reply)
        if self._reply is not None and not self._kept:
            self._reply = (self._reply[0], b"")


@define(eq=False)
class Answers:
    """The answers of a session's latest commands that had an `id`."""

    _answers: OrderedDict[CommandId, Answer] = field(
        factory=OrderedDict[CommandId, Answer], init=False
    )

    def find(self, command_id: CommandId | None) -> Answer | None:
        """Return the answer that was begun for this id; a retryable error is none."""
        answer = self._answers.get(command_id) if command_id is not None else None
        return None if answer is None or answer.retryable_error else answer

    def begin(
        self,
        command_id: CommandId | None,
        digest: bytes,
        client: Client | None = None,
        *,
        asked: bool = False,
        kept: bool = True,
    ) -> Answer:
        """Return a new answer for *client*, remembered where the command has an id."""
        clients = [] if client is None else [client]
        answer = Answer(command_id, asked or command_id is not None, digest, clients, kept)
        if command_id is not None:
            self._answers[command_id] = answer
            self._answers.move_to_end(command_id)
            while len(self._answers) > MOST_OUTCOMES:
                self._answers.popitem(last=False)
        return answer
