"""Load bots: any number of users who talk to a server and cut in on it.

    python -m examples.bots --url ws://127.0.0.1:8710/v1/session --users 50 --seconds 20

Run it at the root of the repository.  It prints how it goes and, at the end, what came out of it;
it exits with 1 if anything went wrong: an error, a token after its turn was cancelled, a gap.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import click
import trio

from examples.bench.bot import Habits
from examples.bench.crowd import Crowd, gathered
from examples.bench.report import Report

SHARE = click.FloatRange(0, 1)
SECONDS = click.FloatRange(0)


async def watch(crowd: Crowd) -> None:
    """Show on stderr, once a second, how it goes."""
    live = sys.stderr.isatty()
    began_s = trio.current_time()
    while True:
        tokens, then_s = crowd.tally.tokens, trio.current_time()
        await trio.sleep(1)
        now_s = trio.current_time()
        line = f"{now_s - began_s:5.0f} s  {crowd.progress(tokens, now_s - then_s)}"
        click.echo(f"\r\x1b[K{line}" if live else line, err=True, nl=not live)


async def load(
    url: str,
    users: int,
    habits: Habits,
    *,
    seconds: float,
    warm_s: float,
    model_first_s: float,
    seed: int,
) -> Report:
    """Let *users* talk to the server for *warm_s* and then, measured, for *seconds*."""
    async with (
        gathered(url, users, habits, seed=seed, spread_s=warm_s) as crowd,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch, crowd)
        crowd.begin.set()
        await trio.sleep(warm_s)
        crowd.open_window()
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel(reason="the window is over")
        return crowd.report(model_first_s)
    raise AssertionError("unreachable")


@click.command(context_settings={"show_default": True})
@click.option("--url", default="ws://127.0.0.1:8710/v1/session", help="Where a session opens.")
@click.option("--users", default=20, type=click.IntRange(1), help="How many talk at a time.")
@click.option("--seconds", default=20.0, type=SECONDS, help="How long is measured.")
@click.option("--warm-s", default=5.0, type=SECONDS, help="How long they talk before that.")
@click.option("--interrupt-share", default=0.75, type=SHARE, help="Of the turns, cut in on.")
@click.option("--say-share", default=0.5, type=SHARE, help="Of the cut-ins, by new words.")
@click.option(
    "--moments-s",
    default=(0.25, 4.0),
    type=(float, float),
    help="Between which moments of a turn a cut-in is drawn.",
)
@click.option("--think-s", default=0.0, type=SECONDS, help="Mean pause after an answer.")
@click.option(
    "--model-first-ms",
    default=0.0,
    help="What the model takes for its first token; it is taken off the added time.",
)
@click.option("--seed", default=0, help="Of all that is drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write it there as JSON.")
def main(
    url: str,
    users: int,
    seconds: float,
    warm_s: float,
    interrupt_share: float,
    say_share: float,
    moments_s: tuple[float, float],
    think_s: float,
    model_first_ms: float,
    seed: int,
    *,
    as_json: bool,
    out: Path | None,
) -> None:
    """Let bots talk to a bargein server, and report what they saw."""
    habits = Habits(interrupt_share, say_share, moments_s, think_s)
    gc.freeze()
    report = trio.run(
        lambda: load(
            url,
            users,
            habits,
            seconds=seconds,
            warm_s=warm_s,
            model_first_s=model_first_ms / 1000,
            seed=seed,
        )
    )
    encoded = json.dumps(report.as_json(), indent=2)
    if out is not None:
        out.write_text(encoded + "\n", encoding="utf-8")
    click.echo(encoded if as_json else f"\n{report.text()}")
    sys.exit(0 if report.clean else 1)


if __name__ == "__main__":
    main()
