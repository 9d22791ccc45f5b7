"""The script that shares out model slots, called as nodes call it, one call after the other."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
from attrs import define, evolve, field, frozen

from bargein.actors.slot_queue import SlotTerms
from bargein.cluster.redis_slots_call import Answer, Ask, Caller, Request, answer_in
from bargein.protocol.ids import NodeId
from bargein.timeline.redis.keys import SLOTS
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


_BOOKS = """
local function all(key) return redis.call('ZRANGE', key, 0, -1) end
local function sum(key)
  local sum = 0
  for _, count in ipairs(redis.call('HVALS', key)) do sum = sum + count end
  return sum
end
local kept, granted = redis.call('HGETALL', KEYS[1]), {}
for place = 2, #kept, 2 do
  local one = cmsgpack.unpack(kept[place])
  if one.granted then table.insert(granted, one.id) end
end
return cmsgpack.pack({
  running = all(KEYS[2]), waiting = all(KEYS[3]), granted = granted,
  kept = #kept / 2, counted = sum(KEYS[4]), shared = sum(KEYS[5])})
"""


@frozen
class Books:
    """What Redis keeps of tickets, each of them named.

    Attributes:
        granted: Those whose own entry says that they run.
        kept: How many entries there are.
        counted: How many all nodes have, as they are counted.
        shared: How many run of all pools and owners, as they are counted.
    """

    running: frozenset[str]
    waiting: frozenset[str]
    granted: frozenset[str]
    kept: int
    counted: int
    shared: int

    @property
    def are_in_order(self) -> bool:
        """Whether no entry contradicts another."""
        tickets = len(self.running) + len(self.waiting)
        return (
            self.running.isdisjoint(self.waiting)
            and self.granted == self.running
            and self.kept == self.counted == tickets
            and self.shared == 2 * len(self.running)
        )


def books_of(wire: Wire) -> Books:
    """Return what Redis keeps."""
    keys = [f"{SLOTS}:{name}" for name in ("tickets", "running", "waiting", "counts", "shares")]
    said = wire.ask("EVAL", _BOOKS, len(keys), *keys)
    return msgspec.msgpack.decode(said, type=Books)


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
