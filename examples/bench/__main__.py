"""The table of goals: `make bench`, or `python -m examples.bench` at the root.

It runs bargein and two servers as one writes them by hand (peers/), in turn, each in one process
pinned to one core, with a fake of the model's API and bots on another, and prints for each goal
what was measured, how it compares, and whether it is met.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import trio
from attrs import asdict, define, field

from examples.bench.contenders import BARGEIN, Contender, ContenderName, why_not
from examples.bench.goals import GOALS, Goal, ScenarioName, judged
from examples.bench.ground import Ground, Outcome
from examples.bench.link import LinkLost
from examples.bench.machine import Machine
from examples.bench.processes import Cores, DidNotStart, pin
from examples.bench.scenarios import PACED, SCENARIOS, Scenario
from examples.bench.table import headline_table, table

QUIET: float = 0.3
"""Load before the run, above which the figures are to be doubted."""


@define(eq=False)
class Results:
    """What all scenarios came to."""

    figures: dict[str, dict[ContenderName, list[float]]] = field(
        factory=dict[str, dict[ContenderName, list[float]]], init=False
    )
    notes: dict[str, None] = field(factory=dict[str, None], init=False)
    raw: list[dict[str, Any]] = field(factory=list[dict[str, Any]], init=False)
    headlines: dict[ContenderName, tuple[tuple[str, str], ...]] = field(
        factory=dict[ContenderName, tuple[tuple[str, str], ...]], init=False
    )

    def add(self, name: str, contender: Contender, outcome: Outcome) -> None:
        """Keep what a scenario came to."""
        for key, figure in outcome.figures.items():
            self.figures.setdefault(key, {}).setdefault(contender.name, []).append(figure)
        self.notes |= dict.fromkeys(outcome.notes)
        if outcome.headlines:  # the latest round's
            self.headlines[contender.name] = outcome.headlines
        entry = {"scenario": name, "contender": contender.name, "figures": dict(outcome.figures)}
        self.raw.append({**entry, "notes": outcome.notes, "details": dict(outcome.raw)})


def chosen(only: str | None) -> tuple[Goal, ...]:
    """Return the goals that *only* names, all of them without it.

    Raises:
        click.BadParameter: If it names one that there is not.
    """
    if only is None:
        return GOALS
    names = {name.strip() for name in only.split(",") if name.strip()}
    known = {goal.name for goal in GOALS}
    if not names or names - known:
        listed = ", ".join(goal.name for goal in GOALS)
        raise click.BadParameter(f"no row {', '.join(sorted(names - known))}; there are {listed}")
    return tuple(goal for goal in GOALS if goal.name in names)


def _contenders(scenario: Scenario, results: Results) -> list[Contender]:
    able: list[Contender] = []
    for contender in scenario.contenders:
        missing = why_not(contender)
        if missing is None:
            able.append(contender)
        else:
            results.notes[f"not compared with {contender.name}: {missing}"] = None
    return able


async def run(
    goals: Sequence[Goal],
    ground: Ground,
    rounds: int,
    scenarios: Mapping[ScenarioName, Scenario] = SCENARIOS,
) -> Results:
    """Run what *goals* need."""
    results = Results()
    wanted = {goal.scenario for goal in goals}
    for name, scenario in scenarios.items():
        if name not in wanted:
            continue
        for number in range(rounds if scenario.rounds or ground.long else 1):
            for contender in _contenders(scenario, results):
                click.echo(f"{name}, {contender.name}, round {number + 1} …", err=True)
                began_s = trio.current_time()
                outcome = await _outcome(name, scenario, ground, contender)
                results.add(name, contender, outcome)
                took_s = trio.current_time() - began_s
                click.echo(f"  {dict(outcome.figures)}  ({took_s:.0f} s)", err=True)
    return results


async def _outcome(name: str, scenario: Scenario, ground: Ground, contender: Contender) -> Outcome:
    """Run a scenario; one that fails says so in a note, and the others go on."""
    try:
        return await scenario.run(ground, contender)
    except* (DidNotStart, LinkLost, trio.TooSlowError, OSError) as group:
        why = _told(group)
    return Outcome({}, (f"{name}, {contender.name}, came to nothing: {why}",))


def _told(group: BaseExceptionGroup[Exception]) -> str:
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _told(first)
    return str(first) or "it took too long"


def _encoded(machine: Machine, goals: Sequence[Goal], results: Results) -> Mapping[str, Any]:
    return {
        "machine": asdict(machine),
        "figures": results.figures,
        "verdicts": {goal.name: judged(goal, results.figures) for goal in goals},
        "notes": list(results.notes),
        "runs": results.raw,
    }


@click.command(context_settings={"show_default": True})
@click.option("--only", help="Rows to measure, separated by commas.")
@click.option("--rounds", default=3, type=click.IntRange(1), help="Contenders take turns.")
@click.option("--long", is_flag=True, help="Longer windows, 100,000 interrupts, 10,000 turns.")
@click.option("--seed", default=0, help="Of all that is drawn.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the store is kept while it runs; the system's place for such files without it.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Also write all figures as JSON.")
def main(
    only: str | None,
    rounds: int,
    seed: int,
    directory: Path | None,
    out: Path | None,
    *,
    long: bool,
) -> None:
    """Hold bargein against its goals, and against servers written by hand."""
    goals = chosen(only)
    ground = Ground(Cores.found(), directory, seed, long)
    with ground.place() as place:
        machine = Machine.here(place)
    click.echo(f"{machine.text()}\n")
    if ground.cores.server is None:
        click.echo("No second core: the server shares this one with all else.\n")
    if machine.load > QUIET:
        click.echo("The machine is not quiet: times are upper bounds, and ratios are rough.\n")
    pin(ground.cores.others)
    gc.freeze()
    results = trio.run(run, goals, ground, rounds)
    click.echo(f"\n{table(goals, results.figures)}")
    if results.headlines:
        click.echo(f"\n{PACED.sessions} users who cut in on three answers of four, latest round:")
        click.echo(f"\n{headline_table(results.headlines)}\n")
    for note in results.notes:
        click.echo(f"note: {note}")
    if out is not None:
        text = json.dumps(_encoded(machine, goals, results), indent=2)
        out.write_text(f"{text}\n", encoding="utf-8")
    ours = [goal for goal in goals if judged(goal, results.figures) == "met"]
    click.echo(f"\n{len(ours)} of {len(goals)} goals met by {BARGEIN.name}.")


if __name__ == "__main__":
    main()
