"""The executor: knows what comes after what in a turn, and does none of it itself.

It asks the orchestrator what is to be done, builds the pipeline from the plan,
lets the stages run, and keeps what is needed to take a failed turn up again.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio
from attrs import define, evolve

from bargein.actors.agent_run import AgentRun, ToolLimit
from bargein.actors.context import messages_for
from bargein.actors.limits import Limits
from bargein.actors.messages import Noted, Outlet, Perform
from bargein.actors.orchestrator import Orchestrator, Refusal
from bargein.actors.stage_run import StageRunner, enough
from bargein.actors.steering import take_steers
from bargein.actors.tool_calls import ToolCalls
from bargein.actors.turn import Outcome, Turn
from bargein.agents.app import Agent, App
from bargein.agents.planning import Plan, PlannedStep
from bargein.agents.stages import Done, Flow, Group, Pipeline, Stage
from bargein.models.client import Message, Model, ModelError
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    Fault,
    ModelToken,
    Payload,
    PlanReady,
    Recover,
    Step,
    TurnCheckpoint,
)
from bargein.protocol.recovery import resume_token
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.running import Workbench

_log = structlog.get_logger()

HOOK_LIMIT_S: Final = 30.0


@define(eq=False)
class Executor:
    """Does one turn.  Lives as long as the turn's work, inside its scope."""

    _perform: Perform
    _app: App
    _model: Model
    _state: SessionState
    _timeline: Timeline
    _principal: str
    _workbench: Workbench
    _output: Outlet
    _limits: Limits

    @property
    def _turn(self) -> Turn:
        return self._perform.turn

    async def run(self) -> Outcome:
        """Answer the user's words; every failure that can be named ends in an outcome."""
        turn = self._turn
        agent = self._app.agent(self._state.agent) or self._app.default
        messages = messages_for(
            self._state,
            turn.id,
            turn.words,
            continues=self._perform.continues,
            most_chars=self._limits.history_chars,
        )
        if not self._app.plans and not agent.tools:
            turn.steer_no_more()
        async with trio.open_nursery() as background:
            outcome = await self._decided(agent, messages, background)
            background.cancel_scope.cancel(reason="the answer is complete")
        turn.phases.enter("close")
        return outcome

    async def _decided(
        self, agent: Agent, messages: tuple[Message, ...], background: trio.Nursery
    ) -> Outcome:
        plan, flow = self._left_to_do()
        if plan is None:
            self._turn.phases.enter("plan" if self._app.plans else "model.first_token")
            orchestrator = Orchestrator(
                self._turn,
                self._app,
                self._model,
                self._output,
                messages[:-1],
                first=self._is_first(),
                background=background,
            )
            decided = await orchestrator.consult()
            if isinstance(decided, Refusal):
                return await self._refused(decided)
            plan = decided
        else:
            await self._note(PlanReady(tuple(_step_of(step, flow) for step in plan.steps)))
        if plan is None:
            return await self._answer(agent, messages)
        return await self._follow(self._app.build(plan), messages, flow)

    def _is_first(self) -> bool:
        return self._state.title is None and self._turn.number == 1

    # --- without a plan -------------------------------------------------------------

    async def _answer(self, agent: Agent, messages: tuple[Message, ...]) -> Outcome:
        try:
            answered = await self._run_of(agent, "", speaks=True).run(messages)
        except ModelError as error:
            return await self._failed(ErrorCode(error.code), str(error), retryable=error.retryable)
        except ToolLimit:
            code = ErrorCode.TOOL_LIMIT
            return await self._failed(code, code.sentence, retryable=True)
        if answered.stop_reason == "refusal":
            code = ErrorCode.MODEL_REFUSED
            return await self._failed(code, code.sentence, retryable=False)
        return Outcome("completed")

    def _run_of(self, agent: Agent, brief: str, *, speaks: bool) -> AgentRun:
        turn = self._turn
        tools = ToolCalls(
            turn,
            self._timeline.session_id,
            self._principal,
            {tool.name: tool for tool in agent.tools},
            self._workbench,
            self._output,
            self._timeline,
        )
        return AgentRun(turn, agent, self._model, tools, self._output, brief, speaks)

    # --- with a plan ------------------------------------------------------------------

    async def _follow(
        self, pipeline: Pipeline, messages: tuple[Message, ...], flow: Flow
    ) -> Outcome:
        finished = {done.stage.id for done in flow.results}
        left = [item for item in pipeline if not _is_finished(item, finished)]
        runner = StageRunner(self._turn, messages, self._stage_run, self._output)
        for index, item in enumerate(left):
            if index == len(left) - 1 and not self._has_tools(item):
                self._turn.steer_no_more()
            flow = await self._step(runner, item, flow)
            if flow.failure is not None:
                return await self._broke_off(flow)
            if flow.ended:
                break
            if index < len(left) - 1:
                await self._note(TurnCheckpoint(resume_token(self._turn.id)))
                for words in await take_steers(self._turn, self._output):
                    flow = flow.told(f"The user added meanwhile: {words}")
        if not any(done.stage.speaks and done.text for done in flow.results) and flow.results:
            await self._speak_last(flow)
        return Outcome("completed")

    async def _step(self, runner: StageRunner, item: Stage | Group, flow: Flow) -> Flow:
        before = len(flow.results)
        if isinstance(item, Group):
            flow = await runner.run_group(item, flow)
            if not enough(item, flow):
                return evolve(flow, failure="too many steps of a group did not succeed")
        else:
            flow = flow.with_result(await runner.run_stage(item, flow))
        for done in flow.results[before:]:
            flow = await self._after(done, flow)
        last = flow.results[-1]
        if isinstance(item, Stage) and item.speaks and last.status != "ok":
            return evolve(flow, failure=f"the step {item.title!r} did not succeed")
        return flow

    async def _after(self, done: Done, flow: Flow) -> Flow:
        for hook in self._app.hooks:
            try:
                with trio.fail_after(HOOK_LIMIT_S):
                    flow = await hook.after(done, flow)
            except Exception as error:  # noqa: BLE001 - a hook is somebody else's code
                _log.warning("hook.raised", turn=self._turn.id, hook=type(hook).__name__,
                             stage=done.stage.id, exc_info=error)  # fmt: skip
                return evolve(flow, failure=f"a check after {done.stage.title!r} failed")
        return flow

    def _stage_run(self, stage: Stage, brief: str) -> AgentRun:
        agent = self._app.agent(stage.agent) or self._app.default
        return self._run_of(agent, brief, speaks=stage.speaks)

    def _has_tools(self, item: Stage | Group) -> bool:
        stages = item.stages if isinstance(item, Group) else (item,)
        agents = (self._app.agent(stage.agent) or self._app.default for stage in stages)
        return any(agent.tools for agent in agents)

    async def _speak_last(self, flow: Flow) -> None:
        # An early end, or a last group: what there is, is the answer.
        text = "\n\n".join(done.text for done in flow.results[-1:] if done.text)
        if text:
            await self._note(ModelToken(text, 0))

    def _left_to_do(self) -> tuple[Plan | None, Flow]:
        """Return the plan of the turn that is taken up again, and what it came to so far."""
        continues = self._perform.continues
        before = self._state.turns.get(continues) if continues is not None else None
        if before is None or not before.steps:
            return None, Flow()
        steps = tuple(PlannedStep(step.id, step.title, step.agent) for step in before.steps)
        flow = Flow()
        for step in steps:
            if (text := before.results.get(step.id)) is not None:
                flow = flow.with_result(Done(Stage(step.id, step.title, step.agent), "ok", text))
        return Plan(steps), flow

    # --- ends -------------------------------------------------------------------------

    async def _refused(self, refusal: Refusal) -> Outcome:
        code = ErrorCode.GUARDRAIL
        await self._note(Fault(code, refusal.reason, code.retryable, "orchestrator", Recover()))
        return Outcome("refused")

    async def _broke_off(self, flow: Flow) -> Outcome:
        done = tuple(done.stage.id for done in flow.results if done.status == "ok")
        code = ErrorCode.MODEL_ERROR
        recover = Recover(resume_token=resume_token(self._turn.id), done=done)
        message = f"The answer broke off: {flow.failure}. Resume it, and it goes on from there."
        await self._note(Fault(code, message, retryable=True, layer="executor", recover=recover))
        return Outcome("failed")

    async def _failed(self, code: ErrorCode, message: str, *, retryable: bool) -> Outcome:
        token = resume_token(self._turn.id)
        recover = Recover(resume_token=token) if retryable else Recover()
        await self._note(Fault(code, message, retryable, "pipeline", recover))
        return Outcome("refused" if code is ErrorCode.MODEL_REFUSED else "failed")

    async def _note(self, *payloads: Payload) -> None:
        await self._output.tell(Noted(self._turn, payloads))


def _is_finished(item: Stage | Group, finished: set[str]) -> bool:
    stages = item.stages if isinstance(item, Group) else (item,)
    return all(stage.id in finished for stage in stages)


def _step_of(step: PlannedStep, flow: Flow) -> Step:
    done = any(result.stage.id == step.id for result in flow.results)
    return Step(step.id, step.title, step.agent, "done" if done else "pending")
