"""Plays conversations, one for each seed, and says how to play again the one that failed."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

from bargein.testing.errors import RulesBroken
from bargein.testing.verdict import broken_in
from bargein.testing.world import Conversation, World

SEEDS: Final = 20
"""Runs of one test: enough for a race of two tasks, and done in a moment."""

SEED_VARIABLE: Final = "BARGEIN_SEED"
"""Names the one seed to play, such as the one of a run that failed."""

SEEDS_VARIABLE: Final = "BARGEIN_SEEDS"
"""How many seeds every test plays, for a night that is long."""

MOST_LOGS: Final = 5


def simulate(conversation: Conversation, *, seed: int = 0) -> World:
    """Play *conversation* once, on virtual time, and hold it to the rules.

    Returns:
        The world as it was at the end: its timelines can be read, and nothing goes on in it.

    Raises:
        RulesBroken: If the run broke a rule that all conversations keep.
        Exception: What the conversation raised, an assertion for instance.
    """
    __tracebackhide__ = True
    world = World(seed)
    try:
        _play(world, conversation)
    except Exception as error:
        error.add_note(f"REPLAY: {_replay_line(conversation, seed)}")
        for entry in [e for e in world.logs if e["log_level"] == "error"][:MOST_LOGS]:
            error.add_note(f"logged: {entry}")
        raise
    return world


def _play(world: World, conversation: Conversation) -> None:
    __tracebackhide__ = True
    world.run(conversation)
    if world.failure is not None:
        raise world.failure
    if broken := broken_in(world):
        raise RulesBroken(broken)


def simulated(
    conversation: Callable[..., Awaitable[None]] | None = None, /, *, seeds: int = SEEDS
) -> Any:
    """Make a test of an async function that takes a `world`, and plays it with so many *seeds*.

        @simulated(seeds=50)
        async def test_a_yes_is_heard(world: World) -> None: ...

    What it makes is a plain function, so that no plugin is needed, and none is in the way.
    Other parameters are fixtures and parameters, as of any test.
    """

    def decorate(asked: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        @wraps(asked)
        def test(*args: Any, **fixtures: Any) -> None:
            @wraps(asked)
            def conversation_in(world: World) -> Awaitable[None]:
                return asked(*args, world=world, **fixtures)

            for seed in seeds_to_play(seeds):
                simulate(conversation_in, seed=seed)

        signature = inspect.signature(asked)
        others = [p for p in signature.parameters.values() if p.name != "world"]
        if len(others) == len(signature.parameters):
            raise TypeError(f"{asked.__qualname__} has to take a parameter called world")
        shown: Any = test
        shown.__signature__ = signature.replace(parameters=others)
        return test

    return decorate if conversation is None else decorate(conversation)


def seeds_to_play(count: int) -> range:
    """Return the seeds of a test that plays *count* of them, unless the environment says more."""
    if one := os.environ.get(SEED_VARIABLE):
        return range(int(one), int(one) + 1)
    return range(int(os.environ.get(SEEDS_VARIABLE) or count))


def _replay_line(conversation: Conversation, seed: int) -> str:
    node = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
    if node:
        return f"{SEED_VARIABLE}={seed} python -m pytest '{node}'"
    return f"simulate({getattr(conversation, '__qualname__', 'conversation')}, seed={seed})"
