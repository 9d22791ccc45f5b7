"""Runs the stages of a pipeline: one after the other, or several at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio
from attrs import define

from bargein.actors.agent_run import AgentRun, Answered, ToolLimit
from bargein.actors.cleaning import clean
from bargein.actors.messages import Noted, Outlet
from bargein.actors.phases import Phases
from bargein.actors.turn import Turn
from bargein.agents.stages import Done, Flow, Group, Stage, StageStatus
from bargein.models.client import Message, ModelError
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import (
    Fault,
    Object,
    Payload,
    PlanStep,
    Recover,
    StageEnd,
    StageStart,
)
from bargein.protocol.events.thinking import StepState
from bargein.protocol.state import STAGE_RESULT

MOST_RESULT_CHARS: Final = 20_000
"""Of one stage's result in the brief of a later one."""

STEP_STATES: Final[dict[StageStatus, StepState]] = {
    "ok": "done",
    "failed": "failed",
    "skipped": "skipped",
    "timeout": "failed",
}

RunOf = Callable[[Stage, str, Phases], AgentRun]
"""Makes the run of a stage's agent, with its brief, and where its time is noted."""

_log = structlog.get_logger()


@define(eq=False)
class StageRunner:
    """Runs stages inside the turn's scope, and says how each of them ended."""

    _turn: Turn
    _messages: tuple[Message, ...]
    _run_of: RunOf
    _output: Outlet

    async def run_stage(self, stage: Stage, flow: Flow) -> Done:
        """Run one stage; a failure of its agent is a state, and not an exception."""
        await self._note(PlanStep(stage.id, "active"), StageStart(stage.id, stage.agent))
        status: StageStatus = "timeout"
        text = ""
        with self._turn.phases.child(f"stage:{stage.id}") as phases:
            with trio.move_on_after(stage.timeout_s):
                status, text = await self._answer(stage, flow, phases)
        if status == "timeout":
            message = f"The step {stage.title!r} did not finish within {stage.timeout_s:g} s."
            await self._note(_fault(ErrorCode.MODEL_TIMEOUT, message))
        ended: list[Payload] = []
        # Only what is finished: a turn that is taken up again goes on behind it.
        if status == "ok" and text and not stage.speaks:
            told = {"stage": stage.id, "agent": stage.agent, "title": stage.title, "text": text}
            ended.append(Object(STAGE_RESULT, told))
        ended.append(StageEnd(stage.id, stage.agent, status))
        ended.append(PlanStep(stage.id, STEP_STATES[status]))
        await self._note(*ended)
        return Done(stage, status, text)

    async def run_group(self, group: Group, flow: Flow) -> Flow:
        """Run the stages of *group* at the same time; each tells its progress as it ends.

        Those that *flow* has a result of are finished, and not run again.
        """
        finished = {done.stage.id for done in flow.results}
        left = [stage for stage in group.stages if stage.id not in finished]
        ended: dict[str, Done] = {}

        async def run(stage: Stage) -> None:
            ended[stage.id] = await self.run_stage(stage, flow)

        async with trio.open_nursery() as nursery:
            for stage in left:
                nursery.start_soon(run, stage)
        for stage in left:
            flow = flow.with_result(ended[stage.id])
        return flow

    async def _answer(self, stage: Stage, flow: Flow, phases: Phases) -> tuple[StageStatus, str]:
        run = self._run_of(stage, brief_of(stage, flow), phases)
        try:
            answered: Answered = await run.run(self._messages)
        except ModelError as error:
            _log.warning(
                "stage.failed", turn=self._turn.id, stage=stage.id, agent=stage.agent,
                code=error.code,
            )  # fmt: skip
            await self._note(_fault(ErrorCode(error.code), str(error)))
            return "failed", ""
        except ToolLimit:
            await self._note(_fault(ErrorCode.TOOL_LIMIT, ErrorCode.TOOL_LIMIT.sentence))
            return "failed", ""
        if answered.stop_reason == "refusal":
            await self._note(_fault(ErrorCode.MODEL_REFUSED, ErrorCode.MODEL_REFUSED.sentence))
            return "failed", answered.text
        return "ok", answered.text

    async def _note(self, *payloads: Payload) -> None:
        await self._output.tell(Noted(self._turn, payloads))


def results_of(group: Group, flow: Flow) -> tuple[Done, ...]:
    """Return the results of *group*, in the order of its stages."""
    ended = {done.stage.id: done for done in flow.results}
    return tuple(ended[stage.id] for stage in group.stages)


def enough(group: Group, flow: Flow) -> bool:
    """Whether as many stages of *group* ended well as it needs."""
    well = sum(done.status == "ok" for done in results_of(group, flow))
    return well >= (len(group.stages) if group.need is None else group.need)


def brief_of(stage: Stage, flow: Flow) -> str:
    """Return what an agent is told of its step, beside its own instructions."""
    lines = [f"Your step in the plan: {stage.title}"]
    lines.extend(
        f"\nResult of {done.stage.title!r}:\n{done.text[:MOST_RESULT_CHARS]}"
        for done in flow.results
        if done.text
    )
    lines.extend(f"\n{note}" for note in flow.notes)
    if stage.speaks:
        lines.append("\nYour words go to the user as you write them.")
    else:
        lines.append("\nYour words go to the next step, not to the user.")
    return "\n".join(lines)


def _fault(code: ErrorCode, message: str) -> Fault:
    return Fault(code, clean(message), code.retryable, "pipeline", Recover())
