"""How long a target is fuzzed, and what says how to play one round again."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from random import Random

SECONDS = float(os.environ.get("FUZZ_SECONDS") or 5)
"""For each target; `make fuzz` sets a minute."""

ROUND = os.environ.get("FUZZ_ROUND")
"""The one round to play, such as the one that failed."""

FIRST = int(os.environ.get("FUZZ_SEED") or 0)
"""Where the rounds begin: another number, other inputs."""


def rounds(target: str, *, least: int) -> Iterator[tuple[int, Random]]:
    """Return numbered rounds, each with chance of its own, until the time is over.

    At least *least* of them are played, or a slow machine would try nothing.
    """
    if ROUND is not None:
        yield int(ROUND), chance(target, int(ROUND))
        return
    began_s = time.monotonic()
    number = FIRST
    while number < FIRST + least or time.monotonic() - began_s < SECONDS:
        yield number, chance(target, number)
        number += 1


def chance(target: str, number: int) -> Random:
    """Return the chance of one round."""
    return Random(f"{target}/{number}")  # noqa: S311 - to be had again


def expect(fact: bool, outcomes: object) -> None:
    """Check what only many rounds can show: that the inputs were bad enough, and good enough."""
    assert fact or ROUND is not None, outcomes


@contextmanager
def shown(number: int, tried: object) -> Generator[None]:
    """Say of whatever is raised in which round it was, and by what."""
    try:
        yield
    except BaseException as error:
        error.add_note(
            f"AGAIN: FUZZ_ROUND={number} python -m pytest tests/fuzz; by {tried!r:.3000}"
        )
        raise
