"""Planted bugs: a simulator proves nothing before it has found some."""

# A bug is planted where the product is soft: inside.
# pyright: reportPrivateUsage=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bargein.actors import context, revival
from bargein.actors.answers import Answers
from bargein.actors.audience import Audience
from bargein.actors.clock import Clock, Timestamps
from bargein.actors.input import Input
from bargein.actors.keeper import Descent
from bargein.actors.messages import Spoken
from bargein.actors.output import Output
from bargein.actors.planner import Planner
from bargein.actors.session import Session
from bargein.actors.suspension import Suspension
from bargein.actors.turn import Ladder
from bargein.gateway.attached import AttachedClient
from bargein.gateway.cursor import Cursor
from bargein.protocol.events import ModelToken
from bargein.protocol.ids import Seq
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState
from bargein.timeline.log import Timeline
from tests.simulation.acting_mutants import ACTING_MUTANTS
from tests.simulation.planted import Mutant, Patch

# --- the bugs -----------------------------------------------------------------------------


def _ghost() -> Sequence[Patch]:
    def speak(self: Output, spoken: Spoken, texts: list[str], deltas: int) -> None:
        if text := "".join(texts):
            self._scribe.write(spoken.turn.id, ModelToken(text, deltas))

    return [(Output, "_speak", speak)]


def _leak() -> Sequence[Patch]:
    run = Descent.run

    async def hasty(self: Descent) -> None:
        self._abandon_s = 0.0
        await run(self)

    def speak(self: Output, spoken: Spoken, texts: list[str], deltas: int) -> None:
        turn = self._scribe.state.turns[spoken.turn.id]
        if (not spoken.turn.interrupted or turn.over) and (text := "".join(texts)):
            self._scribe.write(spoken.turn.id, ModelToken(text, deltas))

    return [(Descent, "run", hasty), (Output, "_speak", speak)]


def _early() -> Sequence[Patch]:
    append = Timeline.append

    def visible_at_once(self: Timeline, frames: Sequence[bytes], **options: Any) -> None:
        append(self, frames, **options)
        self._became_durable(self.head)

    return [(Timeline, "append", visible_at_once)]


def _two_ladders() -> Sequence[Patch]:
    run, finish = Descent.run, Ladder.finish
    asked_twice: set[int] = set()

    def counting(self: Ladder, ack_seq: Any) -> None:
        if len(self._answers) > 1:
            asked_twice.add(id(self))
        finish(self, ack_seq)

    async def descend(self: Descent) -> None:
        await run(self)
        if id(self._ladder) in asked_twice:
            asked_twice.discard(id(self._ladder))
            await run(self)

    return [(Ladder, "finish", counting), (Descent, "run", descend)]


def _one_reply_for_two() -> Sequence[Patch]:
    answer_with = Ladder.answer

    def only_the_first(self: Ladder, answer: Any) -> None:
        if not self._answers:
            answer_with(self, answer)

    return [(Ladder, "answer", only_the_first)]


def _seam() -> Sequence[Patch]:
    do_what_is_due = Cursor._do_what_is_due

    def skipping(self: Cursor) -> None:
        replaying = self._live_at is not None
        do_what_is_due(self)
        if replaying and self._live_at is None and self.seq < self._timeline.durable:
            self.seq = Seq(self.seq + 1)

    return [(Cursor, "_do_what_is_due", skipping)]


def _no_memory() -> Sequence[Patch]:
    def nothing(*_: Any) -> None:
        return None

    def never(*_: Any) -> bool:
        return False

    return [
        (Answers, "find", nothing),
        (Input, "_answer_before_restart", nothing),
        (Session, "_was_sent_before", never),
    ]


def _forgetful() -> Sequence[Patch]:
    def nothing(*_: object) -> list[Any]:
        return []

    return [(revival, "closing_events", nothing)]


def _beyond() -> Sequence[Patch]:
    def all_of_it(self: Audience) -> int:
        return self._timeline.head

    return [(Audience, "delivered_seq", property(all_of_it))]


