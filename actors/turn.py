"""One turn: a number, a cancel scope, and the ladder that ends it early.

States of a turn, and what leads from one to the next::

    open      → closing    its work is done, its last words are being written
    open      → cancelled  `ResponseSlot.interrupt`: the gate shuts, the ladder begins
    closing   → over       `turn.trace` is on the timeline
    cancelled → over       `cancel.ack` is on the timeline
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio
from attrs import define, field, frozen

from bargein.actors.answers import Answer
from bargein.actors.audience import Audience
from bargein.actors.clock import Clock
from bargein.actors.phases import CANCEL, FIRST_BYTE, RENDER, SILENT, UNWIND, Phases
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import Heard
from bargein.protocol.events import CancelledBy, ResponseStatus, ToolResult
from bargein.protocol.frames import Pause, Unpause
from bargein.protocol.ids import (
    ActionId,
    CallId,
    ChunkId,
    CommandId,
    Seq,
    TurnId,
    turn_id,
    turn_number,
)

PREEMPTED: Final = "a higher tier"
"""The `cause` of a pre-emption."""


@define(eq=False)
class ModelCall:
    """What is known of one call of a model, for its usage should it be cancelled.

    Attributes:
        agent: For whom, as it stands on the timeline.
        ended: Its `model.end` is on its way.
    """

    agent: str
    input_tokens: int = 0
    deltas: int = 0
    ended: bool = False


@define(eq=False)
class RunningCall:
    """A tool call of the turn, as the ladder needs to know it.

    Attributes:
        in_thread: It can't be stopped: its thread goes on, and its result is thrown away.
        result: What it came to; None while it runs.
    """

    in_thread: bool
    result: ToolResult | None = None


@frozen
class Outcome:
    """How the work of a turn ended, when nobody interrupted it."""

    status: ResponseStatus


@define(eq=False)
class Ladder:
    """The cancellation of one turn, from the interrupt to its ack.

    Attributes:
        delivered_seq: What any driver's socket had taken when the interrupt came.
        answers: Commands that wait for the ack.
        drop_queue: The interrupt also drops the words that wait.
        ack_seq: Where the ack stands; None while the ladder runs.
    """

    turn_id: TurnId
    by: CancelledBy
    cause: str
    requested_s: float
    delivered_seq: Seq
    heard: Heard | None = None
    command_id: CommandId | None = None
    ack_seq: Seq | None = field(default=None, init=False)
    still_committing: tuple[ActionId, ...] = field(default=(), init=False)
    _answers: list[Answer] = field(factory=list[Answer], init=False)

    def answer(self, answer: Answer) -> None:
        """Answer an interrupt with this ladder, when its ack is out."""
        if self.ack_seq is None:
            self._answers.append(answer)
        else:
            answer.reply(self._result(self.ack_seq), self.ack_seq)

    def finish(self, ack_seq: Seq) -> None:
        """Answer whoever waits: the ack is on the timeline."""
        self.ack_seq = ack_seq
        for answer in self._answers:
            answer.reply(self._result(ack_seq), ack_seq)
        self._answers.clear()

    def _result(self, ack_seq: Seq) -> dict[str, Any]:
        return {
            "interrupted": True,
            "turn_id": self.turn_id,
            "ack_seq": ack_seq,
            "still_committing": list(self.still_committing),
        }


@frozen(eq=False)
class Steer:
    """Words for the running turn, which it takes in at its next boundary."""

    text: str
    command_id: CommandId | None
    answer: Answer
    received_s: float


def _as_it_is(result: ToolResult) -> ToolResult:
    return result


@define(eq=False)
class Turn:
    """One exchange with the user, and the scope of all work done for it.

    Attributes:
        scope: Cancelling it stops the work, wherever it is.
        unwound: The work has left the scope.
        steerable: The work has a boundary ahead, where it would take words in.
        steers: Words that wait for it.
        calls: The tools that it called.
        shown: What may be seen of a tool's result, as the app says.
        model_calls: The models that it called.
        deltas: What all of these have generated.
        playing: The client plays the answer, and has not said that it stopped.
        awaits_playback: Its client reports what it plays, and has said nothing of this answer.
        last_chunk: The latest chunk of speech that was cut of the answer.
        stopped_chunk: The latest one, once the client has said that its sound is over.
        held_from: Where a claim begins that waits for its support: nobody has heard it yet.
        paused: Its sound holds, because somebody speaks and it isn't decided why.
        reported_s: When it last said so.
        written: The first words of the answer are on the timeline.
    """

    id: TurnId
    words: str
    phases: Phases
    scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    ladder: Ladder | None = field(default=None, init=False)
    outcome: Outcome | None = field(default=None, init=False)
    calls: dict[CallId, RunningCall] = field(factory=dict[CallId, RunningCall], init=False)
    model_calls: list[ModelCall] = field(factory=list[ModelCall], init=False)
    deltas: int = field(default=0, init=False)
    unwound: trio.Event = field(factory=trio.Event, init=False)
    closing: bool = field(default=False, init=False)
    steerable: bool = field(default=True, init=False)
    steers: list[Steer] = field(factory=list[Steer], init=False)
    playing: bool = field(default=False, init=False)
    awaits_playback: bool = field(default=False, init=False)
    last_chunk: ChunkId | None = field(default=None, init=False)
    stopped_chunk: ChunkId | None = field(default=None, init=False)
    held_from: int | None = field(default=None, init=False)
    paused: bool = field(default=False, init=False)
    reported_s: float = field(default=0.0, init=False)
    written: bool = field(default=False, init=False)
    shown: Callable[[ToolResult], ToolResult] = field(default=_as_it_is, init=False)
    _call_ids: set[CallId] = field(factory=set[CallId], init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    @property
    def number(self) -> int:
        """The number in its id."""
        return turn_number(self.id)

    @property
    def interrupted(self) -> bool:
        """Whether the gate is shut: nothing of this turn is worth sending any more."""
        return self.ladder is not None

    @property
    def is_heard(self) -> bool:
        """Whether the client plays the answer, or is still to play a chunk of it."""
        is_done = self.stopped_chunk is not None and self.stopped_chunk == self.last_chunk
        return self.playing and not (is_done and self.unwound.is_set())

    def new_call_id(self, given: CallId) -> CallId:
        """Return an id that no other call of this turn has: *given*, or one made of it."""
        call_id, number = given, 1
        while call_id in self._call_ids:
            number += 1
            call_id = CallId(f"{given}.{number}")
        self._call_ids.add(call_id)
        return call_id

    def spoke(self) -> None:
        """Note that the first words of the answer are here, and on their way to the clients."""
        self.phases.begin(FIRST_BYTE)
        self.phases.begin(RENDER, certain=False)

    def finish(self, outcome: Outcome | None) -> None:
        """Note that the work is over: it came to *outcome*, or was cancelled."""
        self.outcome = outcome
        self.steerable = False
        self.unwound.set()
        self.rouse()

    def steer_no_more(self) -> None:
        """Note that no boundary is left; what waits for one goes into the queue."""
        self.steerable = False
        if self.steers:
            self.rouse()

    def rouse(self) -> None:
        """Wake whoever sees this turn through, because something changed."""
        self._news.set()
        self._news = trio.Event()

    async def news(self) -> None:
        """Wait until something changes."""
        await self._news.wait()


@define(eq=False)
class ResponseSlot:
    """Who may speak: at most one turn of the session is open.

    `interrupt` is plain and takes effect before it returns, so that the task
    which reads a socket can call it: no mailbox and no wait stands between the
    user's word and the cancel.

    Attributes:
        first_number: The number of the last turn before this process.
        client_plays: A client has said in this session that it plays an answer.
        turn: The open turn, until its last event is on the timeline.
        winding_down: Words that wait are left to the next process.
        suspended: A turn that was pre-empted waits to go on.
        user_speaks: The user has begun to say something; words that wait go after it.
    """

    _clock: Clock
    _audience: Audience
    first_number: int = 0
    client_plays: bool = False
    turn: Turn | None = field(default=None, init=False)
    winding_down: bool = field(default=False, init=False)
    suspended: bool = field(default=False, init=False)
    user_speaks: bool = field(default=False, init=False)
    last_number: int = field(init=False)
    _freed: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self.last_number = self.first_number

    @property
    def is_held(self) -> bool:
        """Whether words that wait go on waiting: for another process, or till the user is done."""
        return self.winding_down or self.user_speaks

    def take(self, turn: Turn) -> None:
        """Let *turn* speak; the slot has to be free."""
        self.turn = turn
        turn.awaits_playback = self.client_plays

    def release(self) -> None:
        """Note that the last event of the turn is on the timeline."""
        self.turn = None
        self.note_change()

    def note_change(self) -> None:
        """Wake whoever waits until no turn is open."""
        self._freed.set()
        self._freed = trio.Event()

    async def until_free(self) -> None:
        """Wait until no turn is open, nor is about to go on."""
        while self.turn is not None or (self.suspended and not self.winding_down):
            await self.until_released()

    async def until_released(self) -> None:
        """Wait until a turn is over; the next may be open then."""
        await self._freed.wait()

    def is_shut(self, turn_id: TurnId) -> bool:
        """Whether that turn is being cancelled: nothing more of it begins."""
        return self.turn is not None and self.turn.id == turn_id and self.turn.interrupted

    def next_id(self) -> TurnId:
        """Return the id of a new turn."""
        self.last_number += 1
        return turn_id(self.last_number)

    def pause(self) -> bool:
        """Let every client hold the sound of the open turn now; False where nothing is to hold."""
        turn = self.turn
        if turn is None or turn.interrupted or turn.closing or turn.paused:
            return False
        turn.paused = True
        turn.reported_s = max(turn.reported_s, self._clock.now_s())
        self._audience.tell_first(Pause(turn.id))
        turn.rouse()
        return True

    def unpause(self, turn: Turn) -> None:
        """Let every client go on where it holds."""
        if turn.paused:
            turn.paused = False
            self._audience.tell_first(Unpause(turn.id))
            turn.rouse()

    def interrupt(
        self,
        by: CancelledBy,
        cause: str,
        *,
        only: TurnId | None = None,
        heard: Heard | None = None,
        command_id: CommandId | None = None,
    ) -> Ladder | None:
        """Stop the open turn now; return its ladder, also if it ran already.

        None if there is nothing to stop: no turn, one whose last words are being
        written, or not the one called *only*.
        """
        turn = self.turn
        if turn is None or turn.closing or only not in (None, turn.id):
            return None
        if turn.ladder is None:
            delivered_seq = self._audience.delivered_seq
            now_s = self._clock.now_s()
            turn.ladder = Ladder(turn.id, by, cause, now_s, delivered_seq, heard, command_id)
            turn.phases.enter(CANCEL)
            turn.phases.begin(SILENT)
            turn.scope.cancel(reason=cause)
            self._audience.flush(turn.id)
            turn.phases.finish(SILENT)
            turn.phases.begin(UNWIND)
            turn.rouse()
        return turn.ladder

    def may_yield(self) -> bool:
        """Whether the open turn is one that may be pre-empted: it still thinks."""
        turn = self.turn
        return turn is not None and not (turn.interrupted or turn.closing or turn.unwound.is_set())

    def yield_slot(self) -> None:
        """Stop the open turn for the model slot of a higher tier; it goes on later."""
        if self.may_yield():
            self.interrupt("preempted", PREEMPTED)


@frozen
class Failure:
    """Why a turn failed, for its `error` event."""

    code: ErrorCode
    message: str
    retryable: bool
