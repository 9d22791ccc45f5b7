"""Sees one turn through: its first events, its end, or the ladder that ends it early."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import trio
from attrs import define, evolve

from bargein.actors.budgets import given_in, overrun_of_cancelled, overruns_of_turn
from bargein.actors.clock import Clock
from bargein.actors.mailbox import Address
from bargein.actors.messages import Draft, OutputMessage, Perform, PipelineMessage, Record
from bargein.actors.phases import ACK, UNWIND
from bargein.actors.turn import Ladder, ModelCall, Steer, Turn
from bargein.protocol.actions import (
    COMMITTING,
    INTERRUPTED,
    UNDECIDED,
    UNSETTLED,
    ActionState,
)
from bargein.protocol.commands import Budgets
from bargein.protocol.events import (
    ActionRejected,
    CancelAck,
    CancelRequested,
    CancelStage,
    InFlight,
    ModelEnd,
    Payload,
    PlaybackStop,
    ResponseEnd,
    StageOutcome,
    TokenCount,
    ToolResult,
    TurnTrace,
    Usage,
)
from bargein.protocol.ids import CallId, Seq
from bargein.protocol.ladder import MODEL, TRANSCRIPT, tool_target
from bargein.protocol.recovery import call_outcome, call_result
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState

RECORD_LIMIT_S: Final = 60.0
"""How long the last words of a turn may wait for the output loop: a store that
hangs so long has failed the session already."""

PLAYBACK_START_S: Final = 2.0
"""From the end of a spoken answer's text to its first sound, where the client says when that is."""


@define(eq=False)
class TurnKeeper:
    """Lives as long as its turn, outside the turn's scope: an interrupt never hits it.

    Attributes:
        _abandon_s: How long the ladder waits for the work to unwind.
        _playback_silence_s: How long a client that plays may say nothing.
        _requeue: Takes words that the turn did not take in.
        _budgets: How long it should take, as the session says now.
    """

    _turn: Turn
    _output: Address[OutputMessage]
    _pipeline: Address[PipelineMessage]
    _clock: Clock
    _abandon_s: float
    _playback_silence_s: float
    _requeue: Callable[[Steer], None]
    _budgets: Callable[[], Budgets] = Budgets

    async def run(self, opening: Record, perform: Perform) -> None:
        """Open the turn, let the pipeline work, and write its last event."""
        # No step of the loop for either, where nothing is in the way: the user waits.
        if not self._output.offer(opening, told=True):
            await self._output.tell(opening)
        if not self._pipeline.offer(perform):
            await self._pipeline.tell(perform)
        await self._until_over()
        if self._turn.ladder is None:
            self._turn.closing = True
            await self._complete()
        else:
            await Descent(
                self._turn, self._turn.ladder, self._output, self._clock, self._abandon_s
            ).run()
            if given := given_in(self._budgets()):
                # Of no turn, because a cancelled one has nothing but its ladder.
                late = tuple(partial(self._late, name) for name in given)
                await self._output.tell(Record(None, late))
        self._return_steers()

    def _return_steers(self) -> None:
        turn = self._turn
        waiting, turn.steers = turn.steers, []
        for steer in waiting:
            self._requeue(steer)

    async def _until_over(self) -> None:
        turn = self._turn
        while turn.ladder is None and not turn.unwound.is_set():
            if not turn.steerable:
                self._return_steers()
            await turn.news()
        if turn.ladder is None:
            self._return_steers()
        await self._until_silent()

    async def _until_silent(self) -> None:
        """Wait while the answer is played, or is about to be: it can still be cut off there."""
        turn = self._turn
        start_s = self._clock.now_s() + PLAYBACK_START_S if turn.awaits_playback else 0.0
        while turn.ladder is None:
            is_on = turn.is_heard or turn.paused
            if not (is_on or (turn.awaits_playback and turn.last_chunk is not None)):
                return
            turn.phases.enter("playback")
            due_s = turn.reported_s + self._playback_silence_s if is_on else start_s
            with trio.move_on_at(due_s) as silence:
                await turn.news()
            if not silence.cancelled_caught:
                if is_on:  # whoever held their sound has yet to begin
                    start_s = self._clock.now_s() + PLAYBACK_START_S
                continue
            turn.phases.enter("close")
            turn.awaits_playback = False
            if is_on:
                turn.playing = turn.paused = False
                await self._output.tell(Record(turn.id, (PlaybackStop("timeout"),)))

    async def _complete(self) -> None:
        turn = self._turn
        status = turn.outcome.status if turn.outcome is not None else "failed"
        spans, total_ms = turn.phases.end()
        drafts: tuple[Draft, ...] = (
            *overruns_of_turn(self._budgets(), turn.id, spans, total_ms),
            lambda state: ResponseEnd(status, state.turns[turn.id].text),
            TurnTrace(spans, total_ms),
        )
        await write(self._output, turn, drafts)

    def _late(self, name: str, state: SessionState) -> Payload | None:
        return overrun_of_cancelled(self._budgets(), state.turns[self._turn.id], name)