def _hasty_reply() -> Sequence[Patch]:
    def at_once(self: AttachedClient, seq: int, frame: bytes) -> None:
        del seq
        self.show(frame)

    return [(AttachedClient, "show_at", at_once)]


def _tell_all() -> Sequence[Patch]:
    def whole(turn: TurnState) -> str:
        return turn.text

    return [(context, "_answer_of", whole)]


def _slow() -> Sequence[Patch]:
    run = Descent.run

    async def patient(self: Descent) -> None:
        self._abandon_s = 2.0
        await run(self)

    return [(Descent, "run", patient)]


def _lost_queue() -> Sequence[Patch]:
    def nothing(_: Planner) -> None:
        return None

    return [(Planner, "_take_up_queue", nothing)]


def _clock_back() -> Sequence[Patch]:
    def anew(cls: type[Timestamps], clock: Clock, last: str) -> Timestamps:
        del last
        return cls(clock)

    return [(Timestamps, "after", classmethod(anew))]


def _put_off_for_good() -> Sequence[Patch]:
    def begin(self: Suspension, *_: Any) -> None:
        self.turn_id = None

    return [(Suspension, "begin", begin)]


def _given_up_in_vain() -> Sequence[Patch]:
    def refuse(self: Suspension, *_: Any) -> bool:
        del self
        return True

    return [(Suspension, "refuse", refuse)]


def _said_anyway() -> Sequence[Patch]:
    def all_heard(turn: TurnState) -> str:
        return turn.text if turn.heard is None else turn.heard

    return [(TurnState, "said", property(all_heard))]


def _unsaid_though_shown() -> Sequence[Patch]:
    closing_events = revival.closing_events

    def by_the_last_setting(state: SessionState, *why: Any) -> list[Any]:
        began = {turn_id: turn.voiced for turn_id, turn in state.turns.items()}
        for turn in state.turns.values():
            turn.voiced = state.config.get("voice") is True
        closing = closing_events(state, *why)
        for turn_id, voiced in began.items():
            state.turns[turn_id].voiced = voiced
        return closing

    return [(revival, "closing_events", by_the_last_setting)]


MUTANTS: Final = (
    Mutant("ghost", "I13: tokens after cancel.requested", _ghost),
    Mutant("leak", "I13: the ack doesn't wait, and the gate opens behind it", _leak),
    Mutant("early", "I2: visible before it is durable", _early),
    Mutant("two_ladders", "I14: two interrupts, two ladders", _two_ladders),
    Mutant("one_reply", "I14: the second interrupt has no reply", _one_reply_for_two),
    Mutant("seam", "I29: a gap between replay and live", _seam),
    Mutant("no_memory", "I32: a command sent again acts again", _no_memory),
    Mutant("forgetful", "I12: recovery leaves a turn open", _forgetful, needs_cut=True),
    Mutant("beyond", "I17: heard before it was delivered", _beyond),
    Mutant("hasty_reply", "I33: acknowledged before it is stored", _hasty_reply),
    Mutant("tell_all", "I17: the model is told what nobody heard", _tell_all),
    Mutant("slow", "I16: the ack waits for a model that ignores cancels", _slow),
    Mutant("lost_queue", "I33: acknowledged words are forgotten", _lost_queue, needs_cut=True),
    Mutant("clock_back", "I8: ts runs backwards with the wall clock", _clock_back, needs_cut=True),
    Mutant("put_off_for_good", "a pre-empted turn does not go on", _put_off_for_good),
    Mutant("given_up_in_vain", "other words, and it goes on all the same", _given_up_in_vain),
    Mutant("said_anyway", "I18: the model is told what its voice left unsaid", _said_anyway),
    Mutant(
        "unsaid_though_shown",
        "I18: a restart takes what was shown for unsaid",
        _unsaid_though_shown,
        needs_cut=True,
    ),
    *ACTING_MUTANTS,
)
