"""The script that shares out model slots, called as nodes call it, one call after the other."""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, evolve, field

from bargein.actors.slot_queue import SlotTerms
from bargein.cluster.redis_slots_call import Answer, Ask, Caller, Request, answer_in
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.scripts import Command
from tests.timeline.redis_server import RedisServer


@define(eq=False)
class Wire:
    """A connection to Redis that waits for each answer."""

    server: RedisServer
    _socket: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.server.port), timeout=20)

    def ask(self, *words: str | bytes | int) -> bytes:
        """Send a command; return what it answers; nothing where there is nothing."""
        name, *others = (w if isinstance(w, bytes) else str(w).encode() for w in words)
        parts = [*name.split(), *others]  # `SCRIPT LOAD` is one word to us
        sent = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        self._socket.sendall(sent)
        got = b""
        while b"\r\n" not in got:
            got += self._socket.recv(65536)
        head, _, rest = got.partition(b"\r\n")
        if head.startswith(b"-LOADING"):
            raise ConnectionError(head)  # it has just been started
        assert head[:1] != b"-", head
        if head[:1] != b"$":
            return head
        if head == b"$-1":
            return b""
        size = int(head[1:]) + 2
        while len(rest) < size:
            rest += self._socket.recv(65536)
        return rest[:-2]

    def close(self) -> None:
        self._socket.close()


@define(eq=False)
class Desk:
    """Where nodes ask.

    Attributes:
        callers: The nodes, each with what it knows of itself.
    """

    wire: Wire
    terms: SlotTerms
    life: str = "one"
    callers: dict[str, Caller] = field(factory=dict[str, Caller], init=False)

    def call(self, node: str, **what: Any) -> Answer:
        """Let a node ask, and return what was decided."""
        caller = self.callers.get(node) or Caller(NodeId(node))
        caller = evolve(caller, life=self.life)
        command: Command = Request(caller, self.terms, **what).call()
        answer = answer_in(self.wire.ask(*command))
        self.callers[node] = evolve(caller, known=True)
        return answer

    def ask(self, node: str, *asks: Ask) -> Answer:
        return self.call(node, asks=asks)

    def back(self, node: str, *numbers: int) -> Answer:
        return self.call(node, backs=numbers)

    def renew(self, node: str, held: tuple[int, ...], waiting: tuple[int, ...] = ()) -> Answer:
        return self.call(node, renews=(held, waiting))
