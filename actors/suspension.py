"""A turn that was pre-empted, from its ack until it goes on as a new turn, or is given up."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define, field

from bargein.actors.allowance import Allowance
from bargein.actors.attendance import DEFAULT
from bargein.actors.clock import Clock
from bargein.actors.mailbox import Address
from bargein.actors.messages import OutputMessage, Record
from bargein.actors.slots import Claim, Wish
from bargein.actors.turn import ResponseSlot
from bargein.protocol.actions import INTERRUPTED
from bargein.protocol.events import InputDropped
from bargein.protocol.ids import CommandId, Seq, TurnId
from bargein.protocol.state import SessionState


@define(eq=False)
class Suspension:
    """Part of the planner: only its task calls this.  Lives as long as the session.

    It asks for a slot as any turn does, and keeps its place among those who wait.
    Each suspended turn comes to one end: it goes on, or `input.dropped` says that it
    does not, or the session is closed.  What is left of it then is left to whoever
    takes the session up again.

    Attributes:
        _go_on: Begins the turn that continues the one named, with its slot, given
            since when that waited for it.
        turn_id: Which turn is suspended; None: none is.
        _refused: A turn whose ladder runs, and that is not to go on.
        _waited_s: How long it has waited for slots.
        _waiting: What ends the wait; None while nobody waits.
        _paused: Nobody is there for whom it would go on.
        _held: The user speaks, and may well say something else.
    """

    _allowance: Allowance
    _output: Address[OutputMessage]
    _slot: ResponseSlot
    _state: SessionState
    _clock: Clock
    _go_on: Callable[[TurnId, Claim, float, trio.Nursery], None]
    turn_id: TurnId | None = field(default=None, init=False)
    _refused: TurnId | None = field(default=None, init=False)
    _waited_s: float = field(default=0.0, init=False)
    _waiting: trio.CancelScope | None = field(default=None, init=False)
    _paused: bool = field(init=False)
    _held: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        # Where drivers were there when the last process died, their grace begins now.  Otherwise
        # whoever might drive has yet to come: what began before that would be stopped for good.
        policy = self._state.config.get("on_disconnect", DEFAULT)
        self._paused = policy != "grace" or not self._state.drivers

    def begin(self, turn_id: TurnId, waited_s: float, turns: trio.Nursery) -> None:
        """Let a turn wait that was pre-empted, unless somebody has said that it is over."""
        if turn_id == self._refused:
            return
        self.turn_id, self._waited_s = turn_id, waited_s
        self._ask(turns)

    def resume(self, turns: trio.Nursery) -> None:
        """Ask for a slot, where a turn is suspended and does not wait for one yet."""
        self._paused = False
        self._ask(turns)

    def floor_given(self, turns: trio.Nursery) -> None:
        """Go on with what the user's voice has held."""
        if self._held and not self._slot.user_speaks:
            self._ask(turns)

    def _ask(self, turns: trio.Nursery) -> None:
        leaving = self._over or self._slot.winding_down
        if self.turn_id is None or self._waiting is not None or self._paused or leaving:
            return
        self._held = self._slot.user_speaks
        if self._held:
            return
        self._waiting = trio.CancelScope()
        self._slot.suspended = True
        turns.start_soon(self._wait, self.turn_id, self._waiting, turns, name="suspended")

    def pause(self) -> None:
        """Wait for no slot until `resume`: nobody is there for whom it would go on."""
        self._paused = True
        self._stop_waiting()

    def end(self) -> None:
        """Wait for nothing any more: the session ends, or leaves memory."""
        self._over = True
        self._stop_waiting()

    def refuse(
        self,
        turn_id: TurnId,
        reason: str,
        command_id: CommandId | None = None,
        then: Callable[[Seq], None] | None = None,
    ) -> bool:
        """Say that a pre-empted turn does not go on; False if that can't be written down now.

        Args:
            turn_id: Which turn.
            reason: Why.
            command_id: Of the command that asked for it.
            then: As in `Record`; not called where it was said before.
        """
        if turn_id == self._refused:
            return True
        dropped = InputDropped(command_id, reason, turn_id)
        if not self._output.offer(Record(None, (dropped,), then)):
            return False
        self._refused, self.turn_id = turn_id, None
        self._stop_waiting()
        return True

    def give_way(self) -> None:
        """Let a turn begin that answers other words: that the suspended one is over follows."""
        if self.turn_id is not None and not self.refuse(self.turn_id, INTERRUPTED):
            self._refused, self.turn_id = self.turn_id, None
            self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel(reason="the suspended turn does not go on now")
            self._waiting = None
        if self._slot.suspended:
            self._slot.suspended = False
            self._slot.note_change()

    async def _wait(self, turn_id: TurnId, scope: trio.CancelScope, turns: trio.Nursery) -> None:
        preemptions = self._state.turns[turn_id].preemptions
        began_s = self._clock.now_s()
        stops = self._slot.may_yield, self._slot.yield_slot
        wish = Wish(self._waited_s, preemptions, *stops, insists=True)
        claim = self._allowance.slots.ask(self._allowance.standing, wish)
        begun = False
        try:
            with scope:
                await claim.until_granted()
            if scope is not self._waiting or self._slot.winding_down:
                return
            if self._slot.user_speaks:  # others may use the slot meanwhile
                self._held = True
                self._stop_waiting()
                return
            begun = True
            self.turn_id = self._waiting = None
            self._slot.suspended = False
            self._go_on(turn_id, claim, began_s, turns)
        finally:
            if not begun:
                self._waited_s = max(self._waited_s, claim.waited_s)
                claim.release()
