"""What a token and a session cost: `python -m examples.bench.cost` at the root.

It starts a server and a fake of the model's API, pins the server to one core and all else to
another, lets bots talk, and prints what a token and a session cost.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import click
import trio
from attrs import asdict, frozen

from examples.bench.figures import Spread
from examples.bench.machine import Machine
from examples.bench.processes import Cores, DidNotStart, pin
from examples.bench.stage import Measured, ModelKind, Play, measure


@frozen
class Row:
    """A line of the table: what it says, and how to say it of a run."""

    name: str
    of: Callable[[Measured], str]


def _times(of: Callable[[Measured], Spread | None]) -> Callable[[Measured], str]:
    def cell(run: Measured) -> str:
        spread = of(run)
        return "-" if spread is None else f"{spread.p50:.1f} / {spread.p99:.1f}"

    return cell


ROWS: tuple[Row, ...] = (
    Row("tokens/s delivered", lambda run: f"{run.report.tokens_per_s:.0f}"),
    Row("tokens in a frame", lambda run: f"{run.report.tokens_per_frame:.2f}"),
    Row("server CPU, us a token", lambda run: f"{run.cpu_us:.1f}"),
    Row("server CPU, share of a core", lambda run: f"{run.cpu_share:.0%}"),
    Row("interrupt -> flush, ms p50 / p99", _times(lambda run: run.report.flush_ms)),
    Row("interrupt -> cancel.ack, ms", _times(lambda run: run.report.ack_ms)),
    Row("interrupt -> reply, ms", _times(lambda run: run.report.reply_ms)),
    Row("added first token, ms", _times(lambda run: run.report.added_first_token_ms)),
    Row("added after barge-in, ms", _times(lambda run: run.report.added_barge_in_ms)),
    Row("token -> next token, ms", _times(lambda run: run.report.gap_ms)),
    Row("RSS of an idle session, KiB", lambda run: f"{run.idle_kib:.0f}"),
    Row("RSS of a session under load, KiB", lambda run: f"{run.load_kib:.0f}"),
    Row("  after s of conversation", lambda run: f"{run.spoken_s:.0f}"),
    Row("interrupts that took", lambda run: f"{run.report.interrupts}"),
    Row("ghost tokens", lambda run: f"{run.report.ghosts}"),
    Row("gaps in seq", lambda run: f"{run.report.seq_gaps}"),
    Row("errors", lambda run: f"{sum(run.report.errors.values())}"),
    Row("bots' CPU, us a token", lambda run: f"{run.report.bots_cpu_us:.1f}"),
    Row(
        "fake API's CPU, us a token",
        lambda run: "-" if run.model_cpu_us is None else f"{run.model_cpu_us:.1f}",
    ),
)


def table(runs: Sequence[Measured]) -> str:
    """Return the runs side by side."""
    heads = [f"{run.play.sessions} x {run.play.model}" for run in runs]
    columns = [[row.of(run) for row in ROWS] for run in runs]
    names = max(len(row.name) for row in ROWS)
    widths = [max(map(len, (head, *cells))) for head, cells in zip(heads, columns, strict=True)]

    def line(name: str, cells: Sequence[str]) -> str:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return "  ".join((name.ljust(names), *padded))

    body = [line(row.name, cells) for row, *cells in zip(ROWS, *columns, strict=True)]
    return "\n".join([line("", heads), *body])


def _run(play: Play, directory: Path | None, cores: Cores) -> Measured:
    with TemporaryDirectory(prefix="bargein-bench-", dir=directory) as place:
        return trio.run(measure, play, Path(place), cores)


@click.command(context_settings={"show_default": True})
@click.option("--sessions", multiple=True, default=(50, 200), type=click.IntRange(1))
@click.option(
    "--model",
    "models",
    multiple=True,
    default=("anthropic",),
    type=click.Choice(get_args(ModelKind)),
    help="The real SDK against a fake API, or the built-in scripted model.",
)
@click.option("--seconds", default=20.0, help="The measuring window of each run.")
@click.option("--warm-s", default=6.0, help="How long the bots talk before it.")
@click.option("--repeat", default=1, type=click.IntRange(1), help="Runs of each kind, in turn.")
@click.option("--tokens", default=200, help="Of one answer.")
@click.option("--interval-ms", default=20.0, help="From one token to the next.")
@click.option("--first-ms", default=200.0, help="What the model takes for its first token.")
@click.option("--interrupt-share", default=0.75, type=click.FloatRange(0, 1))
@click.option("--seed", default=0)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where the store is kept while it runs; the system's place for such files without it.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Also write all figures as JSON.")
def main(
    sessions: Sequence[int],
    models: Sequence[ModelKind],
    seconds: float,
    warm_s: float,
    repeat: int,
    tokens: int,
    interval_ms: float,
    first_ms: float,
    interrupt_share: float,
    seed: int,
    directory: Path | None,
    out: Path | None,
) -> None:
    """Measure what a token and a session cost on this machine."""
    plays = [
        Play(many, model, seconds, warm_s, tokens, interval_ms, first_ms, interrupt_share, seed + n)
        for n in range(repeat)
        for model in models
        for many in sessions
    ]
    with TemporaryDirectory(prefix="bargein-bench-", dir=directory) as place:
        machine = Machine.here(Path(place))
    click.echo(f"{machine.text()}\n")
    cores = Cores.found()
    if cores.server is None:
        click.echo("No second core: the server shares this one with all else.\n")
    pin(cores.others)
    gc.freeze()
    runs: list[Measured] = []
    for play in plays:
        click.echo(
            f"{play.sessions} sessions, {play.model}, {play.warm_s + play.seconds:g} s …", err=True
        )
        try:
            runs.append(_run(play, directory, cores))
        except* DidNotStart as group:
            click.echo(str(group.exceptions[0]), err=True)
            sys.exit(1)
    click.echo(table(runs))
    for run in runs:
        if run.report.errors:
            click.echo(f"errors with {run.play.sessions}: {run.report.errors}")
        for complaint in run.complaints:
            click.echo(f"the server with {run.play.sessions}: {complaint}")
    if out is not None:
        figures = {"machine": asdict(machine), "runs": [run.as_json() for run in runs]}
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(run.report.clean for run in runs) else 1)


if __name__ == "__main__":
    main()
