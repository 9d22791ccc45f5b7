"""What the way from the model's socket to a listener costs, alone: no session, store or client.

    python -m examples.bench.model_reader --streams 60 --streams 200

The answers come from the same fake API as in the whole benchmark, and are heard by a listener
that only counts.  CPU is that of this process, in user and system mode, while the answers run:
requests are not in it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import click
import trio
from attrs import define

from bargein.models.anthropic import AnthropicModel
from bargein.models.client import Message, ModelRequest, ToolUse
from examples.bench.machine import ROOT
from examples.bench.processes import Cores, DidNotStart, Running, pin, running

START_S: Final = 30.0
WARM_S: Final = 1.0
QUESTION: Final = ModelRequest(None, "Be brief.", (Message("user", "hi"),))


@define(eq=False)
class Count:
    """A listener that counts, and always has room."""

    tokens: int = 0

    def started(self, input_tokens: int) -> None:
        """Hear that the model has begun."""

    def heard(self, text: str, deltas: int) -> bool:
        """Count."""
        del text
        self.tokens += deltas
        return True

    def tool_called(self, call: ToolUse) -> None:
        """Hear a call."""

    def retrying(self, attempt: int, after_s: float, cause: str) -> None:
        """Hear of a retry."""

    async def room(self) -> None:
        """Have room."""


async def cost_us(url: str, streams: int, seconds: float) -> tuple[float, float]:
    """Return the CPU for each token that *streams* answers bring in *seconds*, and tokens/s."""
    count = Count()
    async with AnthropicModel("test", "fake", url=url) as model:
        await model.warm()
        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(model.stream, QUESTION, count)
            await trio.sleep(WARM_S)
            count.tokens, cpu_s, began_s = 0, time.process_time(), time.perf_counter()
            await trio.sleep(seconds)
            spent_s, took_s = time.process_time() - cpu_s, time.perf_counter() - began_s
            nursery.cancel_scope.cancel()
    return spent_s / max(1, count.tokens) * 1e6, count.tokens / took_s


async def _port_of(fake: Running) -> int:
    """Wait until *fake* has said where it listens.

    Raises:
        DidNotStart: If it ends, or says nothing for long.
    """
    with trio.move_on_after(START_S):
        while fake.alive:
            if fake.output.endswith("\n"):
                return int(fake.output)
            await trio.sleep(0.02)
    raise DidNotStart(fake.name, fake.output)


async def measure(
    streams: Sequence[int], interval_ms: float, seconds: float, repeat: int, directory: Path
) -> None:
    """Print a line for each number of streams."""
    cores = Cores.found()
    command = (
        *(sys.executable, "-m", "examples.bench.model_api", "--first-ms", "0"),
        *("--tokens", "1000000", "--interval-ms", f"{interval_ms}"),
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = directory / "model.log"
    async with running("fake API", command, log, environ=environ, core=cores.others) as fake:
        pin(cores.server)
        url = f"http://127.0.0.1:{await _port_of(fake)}"
        for many in streams:
            runs = [await cost_us(url, many, seconds) for _ in range(repeat)]
            each_us = median(run[0] for run in runs)
            each_s = median(run[1] for run in runs)
            click.echo(f"{many:5} streams  {each_s:8.0f} tokens/s  {each_us:6.1f} us CPU a token")


@click.command(context_settings={"show_default": True})
@click.option("--streams", multiple=True, default=(60, 200), type=click.IntRange(1))
@click.option("--interval-ms", default=20.0, help="From one token to the next.")
@click.option("--seconds", default=4.0, help="The measuring window of each run.")
@click.option("--repeat", default=3, type=click.IntRange(1), help="The median of so many runs.")
def main(streams: Sequence[int], interval_ms: float, seconds: float, repeat: int) -> None:
    """Measure what reading a model's stream costs on this machine."""
    with TemporaryDirectory(prefix="bargein-bench-") as place:
        trio.run(measure, streams, interval_ms, seconds, repeat, Path(place))


if __name__ == "__main__":
    main()
