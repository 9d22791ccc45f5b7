"""How long one call of a model may take, and which silence was too long."""

from __future__ import annotations

import trio
from attrs import define, frozen

from bargein.models.client import ModelTimeout, TimeoutPhase


@frozen
class Deadlines:
    """How long to wait for the vendor, in seconds.

    Attributes:
        connect_s: For a connection (and as long again for its TLS handshake).
        first_token_s: From the call to the first piece of the answer.
        gap_s: From one sign of life to the next.
        whole_s: From the call to the end of the answer.
    """

    connect_s: float = 5.0
    first_token_s: float = 30.0
    gap_s: float = 20.0
    whole_s: float = 600.0


@define(eq=False)
class Patience:
    """The deadlines of one call, on trio's clock.

    A sign of life moves no deadline, because there are thousands a second: who waits finds out
    at the old one that there is a new one.  Where a cancelled wait can't go on, each moves it.

    Attributes:
        waiting_since_s: When the vendor last gave a sign of life; at first, when it was called.
        generating: The first piece of content has come.
        in_room: We wait for our own listener.
        scope: Of who waits now; it gets the deadline where that comes nearer.
        moves: Each sign of life moves the deadline of who waits.
    """

    deadlines: Deadlines
    began_at_s: float
    waiting_since_s: float
    generating: bool = False
    in_room: bool = False
    scope: trio.CancelScope | None = None
    moves: bool = False

    @classmethod
    def starting_now(cls, deadlines: Deadlines) -> Patience:
        """Return the patience for a call that begins now."""
        now_s = trio.current_time()
        return cls(deadlines, now_s, now_s)

    @property
    def deadline_s(self) -> float:
        """When patience ends, as things are."""
        limits = self.deadlines
        patience_s = limits.gap_s if self.generating else limits.first_token_s
        return min(self.waiting_since_s + patience_s, self.began_at_s + limits.whole_s)

    def sign_of_life(self, *, generating: bool) -> None:
        """Note that something came."""
        if not generating:
            return  # pings don't put off the first token
        self.waiting_since_s = trio.current_time()
        first, self.generating = not self.generating, True
        # A gap may be shorter than what is left for the first token.
        if self.scope is not None and (first or self.moves):
            self.scope.deadline = self.deadline_s

    def ended(self, *, began: bool) -> ModelTimeout | None:
        """Return what took too long; None if nothing did but our own listener, without room."""
        limits = self.deadlines
        phase: TimeoutPhase
        now_s = trio.current_time()
        if now_s >= self.began_at_s + limits.whole_s:
            phase, limit_s = "whole", limits.whole_s
        elif self.in_room:
            self.waiting_since_s = now_s  # the vendor's silence begins now
            return None
        elif now_s < self.deadline_s:
            return None
        elif self.generating:
            phase, limit_s = "gap", limits.gap_s
        else:
            phase, limit_s = "first_token", limits.first_token_s
        return ModelTimeout(phase, limit_s, began=began)
