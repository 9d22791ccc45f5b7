"""Tokens that workers make of a second of CPU, with one of them and with several, on one Redis.

redis-server --port 6390 --save '' --appendonly no &
python -m examples.bench.workers --store redis://127.0.0.1:6390/0 --users-each 40
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from examples.bench.contenders import FREE
from examples.bench.machine import ROOT

WARM_S: Final = 6
WORDS: Final = " ".join(f"word{number}" for number in range(200))
PLAY: Final = f"""\
model = "scripted"
pace_ms = 20
first_token_ms = 200

[[scenes]]
name = "answer"
steps = [{{ say = "{WORDS}" }}]
"""
_SERVES: Final = re.compile(r"bargein serves (ws://\S+)")
_TOKENS: Final = re.compile(r"^bargein_tokens_generated_total(?:\{.*\})? (\S+)", re.MULTILINE)
_CPU: Final = re.compile(r"^process_cpu_seconds_total(?:\{.*\})? (\S+)", re.MULTILINE)


@frozen
class Count:
    """What all workers have counted.

    Attributes:
        workers: How many said so.
    """

    workers: int
    tokens: float
    cpu_s: float

    def since(self, before: Count) -> Count:
        """Return what came after *before*."""
        return Count(self.workers, self.tokens - before.tokens, self.cpu_s - before.cpu_s)


def counted(page: str) -> Count:
    """Read a page of figures."""
    cpus = _CPU.findall(page)
    return Count(len(cpus), sum(map(float, _TOKENS.findall(page))), sum(map(float, cpus)))


def figures_at(url: str) -> str:
    """Ask for the page of figures of the server at a WebSocket URL."""
    page = url.replace("ws", "http", 1).removesuffix("/v1/session") + "/metrics"
    with urllib.request.urlopen(page, timeout=10) as answer:  # noqa: S310 - of our own server
        return answer.read().decode()


@contextmanager
def serving(workers: int, store: str, directory: Path) -> Generator[str]:
    """Run a server of so many workers; yield its URL when all are ready."""
    play = directory / "play.toml"
    play.write_text(PLAY, encoding="utf-8")
    command = [sys.executable, "-m", "bargein.server", "serve", "--port", "0", "--store", store]
    command += ["--workers", str(workers), "--screenplay", str(play), "--drain-s", "0"]
    command += ["--limits-commands-per-s", str(FREE), "--limits-commands-burst", str(FREE)]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield _ready_url(process, workers)
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _ready_url(process: subprocess.Popen[str], workers: int) -> str:
    said = process.stderr
    url, ready = "", 0
    for line in said or ():
        if found := _SERVES.search(line):
            url = found[1]
        ready += '"event": "worker.ready"' in line
        if url and ready == (0 if workers == 1 else workers):
            return url
    raise click.ClickException("the server did not start")


def measured(url: str, users: int, seconds: int) -> Count:
    """Let bots talk, and return what was counted in the middle of it."""
    command = [sys.executable, "-m", "examples.bots", "--url", url, "--users", str(users)]
    command += ["--seconds", str(WARM_S + seconds + WARM_S)]
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    ) as bots:
        _let_pass(bots, WARM_S)
        before = counted(figures_at(url))
        _let_pass(bots, seconds)
        after = counted(figures_at(url))
        bots.communicate(timeout=seconds + 60)
    if bots.returncode:
        raise click.ClickException("the bots met an error; run them alone to see which")
    return after.since(before)


def _let_pass(bots: subprocess.Popen[str], seconds: int) -> None:
    """Read so many of the lines that bots print once a second."""
    lines = iter(bots.stdout or ())
    for _ in range(seconds):
        next(lines, None)


@click.command()
@click.option("--store", required=True, help="A Redis that nothing else uses.")
@click.option("--workers", "counts", multiple=True, type=int, default=(1, 2), show_default=True)
@click.option("--users-each", default=40, show_default=True, help="Users for each worker.")
@click.option("--seconds", default=15, show_default=True)
def main(store: str, counts: tuple[int, ...], users_each: int, seconds: int) -> None:
    """Print tokens for each second of the workers' CPU, for some numbers of workers."""
    first: float | None = None
    for workers in counts:
        with (
            tempfile.TemporaryDirectory() as directory,
            serving(workers, store, Path(directory)) as url,
        ):
            count = measured(url, workers * users_each, seconds)
        share = count.tokens / count.cpu_s
        first = first or share
        click.echo(
            f"{workers} workers ({count.workers} told), {workers * users_each} users: "
            f"{count.tokens / seconds:.0f} tokens/s, {count.cpu_s / seconds:.2f} cores, "
            f"{share:.0f} tokens per CPU second, {share / first:.2f} of the first"
        )


if __name__ == "__main__":
    main()
