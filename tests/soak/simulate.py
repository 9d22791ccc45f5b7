"""Play very many histories on all cores: `make simulate`.

`SIMULATE_SEEDS` (1,000,000) and `SIMULATE_SECONDS` (7,200) bound it, whichever is met first;
`SIMULATE_FROM` is the first seed.  In one history of ten the power fails at a drawn step.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from attrs import define, field, frozen

from tests.simulation.chance import chance
from tests.simulation.history import play
from tests.simulation.rules import broken_rules
from tests.simulation.verdict import RulesBroken

SEEDS = int(os.environ.get("SIMULATE_SEEDS") or 1_000_000)
SECONDS = float(os.environ.get("SIMULATE_SECONDS") or 7200)
FIRST = int(os.environ.get("SIMULATE_FROM") or 0)
BATCH = 100
CUT_EVERY = 10
TELL_EVERY_S = 10.0
MOST_BROKEN = 5
"""After so many it is given up: they are to be looked at first."""


@frozen
class Played:
    """What a batch came to; *broken* has the commands that play it again."""

    histories: int
    cuts: int
    steps: int
    broken: tuple[str, ...]


def play_batch(seeds: range) -> Played:
    """Play the history of each seed, and in every tenth let the power fail."""
    cuts = steps = histories = 0
    broken: list[str] = []
    for seed in seeds:
        whole = play(seed)
        played = [whole]
        if seed % CUT_EVERY == 0:
            cut = chance(f"{seed}/cut").randint(1, max(1, whole.steps))
            played.append(play(seed, cut=cut))
            cuts += 1
        for history in played:
            histories += 1
            steps += history.steps
            if rules := broken_rules(history):
                broken.append(str(RulesBroken(seed, history.cut, rules)))
    return Played(histories, cuts, steps, tuple(broken))


@define
class Tally:
    """What all batches so far came to."""

    seeds: int = 0
    histories: int = 0
    cuts: int = 0
    steps: int = 0
    broken: list[str] = field(factory=list[str])

    def add(self, batches: Iterable[Future[Played]]) -> None:
        for done in batches:
            played = done.result()
            self.seeds += BATCH
            self.histories += played.histories
            self.cuts += played.cuts
            self.steps += played.steps
            self.broken += played.broken

    def line(self, took_s: float) -> str:
        return (
            f"{took_s:6.0f} s  {self.seeds} seeds, {self.histories} histories with {self.cuts} "
            f"power cuts and {self.steps / 1e6:.1f} million steps, "
            f"{self.histories / max(took_s, 0.001):.0f} a second; {len(self.broken)} broke a rule"
        )


def tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def simulate(cores: int) -> Tally:
    """Play until all seeds are played, the time is up, or too much is broken."""
    tally, started_s = Tally(), time.monotonic()
    last_told_s = 0.0
    batches = iter(range(FIRST, FIRST + SEEDS, BATCH))
    fresh = multiprocessing.get_context("spawn")  # a fork would share the state of the imports
    with ProcessPoolExecutor(cores, mp_context=fresh) as pool:
        running: set[Future[Played]] = set()
        while True:
            took_s = time.monotonic() - started_s
            if took_s < SECONDS and len(tally.broken) < MOST_BROKEN:
                for start in batches:
                    running.add(pool.submit(play_batch, range(start, start + BATCH)))
                    if len(running) >= 2 * cores:
                        break
            if not running:
                return tally
            done, running = wait(running, timeout=TELL_EVERY_S, return_when=FIRST_COMPLETED)
            tally.add(done)
            took_s = time.monotonic() - started_s
            if took_s - last_told_s >= TELL_EVERY_S:
                last_told_s = took_s
                tell(tally.line(took_s))


def main() -> None:
    """Play, print the figures, and exit with 1 where a history broke a rule."""
    cores = os.cpu_count() or 1
    tell(f"at most {SEEDS} seeds from {FIRST}, or {SECONDS:.0f} s, on {cores} cores")
    started_s = time.monotonic()
    tally = simulate(cores)
    tell(tally.line(time.monotonic() - started_s))
    for history in tally.broken:
        tell(history)
    sys.exit(bool(tally.broken))


if __name__ == "__main__":
    main()
