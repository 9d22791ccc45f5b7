"""Load bots: any number of users who talk to a server and cut in on it.

    python -m examples.bots --url ws://127.0.0.1:8710/v1/session --users 50 --seconds 20

Run it at the root of the repository.  It prints how it goes and, at the end, what came out of it;
`--html` writes that as a page with pictures.  It exits with 1 if anything went wrong: an error, a
token after its turn was cancelled, a gap, something done that nobody allowed.

Worse users:

    --storm-share 0.3                          storms of interrupts
    --drop-every-s 5                           all connections go, and come back, again and again
    --slow-share 0.2                           who reads 2 kB/s
    --confirm-share 1 --text "book a table for two tonight at eight"
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import click
import trio
from attrs import define, field

from examples.bench.bot import QUESTIONS, Habits
from examples.bench.crowd import Crowd, Glance, gathered
from examples.bench.page import page
from examples.bench.report import Report

SHARE = click.FloatRange(0, 1)
SECONDS = click.FloatRange(0)
GLANCE_S = 0.5


@define(eq=False)
class Watch:
    """Looks at how it goes, and shows it on stderr once a second."""

    _crowd: Crowd
    glances: list[Glance] = field(factory=list[Glance], init=False)
    _tokens: int = field(default=0, init=False)

    async def run(self) -> None:
        """Look until cancelled."""
        live = sys.stderr.isatty()
        began_s = shown_s = trio.current_time()
        while True:
            await trio.sleep(GLANCE_S)
            self.glances.append(self._crowd.glance())
            now_s = trio.current_time()
            if now_s - shown_s < 1:
                continue
            line = (
                f"{now_s - began_s:5.0f} s  {self._crowd.progress(self._tokens, now_s - shown_s)}"
            )
            click.echo(f"\r\x1b[K{line}" if live else line, err=True, nl=not live)
            shown_s, self._tokens = now_s, self._crowd.tally.tokens

    def restart(self) -> None:
        """Forget what was before the window: its tally counts from nothing."""
        self.glances = [self._crowd.glance()]
        self._tokens = 0


async def _drop(crowd: Crowd, every_s: float) -> None:
    while True:
        await trio.sleep(every_s)
        crowd.drop()


async def load(
    url: str,
    users: int,
    habits: Habits,
    *,
    seconds: float,
    warm_s: float,
    model_first_s: float,
    seed: int,
    drop_every_s: float = 0.0,
) -> tuple[Report, str]:
    """Let *users* talk for *warm_s* and then, measured, for *seconds*; return report and page."""
    async with (
        gathered(url, users, habits, seed=seed, spread_s=warm_s) as crowd,
        trio.open_nursery() as nursery,
    ):
        watch = Watch(crowd)
        nursery.start_soon(watch.run)
        crowd.begin.set()
        await trio.sleep(warm_s)
        crowd.open_window()
        watch.restart()
        if drop_every_s:
            nursery.start_soon(_drop, crowd, drop_every_s)
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel(reason="the window is over")
        report = crowd.report(model_first_s)
        title = f"{users} users at {url.partition('?')[0]}"
        return report, page(report, crowd.tally, watch.glances, title)
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
@click.option("--storm-share", default=0.0, type=SHARE, help="Of the cut-ins, storms of them.")
@click.option("--storm-length", default=5, type=click.IntRange(2), help="Commands of a storm.")
@click.option("--slow-share", default=0.0, type=SHARE, help="Of the users, who read slowly.")
@click.option("--slow-bytes-per-s", default=2000.0, type=SECONDS, help="How slowly.")
@click.option("--confirm-share", default=0.0, type=SHARE, help="Of the users, who decide.")
@click.option("--yes-share", default=0.5, type=SHARE, help="Of the decisions, a yes.")
@click.option("--decide-s", default=0.3, type=click.FloatRange(0.001), help="Mean time for one.")
@click.option("--text", "texts", multiple=True, help="What is said; several are drawn from.")
@click.option(
    "--drop-every-s", default=0.0, type=SECONDS, help="All reconnect this often; 0: never."
)
@click.option(
    "--model-first-ms",
    default=0.0,
    help="What the model takes for its first token; it is taken off the added time.",
)
@click.option("--seed", default=0, help="Of all that is drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--out", type=click.Path(path_type=Path), help="Also write it there as JSON.")
@click.option("--html", type=click.Path(path_type=Path), help="Also write it there as a page.")
def main(
    url: str,
    users: int,
    seconds: float,
    warm_s: float,
    model_first_ms: float,
    seed: int,
    drop_every_s: float,
    *,
    as_json: bool,
    out: Path | None,
    html: Path | None,
    **habits: Any,
) -> None:
    """Let bots talk to a bargein server, and report what they saw."""
    habits["texts"] = habits["texts"] or QUESTIONS
    gc.freeze()
    report, as_page = trio.run(
        lambda: load(
            url,
            users,
            Habits(**habits),
            seconds=seconds,
            warm_s=warm_s,
            model_first_s=model_first_ms / 1000,
            seed=seed,
            drop_every_s=drop_every_s,
        )
    )
    encoded = json.dumps(report.as_json(), indent=2)
    if out is not None:
        out.write_text(encoded + "\n", encoding="utf-8")
    if html is not None:
        html.write_text(as_page, encoding="utf-8")
    click.echo(encoded if as_json else f"\n{report.text()}")
    sys.exit(0 if report.clean else 1)


if __name__ == "__main__":
    main()
