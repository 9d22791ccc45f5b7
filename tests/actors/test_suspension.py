"""A suspended turn where nothing more can be written down at the moment."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bargein.actors.allowance import Unlimited
from bargein.actors.audience import Audience
from bargein.actors.clock import SystemClock
from bargein.actors.mailbox import Mailbox
from bargein.actors.messages import OutputMessage, Record
from bargein.actors.slot_queue import SlotTerms, Standing
from bargein.actors.slots import Claim, LocalSlots, Wish
from bargein.actors.suspension import Suspension
from bargein.actors.turn import ResponseSlot
from bargein.protocol.events import InputDropped, SessionTitled
from bargein.protocol.ids import Epoch, SessionId, TurnId, turn_id
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.timeline.memory import MemoryStore
from tests.protocol.timelines import Pen

ONE = turn_id(1)
FULL = Record(None, (SessionTitled("full"),))


def _put_off() -> SessionState:
    pen = Pen()
    pen.open_session()
    pen.begin(ONE)
    pen.cancel(ONE, 0, by="preempted")
    return pen.state


@pytest.mark.parametrize("how", ["refused", "refused twice", "no room", "gives way without room"])
async def test_that_a_turn_does_not_go_on_is_written_down_once_or_it_goes_on(how: str):
    output, box = Mailbox[OutputMessage].open("output", 1)
    clock, state, slots = SystemClock(), _put_off(), LocalSlots(SlotTerms(1))
    audience = Audience(Timeline(SessionId("sess_1"), Epoch("e0"), MemoryStore()))
    slot = ResponseSlot(clock, audience, state.last_turn)
    began: list[TurnId] = []

    def go_on(turn: TurnId, claim: Claim, since_s: float, turns: trio.Nursery) -> None:
        del since_s, turns
        began.append(turn)
        claim.release()

    suspension = Suspension(Unlimited(slots=slots), output, slot, state, clock, go_on)
    other = slots.ask(Standing("other"), Wish())
    with box:
        async with trio.open_nursery() as turns:
            suspension.resume(turns)
            suspension.begin(ONE, 0.0, turns)
            await wait_all_tasks_blocked()
            assert slot.suspended
            if "room" in how:
                assert output.offer(FULL)
            match how:
                case "gives way without room":
                    suspension.give_way()
                case "no room":
                    assert not suspension.refuse(ONE, "interrupted")
                case _:
                    assert suspension.refuse(ONE, "interrupted")
            if how == "refused twice":
                assert suspension.refuse(ONE, "interrupted")
            assert slot.suspended == (how == "no room")
            other.release()
            await wait_all_tasks_blocked()
            assert began == ([ONE] if how == "no room" else [])
        (message,) = await box.take()
    if "room" in how:
        assert message is FULL
    else:
        assert isinstance(message, Record)
        assert message.drafts == (InputDropped(None, "interrupted", ONE),)
