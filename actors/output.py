"""The output loop: the one writer of the session's timeline.

What reaches it from a turn that was interrupted is dropped here, at the gate,
so that no token follows `cancel.requested`, whoever still sends one.

Nothing takes a task switch: while the loop waits, whoever has something for it does its
work with that, on its behalf and without a wait.  And text waits, as Nagle has it: an
answer that has begun goes on with an event when the store has all before it, or something
else comes, or enough of it has gathered.  At a person's pace nothing ever waits; a model
without delays, or a server beyond its means, has its tokens joined here before they cost
anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, assert_never

from attrs import define, field

from bargein.actors.allowance import Allowance
from bargein.actors.counters import GATE_DROPPED
from bargein.actors.first_words import FirstWords
from bargein.actors.mailbox import Mailbox
from bargein.actors.messages import Draft, Noted, OutputMessage, Record, Spoken
from bargein.actors.scribe import Scribe
from bargein.models.message_stream import PIECE_LIMIT_CHARS
from bargein.protocol.events import ModelEnd
from bargein.protocol.ids import Seq, TurnId
from bargein.protocol.ladder import may_follow_cancel

MAILBOX: Final = 64
"""A scheduler pass of the busiest session, and some room."""

MOST_HELD: Final = 64
"""Pieces of text that wait for the store before they go on without; they also do before they
are longer together than one may be, or they would be an event that no client takes."""


@define(eq=False)
class Output:
    """Writes events in the order in which they come; neighbouring text is joined."""

    _mailbox: Mailbox[OutputMessage]
    _scribe: Scribe
    _allowance: Allowance
    _held: Spoken | None = field(default=None, init=False)
    _texts: list[str] = field(factory=list[str], init=False)
    _chars: int = field(default=0, init=False)
    _deltas: int = field(default=0, init=False)

    async def run(self) -> None:
        """Write until the address is closed and all is written.

        Raises:
            StoreError: If the store failed; the session ends.
        """
        timeline = self._scribe.timeline
        self._mailbox.when_idle(self._take)
        timeline.on_settled = self._settled
        with self._mailbox:
            try:
                while batch := await self._mailbox.take(MAILBOX):
                    self._write_all(batch)
                    await timeline.room()
            finally:
                timeline.on_settled = None
            self._let_go()
            self._scribe.commit()

    def _take(self, message: OutputMessage, told: bool) -> bool:  # noqa: FBT001
        # Commands are offered: those of a flood are refused when the mailbox is full of them.
        scribe = self._scribe
        timeline = scribe.timeline
        is_text = isinstance(message, Spoken)
        if not ((told or is_text) and timeline.has_room):
            return False
        if is_text and self._held is None and scribe.head == timeline.durable:
            self._speak(message, message.text, message.deltas)  # as mostly: there is no wait
            scribe.commit()
        else:
            self._write_all((message,))
        return True

    def _settled(self) -> None:
        if self._held is not None:
            self._mailbox.on_behalf(partial(self._write_all, ()))

    def _write_all(self, batch: Sequence[OutputMessage]) -> None:
        for message in batch:
            if isinstance(message, Spoken):
                self._hold(message)
            else:
                self._let_go()
                self._write(message)
        if not self._may_wait():
            self._let_go()
        self._scribe.commit()

    def _hold(self, spoken: Spoken) -> None:
        is_other = self._held is not None and self._held.turn is not spoken.turn
        if is_other or self._chars + len(spoken.text) > PIECE_LIMIT_CHARS:
            self._let_go()
        self._held = spoken
        self._texts.append(spoken.text)
        self._chars += len(spoken.text)
        self._deltas += spoken.deltas

    def _may_wait(self) -> bool:
        if self._held is None or len(self._texts) >= MOST_HELD:
            return False
        turn = self._scribe.state.turns.get(self._held.turn.id)
        has_begun = turn is not None and turn.chars > 0
        return has_begun and self._scribe.head > self._scribe.timeline.durable

    def _let_go(self) -> None:
        if self._held is not None:
            self._speak(self._held, "".join(self._texts), self._deltas)
            self._held, self._texts, self._chars, self._deltas = None, [], 0, 0

    def _speak(self, spoken: Spoken, text: str, deltas: int) -> None:
        if spoken.turn.interrupted:
            GATE_DROPPED.inc(deltas)
        elif text:
            seq = self._write_text(spoken.turn.id, text, deltas)
            if not spoken.turn.written:
                spoken.turn.written = True
                timeline = self._scribe.timeline
                timeline.follow(FirstWords(spoken.turn, timeline, seq))

    def _write_text(self, turn_id: TurnId, text: str, deltas: int) -> Seq:
        """Write *text*, cut where it is longer than one piece; return the seq of its first words.

        What was joined while there was no room here may be.
        """
        seq = self._scribe.write_words(turn_id, text[:PIECE_LIMIT_CHARS], deltas)
        for at in range(PIECE_LIMIT_CHARS, len(text), PIECE_LIMIT_CHARS):
            self._scribe.write_words(turn_id, text[at : at + PIECE_LIMIT_CHARS], 0)
        return seq

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
