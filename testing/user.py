"""A user of a simulated server: talks, cuts in, decides, goes away, and keeps all that it got."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import takewhile
from random import Random
from typing import Any, Final, Protocol, TypeVar

import trio
from attrs import define, field

from bargein.gateway.auth.identity import Credential, Identity
from bargein.gateway.handshake import Upgrade
from bargein.protocol.codec import decode_event
from bargein.protocol.codes import CloseCode
from bargein.protocol.commands import Role
from bargein.testing.errors import NeverCame, Refused
from bargein.testing.life import Life
from bargein.testing.timeline import Fact, Timeline
from bargein.testing.wire import GRID_S, Arrival, Pace, Wire

T = TypeVar("T")

WITHIN_S: Final = 60.0
"""How long a user waits for anything, in virtual seconds."""

RECONNECT_S: Final = 0.03
"""How soon a user that was cut off comes back."""

COME_BACK: Final = range(4000, 4100)
"""The close codes after which a client reconnects."""

STALL_S: Final = 10.0
"""Who takes nothing for so long is cut, as by the real edge."""

TRAVEL_TICKS: Final = (0, 0, 1, 2)
"""How long a command is on its way, in steps of the grid."""


class Surroundings(Protocol):
    """Where users are."""

    async def until_up(self) -> Life:
        """Wait until there is a server, and return it."""
        ...


@define(eq=False, repr=False)
class User:
    """One client, over all of its connections.

    It behaves as a good client does: cut off, it comes back to where it was, and what was not
    answered is sent again under the same id.

    Attributes:
        name: Tells users apart in messages.
        role: `drive` or `watch`.
        principal: Who it is.
        session_id: The session that it is in; None before it has one.
        wires: Each connection that it ever had.
    """

    name: str
    role: Role
    principal: str
    session_id: str | None
    _world: Surroundings
    _random: Random
    wires: list[Wire] = field(factory=list[Wire], init=False)
    _pace: Pace = field(factory=Pace, init=False)
    _epoch: str | None = field(default=None, init=False)
    _facts: dict[int, Fact] = field(factory=dict[int, Fact], init=False)
    _last_seq: int = field(default=0, init=False)
    _mark: tuple[int, int] = field(default=(0, 0), init=False)
    _cut_short: str | None = field(default=None, init=False)
    _frames: list[dict[str, Any]] = field(factory=list[dict[str, Any]], init=False)
    _unanswered: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]], init=False)
    _answers: dict[str, dict[str, Any]] = field(factory=dict[str, dict[str, Any]], init=False)
    _sent: int = field(default=0, init=False)
    _stays: bool = field(default=True, init=False)
    _back: trio.Event = field(factory=trio.Event, init=False)
    _tasks: trio.Nursery | None = field(default=None, init=False)
    _news: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)

    # --- what it says ---------------------------------------------------------------------

    async def say(self, text: str, **fields: Any) -> dict[str, Any]:
        """Say *text*, and return the reply's result, such as `turn_id` and `outcome`.

        Args:
            text: A whole turn.
            fields: More of the command, such as `when_busy="queue"`.

        Raises:
            Refused: If the server does not take it.
        """
        result = await self.send("say", text=text, **fields)
        self._cut_short = result["interrupted"]
        return result

    async def interrupt(self, **fields: Any) -> dict[str, Any]:
        """Stop the current turn; the reply comes when its ladder is over."""
        return await self.send("interrupt", **fields)

    async def confirm(self, confirmation_id: str | None = None, **fields: Any) -> dict[str, Any]:
        """Say yes to a proposal, by default to the only open one; `args` edits it."""
        return await self.send(
            "confirm", confirmation_id=confirmation_id or self._open_proposal(), **fields
        )

    async def reject(self, confirmation_id: str | None = None, **fields: Any) -> dict[str, Any]:
        """Say no to a proposal, by default to the only open one."""
        return await self.send(
            "reject", confirmation_id=confirmation_id or self._open_proposal(), **fields
        )

    async def revert(self, action_id: str | None = None) -> dict[str, Any]:
        """Ask for an action to be undone, by default the last that was committed."""
        if action_id is None:
            action_id = self.timeline.of("action.committed").last.payload.action_id
        return await self.send("revert", action_id=action_id)

    async def send(self, command: str, /, **fields: Any) -> dict[str, Any]:
        """Send any command, and return the reply's result.

        Over cut connections and restarts too: a command has one id, however often it is sent.

        Raises:
            Refused: If it is answered with an error.
            NeverCame: If it is never answered.
        """
        __tracebackhide__ = True
        await trio.sleep(self._random.choice(TRAVEL_TICKS) * GRID_S)
        self._sent += 1
        command_id = f"{self.name}.{self._sent}"
        body = {"type": command, "id": command_id, **fields}
        self._mark, self._cut_short = (self._last_seq, len(self._frames)), None
        self._unanswered[command_id] = body
        if (wire := self.wire) is not None:
            wire.send(json.dumps(body))
        answer = await self._until(lambda: self._answers.get(command_id), f"an answer to {body}")
        if answer["type"] == "error":
            raise Refused(body, answer["error"])
        return answer["result"]

    # --- what it waits for ----------------------------------------------------------------

    async def until(
        self, *patterns: str, nth: int = 1, within_s: float = WITHIN_S, **fields: Any
    ) -> Fact:
        """Wait for the *nth* event since its last command whose type fits one of *patterns*.

        Of a turn that its last words interrupted only `cancel.*` and `action.*` count.

        Args:
            patterns: Such as `response.end` or `action.*`.
            nth: Which one of them.
            within_s: How long, in virtual seconds.
            fields: What its payload has to have.

        Raises:
            NeverCame: If it did not come; the message has what came instead.
        """
        __tracebackhide__ = True

        seen, left = self._mark[0], nth

        def find() -> Fact | None:
            nonlocal seen, left
            for fact in self._after(seen):
                seen = fact.seq
                left -= fact.fits(*patterns, **fields) and not self._is_stale(fact)
                if not left:
                    return fact
            return None

        wanted = " or ".join(patterns) + (f" with {fields}" if fields else "")
        return await self._until(find, wanted if nth == 1 else f"{wanted}, {nth} of it", within_s)

    def _is_stale(self, fact: Fact) -> bool:
        ends = fact.turn_id is not None and fact.turn_id == self._cut_short
        return ends and not fact.fits("cancel.*", "action.*")

    async def frame(self, kind: str, *, within_s: float = WITHIN_S) -> dict[str, Any]:
        """Wait for a frame that is no event, such as `flush`, since its last command."""

        def find() -> dict[str, Any] | None:
            later = self._frames[self._mark[1] :]
            return next((body for body in later if body["type"] == kind), None)

        return await self._until(find, kind, within_s)

    async def _until(
        self, find: Callable[[], T | None], wanted: str, within_s: float = WITHIN_S
    ) -> T:
        __tracebackhide__ = True
        with trio.move_on_after(within_s):
            while (found := find()) is None:
                await self._news.park()
            await trio.lowlevel.checkpoint()
            return found
        latest = [arrival.body for arrival in self._arrivals()]
        raise NeverCame(f"{self.name}: {wanted}", within_s, latest)

    # --- what it has seen -----------------------------------------------------------------

    @property
    def wire(self) -> Wire | None:
        """The connection that it has now, and over which it was greeted."""
        wire = self.wires[-1] if self.wires else None
        return wire if wire is not None and wire.is_open and wire.arrived else None

    @property
    def timeline(self) -> Timeline:
        """The events that it has got."""
        return Timeline(tuple(self._facts.values()))

    def _after(self, seq: int) -> list[Fact]:
        later = takewhile(lambda fact: fact.seq > seq, reversed(self._facts.values()))
        return list(later)[::-1]

    def spoken(self, turn_id: str | None = None) -> str:
        """Return what was shown to it of a turn; by default of the last one."""
        return self.timeline.spoken(turn_id)

    def heard(self, turn_id: str | None = None) -> str:
        """Return what the server thinks that was heard of a turn."""
        return self.timeline.heard(turn_id)

    @property
    def closed(self) -> int | None:
        """The code with which the server closed its last connection; None: it did not."""
        closed = self.wires[-1].closed if self.wires else None
        return None if closed is None else closed[0]

    def _arrivals(self) -> list[Arrival]:
        return [arrival for wire in self.wires for arrival in wire.arrived]

    def _open_proposal(self) -> str:
        waiting = self.timeline.open_proposals
        if len(waiting) != 1:
            wanted = f"{self.name}: one open proposal (there are {len(waiting)})"
            raise NeverCame(wanted, 0.0, self.timeline.facts)
        return waiting[0]

    def __repr__(self) -> str:
        return f"User({self.name!r})"

    # --- coming and going -------------------------------------------------------------------

    async def stay(self, tasks: trio.Nursery) -> None:
        """Be connected, again and again, until sent away for good."""
        self._tasks = tasks
        while True:
            if not self._stays:
                await self._back.wait()
            life = await self._world.until_up()
            if not self._stays:
                continue  # it left while it waited
            wire = self._connect(life, tasks)
            await wire.gone()
            self._news.unpark_all()
            if self.closed == CloseCode.NO_SUCH_SESSION and not self._facts:
                self.session_id = self._epoch = None  # it died before anything of it was stored
            elif wire.closed is not None and wire.closed[0] not in COME_BACK:
                self._stay_away()
            await trio.sleep(RECONNECT_S)

    def _connect(self, life: Life, tasks: trio.Nursery) -> Wire:
        resumes = self.session_id is not None and self._epoch is not None
        upgrade = Upgrade(
            self.session_id,
            self._last_seq if resumes else None,
            self._epoch,
            "json",
            self.role,
            strict=True,
            caller=Credential(Identity(self.principal)),
        )
        self._pace = Pace(self._pace.frames)
        wire = Wire(
            f"{self.name}.{len(self.wires)}", life, self._pace, self._heard, stall_limit_s=STALL_S
        )
        life.note(wire.name, "connects", self.session_id, self._last_seq)
        self.wires.append(wire)
        life.accept(wire, upgrade)
        if self._pace.frames:
            tasks.start_soon(wire.read_slowly)
        return wire

    def cut(self, *, lost: int = 0) -> None:
        """Break the connection; it comes back by itself.

        Args:
            lost: So many events that arrived last never reached it.
        """
        wire = self.wire
        if wire is None:
            return
        wire.cut()
        for _ in range(min(lost, len(self._facts))):
            del self._facts[self._last_seq]
            self._last_seq = max(self._facts, default=0)

    def leave(self) -> None:
        """Break the connection, and stay away until `back`."""
        self._stay_away()
        if self.wires:
            self.wires[-1].cut()

    def _stay_away(self) -> None:
        if self._stays:
            self._stays, self._back = False, trio.Event()

    async def back(self) -> None:
        """Come back to where it was, and wait until it has all that it missed."""
        seen = len(self._frames)
        self._stays = True
        self._back.set()
        await self._until(
            lambda: next((f for f in self._frames[seen:] if f["type"] == "live"), None), "live"
        )

    # --- how it reads ---------------------------------------------------------------------------

    def slow(self, frames: int = 1) -> None:
        """Take so many frames each 10 ms from now on; 0: all at once, as at first."""
        self._set_pace(Pace(frames))

    def stall(self, for_s: float) -> None:
        """Read nothing for so many seconds, and a frame each 10 ms from then on."""
        opened_s = self.wires[-1].opened_s if self.wires else trio.current_time()
        now = round((trio.current_time() - opened_s) / GRID_S)
        self._set_pace(Pace(1, now, round(for_s / GRID_S)))

    def _set_pace(self, pace: Pace) -> None:
        was_quick = not self._pace.frames
        self._pace = pace
        if self.wires:
            self.wires[-1].pace = pace
            if was_quick and pace.frames and self._tasks is not None:
                self._tasks.start_soon(self.wires[-1].read_slowly)

    def _heard(self, wire: Wire, body: dict[str, Any], frame: bytes) -> None:
        if "event_id" in body:
            self._last_seq = body["seq"]
            self._facts[body["seq"]] = Fact(decode_event(frame))
        else:
            self._frames.append(body)
        if body["type"] == "hello":
            self._greeted(wire, body)
        elif body["type"] in ("reply", "error") and "event_id" not in body:
            answered = body["command_id"]
            if self._unanswered.pop(answered, None) is not None:
                self._answers[answered] = body
        self._news.unpark_all()

    def _greeted(self, wire: Wire, hello: dict[str, Any]) -> None:
        self.session_id, self._epoch = hello["session_id"], hello["epoch"]
        self._last_seq = hello["replay_from"] - 1
        for seq in [seq for seq in self._facts if seq > self._last_seq]:
            del self._facts[seq]  # what comes now is the truth
        for body in self._unanswered.values():
            wire.send(json.dumps(body))
