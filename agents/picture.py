"""The pipeline that an app builds for a plan, as a picture: `bargein graph`."""

from __future__ import annotations

import msgspec

from bargein.agents.app import App
from bargein.agents.planning import Plan, PlanInvalid, PlannedStep, plan_from
from bargein.agents.stages import mermaid


def plan_in(text: str | bytes, app: App) -> Plan:
    """Return the plan that *text* holds, in the JSON that the app's planner replies with.

    Raises:
        PlanInvalid: If it is none that *app* could follow.
    """
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise PlanInvalid(f"it is not JSON: {error}") from None
    names = tuple(agent.name for agent in app.agents)
    plan = plan_from(value, agents=names, most_steps=app.planning.most_steps)
    if not plan.steps:
        raise PlanInvalid("it has no steps")
    return plan


def sample_plan(app: App) -> Plan:
    """Return a plan in which each agent of *app* has one step, in order."""
    return Plan(
        tuple(
            PlannedStep(f"step_{number}", f"Step {number}", agent.name)
            for number, agent in enumerate(app.agents, 1)
        )
    )


def picture_of(app: App, plan: Plan) -> str:
    """Return the pipeline that *app* builds for *plan*, as a Mermaid flow chart."""
    return mermaid(app.build(plan))
