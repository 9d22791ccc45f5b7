"""What grows with a session, or must not: start, replay, the cost of a turn."""

from __future__ import annotations

from statistics import median
from typing import Final

import trio

from examples.bench.bot import Habits
from examples.bench.contenders import BARGEIN, Contender
from examples.bench.crowd import Crowd, gathered
from examples.bench.diary import Diary
from examples.bench.ear import BargeinEar
from examples.bench.figures import Tally
from examples.bench.ground import Ground, Outcome, fetch, until
from examples.bench.link import Link, LinkLost, connect
from examples.bench.processes import DidNotStart
from examples.bench.stage import START_S, Play, Stage, staged

STARTS: Final = 5
READY_LOOK_S: Final = 0.005

EVENTS: Final = 10_000
ANSWER_TOKENS: Final = 2500
REPLAYS: Final = 5
REPLAY_LIMIT_S: Final = 120.0

TALKERS: Final = 8
SIZES: Final = (10, 100, 1000)
SIZES_LONG: Final = (10, 100, 1000, 10_000)
WINDOW: Final = 15
"""Turns of each talker at each size, enough for the clock that counts CPU in steps of 10 ms."""

TURN_LIMIT_S: Final = 0.2
PATIENCE_S: Final = 60.0
"""Of a turn, on average, after a while for all: what takes longer is given up."""

TURN_LOOK_S: Final = 0.01


# --- start ----------------------------------------------------------------------------


async def start(ground: Ground, contender: Contender, starts: int = STARTS) -> Outcome:
    """Start it several times, each until it would serve."""
    took_s: list[float] = []
    for _ in range(starts):
        with ground.place() as place:
            async with staged(Play(1), place, ground.cores, contender) as stage:
                await _ready(stage, contender)
                took_s.append(trio.current_time() - stage.server.began_s)
    return Outcome({"start_s": round(median(took_s), 3)}, raw={"took_s": took_s})


async def _ready(stage: Stage, contender: Contender) -> None:
    with trio.move_on_after(START_S):
        while True:
            try:
                if contender is not BARGEIN:
                    await (await connect(stage.url)).aclose()
                    return
                if (await fetch(f"{stage.http_url}/readyz"))[0] == 200:  # noqa: PLR2004 - OK
                    return
            except (OSError, LinkLost):
                pass
            await trio.sleep(READY_LOOK_S)
    raise DidNotStart(stage.server.name, stage.server.output)


# --- replay ---------------------------------------------------------------------------


async def replay(
    ground: Ground, contender: Contender = BARGEIN, events: int = EVENTS, replays: int = REPLAYS
) -> Outcome:
    """Have a long conversation, and let somebody come back who has missed *events* of it."""
    play = Play(1, tokens=min(events, ANSWER_TOKENS), interval_ms=1, first_ms=0)
    took_s: list[float] = []
    got = 0
    with ground.place() as place, trio.fail_after(REPLAY_LIMIT_S):
        async with staged(play, place, ground.cores, contender) as stage:
            ear = await _talk_long(stage.url, events)
            for _ in range(replays):
                began_s = trio.current_time()
                link = await connect(ear.address(stage.url, events) or stage.url)
                try:
                    got = await _until(link, b'"type":"live"')
                    took_s.append(trio.current_time() - began_s)
                finally:
                    await link.aclose()
    notes = () if got >= events else (f"replay: only {got} of {events} events came",)
    return Outcome(
        {"replay_ms": round(median(took_s) * 1000, 1)}, notes, {"took_s": took_s, "events": got}
    )


async def _talk_long(url: str, events: int) -> BargeinEar:
    """Return the ear of somebody who has heard so many events, and more, and hung up."""
    ear = BargeinEar(Diary(Tally))
    link = await connect(url)
    try:
        messages = link.early()
        while ear.seq < events:
            await link.send(b'{"type":"say","text":"Go on."}')
            while True:
                ear.take(messages, trio.current_time())
                over = any(b'"type":"turn.trace"' in message for message in messages)
                messages = []
                if over:
                    break
                messages = await link.read()
    finally:
        await link.aclose()
    return ear


async def _until(link: Link, last: bytes) -> int:
    """Read until a message has *last* in it; return how many events came before."""
    got = 0
    messages = link.early()
    while True:
        for message in messages:
            if last in message:
                return got
            got += b'"event_id"' in message
        messages = await link.read()


# --- the cost of a turn -----------------------------------------------------------------


async def turn_cost(
    ground: Ground, contender: Contender = BARGEIN, sizes: tuple[int, ...] = SIZES
) -> Outcome:
    """Let a few talk without a pause, and look at what a turn costs as their sessions grow."""
    if ground.long and sizes == SIZES:
        sizes = SIZES_LONG
    figures: dict[str, float] = {}
    notes: list[str] = []
    play = Play(TALKERS, tokens=20, interval_ms=0, first_ms=0)
    habits = Habits(interrupt_share=0.0)
    with ground.place() as place:
        async with (
            staged(play, place, ground.cores, contender) as stage,
            gathered(stage.url, TALKERS, habits, spread_s=0.1, ear_of=contender.ear_of) as crowd,
        ):
            crowd.begin.set()
            for size in sizes:
                most_s = PATIENCE_S + (size + WINDOW) * TALKERS * TURN_LIMIT_S
                with trio.move_on_after(most_s) as waiting:
                    figures[f"turn_{size}"] = await _cost_ms(stage, crowd, size)
                if waiting.cancelled_caught or crowd.tally.errors:
                    notes.append(f"turn-cost: not all {size} turns: {dict(crowd.tally.errors)}")
                    break
    costs = list(figures.values())
    if len(costs) == len(sizes):
        figures["turn_growth"] = round(costs[-1] / costs[0], 3)
    return Outcome(figures, tuple(notes))


async def _cost_ms(stage: Stage, crowd: Crowd, size: int) -> float:
    """Return the server's CPU for a turn when sessions have *size* of them."""
    await until(lambda: crowd.tally.completed >= size * TALKERS, TURN_LOOK_S)
    before, cpu_s = crowd.tally.completed, stage.server.cpu_s
    await until(lambda: crowd.tally.completed >= before + WINDOW * TALKERS, TURN_LOOK_S)
    turns = crowd.tally.completed - before
    return round((stage.server.cpu_s - cpu_s) / turns * 1000, 2)