async def write(output: Address[OutputMessage], turn: Turn, drafts: tuple[Draft, ...]) -> Seq:
    """Write events of a turn; return the seq of the last, once it is on the timeline."""
    return await output.ask(
        lambda receipt: Record(turn.id, drafts, receipt.send), within_s=RECORD_LIMIT_S
    )


@define(eq=False)
class Descent:
    """One ladder, rung by rung, in the order that `protocol.ladder` lays down."""

    _turn: Turn
    _ladder: Ladder
    _output: Address[OutputMessage]
    _clock: Clock
    _abandon_s: float
    _model_ran: bool = False
    _calls: tuple[CallId, ...] = ()
    _actions: tuple[ActionState, ...] = ()

    async def run(self) -> None:
        """Descend; return when `cancel.ack` is on the timeline."""
        turn, ladder = self._turn, self._ladder
        # Waited for, because what was in flight is known when this is written.
        await write(self._output, turn, (self._requested, self._playback_stopped, self._frozen))
        left_s = self._abandon_s - self._ms_since_request() / 1000
        with trio.move_on_after(max(0.0, left_s)):  # a busy machine may be later than that
            await turn.unwound.wait()
        gone = turn.unwound.is_set()
        unwound_ms = self._ms_since_request()
        turn.phases.finish(UNWIND)
        turn.phases.begin(ACK)
        drafts: tuple[Draft, ...] = (
            *self._models_ended(),
            lambda _: CancelStage(MODEL, self._model_outcome(gone=gone), ms=unwound_ms),
            *self._tool_rungs(unwound_ms, gone=gone),
            *self._action_rungs(unwound_ms),
            lambda state: ResponseEnd("cancelled", state.turns[turn.id].text),
            lambda _: TurnTrace(*turn.phases.end()),
            lambda state: self._acked(state, gone=gone),
        )
        ladder.finish(await write(self._output, turn, drafts))

    def _ms_since_request(self) -> float:
        return round((self._clock.now_s() - self._ladder.requested_s) * 1000, 3)

    # The drafts: what they say is known when their place on the timeline is reached.

    def _requested(self, state: SessionState) -> Payload:
        turn = state.turns[self._turn.id]
        self._model_ran = turn.model_running
        self._calls = tuple(turn.running_calls)
        self._actions = state.actions.of_turn(turn.turn_id, UNDECIDED | UNSETTLED)
        actions = tuple(action.action_id for action in self._actions)
        in_flight = InFlight(turn.model_running, self._calls, actions)
        ladder = self._ladder
        if turn.chunks is not None and turn.chunks.playing is not None:
            in_flight = evolve(in_flight, playing=turn.chunks.playing)
        if ladder.command_id is None:
            return CancelRequested(ladder.by, ladder.cause, in_flight)
        return CancelRequested(ladder.by, ladder.cause, in_flight, ladder.command_id)

    def _heard_chars(self, turn: TurnState) -> int:
        heard = self._ladder.heard
        reported = heard.chars if heard is not None and isinstance(heard.chars, int) else None
        if heard is not None and reported is None and turn.chunks is not None:
            reported = turn.chunks.heard(heard.chunk_id or None, heard.offset_ms or None)
        chars = turn.heard_chars(self._ladder.delivered_seq, reported)
        held_from = self._turn.held_from
        return chars if held_from is None else min(chars, held_from)

    def _playback_stopped(self, state: SessionState) -> Payload | None:
        turn = state.turns[self._turn.id]
        chars = self._heard_chars(turn)
        return PlaybackStop("cancel", chars=chars) if chars or turn.playing else None

    def _frozen(self, state: SessionState) -> Payload:
        turn = state.turns[self._turn.id]
        heard = turn.text[: self._heard_chars(turn)]
        return CancelStage(TRANSCRIPT, "frozen", text=turn.text, heard=heard)

    def _models_ended(self) -> list[Draft]:
        calls = (call for call in self._turn.model_calls if not call.ended)
        return [partial(self._model_ended, call) for call in calls]

    def _model_ended(self, call: ModelCall, state: SessionState) -> Payload | None:
        # Where the interrupt came before `model.start` was written, nothing ends.
        if not state.turns[self._turn.id].model_running:
            return None
        usage = Usage(call.input_tokens, call.deltas, estimated=True)
        return ModelEnd("cancelled", usage, call.agent)

    def _model_outcome(self, *, gone: bool) -> StageOutcome:
        if not self._model_ran:
            return "already_done"
        return "stopped" if gone else "abandoned"

    def _tool_rungs(self, ms: float, *, gone: bool) -> list[Draft]:
        rungs: list[Draft] = []
        for call_id in self._calls:
            rungs.append(partial(self._call_ended, call_id, gone=gone))
            rungs.append(partial(self._call_rung, call_id, ms, gone=gone))
        return rungs

    def _call_ended(self, call_id: CallId, state: SessionState, *, gone: bool) -> Payload:
        return self._call_end(call_id, state, gone=gone)[0]

    def _call_rung(self, call_id: CallId, ms: float, state: SessionState, *, gone: bool) -> Payload:
        outcome = self._call_end(call_id, state, gone=gone)[1]
        return CancelStage(tool_target(call_id), outcome, ms=ms)

    def _call_end(
        self, call_id: CallId, state: SessionState, *, gone: bool
    ) -> tuple[ToolResult, StageOutcome]:
        """Return how a call that ran when the interrupt came is to be ended, and called."""
        cancelled = ToolResult(call_id, "cancelled")
        action = state.actions.of_call(self._turn.id, call_id)
        if action is not None:
            result = call_result(call_id, action) or cancelled
            return result, call_outcome(result)
        call = self._turn.calls.get(call_id)
        if call is None:
            return cancelled, "stopped"  # the interrupt came before it could start
        if call.result is not None:
            return call.result, "finished"
        return cancelled, "stopped" if gone and not call.in_thread else "abandoned"

    def _action_rungs(self, ms: float) -> list[Draft]:
        rungs: list[Draft] = []
        for action in self._actions:
            rungs.append(partial(_rejected, action))
            if action.call_id is not None and action.call_id not in self._calls:
                rungs.append(partial(_left_to_finish, action, action.call_id, ms))
        return rungs

    def _acked(self, state: SessionState, *, gone: bool) -> Payload:
        ends: list[tuple[str, StageOutcome]] = [(MODEL, self._model_outcome(gone=gone))]
        ends.extend((tool_target(c), self._call_end(c, state, gone=gone)[1]) for c in self._calls)
        self._ladder.still_committing = tuple(
            action.action_id for action in state.actions.of_turn(self._turn.id, UNSETTLED)
        )
        return CancelAck(
            self._turn.id,
            self._ms_since_request(),
            tuple(target for target, outcome in ends if outcome == "stopped"),
            self._ladder.still_committing,
            self._tokens(state.turns[self._turn.id]),
            tuple(target for target, outcome in ends if outcome == "abandoned"),
        )

    def _tokens(self, turn: TurnState) -> TokenCount:
        _, delivered = turn.shown_at(self._ladder.delivered_seq)
        return TokenCount(max(self._turn.deltas, turn.deltas), delivered)


def _rejected(action: ActionState, _: SessionState) -> Payload | None:
    undecided = action.status in UNDECIDED
    return ActionRejected(action.action_id, INTERRUPTED) if undecided else None


def _left_to_finish(
    action: ActionState, call_id: CallId, ms: float, _: SessionState
) -> Payload | None:
    committing = action.status in COMMITTING
    return CancelStage(tool_target(call_id), "committing", ms=ms) if committing else None
