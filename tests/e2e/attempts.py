"""Attempts to have things done by a server that is killed meanwhile."""

from __future__ import annotations

import random
from functools import cache
from typing import Any, Final

from attrs import asdict, define, evolve, field, frozen

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
