"""The output loop: the one writer of the session's timeline.

What reaches it from a turn that was interrupted is dropped here, at the gate,
so that no token follows `cancel.requested`, whoever still sends one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from attrs import define

from bargein.actors.allowance import Allowance
from bargein.actors.mailbox import Mailbox
from bargein.actors.messages import Draft, Noted, OutputMessage, Record, Spoken
from bargein.actors.scribe import Scribe
from bargein.protocol.events import ModelEnd, ModelToken
from bargein.protocol.ids import TurnId
from bargein.protocol.ladder import may_follow_cancel

MAILBOX: Final = 64
"""A scheduler pass of the busiest session, and some room."""


@define(eq=False)
class Output:
    """Writes events in the order in which they come; neighbouring text is joined."""

    _mailbox: Mailbox[OutputMessage]
    _scribe: Scribe
    _allowance: Allowance

    async def run(self) -> None:
        """Write until the address is closed and all is written.

        Raises:
            StoreError: If the store failed; the session ends.
        """
        with self._mailbox:
            while batch := await self._mailbox.take(MAILBOX):
                self._write_all(batch)
                self._scribe.commit()
                await self._scribe.timeline.room()

    def _write_all(self, batch: Sequence[OutputMessage]) -> None:
        # Text that waits together travels as one event: it is joined here, and
        # written when anything else of the session comes, or the batch ends.
        spoken: Spoken | None = None
        texts: list[str] = []
        deltas = 0
        for message in batch:
            if isinstance(message, Spoken):
                if spoken is not None and spoken.turn is not message.turn:
                    self._speak(spoken, texts, deltas)
                    texts, deltas = [], 0
                spoken = message
                texts.append(message.text)
                deltas += message.deltas
                continue
            if spoken is not None:
                self._speak(spoken, texts, deltas)
                spoken, texts, deltas = None, [], 0
            self._write(message)
        if spoken is not None:
            self._speak(spoken, texts, deltas)

    def _speak(self, spoken: Spoken, texts: list[str], deltas: int) -> None:
        if not spoken.turn.interrupted and (text := "".join(texts)):
            self._scribe.write(spoken.turn.id, ModelToken(text, deltas))

    def _write(self, message: Noted | Record) -> None:
        match message:
            case Noted(turn, drafts, then):
                if turn.interrupted:
                    return
                self._write_drafts(turn.id, drafts)
            case Record(turn_id, drafts, then):
                self._write_drafts(turn_id, drafts)
            case _:
                assert_never(message)
        if then is not None:
            then(self._scribe.head)

    def _write_drafts(self, turn_id: TurnId | None, drafts: tuple[Draft, ...]) -> None:
        for draft in drafts:
            payload = draft(self._scribe.state) if callable(draft) else draft
            if payload is None or self._is_shut(turn_id, payload.type):
                continue
            self._scribe.write(turn_id, payload)
            if isinstance(payload, ModelEnd):
                self._allowance.spend(payload.usage.input_tokens + payload.usage.output_tokens)

    def _is_shut(self, turn_id: TurnId | None, name: str) -> bool:
        if turn_id is None:
            # Who came or went while the end was being written is not told of any more.
            return self._scribe.state.closed
        turn = self._scribe.state.turns.get(turn_id)
        return turn is not None and turn.cancelled and not may_follow_cancel(name)
