"""What is measured for the table of goals: each with bots, against one contender at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import click
import trio
from attrs import evolve, frozen

from examples.bench.bot import Habits
from examples.bench.contenders import BARGEIN, CONTENDERS, Contender
from examples.bench.crowd import Crowd, gathered
from examples.bench.figures import Spread
from examples.bench.goals import ScenarioName
from examples.bench.ground import Ground, Outcome, until
from examples.bench.memory_scenarios import hibernated, idle
from examples.bench.pace import most_that_hold, why_not_in_pace
from examples.bench.session_scenarios import replay, start, turn_cost
from examples.bench.stage import Measured, Play, measure, staged, warm_up
from examples.bench.voice_scenario import voice

PACED: Final = Play(200, seconds=6, warm_s=4)
FREE: Final = Play(50, seconds=3, warm_s=1.5, interval_ms=0, first_ms=0)
OVERLOAD: Final = Play(1000, seconds=9, warm_s=6)
PROBE: Final = Play(1, seconds=4, warm_s=4)

PACE_LEAST: Final = 60
PACE_MOST: Final = 620
PACE_STEP: Final = 20

BUSY_OTHERS: Final = 0.9
"""Of their core: with more, bots and fake API are what is measured."""

GHOST_BOTS: Final = 100
GHOST_INTERRUPTS: Final = 5_000
GHOST_INTERRUPTS_LONG: Final = 100_000
GHOST_LEAST_PER_S: Final = 40.0
"""Interrupts; a machine that does fewer is not waited for."""

GHOST_LOOK_S: Final = 0.2


@frozen
class Scenario:
    """What is measured, of whom, and how often.

    Attributes:
        rounds: Whether it is repeated; contenders then take turns.
    """

    run: Callable[[Ground, Contender], Awaitable[Outcome]]
    contenders: tuple[Contender, ...] = (BARGEIN,)
    rounds: bool = False


async def _measured(ground: Ground, contender: Contender, play: Play) -> Measured:
    longer = 3 if ground.long else 1
    play = evolve(play, seconds=play.seconds * longer, seed=ground.seed)
    with ground.place() as place:
        return await measure(play, place, ground.cores, contender)


def notes_of(run: Measured, name: str, contender: Contender) -> tuple[str, ...]:
    """Return what is to be known of a run: ghosts, errors, and who was the bottleneck."""
    report, who = run.report, f"{name}, {contender.name}"
    notes = [f"{who}: the server logged: {each}" for each in run.complaints]
    if report.ghosts or report.seq_gaps:
        notes.append(f"{who}: {report.ghosts} ghosts, {report.seq_gaps} gaps")
    if report.errors:
        notes.append(f"{who}: errors {report.errors}")
    if run.others_share > BUSY_OTHERS:
        notes.append(f"{who}: bots and fake API took {run.others_share:.0%} of their core")
    return tuple(notes)


def _times(names: Mapping[str, Spread | None]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, spread in names.items():
        if spread is not None:
            figures |= {f"{name}_p50": spread.p50, f"{name}_p99": spread.p99}
    return figures


async def paced(ground: Ground, contender: Contender, play: Play = PACED) -> Outcome:
    """Let many talk at the pace of a model."""
    run = await _measured(ground, contender, play)
    report = run.report
    times = {
        "flush": report.flush_ms,
        "ack": report.ack_ms,
        "first": report.added_first_token_ms,
    }
    figures = {"cpu_us": run.cpu_us, **_times(times)}
    notes = notes_of(run, "paced", contender)
    return Outcome(figures, notes, run.as_json(), report.headlines())


async def free(ground: Ground, contender: Contender, play: Play = FREE) -> Outcome:
    """Let a model speak as fast as it is heard."""
    run = await _measured(ground, contender, play)
    return Outcome({"free_cpu_us": run.cpu_us}, notes_of(run, "free", contender), run.as_json())


async def overload(ground: Ground, contender: Contender, play: Play = OVERLOAD) -> Outcome:
    """Let more talk than one core can serve, and see whether interrupts still succeed."""
    run = await _measured(ground, contender, play)
    success = run.report.success
    figures = {"overload_errors": float(sum(run.report.errors.values()))}
    if success is not None:
        figures["overload_success"] = round(100 * success, 2)
    return Outcome(figures, notes_of(run, "overload", contender), run.as_json())


async def pace(
    ground: Ground,
    contender: Contender,
    play: Play = PROBE,
    least: int = PACE_LEAST,
    most: int = PACE_MOST,
    step: int = PACE_STEP,
) -> Outcome:
    """Find out how many can talk before an answer falls behind its model."""
    tried: dict[int, str] = {}
    notes: list[str] = []

    async def holds(sessions: int) -> bool:
        run = await _measured(ground, contender, evolve(play, sessions=sessions))
        why = why_not_in_pace(run.report, play.interval_ms)
        tried[sessions] = why or "in pace"
        click.echo(f"    {contender.name}, {sessions} sessions: {tried[sessions]}", err=True)
        if why is not None and run.others_share > BUSY_OTHERS:
            notes.append(
                f"pace, {contender.name}: at {sessions} sessions bots and fake API took "
                f"{run.others_share:.0%} of their core"
            )
        return why is None

    found = await most_that_hold(holds, least, most, step)
    if found + step > most:
        notes.append(f"pace, {contender.name}: more than {most} were not tried")
    return Outcome({"pace_sessions": found}, tuple(notes), {"tried": tried})


async def ghosts(
    ground: Ground,
    contender: Contender = BARGEIN,
    interrupts: int = GHOST_INTERRUPTS,
    bots: int = GHOST_BOTS,
) -> Outcome:
    """Interrupt again and again, and look for tokens that come after."""
    wanted = GHOST_INTERRUPTS_LONG if ground.long else interrupts
    play = Play(bots, first_ms=20)
    habits = Habits(interrupt_share=1.0, moments_s=(0.01, 0.3), storm_share=0.05, storm_length=4)
    notes: list[str] = []
    with ground.place() as place:
        async with staged(play, place, ground.cores, contender) as stage:
            await warm_up(stage, contender)
            async with gathered(
                stage.url, play.sessions, habits, seed=ground.seed, spread_s=1.0
            ) as crowd:
                crowd.begin.set()
                with trio.move_on_after(30 + wanted / GHOST_LEAST_PER_S):
                    await until(partial(_interrupted, crowd, wanted), GHOST_LOOK_S)
                tally = crowd.tally
    if tally.interrupts < wanted:
        notes.append(f"ghosts: {tally.interrupts} of {wanted} interrupts in the time there was")
    if tally.errors or tally.seq_gaps:
        notes.append(f"ghosts: {dict(tally.errors)}, {tally.seq_gaps} gaps")
    figures = {"ghosts": tally.ghosts, "ghost_interrupts": tally.interrupts}
    return Outcome(figures, tuple(notes))


def _interrupted(crowd: Crowd, wanted: int) -> bool:
    return crowd.tally.interrupts >= wanted or not crowd.connected


SCENARIOS: Final[Mapping[ScenarioName, Scenario]] = {
    "start": Scenario(start, CONTENDERS),
    "paced": Scenario(paced, CONTENDERS, rounds=True),
    "free": Scenario(free, CONTENDERS, rounds=True),
    "pace": Scenario(pace, CONTENDERS),
    "overload": Scenario(overload, CONTENDERS),
    "ghosts": Scenario(ghosts),
    "idle": Scenario(idle),
    "hibernated": Scenario(hibernated),
    "replay": Scenario(replay),
    "turns": Scenario(turn_cost),
    "voice": Scenario(voice),
}
