"""What one user hears: which turn it belongs to, in which order, and how long it took."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
import trio
from attrs import define, field, frozen

from examples.bench.figures import Tally

TOKEN: Final = re.compile(
    rb'\{"session_id":"[^"]*",(?:"first_seq":(\d+),)?"seq":(\d+),"event_id":"[^"]*","ts":"[^"]*",'
    rb'"type":"model\.token","turn_id":"([^"]*)".*"n":(\d+)\}\}'
)
"""A token as the server writes it; one in another order of keys is decoded as any frame is."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


@define(eq=False)
class Turn:
    """A turn as the user sees it.

    Attributes:
        asked_s: When its `say` was sent, on trio's clock.
        barged_in: Its `say` interrupted another turn.
        id: The server's, once its words are on the timeline.
        cut_s: When the user cut in on it; None while nobody did.
        requested: Its `cancel.requested` is here: no token may follow.
        over: Its last event is here.
    """

    asked_s: float
    barged_in: bool
    id: str | None = None
    cut_s: float | None = None
    flushed: bool = False
    requested: bool = False
    last_token_s: float | None = None
    over: trio.Event = field(factory=trio.Event, init=False)


@frozen(eq=False)
class Asked:
    """A command that was sent: the turn that it asks for, and the one that it cuts in on."""

    turn: Turn | None
    cut: Turn | None


@define(eq=False)
class Ear:
    """The reading side of one user, without the connection.

    Attributes:
        live: Set when the session is open, or will never be.
        turns: By their ids, once they have one.
        asked: Commands that were sent, by their ids.
    """

    _tally: Callable[[], Tally]
    live: trio.Event = field(factory=trio.Event, init=False)
    turns: dict[str, Turn] = field(factory=dict[str, Turn], init=False)
    asked: dict[str, Asked] = field(factory=dict[str, Asked], init=False)
    _seq: int = field(default=0, init=False)

    def take(self, messages: Iterable[bytes], now_s: float) -> None:
        """Take in what the server sent, all of it at *now_s*."""
        for message in messages:
            token = TOKEN.fullmatch(message)
            if token is None:
                self._take(_decode(message), now_s)
            else:
                first, seq, turn_id, deltas = token.groups()
                self._follow(int(first or seq), int(seq))
                self._hear(turn_id.decode(), int(deltas), now_s)

    def _follow(self, first: int, last: int) -> None:
        if first != self._seq + 1:
            self._tally().seq_gaps += 1
        self._seq = last

    def _hear(self, turn_id: str, deltas: int, now_s: float) -> None:
        tally = self._tally()
        tally.tokens += deltas
        tally.token_frames += 1
        turn = self.turns.get(turn_id)
        if turn is None:
            return
        if turn.requested:
            tally.ghosts += deltas
        elif turn.flushed:
            tally.late += deltas
        if turn.last_token_s is None:
            first = tally.barge_in if turn.barged_in else tally.first_token
            first.append(now_s - turn.asked_s)
        else:
            tally.gap.append(now_s - turn.last_token_s)
        turn.last_token_s = now_s

    def _take(self, frame: dict[str, Any], now_s: float) -> None:
        if "event_id" in frame:
            self._follow(frame.get("first_seq", frame["seq"]), frame["seq"])
            self._take_event(frame, now_s)
            return
        match frame:
            case {"type": "live"}:
                self.live.set()
            case {"type": "flush", "turn_id": str(turn_id)}:
                turn = self.turns.get(turn_id)
                if turn is not None and turn.cut_s is not None and not turn.flushed:
                    turn.flushed = True
                    self._tally().flush.append(now_s - turn.cut_s)
            case {"type": "reply", "command_id": str(command_id), "result": result}:
                self._answered(self.asked.pop(command_id, None), result, now_s)
            case {"type": "error", "error": {"code": code}}:
                self._refused(frame.get("command_id"), code)
            case _:
                pass

    def _take_event(self, event: dict[str, Any], now_s: float) -> None:
        payload = event["payload"]
        turn = self.turns.get(event["turn_id"])
        match event["type"]:
            case "input.text":
                asked = self.asked.get(payload.get("command_id") or "")
                if asked is not None and asked.turn is not None:
                    asked.turn.id = event["turn_id"]
                    self.turns[event["turn_id"]] = asked.turn
                    self._tally().turns += 1
            case "model.token":
                self._hear(event["turn_id"], payload["n"], now_s)
            case "cancel.requested" if turn is not None:
                turn.requested = True
            case "cancel.ack" if turn is not None:
                if turn.cut_s is not None:
                    self._tally().interrupts += 1
                    self._tally().ack.append(now_s - turn.cut_s)
                turn.over.set()
            case "turn.trace" if turn is not None and not turn.requested:
                self._tally().completed += 1
                turn.over.set()
            case "error":
                self._tally().errors[f"turn failed with {payload['code']}"] += 1
            case _:
                pass

    def _answered(self, asked: Asked | None, result: dict[str, Any], now_s: float) -> None:
        if asked is None or asked.cut is None or asked.cut.cut_s is None:
            return
        if result.get("interrupted"):
            self._tally().reply.append(now_s - asked.cut.cut_s)
            return
        # The turn had ended by itself when the user cut in.
        self._tally().missed += 1
        if asked.turn is not None:
            asked.turn.barged_in = False

    def _refused(self, command_id: str | None, code: str) -> None:
        self._tally().errors[f"refused with {code}"] += 1
        asked = self.asked.pop(command_id, None) if command_id is not None else None
        if asked is not None and asked.turn is not None:
            asked.turn.over.set()
