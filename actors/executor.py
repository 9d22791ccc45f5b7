"""The executor: knows what comes after what in a turn, and does none of it itself.

It asks the orchestrator what is to be done, builds the pipeline from the plan,
lets the stages run, and keeps what is needed to take a failed turn up again.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio
from attrs import define, evolve, field

from bargein.actors.adapters import unmixed
from bargein.actors.agent_run import AgentRun, ToolLimit
from bargein.actors.cleaning import clean
from bargein.actors.context import Conversation
from bargein.actors.limits import Limits
from bargein.actors.mailbox import Address
from bargein.actors.messages import LedgerMessage, Noted, Outlet, Perform
from bargein.actors.orchestrator import Orchestrator, Refusal
from bargein.actors.phases import Phases
from bargein.actors.recollection import recollect
from bargein.actors.resuming import Progress, progress_of
from bargein.actors.stage_run import StageRunner, enough, results_of
from bargein.actors.steering import take_steers
from bargein.actors.tool_calls import AT_ONCE, ToolCalls
from bargein.actors.turn import Outcome, Turn
from bargein.agents.app import Agent, App
from bargein.agents.stages import Done, Flow, Group, Pipeline, Stage, stages_of
from bargein.memory.facts import FactBook
from bargein.models.client import Message, Model, ModelError, Past
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    Fault,
    ModelToken,
    Payload,
    PlanReady,
    Recover,
    TurnCheckpoint,
)
from bargein.protocol.recovery import resume_token
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.running import Workbench

_log = structlog.get_logger()

MOST_LOGGED_CHARS: Final = 500

HOOK_LIMIT_S: Final = 30.0


@define(eq=False)
class Executor:
    """Does one turn.  Lives as long as the turn's work, inside its scope.

    Attributes:
        _past: How the conversation begins, in JSON.
        _remembered: What every agent of the turn is told of the user.
        _told: How many of the words that were taken in the stages have been told of.
        _gathered_by: What was made of the results of each group, by its stages.
    """

    _perform: Perform
    _app: App
    _model: Model
    _state: SessionState
    _conversation: Conversation
    _timeline: Timeline
    _principal: str
    _workbench: Workbench
    _output: Outlet
    _ledger: Address[LedgerMessage]
    _limits: Limits
    _facts: FactBook | None = None
    _past: Past | None = field(default=None, init=False)
    _remembered: str = field(default="", init=False)
    _told: int = field(default=0, init=False)
    _gathered_by: dict[tuple[Stage, ...], str] = field(
        factory=dict[tuple[Stage, ...], str], init=False
    )
    _places: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(AT_ONCE), init=False)

    @property
    def _turn(self) -> Turn:
        return self._perform.turn

    async def run(self) -> Outcome:
        """Answer the user's words; every failure that can be named ends in an outcome."""
        turn = self._turn
        agent = self._app.agent(self._state.agent) or self._app.default
        messages, self._past = self._conversation.told(
            turn.id,
            turn.words,
            continues=self._perform.continues,
            most_chars=self._limits.history_chars,
        )
        if not self._app.plans and not agent.tools:
            turn.steer_no_more()
        if self._facts is not None and self._app.recalls:
            self._remembered = await recollect(self._facts, turn, self._output)
        if self._is_first() and self._app.titling is not None:
            async with trio.open_nursery() as background:
                outcome = await self._decided(agent, messages, background)
                background.cancel_scope.cancel(reason="the answer is complete")
        else:
            outcome = await self._decided(agent, messages, None)
        turn.phases.enter("close")
        return outcome

    async def _decided(
        self, agent: Agent, messages: tuple[Message, ...], background: trio.Nursery | None
    ) -> Outcome:
        before = progress_of(self._state, self._perform.continues)
        self._turn.phases.enter(_first_phase(self._app))
        orchestrator = Orchestrator(
            self._turn,
            self._app if before is None else _without_planner(self._app),
            self._model,
            self._output,
            messages[:-1],
            first=background is not None,
            background=background,
        )
        decided = await orchestrator.consult()
        if isinstance(decided, Refusal):
            return await self._refused(decided)
        plan = decided if before is None else before.plan
        if plan is None:
            return await self._answer(agent, messages)
        try:
            pipeline = self._app.build(plan)
        except Exception as error:  # noqa: BLE001 - an app's function
            _log.warning("pipeline.not_built", turn=self._turn.id, exc_info=error)
            return await self._broke_off(Flow(failure="its pipeline could not be built"))
        flow = Flow() if before is None else await self._caught_up(pipeline, before)
        return await self._follow(pipeline, messages, flow)

    def _is_first(self) -> bool:
        return self._state.title is None and self._turn.number == 1

    # --- without a plan -------------------------------------------------------------

    async def _answer(self, agent: Agent, messages: tuple[Message, ...]) -> Outcome:
        try:
            run = self._run_of(agent, "", self._turn.phases, speaks=True)
            answered = await run.run(messages)
        except ModelError as error:
            return await self._failed(ErrorCode(error.code), str(error), retryable=error.retryable)
        except ToolLimit:
            code = ErrorCode.TOOL_LIMIT
            return await self._failed(code, code.sentence, retryable=True)
        if answered.stop_reason == "refusal":
            code = ErrorCode.MODEL_REFUSED
            return await self._failed(code, code.sentence, retryable=False)
        return Outcome("completed")

    def _run_of(self, agent: Agent, brief: str, phases: Phases, *, speaks: bool) -> AgentRun:
        turn = self._turn
        tools = ToolCalls(
            turn,
            phases,
            self._timeline.session_id,
            self._principal,
            {tool.name: tool for tool in agent.tools},
            self._workbench,
            self._output,
            self._ledger,
            self._timeline,
            self._places,
            self._facts,
        )
        brief = f"{brief}\n\n{self._remembered}".strip()
        return AgentRun(
            turn, phases, agent, self._model, tools, self._output, brief, speaks, self._past
        )

    # --- with a plan ------------------------------------------------------------------

    async def _caught_up(self, pipeline: Pipeline, before: Progress) -> Flow:
        """Return what is known when a plan is taken up again, and show what of it is done.

        The hooks see each result again, because what they made of it is not
        on the timeline; a stage whose result they don't pass is run again.
        """
        flow = Flow()
        for words in before.steered:
            flow = flow.told(_steered(words))
        for item in pipeline:
            for stage in stages_of(item):
                if (done := before.of(stage)) is not None:
                    checked = await self._after(done, flow.with_result(done))
                    flow = flow if checked.failure is not None else checked
            if isinstance(item, Group) and _is_finished(item, flow):
                flow = self._gathered(item, flow)
        finished = {done.stage.id for done in flow.results}
        steps = (
            step.on_timeline("done" if step.id in finished else "pending")
            for step in before.plan.steps
        )
        await self._note(PlanReady(tuple(steps)))
        return flow

    async def _follow(
        self, pipeline: Pipeline, messages: tuple[Message, ...], flow: Flow
    ) -> Outcome:
        self._turn.phases.enter("stages")
        left = [item for item in pipeline if not _is_finished(item, flow)]
        runner = StageRunner(self._turn, messages, self._stage_run, self._output)
        for index, item in enumerate(left):
            if flow.ended or flow.failure is not None:
                break
            if index == len(left) - 1 and not self._has_tools(item):
                self._turn.steer_no_more()
            flow = await self._step(runner, item, flow)
            if index < len(left) - 1 and flow.failure is None:
                await self._note(TurnCheckpoint(resume_token(self._turn.id)))
                flow = await self._steered(flow)
        if flow.failure is not None:
            return await self._broke_off(flow)
        if not any(done.stage.speaks and done.text for done in flow.results):
            await self._speak_what_there_is(pipeline, flow)
        return Outcome("completed")

    async def _step(self, runner: StageRunner, item: Stage | Group, flow: Flow) -> Flow:
        before = len(flow.results)
        if isinstance(item, Group):
            flow = await runner.run_group(item, flow)
            if not enough(item, flow):
                return evolve(flow, failure="too many steps of a group did not succeed")
            flow = self._gathered(item, flow)
        else:
            flow = flow.with_result(await runner.run_stage(item, flow))
        new = flow.results[before:]
        for done in new:
            flow = await self._after(done, flow)
        if isinstance(item, Stage) and item.speaks and new[-1].status != "ok":
            return evolve(flow, failure=f"the step {item.title!r} did not succeed")
        return flow

    def _gathered(self, group: Group, flow: Flow) -> Flow:
        if group.gather is None:
            return flow
        try:
            gathered = _text_in(group.gather(results_of(group, flow)))
        except Exception as error:  # noqa: BLE001 - an app's function
            _log.warning("gather.raised", turn=self._turn.id, exc_info=error)
            return evolve(flow, failure="the results of a group could not be put together")
        self._gathered_by[group.stages] = gathered
        return flow.told(gathered)

    async def _steered(self, flow: Flow) -> Flow:
        """Take in what waits, and tell the next stages of all that was taken in since."""
        await take_steers(self._turn, self._output)
        steered = self._state.turns[self._turn.id].steered
        for words in steered[self._told :]:
            flow = flow.told(_steered(words))
        self._told = len(steered)
        return flow

    async def _after(self, done: Done, flow: Flow) -> Flow:
        for hook in self._app.hooks:
            try:
                with trio.fail_after(HOOK_LIMIT_S):
                    flow = _flow_in(await unmixed(hook.after(done, flow)))
            except Exception as error:  # noqa: BLE001 - a hook is somebody else's code
                _log.warning("hook.raised", turn=self._turn.id, hook=type(hook).__name__,
                             stage=done.stage.id, exc_info=error)  # fmt: skip
                return evolve(flow, failure=f"a check after {done.stage.title!r} failed")
        return flow

    def _stage_run(self, stage: Stage, brief: str, phases: Phases) -> AgentRun:
        agent = self._app.agent(stage.agent) or self._app.default
        return self._run_of(agent, brief, phases, speaks=stage.speaks)

    def _has_tools(self, item: Stage | Group) -> bool:
        names = (stage.agent for stage in stages_of(item))
        return any((self._app.agent(name) or self._app.default).tools for name in names)

    async def _speak_what_there_is(self, pipeline: Pipeline, flow: Flow) -> None:
        # After an early end, or a last group: what the last of them came to is the answer.
        texts = {done.stage.id: done.text for done in flow.results if done.status == "ok"}
        for item in reversed(pipeline):
            stages = stages_of(item)
            said = [text for stage in stages if (text := texts.get(stage.id))]
            if answer := self._gathered_by.get(stages) or "\n\n".join(said):
                await self._note(ModelToken(answer, 0))
                return

    # --- ends -------------------------------------------------------------------------

    async def _refused(self, refusal: Refusal) -> Outcome:
        code = ErrorCode.GUARDRAIL
        await self._fault(Fault(code, refusal.reason, code.retryable, "orchestrator", Recover()))
        return Outcome("refused")

    async def _broke_off(self, flow: Flow) -> Outcome:
        done = tuple(done.stage.id for done in flow.results if done.status == "ok")
        code = ErrorCode.MODEL_ERROR
        recover = Recover(resume_token=resume_token(self._turn.id), done=done)
        message = f"The answer broke off: {flow.failure}. Resume it, and it goes on from there."
        await self._fault(
            Fault(code, clean(message), retryable=True, layer="executor", recover=recover)
        )
        return Outcome("failed")

    async def _failed(self, code: ErrorCode, message: str, *, retryable: bool) -> Outcome:
        token = resume_token(self._turn.id)
        recover = Recover(resume_token=token) if retryable else Recover()
        await self._fault(Fault(code, clean(message), retryable, "pipeline", recover))
        return Outcome("refused" if code is ErrorCode.MODEL_REFUSED else "failed")

    async def _fault(self, fault: Fault) -> None:
        # What the user said is under a key of its own, which a pipeline of logs can strip.
        words = {"pii.words": self._turn.words[:MOST_LOGGED_CHARS]}
        _log.warning("turn.failed", code=fault.code.value, layer=fault.layer, **words)
        await self._note(fault)

    async def _note(self, *payloads: Payload) -> None:
        await self._output.tell(Noted(self._turn, payloads))


def _first_phase(app: App) -> str:
    if app.plans:
        return "plan"
    return "guardrails" if app.guardrails else "model.first_token"


def _without_planner(app: App) -> App:
    # The plan is there; but whether the words may be answered is asked as ever.
    return evolve(app, planning=evolve(app.planning, policy="never"))


def _is_finished(item: Stage | Group, flow: Flow) -> bool:
    finished = {done.stage.id for done in flow.results}
    return all(stage.id in finished for stage in stages_of(item))


def _steered(words: str) -> str:
    return f"The user added meanwhile: {words}"


# The types are only promises of the app's.


def _flow_in(answer: object) -> Flow:
    if not isinstance(answer, Flow):
        raise TypeError(f"a hook returned {type(answer).__name__} and no Flow")
    return answer


def _text_in(answer: object) -> str:
    if not isinstance(answer, str):
        raise TypeError(f"a gather returned {type(answer).__name__} and no text")
    return answer
