"""The pipeline that an app builds for a plan, as a picture: `bargein graph`."""

from __future__ import annotations

import msgspec

from bargein.agents.app import App
from bargein.agents.planning import Plan, PlanInvalid, PlannedStep, plan_from
from bargein.agents.stages import mermaid


def picture_of(app: App, plan: str | bytes | None = None) -> str:
    """Return the pipeline that *app* builds for *plan*, as a Mermaid flow chart.

    *plan* is in the JSON that the app's planner replies with; without it each agent has a step.

    Raises:
        PlanInvalid: If it is none that *app* could follow.
    """
    return mermaid(app.build(_sample(app) if plan is None else _plan_in(plan, app)))


def _plan_in(text: str | bytes, app: App) -> Plan:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise PlanInvalid(f"it is not JSON: {error}") from None
    names = tuple(agent.name for agent in app.agents)
    plan = plan_from(value, agents=names, most_steps=app.planning.most_steps)
    if not plan.steps:
        raise PlanInvalid("it has no steps")
    return plan


def _sample(app: App) -> Plan:
    return Plan(
        tuple(
            PlannedStep(f"step_{number}", f"Step {number}", agent.name)
            for number, agent in enumerate(app.agents, 1)
        )
    )
