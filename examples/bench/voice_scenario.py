"""How soon the agent is silent when somebody speaks over it, and how soon it is decided why."""

from __future__ import annotations

from random import Random
from typing import Final

import trio
from attrs import evolve

from examples.bench.caller import Caller, Notes
from examples.bench.contenders import BARGEIN, FREE, Contender
from examples.bench.crowd import ARRIVALS
from examples.bench.figures import Spread
from examples.bench.ground import Ground, Outcome
from examples.bench.readers import Readers
from examples.bench.stage import Play, Stage, staged, warm_up

ALONE: Final = Play(1, seconds=40, warm_s=2)
MANY: Final = Play(200, seconds=12, warm_s=6)


async def voice(
    ground: Ground, contender: Contender = BARGEIN, alone: Play = ALONE, many: Play = MANY
) -> Outcome:
    """Let one speak over the agent, then many at the same time."""
    figures: dict[str, float] = {}
    notes: list[str] = []
    raw: dict[str, object] = {}
    decided_s: list[float] = []
    errors, missed_percent = 0, 0.0
    for name, play in (("alone", alone), ("many", many)):
        longer = 3 if ground.long else 1
        with ground.place() as place:
            # What limits one client would limit the bots, who stand for many.
            free = ("--limits-speech-per-s", f"{FREE}", "--limits-speech-burst", f"{FREE}")
            async with staged(play, place, ground.cores, contender, *free) as stage:
                await warm_up(stage, contender)
                seconds = play.seconds * longer
                heard = await _talk(stage, evolve(play, seconds=seconds, seed=ground.seed))
        spread = Spread.of(heard.pause)
        if spread is not None:
            figures |= {f"pause_{name}_p50": spread.p50, f"pause_{name}_p99": spread.p99}
        decided_s += heard.decided
        errors += heard.errors.total()
        missed_percent = max(missed_percent, heard.missed_percent)
        raw[name] = {
            "pause": str(spread),
            "decided": str(Spread.of(heard.decided)),
            "missed": heard.missed,
            "errors": dict(heard.errors),
        }
        if heard.errors:
            notes.append(f"voice, {name}: errors {dict(heard.errors.most_common(5))}")
    decided = Spread.of(decided_s)
    if decided is not None:
        figures |= {"decided_p50": decided.p50, "decided_p99": decided.p99}
    figures |= {"voice_errors": errors, "voice_missed": round(missed_percent, 2)}
    return Outcome(figures, tuple(notes), raw)


async def _talk(stage: Stage, play: Play) -> Notes:
    notes, readers, begin = Notes(), Readers(), trio.Event()
    callers = [
        Caller(stage.url, Random(f"{play.seed}-{number}"), notes, readers)  # noqa: S311
        for number in range(play.sessions)
    ]
    gate = trio.CapacityLimiter(ARRIVALS)

    async def bring(caller: Caller) -> None:
        async with gate:
            nursery.start_soon(caller.run, begin, play.warm_s / 2)
            await caller.live.wait()

    async with trio.open_nursery() as reading:
        reading.start_soon(readers.run)
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as arriving:
                for caller in callers:
                    arriving.start_soon(bring, caller)
            begin.set()
            await trio.sleep(play.warm_s)
            notes.begin()
            await trio.sleep(play.seconds)
            notes.end(trio.current_time())
            nursery.cancel_scope.cancel(reason="the run is over")
        # Not before: the callers take leave of the readers.
        reading.cancel_scope.cancel(reason="the run is over")
    return notes
