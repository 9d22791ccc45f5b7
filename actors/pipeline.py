"""The thinking loop's second half: the work of a turn, inside the turn's scope."""

from __future__ import annotations

from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.actors.context import messages_for
from bargein.actors.limits import Limits
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import (
    Draft,
    Noted,
    OutputMessage,
    Perform,
    PipelineMessage,
    Spoken,
)
from bargein.actors.turn import ModelCall, Outcome, Turn
from bargein.agents.app import Agent, App
from bargein.models.client import Completion, Model, ModelError, ModelRequest, ToolUse
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    Fault,
    ModelEnd,
    ModelRetry,
    ModelStart,
    Recover,
    Usage,
)
from bargein.protocol.recovery import resume_token
from bargein.protocol.state import SessionState

MAILBOX: Final = 4

_log = structlog.get_logger()


@define(eq=False)
class Pipeline:
    """Performs turns: each in a task of its own, which the turn's scope can end."""

    _mailbox: Mailbox[PipelineMessage]
    _output: Address[OutputMessage]
    _state: SessionState
    _app: App
    _model: Model
    _limits: Limits

    async def run(self) -> None:
        """Run until the address is closed and all work has unwound."""
        with self._mailbox:
            async with trio.open_nursery() as work:
                while batch := await self._mailbox.take():
                    for message in batch:
                        work.start_soon(self._perform, message, name=message.turn.id)
        self._output.close()

    async def _perform(self, perform: Perform) -> None:
        outcome: Outcome | None = None
        turn = perform.turn
        try:
            with turn.scope:
                outcome = await self._answer(perform)
        finally:
            turn.finish(outcome)

    async def _answer(self, perform: Perform) -> Outcome:
        turn = perform.turn
        agent = self._app.agent(self._state.agent) or self._app.default
        request = self._request(perform, agent)
        turn.phases.enter("model.first_token")
        started = ModelStart(request.model or self._model.name, agent.name)
        await self._output.tell(Noted(turn, (started,)))
        hearing = Hearing(turn, self._output)
        turn.call = ModelCall()
        try:
            completion = await self._model.stream(request, hearing)
        except ModelError as error:
            await hearing.room()
            return await self._failed(turn, error, self._usage_of(turn, error))
        except Exception as error:  # noqa: BLE001
            # A model is somebody else's code: whatever it raises ends this
            # turn, and not the session.
            _log.exception("model.raised", turn=turn.id, error=type(error).__name__)
            await hearing.room()
            trouble = ModelError(ErrorCode.MODEL_ERROR.sentence, retryable=True)
            return await self._failed(turn, trouble, self._usage_of(turn, trouble))
        finally:
            turn.call.running = False
        await hearing.room()
        return await self._completed(turn, completion)

    def _request(self, perform: Perform, agent: Agent) -> ModelRequest:
        turn = perform.turn
        return ModelRequest(
            agent.model,
            agent.instructions,
            messages_for(
                self._state,
                turn.id,
                turn.words,
                continues=perform.continues,
                most_chars=self._limits.history_chars,
            ),
            max_tokens=agent.max_tokens,
        )

    def _usage_of(self, turn: Turn, error: ModelError) -> Usage:
        if error.usage is not None:
            return Usage(error.usage.input_tokens, error.usage.output_tokens, estimated=True)
        return Usage(turn.call.input_tokens, turn.call.deltas, estimated=True)

    async def _completed(self, turn: Turn, completion: Completion) -> Outcome:
        usage = Usage(completion.usage.input_tokens, completion.usage.output_tokens)
        if completion.usage.estimated:
            usage = Usage(usage.input_tokens, usage.output_tokens, estimated=True)
        drafts: list[Draft] = [ModelEnd(completion.stop_reason, usage)]
        refused = completion.stop_reason == "refusal"
        if refused:
            code = ErrorCode.MODEL_REFUSED
            drafts.append(Fault(code, code.sentence, code.retryable, "pipeline", Recover()))
        turn.phases.enter("close")
        await self._output.tell(Noted(turn, tuple(drafts)))
        return Outcome("refused" if refused else "completed")

    async def _failed(self, turn: Turn, error: ModelError, usage: Usage) -> Outcome:
        recover = Recover(resume_token=resume_token(turn.id)) if error.retryable else Recover()
        fault = Fault(ErrorCode(error.code), str(error), error.retryable, "pipeline", recover)
        turn.phases.enter("close")
        await self._output.tell(Noted(turn, (ModelEnd("error", usage), fault)))
        refused = fault.code is ErrorCode.MODEL_REFUSED
        return Outcome("refused" if refused else "failed")


@define(eq=False)
class Hearing:
    """What a turn hears of its model: passes it on, and never makes the stream wait.

    While the output loop has no room, text is joined here; the reader of the
    stream then waits in `room`, between two reads, so this stays small.
    """

    _turn: Turn
    _output: Address[OutputMessage]
    _texts: list[str] = field(factory=list[str], init=False)
    _deltas: int = field(default=0, init=False)
    _retries: list[ModelRetry] = field(factory=list[ModelRetry], init=False)

    def started(self, input_tokens: int) -> None:
        """Note what the call costs already."""
        self._turn.call.input_tokens = input_tokens

    def heard(self, text: str, deltas: int) -> None:
        """Pass text on, or keep it until there is room."""
        turn = self._turn
        if turn.call.deltas == 0:
            turn.phases.enter("model.stream")
        turn.call.deltas += deltas
        if self._texts or not self._output.offer(Spoken(turn, text, deltas)):
            self._texts.append(text)
            self._deltas += deltas

    def tool_called(self, call: ToolUse) -> None:
        """Ignore a call: this agent was given no tools."""
        _log.warning("tool.called_unknown", turn=self._turn.id, tool=call.tool)

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        """Note a retry of the call."""
        retry = ModelRetry(attempt, round(after_s * 1000, 3), cause)
        if not self._output.offer(Noted(self._turn, (retry,))):
            self._retries.append(retry)

    async def room(self) -> None:
        """Wait until what is kept has been passed on."""
        while self._retries:
            await self._output.tell(Noted(self._turn, (self._retries.pop(0),)))
        while self._texts:
            text, deltas = "".join(self._texts), self._deltas
            self._texts, self._deltas = [], 0
            await self._output.tell(Spoken(self._turn, text, deltas))
