"""A client of a history: it comes and goes, talks, cuts in, and keeps all that it got."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Final, cast

import trio
from attrs import define, field, frozen

from bargein.gateway.auth.identity import Credential
from bargein.gateway.client import Reception
from bargein.gateway.connection import WireConnection
from bargein.gateway.handshake import Upgrade
from bargein.protocol.commands import Role
from bargein.testing.wire import Pace, Wire
from tests.simulation.chance import chance
from tests.simulation.decisions import Decisions, Reaction
from tests.simulation.script import Step
from tests.simulation.world import GRID_S, World

RECONNECT_TICKS: Final = 3
MOST_RECONNECTS: Final = 5


HEARD: Final = ("mhm", "wait", "list them all please", "I would like to")
"""What a recogniser makes of somebody who speaks now and then."""


@define(eq=False)
class Room:
    """Where clients of a history meet: the session that one of them opens.

    Attributes:
        opener: Which client opens it.
        taken_seq: The last event that any driver's wire took.
        taken_at_flush: The same, at the moment when a turn was interrupted, by life and turn:
            an id that a power cut erased is given again.
    """

    opener: int
    session_id: str | None = None
    epoch: str | None = None
    taken_seq: int = 0
    taken_at_flush: dict[tuple[int, str], int] = field(
        factory=dict[tuple[int, str], int], init=False
    )


@frozen(eq=False)
class Sent:
    """A command as it was sent."""

    wire: Wire
    body: dict[str, Any]
    at_s: float


def _steers(body: dict[str, Any]) -> bool:
    return "id" in body and body.get("when_busy") == "steer"


@frozen(eq=False)
class Visit:
    """One connection, and with what it was asked for."""

    life: int
    upgrade: Upgrade
    wire: Wire
    asked_at_s: float


@define(eq=False)
class Simulated:
    """Lives through both lives of the server; what it saw before a power cut stays seen.

    Attributes:
        visits: Every connection that it ever had.
        sent: Every command, oldest first.
        last_seq: The last event that it has.
    """

    index: int
    role: Role
    room: Room
    visits: list[Visit] = field(factory=list[Visit], init=False)
    sent: list[Sent] = field(factory=list[Sent], init=False)
    last_seq: int = field(default=0, init=False)
    turns: list[str] = field(factory=list[str], init=False)
    tokens: list[str] = field(factory=list[str], init=False)
    decisions: Decisions = field(factory=Decisions, init=False)
    said: int = field(default=0, init=False)
    heard: int = field(default=0, init=False)
    _world: World = field(init=False)
    _reception: Reception = field(init=False)
    _on_news: Callable[[], None] = field(init=False)
    _tasks: trio.Nursery = field(init=False)
    _reconnects: int = field(default=0, init=False)
    _reactions: int = field(default=0, init=False)

    def enter(
        self,
        world: World,
        reception: Reception,
        tasks: trio.Nursery,
        on_news: Callable[[], None],
    ) -> None:
        """Begin a life; *on_news* is called whenever something arrives."""
        self._world, self._reception, self._tasks = world, reception, tasks
        self._on_news = on_news
        self._reconnects = 0

    @property
    def wire(self) -> Wire | None:
        """The connection that it has now."""
        if self.visits and self.visits[-1].life == self._world.life:
            wire = self.visits[-1].wire
            return wire if wire.is_open else None
        return None

    @property
    def awaits_a_decision(self) -> bool:
        """Whether words that were to steer a turn have not met a boundary of it yet."""
        wire = self.wire
        if wire is None:
            return False
        answered = Counter(arrival.body.get("command_id") for arrival in wire.arrived)
        steering = {s.body["id"] for s in self.sent if _steers(s.body)}
        sent = Counter(s.body["id"] for s in self.sent if s.wire is wire and "id" in s.body)
        return any(sent[command_id] > answered[command_id] for command_id in steering)

    async def run(self, steps: list[Step]) -> None:
        """Do what the script says, when it says so."""
        for step in steps:
            await trio.sleep_until(step.tick * GRID_S)
            if step.verb == "attach":
                await self._attach(chance(str(step.choice)))
            else:
                self._act(step, chance(str(step.choice)))

    # --- coming and going -----------------------------------------------------------

    async def _attach(self, drawn: Random) -> None:
        self.leave()
        for _ in range(20):
            if self.index == self.room.opener or self.room.session_id is not None:
                break
            await trio.sleep(GRID_S)
        after: int | None = self.last_seq
        epoch = self.room.epoch
        match drawn.choice(("resume",) * 6 + ("whole", "whole", "part", "beyond", "foreign")):
            case "whole":
                after = epoch = None
            case "part":
                after = drawn.randint(0, self.last_seq)
            case "beyond":
                after = self.last_seq + 1000
            case "foreign":
                epoch = "00000000"
            case _:
                pass
        self._connect(after, epoch, drawn)

    def _connect(self, after: int | None, epoch: str | None, drawn: Random) -> None:
        pace = Pace()
        if drawn.random() < 0.5:
            stall = drawn.choice((0, 0, 10, 40))
            pace = Pace(drawn.choice((1, 2, 5)), drawn.randint(0, 20), stall)
        session_id = self.room.session_id
        if session_id is None:
            after = epoch = None
        upgrade = Upgrade(
            session_id, after, epoch, "json", self.role, strict=True, caller=Credential()
        )
        name = f"client{self.index}.{self._world.life}.{len(self.visits)}"
        wire = Wire(name, self._world, pace, self._heard)
        self._world.note(name, "connects", session_id, after, epoch)
        self.visits.append(Visit(self._world.life, upgrade, wire, trio.current_time()))
        self._tasks.start_soon(self._be_served, wire, upgrade, name=name)
        if pace.frames:
            self._tasks.start_soon(wire.read_slowly, name=f"{name} reads")

    async def _be_served(self, wire: Wire, upgrade: Upgrade) -> None:
        await self._reception.serve(cast("WireConnection", wire), upgrade)
        wire.close_soon()
        wire.served = True
        if self._world.dead:
            return
        await wire.over()
        if wire.closed is not None and 4000 <= wire.closed[0] < 4100:
            await self._come_back()

    async def _come_back(self) -> None:
        self._reconnects += 1
        if self._reconnects <= MOST_RECONNECTS:
            await trio.sleep(RECONNECT_TICKS * GRID_S)
            if self.wire is None:
                drawn = self._world.random(f"back/{self.index}/{len(self.visits)}")
                self._connect(self.last_seq, self.room.epoch, drawn)

    def leave_for_good(self) -> None:
        """Break the connection, and don't come back in this life."""
        self._reconnects = MOST_RECONNECTS
        self.leave()

    def leave(self, lost: int = 0) -> None:
        """Break the connection; the last *lost* events of it never got here."""
        wire = self.wire
        if wire is None:
            return
        self._world.note(wire.name, "leaves", lost)
        wire.cut()
        events = [arrival for arrival in wire.arrived if "event_id" in arrival.body]
        if lost and len(events) > lost:
            self.last_seq = events[-lost - 1].body["seq"]

    # --- what it hears -----------------------------------------------------------------

    def _heard(self, wire: Wire, body: dict[str, Any], frame: bytes) -> None:
        del frame, wire
        self._on_news()
        if "event_id" in body:
            self.last_seq = body["seq"]
            if self.role == "drive":
                self.room.taken_seq = max(self.room.taken_seq, body["seq"])
            if body["type"].startswith("action."):
                self.decisions.heard(body)
                self._react(body)
            if body["type"] == "turn.start" and body["turn_id"] not in self.turns:
                self.turns.append(body["turn_id"])
            if body["type"] == "error" and "resume_token" in body["payload"]["recover"]:
                self.tokens.append(body["payload"]["recover"]["resume_token"])
        elif body["type"] == "hello":
            self.room.session_id, self.room.epoch = body["session_id"], body["epoch"]
            self.last_seq = body["replay_from"] - 1
        elif body["type"] == "flush":
            turn = (self._world.life, body["turn_id"])
            self.room.taken_at_flush.setdefault(turn, self.room.taken_seq)

    def _react(self, body: dict[str, Any]) -> None:
        self._reactions += 1
        drawn = self._world.random(f"react/{self.index}/{self._reactions}")
        if self.role == "watch" and drawn.random() < 0.8:
            return
        if (reaction := self.decisions.reaction(drawn, body)) is not None:
            self._tasks.start_soon(self._do_later, reaction)

    async def _do_later(self, reaction: Reaction) -> None:
        await trio.sleep(reaction.ticks * GRID_S)
        self._send(self._named(dict(reaction.body)))
        if reaction.twice:
            self._send(self._named(dict(reaction.body)))

    # --- what it does --------------------------------------------------------------------

    def _act(self, step: Step, drawn: Random) -> None:
        if step.verb == "leave":
            self.leave(drawn.choice((0, 0, 1, 3)))
        elif step.verb == "resend":
            known = [sent.body for sent in self.sent if "id" in sent.body]
            if known:
                body = dict(drawn.choice(known))
                if drawn.random() < 0.2:
                    body["note"] = "another body"
                self._send(body)
        else:
            body = getattr(self, f"_{step.verb}")(drawn)
            self._send(self._named(body) if drawn.random() < 0.9 else body)

    def _named(self, body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "id": f"c{self.index}.{self._world.life}.{len(self.sent)}"}

    def _send(self, body: dict[str, Any]) -> None:
        wire = self.wire
        if wire is None:
            return
        self._world.note(wire.name, "sends", body)
        self.sent.append(Sent(wire, body, trio.current_time()))
        wire.send(json.dumps(body))

    def _say(self, drawn: Random) -> dict[str, Any]:
        self.said += 1
        body: dict[str, Any] = {"type": "say", "text": f"say{self.index}.{self.said} ü"}
        if drawn.random() < 0.7:
            kinds = ("interrupt", "queue", "queue", "steer", "reject", "rollback")
            body["when_busy"] = drawn.choice(kinds)
        if drawn.random() < 0.2:
            body["heard"] = {"chars": drawn.randint(0, 60)}
        if self.tokens and drawn.random() < 0.5:
            body["resume"] = drawn.choice(self.tokens)
            if drawn.random() < 0.7:
                body["text"] = ""
        return body

    def _turn(self, drawn: Random) -> str:
        if not self.turns or drawn.random() < 0.1:
            return "turn_99"
        return drawn.choice(self.turns) if drawn.random() < 0.25 else self.turns[-1]

    def _interrupt(self, drawn: Random) -> dict[str, Any]:
        body: dict[str, Any] = {"type": "interrupt"}
        if drawn.random() < 0.5:
            body["turn_id"] = self._turn(drawn)
        if drawn.random() < 0.3:
            body["queue"] = "drop"
        if drawn.random() < 0.2:
            body["heard"] = {"chars": drawn.randint(0, 60)}
        return body

    def _report(self, drawn: Random) -> dict[str, Any]:
        kind = drawn.choice(("start", "progress", "progress", "stop"))
        body: dict[str, Any] = {"type": f"playback.{kind}", "turn_id": self._turn(drawn)}
        if drawn.random() < 0.7:
            body["chars"] = drawn.randint(0, 60)
        return body

    def _decide(self, drawn: Random) -> dict[str, Any]:
        return self.decisions.drawn(drawn)

    def _configure(self, drawn: Random) -> dict[str, Any]:
        setting = drawn.choice(
            (
                {"on_disconnect": "grace"},
                {"on_disconnect": "cancel"},
                {"on_disconnect": "continue"},
                {"agent": "second"},
                {"agent": "nobody"},
                {"voice": True},
                {"colour": "red"},
            )
        )
        return {"type": "configure", **setting}

    def _look(self, drawn: Random) -> dict[str, Any]:
        return drawn.choice(
            (
                {"type": "ping", "nonce": 1},
                {"type": "ack", "seq": self.last_seq},
                {"type": "ack", "seq": 10_000},
                {"type": "history", "after": drawn.randint(0, 20), "limit": 5},
                {"type": "projection", "name": "transcript"},
                {"type": "projection", "name": "session"},
                {"type": "projection", "name": "latency"},
                {"type": "projection", "name": "plan"},
                {"type": "projection", "name": "actions"},
                {"type": "auth", "token": "x"},
                self._speech(drawn),
                {"type": "no.such.command"},
            )
        )

    def _speech(self, drawn: Random) -> dict[str, Any]:
        self.heard += drawn.random() < 0.3
        spoken = {"utterance_id": f"u{self.index}.{self.heard}"}
        words = {"revision": drawn.randint(0, 9), "text": drawn.choice(HEARD)}
        sound = {"index": drawn.randint(0, 3), "format": "pcm16", "data": "AAEC"}
        return drawn.choice(
            (
                {"type": "speech.start", **spoken},
                {"type": "speech.stop", **spoken},
                {"type": "asr.partial", **spoken, **words},
                {"type": "asr.final", **spoken, **words},
                {"type": "audio.chunk", **spoken, **sound},
                {"type": "turn.end", **spoken},
                {"type": "turn.end"},
            )
        )

    def _close(self, drawn: Random) -> dict[str, Any]:
        del drawn
        return {"type": "close"}
