"""Attempts to have things done by a server that is killed meanwhile, and how they are audited."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec
from attrs import asdict, define, evolve, field, frozen

from bargein.protocol.codec import decode_event
from bargein.protocol.events import Event
from tests.e2e.apps.ledgered import Pace
from tests.e2e.apps.obedient import order
from tests.e2e.client import Frame
from tests.e2e.effects import World
from tests.e2e.user import User

SLOW_MS: Final = 250
"""How long the part takes in which the server is to die."""

JITTER_S: Final = 0.15
"""How far into that part the kill comes, at most."""

SETTLED: Final = frozenset(
    f"action.{state}"
    for state in ("committed", "failed", "rejected", "expired", "reverted", "revert_failed")
)
ACTED: Final = ("started", "applied", "answered")

PARTS: Final = {
    "committing": "lead_ms",
    "started": "work_ms",
    "applied": "lag_ms",
    "answered": "rest_ms",
    "done": "",
    "sent": "",
}
"""After which landmark the server dies, and which part is slow for it; "sent": with the command
on its way, "done": when the outcome was seen."""


@frozen
class Moment:
    """When a server dies.

    Attributes:
        tool: What is being done.
        revert: It is being undone.
        landmark: What was seen last.
        pace: Of what is done.
        jitter_s: From the landmark to the kill.
        answers: The world says that it is done.
    """

    tool: str
    revert: bool
    landmark: str
    pace: Pace = field(factory=Pace)
    jitter_s: float = 0.0

    def drawn(self, chance: random.Random) -> Moment:
        """Draw all that is left open: paces, the kill, and what its world is like."""
        # One that may be repeated, and never answers, would be repeated and never answer.
        sure = self.tool == "note" or self.landmark in ("answered", "done")
        world = Pace(
            work_ms=chance.randrange(5),
            lag_ms=chance.randrange(5),
            answers=sure or chance.random() < 0.8,
            goes_on=chance.random() < 0.7,
        )
        part = PARTS[self.landmark]
        if not part or (self.landmark == "answered" and chance.random() < 0.5):
            return evolve(self, pace=world, jitter_s=chance.uniform(0, 0.006))
        jitter_s = chance.choice((0.0, chance.uniform(0, JITTER_S)))
        return evolve(self, pace=evolve(world, **{part: SLOW_MS}), jitter_s=jitter_s)


@cache
def moments() -> tuple[Moment, ...]:
    """Return every moment at which the server may die, once for each kind of tool."""
    undone = [Moment(tool, True, mark) for tool in ("charge", "ship") for mark in PARTS]
    done = [Moment(tool, False, mark) for tool in ("charge", "ship", "note") for mark in PARTS]
    return (*done, *undone)


@define(eq=False)
class Attempt:
    """Something that a user has done, or undone, come what may."""

    user: User
    world: World
    number: int
    moment: Moment
    turn_id: str = ""

    @property
    def events(self) -> list[Frame]:
        """All events of this action, as far as they were seen."""
        seen = [e for e in self.user.of_turn(self.turn_id) if e.type.startswith("action.")]
        return seen if self.turn_id else []

    @property
    def proposed(self) -> dict[str, Any]:
        return self.events[0].payload

    # --- before the kill ----------------------------------------------------------------

    async def begin(self) -> None:
        """Have it done, up to the landmark after which the server is to die."""
        do, undo = self.moment.pace, Pace()
        if self.moment.revert:
            do, undo = undo, do
        words = order(self.moment.tool, number=self.number, do=asdict(do), undo=asdict(undo))
        client = self.user.client
        said = await client.say(words, id=f"say.{self.number}")
        self.turn_id = said["result"]["turn_id"]
        sent = not self.moment.revert and self.moment.landmark == "sent"
        if self.moment.tool == "note":
            if not sent:
                await self._reach("committing", "action.committed")
            return
        await client.until("action.proposed", turn_id=self.turn_id)
        await client.send(**self.confirm)
        if self.moment.revert:
            await client.until("action.committed", turn_id=self.turn_id)
            await client.send(**self.revert)
            if self.moment.landmark != "sent":
                await self._reach("reverting", "action.reverted")
        elif not sent:
            await self._reach("committing", "action.committed")

    @property
    def confirm(self) -> dict[str, Any]:
        """The command that confirms it; after a restart the same once more."""
        names = {"type_": "confirm", "id": f"confirm.{self.number}"}
        return {**names, "confirmation_id": self.proposed["confirmation_id"]}

    @property
    def revert(self) -> dict[str, Any]:
        """The command that has it undone."""
        names = {"type_": "revert", "id": f"revert.{self.number}"}
        return {**names, "action_id": self.proposed["action_id"]}

    async def _reach(self, intent: str, outcome: str) -> None:
        begun = await self.user.client.until(f"action.{intent}", turn_id=self.turn_id)
        key, landmark = begun.payload["idempotency_key"], self.moment.landmark
        if landmark in ACTED:
            await self.world.until(lambda line: line["what"] == landmark and line["key"] == key)
        elif landmark == "done":
            await self.user.client.until(outcome, turn_id=self.turn_id)

    # --- after it -------------------------------------------------------------------------

    def met(self) -> str:
        """Say in which state the kill met it, as far as anybody saw."""
        earlier = self.user.earlier[-1].last_seq
        before = [event.type for event in self.events if event.seq <= earlier]
        return before[-1].removeprefix("action.") if before else "nothing"

    async def settle(self) -> str:
        """Bring it to its end as its user would; return how it ended."""
        await self._find_turn()
        if not await self._proposed_ever():
            return "nothing"
        while True:
            latest = self.events[-1]
            kind = latest.type.removeprefix("action.")
            if kind == "proposed":
                await self._decide(latest)
            elif kind == "in_doubt" and self.moment.tool == "ship":
                await self._judge(latest)
            elif kind == "committed" and self.moment.revert:
                answer = await self.user.client.ask(**self.revert)
                assert answer.type == "reply", answer.text
                await self._after(latest)
            elif latest.type in SETTLED:
                return kind
            else:
                await self._after(latest)

    async def _find_turn(self) -> None:
        """Find the turn of words whose answer the kill swallowed; they may have been lost whole."""
        if self.turn_id:
            return
        seen = {**self.user.seen, **{e.seq: e for e in self.user.client.events}}
        mine = f"say.{self.number}"
        for event in seen.values():
            if event.type == "input.text" and event.payload.get("command_id") == mine:
                self.turn_id = event.turn_id or ""

    async def _proposed_ever(self) -> bool:
        """Whether it came to a proposal: its turn is over, or will be, so that it is known."""
        if not self.turn_id:
            return False
        await self.user.client.ask("ping")
        if not any(e.type == "turn.trace" for e in self.user.of_turn(self.turn_id)):
            await self.user.client.until("turn.trace", turn_id=self.turn_id)
        return bool(self.events)

    async def _decide(self, latest: Frame) -> None:
        """Confirm with the command that was perhaps sent before: it acts once."""
        if self.moment.tool == "note":
            await self._after(latest)
            return
        answer = await self.user.client.ask(**self.confirm)
        assert answer.type == "reply", answer.text
        await self._after(latest)

    async def _judge(self, latest: Frame) -> None:
        """Settle a doubt as a person: look at what the world has, and say so."""
        happened = await self.world.happened(latest.payload["idempotency_key"])
        named = {"confirmation_id": self.proposed["confirmation_id"]}
        answer = await self.user.client.ask("confirm" if happened else "reject", **named)
        assert answer.type == "reply", answer.text
        await self._after(latest)

    async def _after(self, latest: Frame) -> None:
        """Wait for the event of this action that follows *latest*."""
        if self.events[-1].seq > latest.seq:
            return
        try:
            await self.user.client.until(
                lambda e: e.is_event and e.type.startswith("action.") and e.seq > latest.seq,
                turn_id=self.turn_id,
            )
        except AssertionError as error:
            story = "\n".join(event.text for event in self.user.of_turn(self.turn_id))
            error.add_note(f"{self.moment}\n{story}")
            raise


# --- the audit --------------------------------------------------------------------------


@define(eq=False)
class Found:
    """What an audit found."""

    broken: list[str] = field(factory=list[str])
    effects: int = 0
    asked: int = 0
    repeated: int = 0
    by_person: int = 0
    reverted: int = 0

    def __str__(self) -> str:
        return (
            f"{self.effects} effects, {self.repeated} of them asked for again and had once, "
            f"{self.asked} keys asked about, {self.by_person} doubts settled by a person, "
            f"{self.reverted} undone"
        )


def audit(timelines: Sequence[Sequence[bytes]], ledger: Sequence[dict[str, Any]]) -> Found:
    """Hold what the world did against what the sessions know of it."""
    found = Found()
    lines = {what: Counter(line["key"] for line in ledger if line["what"] == what)
             for what in ("started", "applied", "repeated", "refused", "asked")}  # fmt: skip
    found.effects, found.repeated = lines["applied"].total(), lines["repeated"].total()
    found.asked = lines["asked"].total()
    known: dict[str, str] = {}
    for timeline in timelines:
        for story in _stories([decode_event(frame) for frame in timeline]):
            found.broken += story.broken()
            known |= story.outcomes()
            found.by_person += story.judged
            found.reverted += "action.reverted" in story.types
    for key, count in lines["applied"].items():
        if count > 1:
            found.broken.append(f"{key} was done {count} times")
        if known.get(key) != "done":
            found.broken.append(f"{key} was done, and the session says {known.get(key)}")
    for key, count in lines["started"].items():
        if count > 1 and not key.startswith("note:"):
            found.broken.append(f"{key} was started {count} times")
        if key not in known:
            found.broken.append(f"{key} was started without an intent")
    for key, outcome in known.items():
        if outcome == "done" and not lines["applied"][key]:
            found.broken.append(f"{key} is called done, and never was")
    found.broken += [f"{key} was started after its end" for key in lines["refused"]]
    return found


@define
class Story:
    """One action, as its timeline tells it."""

    events: list[Event]

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    @property
    def judged(self) -> int:
        """How many doubts about it a person settled."""
        return sum(
            earlier.type == "action.in_doubt" and _by(later) is not None
            for earlier, later in zip(self.events, self.events[1:], strict=False)
        )

    def outcomes(self) -> dict[str, str]:
        """Return what is known of each key: done, not done, or nothing."""
        known: dict[str, str] = {}
        for event in self.events:
            name = event.type.removeprefix("action.")
            if name in ("committing", "reverting"):
                known[_key(event)] = "nothing"
            elif name in ("committed", "reverted"):
                known[list(known)[-1]] = "done"
            elif name in ("failed", "revert_failed"):
                known[list(known)[-1]] = "not done"
        return known

    def broken(self) -> list[str]:
        """Return what is wrong with it: no end, or a start that nobody confirmed."""
        types, name = self.types, self.events[0].event_id
        broken: list[str] = []
        if types[-1] not in SETTLED:
            broken.append(f"{name} ends with {types[-1]}")
        if "action.committing" in types:
            begun = types.index("action.committing")
            if "action.confirmed" not in types[:begun]:
                broken.append(f"{name} began unconfirmed: {types}")
        return broken


def _stories(events: Sequence[Event]) -> list[Story]:
    stories: dict[str, Story] = {}
    for event in events:
        if event.type.startswith("action."):
            action_id = msgspec.to_builtins(event.payload)["action_id"]
            stories.setdefault(action_id, Story([])).events.append(event)
    return list(stories.values())


def _key(event: Event) -> str:
    return msgspec.to_builtins(event.payload)["idempotency_key"]


def _by(event: Event) -> str | None:
    return msgspec.to_builtins(event.payload).get("by")
