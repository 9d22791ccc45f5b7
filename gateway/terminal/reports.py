"""Tells the server what was received, and what was really printed of an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from attrs import define, field

from bargein.gateway.terminal.link import command_text
from bargein.protocol.ids import Seq, TurnId

EVERY_S: Final = 0.25
"""Far less than the server takes from one connection; a person reads ten letters in that time."""


@define(eq=False)
class Reports:
    """Counts what was printed, so that after an interrupt the model knows what the user had.

    Reports are not more frequent than every `EVERY_S`; only the latest counts, so none is kept.
    An `ack` goes before each: where a client acks, no more than that counts as delivered.
    """

    _send: Callable[[str], bool]
    drives: bool = True
    _turn_id: TurnId | None = field(default=None, init=False)
    _chars: int = field(default=0, init=False)
    _over: TurnId | None = field(default=None, init=False)
    _reported: int | None = field(default=None, init=False)
    _received: Seq = field(default=Seq(0), init=False)
    _acked: Seq = field(default=Seq(0), init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    def received(self, seq: Seq) -> None:
        """Note that everything up to *seq* has come."""
        self._received = seq
        self._news.set()

    def printed(self, turn_id: TurnId, chars: int) -> None:
        """Note that *chars* code points of a turn's text have been printed."""
        if turn_id == self._over:
            return
        if turn_id != self._turn_id:
            self._turn_id, self._reported = turn_id, None
        self._chars = chars
        self._news.set()

    def heard_of(self, turn_id: TurnId | None) -> dict[str, Any] | None:
        """Return what to say of a turn in the command that interrupts it."""
        if turn_id is None or turn_id != self._turn_id or not self.drives:
            return None
        return {"chars": self._chars}

    def over(self, turn_id: TurnId) -> None:
        """Note that no report of this turn is taken any more."""
        self._over = turn_id
        if turn_id == self._turn_id:
            self._turn_id = self._reported = None

    def again(self, open_turn: TurnId | None) -> None:
        """Say it again on a new connection, where it still counts."""
        self._acked = Seq(0)
        self._reported = None
        if open_turn != self._turn_id:
            self._turn_id = None
        self._news.set()

    def now(self) -> None:
        """Say what is new."""
        if self._received > self._acked:
            if not self._send(command_text({"type": "ack", "seq": self._received})):
                return
            self._acked = self._received
        turn_id, chars = self._turn_id, self._chars
        if turn_id is None or chars == self._reported or not self.drives:
            return
        report = {"type": "playback.progress", "turn_id": turn_id, "chars": chars}
        if self._send(command_text(report)):
            self._reported = chars

    async def run(self) -> None:
        """Say what is new from time to time, for ever."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            self.now()
            await trio.sleep(EVERY_S)
