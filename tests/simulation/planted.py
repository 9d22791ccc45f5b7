"""A bug that is planted, and the search for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

from attrs import frozen

from tests.simulation.chance import chance
from tests.simulation.history import play
from tests.simulation.rules import broken_rules

Patch: TypeAlias = tuple[Any, str, Any]


@frozen
class Mutant:
    """A bug, and the invariant that it breaks.

    Attributes:
        needs_cut: It only shows where the power fails.
    """

    name: str
    invariant: str
    patches: Callable[[], Sequence[Patch]]
    needs_cut: bool = False

    @contextmanager
    def planted(self) -> Generator[None]:
        """Let the product have this bug."""
        with ExitStack() as undo:
            for owner, name, replacement in self.patches():
                undo.callback(setattr, owner, name, vars(owner)[name])
                setattr(owner, name, replacement)
            yield


@frozen
class Found:
    """Where a mutant was found."""

    seed: int
    cut: int | None
    broken: list[str]


def search(mutant: Mutant, seeds: range) -> Found | None:
    """Return the first history that shows the bug."""
    with mutant.planted():
        for seed in seeds:
            cut = chance(f"{seed}/cut").randint(40, 400) if mutant.needs_cut else None
            broken = broken_rules(play(seed, cut=cut))
            if broken:
                return Found(seed, cut, broken)
    return None
