"""The thinking loop's second half: the work of a turn, inside the turn's scope."""

from __future__ import annotations

from typing import Final

import trio
from attrs import define

from bargein.actors.agent_run import AgentRun, ToolLimit
from bargein.actors.context import messages_for
from bargein.actors.limits import Limits
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import Noted, OutputMessage, Perform, PipelineMessage
from bargein.actors.tool_calls import ToolCalls
from bargein.actors.turn import Outcome, Turn
from bargein.agents.app import Agent, App
from bargein.models.client import Model, ModelError
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import Fault, Recover
from bargein.protocol.recovery import resume_token
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.running import Workbench

MAILBOX: Final = 4


@define(eq=False)
class Pipeline:
    """Performs turns: each in a task of its own, which the turn's scope can end."""

    _mailbox: Mailbox[PipelineMessage]
    _output: Address[OutputMessage]
    _state: SessionState
    _app: App
    _model: Model
    _limits: Limits
    _timeline: Timeline
    _principal: str
    _workbench: Workbench

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
        messages = messages_for(
            self._state,
            turn.id,
            turn.words,
            continues=perform.continues,
            most_chars=self._limits.history_chars,
        )
        try:
            completion = await self._run_of(turn, agent).run(messages)
        except ModelError as error:
            return await self._failed(
                turn, ErrorCode(error.code), str(error), retryable=error.retryable
            )
        except ToolLimit:
            code = ErrorCode.TOOL_LIMIT
            return await self._failed(turn, code, code.sentence, retryable=True)
        turn.phases.enter("close")
        if completion.stop_reason == "refusal":
            code = ErrorCode.MODEL_REFUSED
            return await self._failed(turn, code, code.sentence, retryable=False)
        return Outcome("completed")

    def _run_of(self, turn: Turn, agent: Agent) -> AgentRun:
        tools = ToolCalls(
            turn,
            self._timeline.session_id,
            self._principal,
            {tool.name: tool for tool in agent.tools},
            self._workbench,
            self._output,
            self._timeline,
        )
        return AgentRun(turn, agent, self._model, tools, self._output)

    async def _failed(
        self, turn: Turn, code: ErrorCode, message: str, *, retryable: bool
    ) -> Outcome:
        recover = Recover(resume_token=resume_token(turn.id)) if retryable else Recover()
        fault = Fault(code, message, retryable, "pipeline", recover)
        turn.phases.enter("close")
        await self._output.tell(Noted(turn, (fault,)))
        return Outcome("refused" if code is ErrorCode.MODEL_REFUSED else "failed")
