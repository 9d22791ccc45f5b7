"""One call of a model for a turn, from its `model.start` to its one `model.end`."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.actors.adapters import unmixed
from bargein.actors.cleaning import clean
from bargein.actors.hearing import Hearing
from bargein.actors.mailbox import ActorGone
from bargein.actors.messages import Noted, Outlet
from bargein.actors.phases import Phases
from bargein.actors.turn import ModelCall, Turn
from bargein.models.client import Completion, Model, ModelError, ModelRequest, ModelTimeout
from bargein.protocol.events import ModelEnd, ModelStart, Usage
from bargein.protocol.ids import Seq

FAILED: Final = "The model failed; the log says how."

LEAVE_LIMIT_S: Final = 1.0
"""How long an abandoned call may wait for the output loop: one that is stuck for longer has
trouble of its own, and nobody should wait for a line of accounting."""

UNHEARD_TRIES: Final = 3
"""How often a call whose words the user does not see is made in all."""

_log = structlog.get_logger()


@define(eq=False)
class Exchange:
    """Asks a model once, and accounts for it.  Lives as long as the call.

    The turn lists the call from its `model.start` on the timeline to its
    `model.end` there, so a ladder ends exactly those calls that nobody else has.

    Attributes:
        _agent: For whom, as it stands on the timeline.
        _speaks: The words go to the user as they come.
        _phases: Where the time of the call is noted, if anywhere.
        hearing: What was heard of it.
    """

    _turn: Turn
    _model: Model
    _output: Outlet
    _agent: str
    _speaks: bool = field(default=True, alias="speaks")
    _phases: Phases | None = field(default=None, alias="phases")
    hearing: Hearing = field(init=False)
    _call: ModelCall = field(init=False)
    _accounted: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._call = ModelCall(self._agent)
        self.hearing = Hearing(self._turn, self._call, self._output, self._speaks, self._phases)

    async def run(self, request: ModelRequest) -> Completion:
        """Ask *request*; return how the answer ended.

        Where it is cancelled and the turn goes on, as when its time is up, the
        call still gets its `model.end`.

        Raises:
            ModelError: The answer did not come, or not to its end, for whatever reason.
        """
        start = ModelStart(request.model or self._model.name, self._agent)
        await self._output.tell(Noted(self._turn, (start,), self._began))
        try:
            return await self._stream(request)
        finally:
            if not (self._accounted or self._turn.interrupted):
                await self._leave()

    async def _stream(self, request: ModelRequest) -> Completion:
        try:
            completion = await unmixed(self._model.stream(request, self.hearing))
            usage, stop_reason = _usage_in(completion), clean(completion.stop_reason)
        except ModelError as error:
            await self._account("error", self._usage_of(error))
            raise
        except ActorGone:  # the session is ending, and the model has not failed
            raise
        except Exception as error:
            # A model is somebody else's code: whatever it raises ends this
            # turn, and not the session.
            _log.exception("model.raised", turn=self._turn.id, error=type(error).__name__)
            trouble = ModelError(FAILED, retryable=True, began=bool(self.hearing.said))
            await self._account("error", self._usage_so_far())
            raise trouble from error
        await self._account(stop_reason, usage)
        return completion

    async def _leave(self) -> None:
        # Shielded, because the scope around is cancelled and the turn is not:
        # no ladder will come and end this call.
        with trio.move_on_after(LEAVE_LIMIT_S, shield=True), suppress(ActorGone):
            await self._account("cancelled", self._usage_so_far())

    async def _account(self, stop_reason: str, usage: Usage) -> None:
        await self.hearing.room()
        end = ModelEnd(stop_reason, usage, self._agent)
        await self._output.tell(Noted(self._turn, (end,), self._ended))
        self._accounted = True

    # Called by the output loop when the event is on the timeline, so that a call
    # whose events were dropped at the gate is not taken for begun, or for ended.

    def _began(self, seq: Seq) -> None:
        del seq
        self._turn.model_calls.append(self._call)

    def _ended(self, seq: Seq) -> None:
        del seq
        self._call.ended = True

    def _usage_of(self, error: ModelError) -> Usage:
        if error.usage is None:
            return self._usage_so_far()
        return Usage(error.usage.input_tokens, error.usage.output_tokens, estimated=True)

    def _usage_so_far(self) -> Usage:
        return Usage(self._call.input_tokens, self._call.deltas, estimated=True)


def _usage_in(completion: Completion) -> Usage:
    told = completion.usage
    input_tokens, output_tokens = int(told.input_tokens), int(told.output_tokens)
    if told.estimated:
        return Usage(input_tokens, output_tokens, estimated=True)
    return Usage(input_tokens, output_tokens)


def may_repeat_unheard(error: ModelError) -> bool:
    """Return whether a call that nobody heard is worth another try.

    What failed before it began was tried again already, below: here are the failures that
    were not, because somebody might have heard the beginning, or had waited long.
    """
    return error.retryable and (error.began or isinstance(error, ModelTimeout))
