"""A stage on which model slots are short: sessions of two tiers, and one queue for all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from attrs import define, evolve, field

from bargein.actors.limits import Limits
from bargein.actors.session import Session
from bargein.actors.slot_queue import SlotTerms
from bargein.actors.slots import LocalSlots
from bargein.agents.app import Agent
from bargein.gateway.account import Share
from bargein.gateway.auth.identity import Identity
from bargein.gateway.quotas import Accounts
from bargein.protocol.ids import NOTHING, Seq
from bargein.timeline.memory import MemoryStore
from tests.actors.stage import AGENTS, Frame, Line, Stage, Viewer, on_stage
from tests.actors.team import stored
from tests.checker import broken_rules

FREELY: Final = Share(
    sessions_most=1000,
    new_sessions_per_minute_most=1000,
    turns_most=1000,
    tokens_per_hour_most=10**9,
)
SHARES: Final = {"gold": evolve(FREELY, rank=1, tier="gold")}
TIERS: Final = {"midas": "gold", "croesus": "gold"}
"""Who is of another tier than most."""


@define(eq=False)
class Party:
    """A session with a client."""

    hall: Hall
    session: Session
    viewer: Viewer

    async def say(self, text: str, **more: Any) -> Frame:
        return await self.hall.stage.ask(self.session, self.viewer, "say", text=text, **more)

    async def ask(self, kind: str, **more: Any) -> Frame:
        return await self.hall.stage.ask(self.session, self.viewer, kind, **more)

    async def begun(self, turn_id: str) -> Frame:
        return await self.viewer.until(_is("turn.start", turn_id))

    async def over(self, turn_id: str) -> Frame:
        """Wait for the last event of a turn."""
        return await self.viewer.until(
            lambda f: f.get("turn_id") == turn_id and f["type"] in ("turn.trace", "cancel.ack")
        )

    async def put_off(self, turn_id: str) -> Frame:
        """Wait until a turn has been pre-empted, and its ladder is over."""
        requested = await self.viewer.until(_is("cancel.requested", turn_id))
        assert requested["payload"]["by"] == "preempted"
        return await self.viewer.until(_is("cancel.ack", turn_id))

    def of(self, turn_id: str) -> list[str]:
        return [f["type"] for f in self.viewer.frames if f.get("turn_id") == turn_id]

    def starts(self) -> list[Frame]:
        return [f for f in self.viewer.frames if f["type"] == "turn.start"]

    def dropped(self) -> list[Frame]:
        return [f for f in self.viewer.frames if f["type"] == "input.dropped"]

    async def leaves(self) -> None:
        await self.session.detach(self.viewer)


@define(eq=False)
class Hall:
    """What a test has in hand."""

    stage: Stage
    slots: LocalSlots
    parties: list[Party] = field(factory=list[Party], init=False)

    async def party(self, principal: str) -> Party:
        """Open a session and attach to it."""
        session = self.stage.open(principal)
        return await self.join(session)

    async def join(self, session: Session, after: Seq = NOTHING) -> Party:
        viewer = await self.stage.attend(session, after=after)
        party = Party(self, session, viewer)
        self.parties.append(party)
        return party

    async def line(self, number: int) -> Line:
        return await self.stage.model.line(number)


def _is(kind: str, turn_id: str) -> Callable[[Frame], bool]:
    return lambda f: f["type"] == kind and f.get("turn_id") == turn_id


@asynccontextmanager
async def hall(
    most: int | None = 1,
    *,
    store: MemoryStore | None = None,
    limits: Limits | None = None,
    agents: Sequence[Agent] = AGENTS,
    finished: bool = False,
    **terms: Any,
) -> AsyncGenerator[Hall]:
    """Run sessions that share *most* slots; at the end no timeline may break a rule."""
    slots = LocalSlots(SlotTerms(most, **terms))
    accounts = Accounts(lambda tier: SHARES.get(tier, FREELY), None, slots)
    for principal, tier in TIERS.items():
        accounts.renewed(Identity(principal, None, tier))
    kept = store or MemoryStore()
    async with on_stage(
        limits=limits, store=kept, agents=agents, allowance=accounts.allowance
    ) as stage:
        there = Hall(stage, slots)
        yield there
        for party in there.parties:
            assert broken_rules(stored(kept, party.session.id), finished=finished) == []
