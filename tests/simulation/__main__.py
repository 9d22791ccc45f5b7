"""Play one history and print it: `python -m tests.simulation --seed S [--cut K] [--mutant M]`."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import click

from tests.simulation.history import play
from tests.simulation.mutants import MUTANTS
from tests.simulation.rules import broken_rules


@click.command()
@click.option("--seed", type=int, required=True, help="Draws the whole history.")
@click.option("--cut", type=int, help="The power fails before this task step.")
@click.option("--mutant", type=click.Choice([m.name for m in MUTANTS]), help="A planted bug.")
@click.option("--digest", is_flag=True, help="Print only what tells this history from others.")
def main(seed: int, cut: int | None, mutant: str | None, *, digest: bool) -> None:
    """Play the history of SEED, print it, and name the rules that it breaks."""
    planted = next((m.planted() for m in MUTANTS if m.name == mutant), nullcontext())
    with planted:
        history = play(seed, cut=cut)
        broken = broken_rules(history)
    if not digest:
        for life in history.lives:
            click.echo(f"--- life {life.world.life}, {life.world.steps} steps")
            for entry in life.world.journal:
                click.echo(" ".join(map(str, entry)))
            for log in life.logs:
                click.echo(f"log {log}")
    click.echo(history.digest)
    for rule in broken:
        click.echo(f"BROKEN: {rule}")
    sys.exit(bool(broken))


main()
