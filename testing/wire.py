"""A connection in memory, with the manners of `gateway.connection.WireConnection`."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import msgspec
import trio
from attrs import define, field, frozen

from bargein.gateway.inbox import TextFrame
from bargein.timeline.memory import Shelf

GRID_S: Final = 0.01
"""Every delay is a multiple of this, so that events meet in one batch of the scheduler."""

HIGH_WATER_BYTES: Final = 1500
LOW_WATER_BYTES: Final = 400
"""Far less than the real ones: here the conversations are short too."""


class Surroundings(Protocol):
    """The process that a connection leads to."""

    @property
    def dead(self) -> bool:
        """Whether its power has failed: what it still does reaches nobody."""
        ...

    @property
    def shelf(self) -> Shelf:
        """What is stored."""
        ...

    def note(self, *what: Any) -> None:
        """Write into the journal of what happened."""
        ...


@frozen
class Pace:
    """How a client reads: some frames each tick, and not at all for a while.

    Attributes:
        frames: What it takes each 10 ms; 0 for a client that takes everything at once.
        stall_from: The tick from which on it reads nothing.
        stall_ticks: For how many.
    """

    frames: int = 0
    stall_from: int = 0
    stall_ticks: int = 0


@frozen
class Arrival:
    """A frame as the client got it, and when."""

    at_s: float
    frame: bytes
    body: dict[str, Any]


@define(eq=False)
class Egress:
    """The way out, which has no kernel on it.

    Attributes:
        sends_past: The server says that what it sends is long past.
    """

    sends_past: bool = field(default=False, init=False)

    def send_past(self, *, is_past: bool) -> None:
        """Note whether what is sent is long past."""
        self.sends_past = is_past


@define(eq=False)
class Wire:
    """One connection: what the server puts in comes out at the client's pace.

    Attributes:
        arrived: What the client took, oldest first.
        closed: The close that the client got; None while it is open, or if it was cut.
        served: The server is done with it.
        received: The commands that the server took.
        early: Events that were handed out before the store had them.
        egress: Its way out.
        pace: How the client reads.
        stall_limit_s: A client that takes nothing for so long is cut.
    """

    name: str
    _world: Surroundings
    pace: Pace
    _on_arrival: Callable[[Wire, dict[str, Any], bytes], None]
    stall_limit_s: float = field(default=math.inf, kw_only=True)
    opened_s: float = field(factory=trio.current_time, init=False)
    egress: Egress = field(factory=Egress, init=False)
    on_room: Callable[[], None] | None = field(default=None, init=False)
    put_bytes: int = field(default=0, init=False)
    taken_bytes: int = field(default=0, init=False)
    arrived: list[Arrival] = field(factory=list[Arrival], init=False)
    closed: tuple[int, str] | None = field(default=None, init=False)
    is_open: bool = field(default=True, init=False)
    served: bool = field(default=False, init=False)
    received: list[dict[str, Any]] = field(factory=list[dict[str, Any]], init=False)
    early: list[int] = field(factory=list[int], init=False)
    _closing: tuple[int, str] | None = field(default=None, init=False)
    _first: deque[bytes] = field(factory=deque[bytes], init=False)
    _ordinary: deque[bytes] = field(factory=deque[bytes], init=False)
    _full: bool = field(default=False, init=False)
    _incoming: deque[str] = field(factory=deque[str], init=False)
    _changed: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    # --- the server's side --------------------------------------------------------------

    @property
    def buffered_bytes(self) -> int:
        """How much the client has not taken yet."""
        return sum(map(len, self._first)) + sum(map(len, self._ordinary))

    @property
    def has_room(self) -> bool:
        """Whether more may be put."""
        return self.is_open and not self._full

    def put(self, text: bytes) -> int:
        """Put one frame behind all others; return where it ends."""
        return self.put_many([text])[0]

    def put_many(self, texts: Iterable[bytes]) -> list[int]:
        """Put frames behind all others; return where each ends."""
        positions: list[int] = []
        for text in texts:
            self._look(text)
            self.put_bytes += len(text)
            positions.append(self.put_bytes)
            if self.is_open:
                self._ordinary.append(text)
        self._move()
        return positions

    def put_first(self, text: bytes) -> None:
        """Put a frame ahead of all that waits."""
        self._look(text)
        if self.is_open:
            self._first.append(text)
            self._move()

    async def room(self) -> bool:
        """Wait until there is room; return whether it is still open."""
        await trio.lowlevel.checkpoint()
        while self._full and self.is_open:
            await self._changed.park()
        return self.is_open

    async def receive(self) -> TextFrame | None:
        """Return the client's next frame; None if there will be no more."""
        await trio.lowlevel.checkpoint()
        while not self._incoming:
            if not self.is_open:
                return None
            await self._changed.park()
        text = self._incoming.popleft()
        self.received.append(msgspec.json.decode(text))
        return TextFrame(text)

    def close_soon(self, code: int = 1000, reason: str = "") -> None:
        """Close it behind all that waits."""
        if self.is_open:
            self.is_open = False
            self._closing = (code, reason)
            self._incoming.clear()
            self._changed.unpark_all()
            self._move()

    def _look(self, text: bytes) -> None:
        # Visible is what was handed out, whether or not it arrives.
        if text.startswith(b'{"session_id"') and not self._world.dead:
            body: dict[str, Any] = msgspec.json.decode(text)
            row = self._world.shelf.row(body["session_id"])
            if row is None or row.last_seq < body["seq"]:
                self.early.append(body["seq"])

    # --- the client's side --------------------------------------------------------------

    def send(self, text: str) -> None:
        """Send a command, which the server may read at once."""
        if self.is_open:
            self._incoming.append(text)
            self._changed.unpark_all()

    def cut(self) -> None:
        """Break the connection: what has not arrived never will."""
        self.is_open = False
        self._closing = None
        self._first.clear()
        self._ordinary.clear()
        self._incoming.clear()
        self._changed.unpark_all()

    async def over(self) -> None:
        """Wait until the server's close has come through, or the connection was cut."""
        while self._closing is not None:
            await self._changed.park()

    async def gone(self) -> None:
        """Wait until nothing goes over it any more, whoever ended it."""
        while self.is_open or self._closing is not None:
            await self._changed.park()

    async def read_slowly(self) -> None:
        """Take frames at the client's pace, until it is quick again or the connection ended."""
        took_s = trio.current_time()
        while self.pace.frames and (self.is_open or self._closing is not None):
            while self.is_open and not self._first and not self._ordinary:
                await self._changed.park()
                took_s = trio.current_time()
            await trio.sleep(GRID_S)
            tick = round((trio.current_time() - self.opened_s) / GRID_S)
            if not 0 <= tick - self.pace.stall_from < self.pace.stall_ticks:
                self._take(self.pace.frames)
                took_s = trio.current_time()
            elif trio.current_time() - took_s >= self.stall_limit_s:
                self.cut()
        if not self.pace.frames:
            self._move()

    def _move(self) -> None:
        # The kernel's empty buffer takes the first frame, whoever reads.
        if self.pace.frames == 0 or not self.arrived:
            self._take(len(self._first) + len(self._ordinary))
        elif self.buffered_bytes > HIGH_WATER_BYTES:
            self._full = True
        self._changed.unpark_all()

    def _take(self, count: int) -> None:
        for _ in range(count):
            if self._first:
                self._arrive(self._first.popleft())
            elif self._ordinary:
                frame = self._ordinary.popleft()
                self.taken_bytes += len(frame)
                self._arrive(frame)
        if self._full and self.buffered_bytes <= LOW_WATER_BYTES:
            self._full = False
            self._changed.unpark_all()
            if self.on_room is not None and self.is_open:
                self.on_room()
        if self._closing is not None and not self.buffered_bytes:
            self.closed, self._closing = self._closing, None
            self._world.note(self.name, "closed", *self.closed)
            self._changed.unpark_all()

    def _arrive(self, frame: bytes) -> None:
        if self._world.dead:
            return
        body: dict[str, Any] = msgspec.json.decode(frame)
        self.arrived.append(Arrival(trio.current_time(), frame, body))
        self._world.note(self.name, frame)
        self._on_arrival(self, body, frame)
