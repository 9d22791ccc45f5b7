"""What one user hears of bargein: of which turn it is, in which order, and how long it took."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from attrs import define, field

from examples.bench.diary import Diary, Proposal

TOKEN: Final = re.compile(
    rb'\{"session_id":"[^"]*",(?:"first_seq":(\d+),)?"seq":(\d+),"event_id":"[^"]*","ts":"[^"]*",'
    rb'"type":"model\.token","turn_id":"([^"]*)".*"n":(\d+)\}\}'
)
"""A token as the server writes it; one in another order of keys is decoded as any frame is."""

SETTLED: Final = frozenset({"stale", "expired", "not_found"})
"""What a decision is answered with that came too late: nobody's fault."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


@define(eq=False)
class BargeinEar:
    """The reading side of one user, without the connection.

    Attributes:
        session_id: Of the session, once `hello` named it.
    """

    diary: Diary
    session_id: str | None = field(default=None, init=False)
    _epoch: Any = field(default=None, init=False)
    _seq: int = field(default=0, init=False)

    @property
    def seq(self) -> int:
        """The last event that was heard."""
        return self._seq

    def address(self, url: str, missed: int = 0) -> str | None:
        """Return where to come back to: the same session, after what was heard.

        With *missed*, as if the last so many events had not been heard.
        """
        if self.session_id is None:
            return None
        base, _, query = url.partition("?")
        more = f"&{query}" if query else ""
        return f"{base}/{self.session_id}?after={self._seq - missed}&epoch={self._epoch}{more}"

    def take(self, messages: Iterable[bytes], now_s: float) -> None:
        """Take in what the server sent, all of it at *now_s*."""
        for message in messages:
            token = TOKEN.fullmatch(message)
            if token is None:
                self._take(_decode(message), now_s)
            else:
                first, seq, turn_id, deltas = token.groups()
                self._follow(int(first or seq), int(seq))
                self.diary.token(turn_id.decode(), int(deltas), now_s, message)

    def _follow(self, first: int, last: int) -> None:
        if first != self._seq + 1:
            self.diary.tally().seq_gaps += 1
        self._seq = last

    def _take(self, frame: dict[str, Any], now_s: float) -> None:
        if "event_id" in frame:
            self._follow(frame.get("first_seq", frame["seq"]), frame["seq"])
            self._take_event(frame, now_s)
            return
        match frame:
            case {"type": "hello"}:
                self._greeted(frame)
            case {"type": "live"}:
                self.diary.live.set()
            case {"type": "flush", "turn_id": str(turn_id)}:
                self.diary.flushed(turn_id, now_s)
            case {"type": "reply", "command_id": str(command_id), "result": result}:
                self._answered(command_id, result, now_s)
            case {"type": "error", "error": {"code": code}}:
                self._refused(frame.get("command_id"), code)
            case {"type": "lagging"}:
                self.diary.tally().laggings += 1
            case _:
                pass

    def _greeted(self, hello: dict[str, Any]) -> None:
        if self.session_id is not None and not hello["resumed"]:
            self.diary.tally().errors["a resume that was none"] += 1
            self._seq = 0
        self.session_id, self._epoch = hello["session_id"], hello["epoch"]

    def _take_event(self, event: dict[str, Any], now_s: float) -> None:
        diary, payload = self.diary, event["payload"]
        turn = diary.turns.get(event["turn_id"])
        match event["type"]:
            case "input.text":
                asked = diary.asked.get(payload.get("command_id") or "")
                diary.begun(asked, event["turn_id"], now_s)
            case "input.dropped":
                asked = diary.asked.get(payload.get("command_id") or "")
                if asked is not None and asked.turn is not None:
                    asked.turn.over.set()
            case "model.start" if turn is not None:
                turn.agent = payload.get("agent") or ""
            case "model.token":
                diary.token(event["turn_id"], payload["n"], now_s, payload["text"].encode())
            case "cancel.requested" if turn is not None:
                turn.requested = True
            case "cancel.ack" if turn is not None:
                diary.acked(turn, payload.get("tokens", {}).get("generated", 0), now_s)
            case "turn.trace" if turn is not None and not turn.requested:
                diary.completed(turn, now_s)
            case "error":
                diary.failed(turn, f"turn failed with {payload['code']}")
            case kind if kind.startswith("action."):
                self._acted(kind, payload, now_s)
            case _:
                pass

    def _acted(self, kind: str, payload: dict[str, Any], now_s: float) -> None:
        self.diary.tally().actions[kind] += 1
        action_id = payload.get("action_id", "")
        match kind:
            case "action.proposed":
                self.diary.proposed(Proposal(action_id, payload["confirmation_id"]))
            case "action.confirmed":
                self.diary.allowed.setdefault(action_id, now_s)
            case "action.committed":
                self.diary.happened(action_id, now_s)
            case _:
                pass

    def _answered(self, command_id: str, result: dict[str, Any], now_s: float) -> None:
        asked = self.diary.asked.pop(command_id, None)
        if asked is None or asked.cut is None or asked.cut.cut is None:
            return
        hit = result.get("interrupted")
        if asked.turn is None and hit:
            hit = result.get("turn_id", asked.cut.id)
        if not hit or hit != asked.cut.id:
            # That turn had ended, or not begun: what is hit then is the one that is being stopped.
            self.diary.missed(asked)
        elif self.diary.timed:
            self.diary.tally().reply.append(now_s - asked.cut.cut.at_s)

    def _refused(self, command_id: str | None, code: str) -> None:
        tally = self.diary.tally()
        asked = self.diary.asked.pop(command_id, None) if command_id is not None else None
        if code == "rate_limited" or (code == "busy" and asked is not None and asked.hasty):
            tally.limited += 1
        elif asked is not None and asked.turn is None and asked.cut is None and code in SETTLED:
            tally.actions["decided too late"] += 1
        else:
            tally.errors[f"refused with {code}"] += 1
        if asked is None:
            return
        if asked.turn is not None:
            asked.turn.over.set()
        if asked.cut is not None and asked.cut.cut is not None and not asked.cut.requested:
            self.diary.missed(asked)
