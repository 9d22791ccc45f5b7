"""What one user hears of a hand-written server: see peers/fastapi_server.py for its frames."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from attrs import define

from examples.bench.diary import Diary
from examples.bench.figures import Turn

TOKEN: Final = re.compile(rb'\{"type": ?"token", ?"turn": ?(\d+),.*\}')
"""A token as both peers write it."""

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode


@define(eq=False)
class PeerEar:
    """The reading side of one user, without the connection.

    A token that comes after `stopped` counts as a ghost.  There is no `flush`: the peers stop at
    once or not at all.  Nor is there a way back into a conversation.
    """

    diary: Diary

    def address(self, url: str) -> str | None:  # noqa: ARG002 - as every ear is asked
        """Return None: who is cut off starts anew."""
        return None

    def take(self, messages: Iterable[bytes], now_s: float) -> None:
        """Take in what the server sent, all of it at *now_s*."""
        for message in messages:
            token = TOKEN.fullmatch(message)
            if token is None:
                self._take(_decode(message), now_s)
            else:
                self.diary.token(token[1].decode(), 1, now_s, message)

    def _take(self, frame: dict[str, Any], now_s: float) -> None:
        diary = self.diary
        turn = diary.turns.get(str(frame.get("turn")))
        match frame:
            case {"type": "ready"}:
                diary.live.set()
            case {"type": "started", "id": str(command_id), "turn": number}:
                asked = diary.asked.pop(command_id, None)
                diary.begun(asked, str(number), now_s)
                if asked is not None and asked.cut is not None and not asked.cut.requested:
                    diary.missed(asked)  # or `stopped` would have come before
            case {"type": "stopped"} if turn is not None:
                turn.requested = True
                diary.acked(turn, turn.tokens, now_s)
                self._forget_interrupts(turn)
            case {"type": "done"} if turn is not None:
                diary.completed(turn, now_s)
            case {"type": "idle", "id": str(command_id)}:
                asked = diary.asked.pop(command_id, None)
                if asked is not None:
                    diary.missed(asked)
            case {"type": "error"}:
                diary.failed(turn, f"turn failed: {frame.get('message', '')[:80]}")
            case _:
                pass

    def _forget_interrupts(self, turn: Turn) -> None:
        asked = self.diary.asked
        for command_id in [id_ for id_, each in asked.items() if each.cut is turn]:
            if asked[command_id].turn is None:
                del asked[command_id]
