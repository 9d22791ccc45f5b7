"""The thinking loop's first half: which turn speaks next, and which has to stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, assert_never

import trio
from attrs import define, evolve, field
from msgspec import UNSET

from bargein.actors.allowance import Allowance
from bargein.actors.answers import Answer
from bargein.actors.budgets import budgets_of
from bargein.actors.clock import Clock
from bargein.actors.corrections import as_last_heard, spoken_before
from bargein.actors.keeper import TurnKeeper
from bargein.actors.limits import Limits
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import (
    Attended,
    CloseAsked,
    Deserted,
    FloorGiven,
    Foresee,
    OutputMessage,
    Perform,
    PipelineMessage,
    PlannerMessage,
    Record,
    StopAsked,
    UserSaid,
)
from bargein.actors.outcomes import stopped
from bargein.actors.phases import SLOT
from bargein.actors.slots import Claim, Wish
from bargein.actors.suspension import Suspension
from bargein.actors.turn import Ladder, Phases, ResponseSlot, Steer, Turn
from bargein.actors.utterances import refused_words
from bargein.actors.words import Words, opening_of, queued_event, reply_when_started, traceparent_in
from bargein.protocol.actions import INTERRUPTED
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    InputDropped,
    SessionClosed,
)
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import Seq, TurnId
from bargein.protocol.state import SessionState

MAILBOX: Final = 32


@define(eq=False)
class Planner:
    """Starts turns, one after the other; decides what an interrupt leaves behind.

    Words that interrupt go before words that wait.  Nothing is started while
    nobody is there to drive (`Deserted`), but what was acknowledged is kept.
    """

    _mailbox: Mailbox[PlannerMessage]
    _pipeline: Address[PipelineMessage]
    _output: Address[OutputMessage]
    _slot: ResponseSlot
    _state: SessionState
    _clock: Clock
    _limits: Callable[[], Limits]
    _wind_up: Callable[[], Awaitable[None]]
    _on_closed: Callable[[Seq], None]
    _allowance: Allowance
    _on_over: Callable[[TurnId], None]
    _next: list[Words] = field(factory=list[Words], init=False)
    _queue: list[Words] = field(factory=list[Words], init=False)
    _deserted: bool = field(default=True, init=False)
    _closing: Answer | None = field(default=None, init=False)
    _suspension: Suspension = field(init=False)

    def __attrs_post_init__(self) -> None:
        places = self._output, self._slot, self._state, self._clock
        self._suspension = Suspension(self._allowance, *places, self._go_on)

    async def run(self) -> None:
        """Run until the address is closed and the last turn is over."""
        self._take_up_queue()
        try:
            with self._mailbox:
                async with trio.open_nursery() as turns:
                    if self._state.suspended is not None:
                        self._suspension.begin(self._state.suspended, 0.0, turns)
                    while batch := await self._mailbox.take():
                        for message in batch:
                            self._obey(message, turns)
                        self._suspension.floor_given(turns)  # there may have been no room to say so
                    self._suspension.end()
        finally:
            del self._suspension  # it holds the planner, which would stay in memory with it
        self._pipeline.close()

    def _take_up_queue(self) -> None:
        # Words that were acknowledged before a restart or a hibernation.
        now_s = self._clock.now_s()
        for turn_id in self._state.queue:
            turn = self._state.turns[turn_id]
            words = Words(
                turn_id,
                turn.words,
                turn.command_id,
                now_s,
                recorded=True,
                continues=turn.continues,
                spoken=spoken_before(self._state, turn_id),
            )
            self._queue.append(words)

    def _obey(self, message: PlannerMessage, turns: trio.Nursery) -> None:
        match message:
            case UserSaid():
                self._hear(message, turns)
            case StopAsked():
                self._stop(message, turns)
            case Attended():
                self._deserted = False
                self._suspension.resume(turns)
                self._start_next(turns)
            case FloorGiven():
                self._start_next(turns)
            case Deserted():
                self._deserted = True
                self._suspension.pause()
            case CloseAsked(answer):
                self._close(answer, turns)
            case Foresee(words):
                if words is None or not (self._slot.turn or self._next or self._queue):
                    self._pipeline.offer(message)
            case _:
                assert_never(message)

    # --- words ------------------------------------------------------------------

    def _hear(self, said: UserSaid, turns: trio.Nursery) -> None:
        answer, say = said.answer, said.say
        if self._closing is not None or self._state.closed:
            answer.refuse(problem(ErrorCode.STALE, "The session is being closed."))
            return
        continues = None
        if say.resume is not None:
            continues = self._state.resume_tokens.get(say.resume)
            if continues is None:
                answer.refuse(problem(ErrorCode.NOT_FOUND, param="resume"))
                return
            if self._state.turns[continues].resumed:
                answer.refuse(problem(ErrorCode.STALE, param="resume"))
                return
        turn, suspended = self._slot.turn, self._suspension.turn_id
        # Words that have stopped a turn were taken when they did.
        if said.ladder is None:
            refusal = self._refusal(turn, suspended, spoken=said.spoken is not None)
            if refusal is not None:
                self._refuse(said, refusal)
                return
        steers = say.when_busy == "steer" and say.resume is None
        if turn is not None and steers and self._steer(turn, said):
            return
        busy = turn is not None or suspended is not None
        must_wait = busy and say.when_busy in ("queue", "steer")
        if busy and (
            say.when_busy == "reject" or self._is_full(self._queue if must_wait else self._next)
        ):
            self._refuse(said, problem(ErrorCode.BUSY))
            return
        text = say.text
        if not text.strip() and continues is not None:
            text = self._state.turns[continues].words
        words = Words(
            self._slot.next_id(),
            text,
            say.id,
            said.received_s,
            answer,
            continues=continues,
            traceparent=traceparent_in(say),
            spoken=said.spoken,
        )
        if must_wait:
            self._enqueue(words, answer)
        elif turn is not None:
            self._cut_in(words, said)
        else:
            cut = suspended if said.ladder is None else said.ladder.turn_id  # it may be over by now
            rolled_back = cut is not None and say.when_busy == "rollback"
            self._suspension.give_way()
            self._start(evolve(words, interrupted=cut, rolled_back=rolled_back), turns)

    def _refuse(self, said: UserSaid, trouble: Problem) -> None:
        said.answer.refuse(trouble)
        dropped = refused_words(said.spoken, trouble.code)
        if dropped is not None:
            self._output.offer(Record(None, (dropped,)))

    def _refusal(
        self, turn: Turn | None, suspended: TurnId | None, *, spoken: bool
    ) -> Problem | None:
        refusal = self._allowance.refusal(begins_turn=turn is None)
        # What was said aloud can't be sent again, and may have stopped an answer already.
        if refusal is None and turn is None and suspended is None and not spoken:
            refusal = self._allowance.slots.refusal(self._allowance.standing)
        return refusal

    def _steer(self, turn: Turn, said: UserSaid) -> bool:
        """Hand words to the running turn, if it has a boundary ahead that can take them in."""
        full = len(turn.steers) >= self._limits().queue_most
        if not turn.steerable or turn.interrupted or turn.closing or full:
            return False
        turn.steers.append(Steer(said.say.text, said.say.id, said.answer, said.received_s))
        return True

    def _requeue(self, steer: Steer) -> None:
        words = Words(self._slot.next_id(), steer.text, steer.command_id, steer.received_s)
        self._enqueue(words, steer.answer)

    def _is_full(self, waiting: list[Words]) -> bool:
        return len(waiting) >= self._limits().queue_most

    def _enqueue(self, words: Words, answer: Answer) -> None:
        result = {"turn_id": words.turn_id, "outcome": "queued", "interrupted": None}
        record = Record(
            words.turn_id,
            (queued_event(words),),
            lambda seq: answer.reply(result, seq),
        )
        if not self._output.offer(record):
            answer.refuse(problem(ErrorCode.OVERLOADED))
            return
        waiting = evolve(words, answer=None, recorded=True, traceparent=UNSET)
        self._queue.append(waiting)

    def _cut_in(self, words: Words, said: UserSaid) -> None:
        ladder = said.ladder or self._slot.interrupt(
            "user", "say", heard=said.say.heard, command_id=said.say.id
        )
        interrupted = ladder.turn_id if ladder is not None else None
        rolled_back = interrupted is not None and said.say.when_busy == "rollback"
        self._next.append(evolve(words, interrupted=interrupted, rolled_back=rolled_back))

    # --- turns ------------------------------------------------------------------

    def _go_on(self, turn_id: TurnId, claim: Claim, since_s: float, turns: trio.Nursery) -> None:
        """Begin the turn that goes on from one that was pre-empted."""
        words = self._state.turns[turn_id].words
        again = Words(self._slot.next_id(), words, None, since_s, recorded=True, continues=turn_id)
        self._start(again, turns, claim)

    def _claim(self, words: Words) -> Claim:
        before = self._state.turns.get(words.continues) if words.continues else None
        preemptions = 0 if before is None else before.preemptions
        wish = Wish(0.0, preemptions, self._slot.may_yield, self._slot.yield_slot)
        return self._allowance.slots.ask(self._allowance.standing, wish)

    def _start(self, words: Words, turns: trio.Nursery, claim: Claim | None = None) -> None:
        words = as_last_heard(words, self._state)
        waited = "queue" if words.recorded or words.interrupted else "input"
        waited = waited if claim is None else SLOT
        turn = Turn(words.turn_id, words.text, Phases(self._clock, words.received_s, waited))
        self._slot.take(turn)
        self._allowance.begin_turn()
        limits = self._limits()
        keeper = TurnKeeper(
            turn,
            self._output,
            self._pipeline,
            self._clock,
            limits.abandon_s,
            limits.playback_silence_s,
            self._requeue,
            lambda: budgets_of(self._state, limits.budgets),
        )
        opening = Record(turn.id, opening_of(words), reply_when_started(words))
        perform = Perform(turn, words.continues, claim or self._claim(words))
        turns.start_soon(self._see_through, keeper, opening, perform, turns, name=turn.id)

    async def _see_through(
        self, keeper: TurnKeeper, opening: Record, perform: Perform, turns: trio.Nursery
    ) -> None:
        try:
            await keeper.run(opening, perform)
        finally:
            perform.claim.release()
            self._allowance.end_turn()
        turn = perform.turn
        self._on_over(turn.id)
        if turn.ladder is not None and turn.ladder.by == "preempted":
            self._suspension.begin(turn.id, perform.claim.waited_s, turns)
        self._slot.release()
        if self._closing is not None:
            self._finish_closing(self._closing, turns)
        else:
            self._start_next(turns)

    def _start_next(self, turns: trio.Nursery) -> None:
        if self._slot.turn is not None or self._closing is not None:
            return
        if self._next:
            self._suspension.give_way()
            self._start(self._next.pop(0), turns)
            if self._next:  # those words cut in on these before they could begin
                self._slot.interrupt("user", "say")
        elif self._suspension.turn_id is not None:
            return  # it goes on first
        elif self._queue and not (self._deserted or self._slot.is_held):
            if self._allowance.refusal(begins_turn=False) is None:
                self._start(self._queue.pop(0), turns)
            else:
                self._drop_queue(ErrorCode.QUOTA_EXCEEDED.value)

    # --- ends -------------------------------------------------------------------

    def _stop(self, asked: StopAsked, turns: trio.Nursery) -> None:
        command = asked.interrupt
        ladder: Ladder | None = asked.ladder or self._slot.interrupt(
            "user",
            command.reason or "interrupt",
            only=command.turn_id,
            heard=command.heard,
            command_id=command.id,
        )
        suspended = self._suspension.turn_id
        if ladder is not None and ladder.by == "preempted":
            suspended = ladder.turn_id
        if suspended is None or (ladder is None and command.turn_id not in (None, suspended)):
            suspended = None
        elif not self._give_up(suspended, asked, ladder):
            asked.answer.refuse(problem(ErrorCode.OVERLOADED))
            return
        if (ladder or suspended) is not None and command.queue == "drop":
            self._give_up_steers()
            self._drop_queue(INTERRUPTED)
        if ladder is not None:
            ladder.answer(asked.answer)
        elif suspended is not None:
            self._start_next(turns)
        else:
            asked.answer.reply({"interrupted": False}, self._state.seq)

    def _give_up(self, turn_id: TurnId, asked: StopAsked, ladder: Ladder | None) -> bool:
        def written(seq: Seq) -> None:
            if ladder is None:
                asked.answer.reply(stopped(self._state.turns[turn_id]), seq)

        return self._suspension.refuse(turn_id, INTERRUPTED, asked.interrupt.id, written)

    def _give_up_steers(self) -> None:
        # Words that no boundary will take in any more: they are queued, and then dropped.
        turn = self._slot.turn
        if turn is not None and turn.interrupted:
            waiting, turn.steers = turn.steers, []
            for steer in waiting:
                self._requeue(steer)

    def _drop_queue(self, reason: str) -> None:
        kept: list[Words] = []
        for words in self._queue:
            dropped = InputDropped(words.command_id, reason)
            if not self._output.offer(Record(words.turn_id, (dropped,))):
                kept.append(words)  # what can't be written down isn't dropped
        self._queue = kept

    def _close(self, answer: Answer, turns: trio.Nursery) -> None:
        if self._closing is not None:
            answer.refuse(problem(ErrorCode.STALE, "The session is being closed."))
            return
        self._closing = answer
        if self._slot.turn is None:
            self._finish_closing(answer, turns)
        else:
            self._slot.interrupt("user", "close")

    def _finish_closing(self, answer: Answer, turns: trio.Nursery) -> None:
        for words in self._next:
            if words.answer is not None:
                words.answer.refuse(problem(ErrorCode.STALE, "The session is being closed."))
        self._next.clear()
        self._suspension.end()

        def closed(seq: Seq) -> None:
            answer.reply({}, seq)
            self._on_closed(seq)

        records = [
            Record(words.turn_id, (InputDropped(words.command_id, "closed"),))
            for words in self._queue
        ]
        self._queue.clear()
        records.append(Record(None, (SessionClosed("closed by the user"),), closed))
        turns.start_soon(self._end_for_good, records)

    async def _end_for_good(self, records: Sequence[Record]) -> None:
        await self._wind_up()
        for record in records:
            await self._output.tell(record)
