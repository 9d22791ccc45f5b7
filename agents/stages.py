"""The pipeline of a turn as a value: stages in order, and groups that run at the same time.

Control flow is what stands here and can be shown as a picture.  Data flow
lives in hooks, which run after each stage and say what the next one is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, Final, Literal, Protocol, TypeAlias

from attrs import evolve, field, frozen
from attrs.validators import gt

from bargein.agents.planning import Plan, PlannedStep

STAGE_TIMEOUT_S: Final = 120.0

StageStatus = Literal["ok", "failed", "skipped", "timeout"]


@frozen
class Stage:
    """One agent with one thing to do.

    Attributes:
        id: The plan's step, where there is one.
        speaks: Its words go to the user as they come; else they are a result for later stages.
    """

    id: str
    title: str
    agent: str
    speaks: bool = False
    timeout_s: float = field(default=STAGE_TIMEOUT_S, validator=gt(0))


@frozen
class Group:
    """Stages that run at the same time.

    Attributes:
        need: How many have to end well for the pipeline to go on; None: all of them,
            0: it goes on with whatever there is.
        gather: Called once, when all have ended, to make one result of theirs.
    """

    stages: tuple[Stage, ...]
    need: int | None = 0
    gather: Gather | None = None


Pipeline: TypeAlias = tuple[Stage | Group, ...]


def stages_of(item: Stage | Group) -> tuple[Stage, ...]:
    """Return the stages of one item of a pipeline."""
    return item.stages if isinstance(item, Group) else (item,)


@frozen
class Done:
    """How a stage ended.

    Attributes:
        text: What its agent said.
    """

    stage: Stage
    status: StageStatus
    text: str


@frozen
class Flow:
    """What passes from stage to stage; a hook returns a new one.

    Attributes:
        results: Of the stages so far, in order.
        notes: Said to the next stages, beside the results.
        state: The app's own.
        ended: The pipeline ends here, well.
        failure: The pipeline ends here, for this reason; None while it does not.
    """

    results: tuple[Done, ...] = ()
    notes: tuple[str, ...] = ()
    state: Mapping[str, Any] = field(factory=dict[str, Any])
    ended: bool = False
    failure: str | None = None

    def told(self, note: str) -> Flow:
        """Return the flow with one more note for the next stages."""
        return evolve(self, notes=(*self.notes, note))

    def with_result(self, done: Done) -> Flow:
        """Return the flow with one more result."""
        return evolve(self, results=(*self.results, done))


Gather = Callable[[tuple[Done, ...]], str]
"""Makes one text of the results of a group."""


class Hook(Protocol):
    """Runs after each stage, before the next one; a frozen value, so nothing is captured."""

    async def after(self, done: Done, flow: Flow) -> Flow:
        """Return what the next stages are to know; raise to end the pipeline as failed."""
        ...


@frozen
class RequireWords:
    """A validation: a stage that ended well, and said nothing, has failed."""

    async def after(self, done: Done, flow: Flow) -> Flow:
        """Fail the pipeline where there are no words."""
        if done.status == "ok" and not done.text.strip():
            return evolve(flow, failure=f"the stage {done.stage.title!r} came to nothing")
        return flow


@frozen
class CarryOn:
    """Errors become recoverable states: the next stage is told what is missing."""

    async def after(self, done: Done, flow: Flow) -> Flow:
        """Tell the next stages of one that did not end well."""
        if done.status == "ok":
            return flow
        note = f"The step {done.stage.title!r} did not succeed ({done.status}). Do without it."
        return flow.told(note)


@frozen
class EndWhen:
    """An early end: the rest of the pipeline is not needed where this holds."""

    holds: Callable[[Done], bool]

    async def after(self, done: Done, flow: Flow) -> Flow:
        """End the pipeline where it holds."""
        return evolve(flow, ended=True) if self.holds(done) else flow


def pipeline_of(plan: Plan) -> Pipeline:
    """Return the plain pipeline of a plan: its steps in order, its groups at the same time.

    The last step speaks; where that is a group, its results are not spoken.
    """
    last = plan.steps[-1].id
    items: list[Stage | Group] = []
    for group, steps in groupby(plan.steps, key=lambda step: step.group):
        stages = tuple(_stage_of(step, speaks=step.id == last) for step in steps)
        if group is None or len(stages) == 1:
            items.extend(stages)
        else:
            items.append(Group(tuple(evolve(stage, speaks=False) for stage in stages)))
    return tuple(items)


def _stage_of(step: PlannedStep, *, speaks: bool) -> Stage:
    return Stage(step.id, step.title, step.agent, speaks)


def mermaid(pipeline: Pipeline) -> str:
    """Return the pipeline as a Mermaid flow chart."""
    lines = ["flowchart LR", "    start((turn))"]
    before = ["start"]
    for item in pipeline:
        stages = stages_of(item)
        for stage in stages:
            label = stage.title.replace('"', "'")
            lines.append(f'    {stage.id}["{label}<br/><i>{stage.agent}</i>"]')
            lines.extend(f"    {name} --> {stage.id}" for name in before)
        before = [stage.id for stage in stages]
    lines.append("    done((answer))")
    lines.extend(f"    {name} --> done" for name in before)
    return "\n".join(lines)
