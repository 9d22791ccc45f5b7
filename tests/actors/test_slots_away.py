"""Turns for which nobody can say whether there is a model slot."""

from __future__ import annotations

import trio
from attrs import define, field
from trio.testing import MockClock, wait_all_tasks_blocked

from bargein.actors.allowance import Allowance, Unlimited
from bargein.actors.slot_queue import Standing
from bargein.actors.slots import Claim, SlotsAway, Wish
from bargein.protocol.frames import Problem
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore
from tests.actors.stage import Frame, on_stage
from tests.actors.team import stored
from tests.checker import broken_rules

PATIENCE_S = 5.0


@define(eq=False)
class Distant:
    """Slots of which nothing is heard; each is waited for as long as one may.

    Attributes:
        released: How many claims were given up.
        wishes: All that was asked for.
    """

    wishes: list[Wish] = field(factory=list[Wish])
    released: int = 0

    def refusal(self, standing: Standing) -> Problem | None:
        """Refuse nothing."""

    def ask(self, standing: Standing, wish: Wish) -> Claim:
        """Take note of it."""
        self.wishes.append(wish)
        return Unheard(self)

    def allowance(self, _: str, __: str | None, ___: Timeline) -> Allowance:
        return Unlimited(slots=self)


@define(eq=False)
class Unheard:
    """A claim that nobody answers."""

    _slots: Distant
    waited_s: float = 0.0
    is_granted: bool = False
    _is_over: bool = False

    async def until_granted(self) -> None:
        await trio.sleep(PATIENCE_S)
        raise SlotsAway

    def release(self) -> None:
        self._slots.released += not self._is_over
        self._is_over = True


async def test_a_turn_that_gets_no_answer_fails_as_overloaded_and_can_be_said_again(
    autojump_clock: MockClock,
) -> None:
    slots, store = Distant(), MemoryStore()
    async with on_stage(store=store, allowance=slots.allowance) as stage:
        session = stage.open("ann")
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="Tell me")
        fault = await viewer.event("error")
        assert fault["payload"]["code"] == "overloaded"
        assert fault["payload"]["retryable"] is True
        assert fault["payload"]["recover"]["resume_token"]
        end = await viewer.event("response.end")
        assert end["payload"]["status"] == "failed"
        await viewer.event("turn.trace")
        assert stage.model.lines == []
        assert slots.released == 1
        again = await stage.ask(session, viewer, "say", text="Tell me")
        assert again["result"]["outcome"] == "started"
        await wait_all_tasks_blocked()
        assert len(slots.wishes) == 2
        assert not any(wish.insists for wish in slots.wishes)
        await stage.ask(session, viewer, "interrupt")
        assert broken_rules(stored(store, session.id), finished=True) == []


async def test_a_turn_that_gets_no_answer_is_interrupted_at_once(autojump_clock: MockClock) -> None:
    slots = Distant()
    async with on_stage(allowance=slots.allowance) as stage:
        session = stage.open("ann")
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="Tell me")
        await trio.sleep(PATIENCE_S / 2)
        began_s = trio.current_time()
        answer: Frame = await stage.ask(session, viewer, "interrupt")
        assert answer["result"]["interrupted"] is True
        assert trio.current_time() == began_s
        assert slots.released == 1
