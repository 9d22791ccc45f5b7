"""A server and the model behind it, each in a process of its own, and one measured run of bots."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import trio
from attrs import asdict, frozen

from examples.bench.bot import Habits
from examples.bench.contenders import BARGEIN, Contender, command, environment
from examples.bench.crowd import gathered
from examples.bench.link import Link, LinkLost, connect
from examples.bench.machine import ROOT
from examples.bench.processes import Cores, DidNotStart, Running, running
from examples.bench.report import Report

START_S: Final = 60.0
"""It takes a second; a machine may have much else to do."""

MOST_COMPLAINTS: Final = 3
SETTLE_S: Final = 1.0
"""After the bots are connected, before the memory of idle sessions is read."""

ModelKind: TypeAlias = Literal["anthropic", "scripted"]


@frozen
class Play:
    """What is measured.

    Attributes:
        model: `anthropic` is the real SDK against a fake API, `scripted` the built-in model.
        tokens: Of one answer.
        interval_ms: From one token to the next.
        first_ms: Until the first.
    """

    sessions: int
    model: ModelKind = "anthropic"
    seconds: float = 20.0
    warm_s: float = 6.0
    tokens: int = 200
    interval_ms: float = 20.0
    first_ms: float = 200.0
    interrupt_share: float = 0.75
    seed: int = 0

    @property
    def habits(self) -> Habits:
        """How the bots behave: cut-ins fall anywhere in an answer, whatever its length."""
        whole_s = (self.first_ms + self.tokens * self.interval_ms) / 1000
        return Habits(self.interrupt_share, moments_s=(0.05 + self.first_ms / 1000, whole_s))


@frozen
class Measured:
    """What came out of one run.

    Attributes:
        cpu_us: The server's CPU for each token that arrived.
        cpu_share: The share of one core that the server used.
        others_share: The share of one core that bots and fake API used together.
        idle_kib: Memory of the server for each connected session before anyone spoke.
        load_kib: The same when the window ended, after `spoken_s` of conversation.
        model_cpu_us: CPU of the fake API for each token that arrived.
        complaints: The first errors that the server logged.
    """

    play: Play
    report: Report
    cpu_us: float
    cpu_share: float
    others_share: float
    idle_kib: float
    load_kib: float
    spoken_s: float
    model_cpu_us: float | None
    complaints: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        return asdict(self)


@frozen
class Stage:
    """A server that serves, and the fake API behind it."""

    url: str
    server: Running
    fake: Running | None

    @property
    def http_url(self) -> str:
        """Where the server answers plain HTTP, without a slash at the end."""
        return "http" + self.url.removeprefix("ws").rpartition("/v1/")[0]


@asynccontextmanager
async def _model(play: Play, directory: Path, core: int | None) -> AsyncGenerator[Running | None]:
    if play.model == "scripted":
        yield None
        return
    arguments = (
        *(sys.executable, "-m", "examples.bench.model_api", "--port", "0"),
        *("--tokens", f"{play.tokens}", "--interval-ms", f"{play.interval_ms}"),
        *("--first-ms", f"{play.first_ms}"),
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    log = directory / "model.log"
    async with running("fake API", arguments, log, environ=environ, core=core) as fake:
        yield fake


def _screenplay(play: Play, directory: Path) -> Path:
    """Write a screenplay in which every answer has the same length and pace."""
    words = " ".join(f"token{number % 100:02d}" for number in range(play.tokens))
    path = directory / "screenplay.toml"
    path.write_text(
        f"pace_ms = {play.interval_ms}\nfirst_token_ms = {play.first_ms}\n"
        f'[[scenes]]\nname = "any"\nsteps = [{{ say = "{words}" }}]\n'
    )
    return path


async def _said(process: Running, pattern: str) -> str:
    """Wait until *process* wrote something that fits; return its first group.

    Raises:
        DidNotStart: If it ends, or writes nothing of the kind for long.
    """
    with trio.move_on_after(START_S):
        while process.alive:
            found = re.search(pattern, process.output, re.MULTILINE)
            if found is not None:
                return found[1]
            await trio.sleep(0.01)
    raise DidNotStart(process.name, process.output)


@asynccontextmanager
async def staged(
    play: Play, directory: Path, cores: Cores, contender: Contender = BARGEIN, *flags: str
) -> AsyncGenerator[Stage]:
    """Run a server for *play*, on a core of its own, with *flags* if it is bargein.

    Raises:
        DidNotStart: If the server, or the fake API, does not come up.
    """
    more, model_url = list(flags), None
    async with _model(play, directory, cores.others) as fake:
        if fake is None:
            more += ["--screenplay", str(_screenplay(play, directory))]
        else:
            port = await _said(fake, r"^(\d+)$")
            model_url = f"http://127.0.0.1:{port}"
        log = directory / "server.log"
        async with running(
            contender.name,
            command(contender, directory, *more),
            log,
            environ=environment(contender, model_url),
            core=cores.server,
        ) as server:
            yield Stage(await _said(server, contender.announced), server, fake)


async def measure(
    play: Play, directory: Path, cores: Cores, contender: Contender = BARGEIN
) -> Measured:
    """Start what *play* needs, let the bots talk, and measure.

    Raises:
        DidNotStart: If the server or the fake API does not come up, or the first turn fails.
    """
    async with staged(play, directory, cores, contender) as stage:
        await warm_up(stage, contender)
        server, fake = stage.server, stage.fake
        bare_kib = server.rss_kib
        async with gathered(
            stage.url,
            play.sessions,
            play.habits,
            seed=play.seed,
            spread_s=play.warm_s * 2 / 3,
            ear_of=contender.ear_of,
        ) as crowd:
            await trio.sleep(SETTLE_S)
            idle_kib = server.rss_kib
            crowd.begin.set()
            await trio.sleep(play.warm_s)
            before_s, fake_before_s = server.cpu_s, fake.cpu_s if fake is not None else 0.0
            crowd.open_window()
            await trio.sleep(play.seconds)
            report = crowd.report(play.first_ms / 1000)
            cpu_s = server.cpu_s - before_s
            fake_cpu_s = fake.cpu_s - fake_before_s if fake is not None else None
            loaded_kib = server.rss_kib
            complaints = tuple(islice(server.complaints(), MOST_COMPLAINTS))
    tokens = max(1, report.tokens)
    return Measured(
        play,
        report,
        cpu_us=round(cpu_s / tokens * 1e6, 1),
        cpu_share=round(cpu_s / report.seconds, 3),
        others_share=round((fake_cpu_s or 0.0) / report.seconds + report.bots_cpu_share, 3),
        idle_kib=round((idle_kib - bare_kib) / play.sessions, 1),
        load_kib=round((loaded_kib - bare_kib) / play.sessions, 1),
        spoken_s=play.warm_s + play.seconds,
        model_cpu_us=None if fake_cpu_s is None else round(fake_cpu_s / tokens * 1e6, 1),
        complaints=complaints,
    )


async def warm_up(stage: Stage, contender: Contender = BARGEIN) -> None:
    """Have one turn begun and interrupted, so that what is loaded once is loaded.

    Raises:
        DidNotStart: If it does not come to that.
    """
    try:
        link = await connect(stage.url)
        try:
            with trio.fail_after(START_S):
                await _one_turn(link, contender)
        finally:
            await link.aclose()
    except (LinkLost, trio.TooSlowError) as lost:
        raise DidNotStart(stage.server.name, stage.server.output) from lost


async def _one_turn(link: Link, contender: Contender) -> None:
    await link.send(b'{"type":"say","id":"w1","text":"Hello."}')
    messages, interrupted = link.early(), False
    while not any(last in message for message in messages for last in contender.over):
        if not interrupted and any(contender.token in message for message in messages):
            interrupted = True
            await link.send(b'{"type":"interrupt","id":"w2"}')
        messages = await link.read()
