"""How a test says that a history broke a rule: with the command that plays it again."""

from __future__ import annotations

from tests.simulation.history import History
from tests.simulation.rules import broken_rules

MOST_SHOWN = 5


class RulesBroken(AssertionError):
    """A history broke rules.

    Attributes:
        seed: Of the history.
        cut: Where its power failed, if it did.
        broken: The rules, in words.
    """

    def __init__(self, seed: int, cut: int | None, broken: list[str]) -> None:
        again = f"--seed {seed}" + ("" if cut is None else f" --cut {cut}")
        shown = "".join(f"\n  {rule[:400]}" for rule in broken[:MOST_SHOWN])
        super().__init__(f"REPRO: python -m tests.simulation {again}{shown}")
        self.seed = seed
        self.cut = cut
        self.broken = broken


def hold_to_the_rules(history: History) -> None:
    """Check everything that must hold of a history.

    Raises:
        RulesBroken: If something doesn't.
    """
    if broken := broken_rules(history):
        raise RulesBroken(history.seed, history.cut, broken)
