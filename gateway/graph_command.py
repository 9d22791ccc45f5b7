"""`bargein graph`: the pipeline of an app, as a picture."""

from __future__ import annotations

from typing import BinaryIO

import click

from bargein.agents.app import AppInvalid
from bargein.agents.loading import AppNotFound, app_named
from bargein.agents.picture import picture_of
from bargein.agents.planning import PlanInvalid
from bargein.gateway.flags import BAD_CONFIGURATION, fail


@click.command("graph")
@click.argument("app")
@click.option("--plan", type=click.File("rb"), help="A plan in the planner's JSON; - for stdin.")
def graph_command(app: str, plan: BinaryIO | None) -> None:
    """Print the pipeline that APP builds for a plan, in Mermaid's language.

    Without a plan, for one in which each agent has a step.
    """
    try:
        picture = picture_of(app_named(app), None if plan is None else plan.read())
    except (AppNotFound, AppInvalid, PlanInvalid) as error:
        fail(str(error), BAD_CONFIGURATION)
    click.echo(picture)
